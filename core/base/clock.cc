#include "core/base/clock.h"

#include <ctime>
#include <limits>

namespace topspin {
namespace {

int64_t read_clock(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return static_cast<int64_t>(t.tv_sec) * kNanosPerSecond + t.tv_nsec;
}

}  // namespace

int64_t monotonic_now_ns() { return read_clock(CLOCK_MONOTONIC); }
int64_t wall_now_ns() { return read_clock(CLOCK_REALTIME); }
int64_t process_cpu_now_ns() { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

ClockAnchor take_clock_anchor() {
  constexpr int kTries = 5;  // one preempted triple is common, five in a row are not
  ClockAnchor best{0, 0, std::numeric_limits<int64_t>::max()};
  for (int i = 0; i < kTries; ++i) {
    const int64_t before = monotonic_now_ns();
    const int64_t wall = wall_now_ns();
    const int64_t after = monotonic_now_ns();
    const int64_t uncertainty = (after - before) / 2;
    if (uncertainty < best.uncertainty_ns) best = {before + uncertainty, wall, uncertainty};
  }
  return best;
}

}  // namespace topspin
