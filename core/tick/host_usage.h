// What the whole host and this process use right now, from /proc. Called at the edges only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace topspin {

/// CPU time of all CPUs together since boot.
struct HostCpuTime {
  int64_t busy_ns = 0;   // everything but idle, iowait and steal
  int64_t steal_ns = 0;  // taken by the hypervisor
};

/// Of the text of /proc/stat; nullopt if it is none.
std::optional<HostCpuTime> parse_host_cpu(const std::string& stat, int64_t ticks_per_second);
std::optional<HostCpuTime> read_host_cpu_time();

/// Resident memory of this process.
int64_t own_rss_bytes();

}  // namespace topspin
