// Time. BPF's bpf_ktime_get_ns and steady_clock use CLOCK_MONOTONIC. Capture timestamps are
// wall-clock time (CLOCK_REALTIME); an anchor pair converts them. Durations use only the monotonic
// clock. Pure code gets the time as a parameter; only code at the edges calls these functions.
#pragma once

#include <cstdint>

namespace topspin {

inline constexpr int64_t kNanosPerSecond = 1'000'000'000;
inline constexpr int64_t kNanosPerMilli = 1'000'000;

/// Nanoseconds of CLOCK_MONOTONIC.
int64_t monotonic_now_ns();

/// Nanoseconds of CLOCK_REALTIME since the Unix epoch.
int64_t wall_now_ns();

/// CPU time used by this process so far, user and system, in nanoseconds.
int64_t process_cpu_now_ns();

/// The two clocks read at one moment.
struct ClockAnchor {
  int64_t monotonic_ns = 0;
  int64_t wall_ns = 0;
  int64_t uncertainty_ns = 0;  // the wall reading lies within this much of monotonic_ns

  /// wall = monotonic + offset
  int64_t offset_ns() const { return wall_ns - monotonic_ns; }
  int64_t to_monotonic(int64_t wall) const { return wall - offset_ns(); }
  int64_t to_wall(int64_t monotonic) const { return monotonic + offset_ns(); }
};

/// Reads the clocks in the order monotonic, wall, monotonic a few times, and keeps the tightest
/// triple.
ClockAnchor take_clock_anchor();

}  // namespace topspin
