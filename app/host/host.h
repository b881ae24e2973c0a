// The host of a run. Two runs can be compared only if their hosts are alike.
#pragma once

#include <optional>
#include <string>

#include <sys/types.h>

#include "core/base/result.h"
#include "core/run/run.h"

namespace topspin {

/// Reads uname, /proc/cpuinfo, /proc/meminfo and /etc/os-release. Fields that cannot be read stay
/// empty.
HostInfo read_host_info();

}  // namespace topspin
