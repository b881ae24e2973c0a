// The host that a run is made on: what decides whether two runs compare.
#pragma once

#include <optional>
#include <string>

#include <sys/types.h>

#include "core/base/result.h"
#include "core/run/run.h"

namespace topspin {

/// Reads uname, /proc/cpuinfo, /proc/meminfo, /etc/os-release. What cannot be read stays empty.
HostInfo read_host_info();

}  // namespace topspin
