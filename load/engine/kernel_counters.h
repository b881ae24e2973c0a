// What /proc says around a load: the network counters of this namespace.
#pragma once

#include <optional>
#include <string_view>

#include "load/load.h"

namespace topspin {

/// A counter of /proc/net/snmp or /proc/net/netstat: pairs of lines "Tcp: NAME ..." and
/// "Tcp: NUMBER ...". Pure.
std::optional<uint64_t> find_counter(std::string_view text, std::string_view group,
                                     std::string_view name);

/// Reads their current values.
KernelCounters read_kernel_counters();

/// later - earlier, field by field. A difference is absent if either value is.
KernelCounters counters_between(const KernelCounters& earlier, const KernelCounters& later);

int64_t thread_cpu_now_ns();

}  // namespace topspin
