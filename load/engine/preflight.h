// Preflight: checks before the first packet that this host has the descriptors, ports and memory
// that a load needs. If not, says which limit to raise.
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

/// What each of several threads may use of them. Pure.
HostLimits share_of(const HostLimits& limits, uint32_t shares);

/// Descriptors that a workload may have open beside those of its clients.
inline constexpr uint64_t kSpareDescriptors = 16;

struct LoadNeeds {
  uint64_t descriptors = 0;
  uint64_t ports = 0;             // local (address, port) pairs in use at once
  uint32_t source_addresses = 1;  // that the ports are spread over
  int64_t memory_bytes = 0;
};

/// kUnsupported, with the numbers and the limit to raise, if the host does not have enough. Pure.
Status check_needs(const LoadNeeds& needs, const HostLimits& limits, bool can_spread);

/// How many ports of the range a load may use: other programs use some, and the kernel needs
/// long to find the last free ones.
uint32_t usable_ports(const HostLimits& limits);

}  // namespace topspin
