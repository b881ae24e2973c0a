// Preflight: whether this host has the descriptors, ports and memory that a load needs, said before
// the first packet with what to raise.
#pragma once

#include <cstdint>
#include <optional>

#include "core/base/result.h"

namespace topspin {

struct HostLimits {
  uint64_t descriptors = 0;  // hard limit of this process
  uint64_t descriptors_in_use = 0;
  uint32_t ephemeral_ports = 0;  // the size of the range
  std::optional<int64_t> available_bytes;
};

/// Reads the limits, and raises the soft limit of descriptors to the hard one.
HostLimits read_host_limits();

struct LoadNeeds {
  uint64_t descriptors = 0;
  uint64_t ports = 0;             // local (address, port) pairs in use at once
  uint32_t source_addresses = 1;  // that the ports are spread over
  int64_t memory_bytes = 0;
};

/// Pure. kUnsupported with the numbers and what to raise.
Status check_needs(const LoadNeeds& needs, const HostLimits& limits, bool can_spread);

/// Of a range of ports only so many are counted on: others use some, and the kernel's search for
/// the last free ones is long.
uint32_t usable_ports(const HostLimits& limits);

}  // namespace topspin
