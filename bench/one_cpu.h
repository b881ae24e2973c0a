// Shared by the benchmarks that measure CPU time added to processes on one CPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "core/base/check.h"
#include "core/base/clock.h"

namespace topspin {

/// The wait before a measurement: the kernel detaches earlier probes asynchronously.
inline constexpr useconds_t kSettleUs = 400'000;

/// Moves the calling thread onto the second CPU, if there is one.
inline void pin() {
  constexpr int kCpu = 1;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(::sysconf(_SC_NPROCESSORS_ONLN) > kCpu ? kCpu : 0, &set);
  CHECK(::sched_setaffinity(0, sizeof(set), &set) == 0);
}

inline int64_t cpu_ns_of(pid_t pid) {
  clockid_t clock{};
  timespec time{};
  CHECK(::clock_getcpuclockid(pid, &clock) == 0 && ::clock_gettime(clock, &time) == 0);
  return time.tv_sec * kNanosPerSecond + time.tv_nsec;
}

/// REQUIRES: not empty.
inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace topspin
