// The counters of all network interfaces, from /proc/net/dev. Needs no privilege; thread-agnostic.
#pragma once

#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/flow/interface_reading.h"

namespace topspin {

/// The interfaces of this network namespace, in the kernel's order.
Result<std::vector<InterfaceReading>> read_interfaces();

/// Parses /proc/net/dev: two lines of titles, then lines of "name: " and 16 numbers. Other lines
/// are skipped. Leaves `up` and `loopback` unset. Pure.
std::vector<InterfaceReading> parse_interface_counters(std::string_view text);

}  // namespace topspin
