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

/// CPU time that was stolen and that was used on this host so far, all CPUs, from /proc/stat.
struct HostCpu {
  int64_t steal_ns = 0;
  int64_t busy_ns = 0;
};
std::optional<HostCpu> read_host_cpu();

/// Resident memory of this process.
int64_t read_own_rss_bytes();

}  // namespace topspin
