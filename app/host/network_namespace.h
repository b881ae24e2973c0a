// Another network namespace to record in, such as a container's.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/base/result.h"

namespace topspin {

/// Moves the calling thread, and the threads that it starts later, into a network namespace: that
/// of a process (`name` is its pid), or the one that `ip netns` calls `name`. Captures, socket
/// tables and interface addresses that are opened later belong to that namespace. kUsage if there
/// is no such namespace; kPermission without cap_sys_admin.
Status enter_network_namespace(std::string_view name);

/// Whether the process is in our own network namespace. False if that cannot be seen.
bool shares_network_namespace(int32_t pid);

}  // namespace topspin
