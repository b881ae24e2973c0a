// Time. BPF's bpf_ktime_get_ns and steady_clock share CLOCK_MONOTONIC; capture stamps are wall
// clock (CLOCK_REALTIME) and are tied to it by an anchor pair. Durations come from the monotonic
// clock alone. Pure code takes time as a parameter: these functions are called at the edges only.
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

/// Reads monotonic, wall, monotonic a few times and keeps the tightest triple.
ClockAnchor take_clock_anchor();

}  // namespace topspin
