// InterfaceReading: a network interface and its counters, as the kernel has them at one moment.
//
// Counters grow from the interface's birth. On lo each packet is counted both ways. Plain values.
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
