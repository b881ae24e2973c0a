// InterfaceTable: the host's interfaces and how much went through them in the last second.
//
// Fed with readings a few times a second while somebody looks; what it says of rates is over the
// last second of readings, so that the numbers stand still enough to be read. A value; pure.
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
      4096;  // a host full of containers; later ones are left out

  struct Rates {
    double received_bytes = 0, received_packets = 0, sent_bytes = 0, sent_packets = 0;
  };
  struct Entry {
    InterfaceReading reading;
    std::optional<Rates> rates;  // a second; absent until there are two readings
  };

  /// Readings of one moment, in the kernel's order; times do not go back.
  void update(std::vector<InterfaceReading> readings, int64_t now_ns);

  /// "any" (all of them together) first, then as the kernel has them. Empty before the first
  /// update.
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  struct Moment {
    int64_t now_ns;
    std::vector<InterfaceReading> readings;
  };
  std::deque<Moment> moments_;  // the last second's, the oldest first
  std::vector<Entry> entries_;
};

}  // namespace topspin
