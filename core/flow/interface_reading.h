// InterfaceReading: a network interface and its counters at one moment.
//
// Counters count since the interface was created. On lo, each packet counts as sent and as
// received. Plain values.
#pragma once

#include <cstdint>
#include <string>

namespace topspin {

struct InterfaceReading {
  std::string name;  // hostile text: any byte but / and space
  bool up = false;
  bool loopback = false;
  uint64_t received_bytes = 0;
  uint64_t received_packets = 0;
  uint64_t received_dropped = 0;
  uint64_t sent_bytes = 0;
  uint64_t sent_packets = 0;
  uint64_t sent_dropped = 0;
};

}  // namespace topspin
