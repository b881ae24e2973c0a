// LocalAddresses: which addresses are this host's (of our network namespace, at one moment). Plain
// value.
#pragma once

#include <cstdint>
#include <set>
#include <utility>

#include "core/flow/flow.h"

namespace topspin {

class LocalAddresses {
 public:
  /// Reads the addresses of all interfaces; empty if they cannot be read.
  static LocalAddresses read();

  void add(uint8_t ip_version, const std::array<uint8_t, 16>& address);
  /// All of 127.0.0.0/8 is.
  bool contains(uint8_t ip_version, const std::array<uint8_t, 16>& address) const;

 private:
  std::set<std::pair<uint8_t, std::array<uint8_t, 16>>> addresses_;
};

}  // namespace topspin
