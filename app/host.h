// The host and the source tree around a run: what decides whether two runs compare, and who is
// asking.
#pragma once

#include <optional>
#include <string>

#include <sys/types.h>

#include "core/result.h"
#include "core/run.h"

namespace topspin {

/// Reads uname, /proc/cpuinfo, /proc/meminfo, /etc/os-release. What cannot be read stays empty.
HostInfo read_host_info();

/// Commit and branch of the git work tree that holds `directory`, read from .git itself: running
/// git in somebody's directory would run what its configuration says. Empty outside a work tree.
SourceInfo read_source_info(const std::string& directory);

}  // namespace topspin
