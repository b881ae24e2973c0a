// The current CPU and memory use of the host and of this process, from /proc. Only code at the
// edges calls it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/base/unique_fd.h"

namespace topspin {

/// CPU time since boot, over all CPUs.
struct HostCpuTime {
  int64_t busy_ns = 0;   // everything but idle, iowait and steal
  int64_t steal_ns = 0;  // taken by the hypervisor
};

/// Parses the beginning of /proc/stat; nullopt if it is something else.
std::optional<HostCpuTime> parse_host_cpu(std::string_view stat, int64_t ticks_per_second);
std::optional<HostCpuTime> read_host_cpu_time();

/// Resident memory of this process; 0 if /proc is not there.
int64_t own_rss_bytes();

/// Reads both again and again, from files that it opens once. For the process that makes it: one
/// that is forked from it makes its own.
class UsageReader {
 public:
  UsageReader();

  std::optional<HostCpuTime> host_cpu_time() const;
  int64_t own_rss_bytes() const;

 private:
  UniqueFd stat_, statm_;
};

}  // namespace topspin
