// What /proc says around a load: the network counters of this namespace, CPU of the host, memory of
// this process.
#pragma once

#include <optional>
#include <string_view>

#include "load/load.h"

namespace topspin {

/// A counter of /proc/net/snmp or /proc/net/netstat: pairs of lines "Tcp: NAME ..." and
/// "Tcp: NUMBER ...". Pure.
std::optional<uint64_t> find_counter(std::string_view text, std::string_view group,
                                     std::string_view name);

/// As they stand now.
KernelCounters read_kernel_counters();

/// later - earlier, field by field; absent where either is.
KernelCounters counters_between(const KernelCounters& earlier, const KernelCounters& later);

struct HostCpuTime {
  int64_t busy_ns = 0;
  int64_t steal_ns = 0;
};

/// The "cpu" line of /proc/stat, all CPUs since boot. Pure.
std::optional<HostCpuTime> parse_host_cpu(std::string_view stat, int64_t ticks_per_second);
std::optional<HostCpuTime> read_host_cpu_time();

int64_t thread_cpu_now_ns();
int64_t own_rss_bytes();

}  // namespace topspin
