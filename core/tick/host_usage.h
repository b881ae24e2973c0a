// The current CPU and memory use of the host and of this process, from /proc. Only code at the
// edges calls it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace topspin {

/// CPU time since boot, over all CPUs.
struct HostCpuTime {
  int64_t busy_ns = 0;   // everything but idle, iowait and steal
  int64_t steal_ns = 0;  // taken by the hypervisor
};

/// Parses the text of /proc/stat; nullopt if it is something else.
std::optional<HostCpuTime> parse_host_cpu(const std::string& stat, int64_t ticks_per_second);
std::optional<HostCpuTime> read_host_cpu_time();

/// Resident memory of this process.
int64_t own_rss_bytes();

}  // namespace topspin
