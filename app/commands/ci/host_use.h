// How much of the host other programs use, and which they are. `topspin ci` asks before it starts
// anything, because the runs of a busy host would not be judged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "core/base/result.h"

namespace topspin {

/// One reading of /proc/stat and of all /proc/PID/stat. Times are clock ticks.
struct HostReading {
  uint64_t all = 0;   // of all CPUs together
  uint64_t busy = 0;  // in programs and the kernel
  uint64_t steal = 0;
  std::map<std::pair<pid_t, uint64_t>, std::pair<std::string, uint64_t>> processes;  // name, CPU
};

/// `root` is /proc, or a copy for tests.
Result<HostReading> read_host(const std::string& root);

struct BusyPrograms {
  std::string name;  // hostile text
  size_t processes = 0;
  double share = 0;  // of all CPUs
};

struct HostUse {
  double share = 0;  // of all CPUs, by everything
  double steal = 0;
  std::vector<BusyPrograms> busiest;  // by name, the busiest first
};

/// What happened from each reading to the next. Processes of one name are added up. A process that
/// began after a reading counts from its start. REQUIRES: two readings or more.
HostUse use_of(const std::vector<HostReading>& readings, pid_t self);

/// Reads /proc for five seconds.
Result<HostUse> watch_host();

/// Why a run on this host would not be judged, with the busiest programs; empty if it would be. One
/// line each. The limits are those of the gate (ci/metrics/standing.h).
std::vector<std::string> why_too_busy(const HostUse& use);

}  // namespace topspin
