// InterfaceTable: the host's interfaces, with their traffic in the last second.
//
// While the screen is shown, it gets readings several times per second. Rates are averages over the
// last second, so that the numbers change slowly enough to be read. A value; pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "core/flow/interface_reading.h"

namespace topspin {

class InterfaceTable {
 public:
  static constexpr size_t kMaxInterfaces =
      4096;  // enough for a host full of containers; others are left out

  struct Rates {
    double received_bytes = 0, received_packets = 0, sent_bytes = 0, sent_packets = 0;
  };
  struct Entry {
    InterfaceReading reading;
    std::optional<Rates> rates;  // per second; absent until there are two readings
  };

  /// Readings of one moment, in the kernel's order; times do not go back.
  void update(std::vector<InterfaceReading> readings, int64_t now_ns);

  /// "any" (all of them together) comes first, then the others in the kernel's order. Empty before
  /// the first update.
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  struct Moment {
    int64_t now_ns;
    std::vector<InterfaceReading> readings;
  };
  std::deque<Moment> moments_;  // those of the last second, the oldest first
  std::vector<Entry> entries_;
};

}  // namespace topspin
