// Another network namespace to record in, such as a container's.
#pragma once

#include <string_view>

#include "core/base/result.h"

namespace topspin {

/// Moves the calling thread, and the threads that it starts from now on, into the network namespace
/// of a process (`name` is its number) or the one that `ip netns` calls `name`. Everything that is
/// opened later is of that namespace: captures, the tables of sockets, addresses of interfaces.
/// kUsage: there is no such namespace; kPermission: needs cap_sys_admin.
Status enter_network_namespace(std::string_view name);

}  // namespace topspin
