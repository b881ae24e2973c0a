// StampClock converts the kernel's wall-clock stamps to CLOCK_MONOTONIC, across steps of the wall
// clock.
//
// An anchor taken before each batch gives the offset between the clocks. After a step of the wall
// clock, the ring still holds packets stamped before it. So for one second, a stamp is converted
// with the old or the new offset, whichever puts it nearer to now. Pure, one thread.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "core/base/clock.h"

namespace topspin {

class StampClock {
 public:
  void anchor(const ClockAnchor& now) {
    const int64_t offset_ns = now.offset_ns();
    if (anchored_ && std::abs(offset_ns - offset_ns_) > kStepNs) {
      before_step_ns_ = offset_ns_;
      doubt_until_ns_ = now.monotonic_ns + kNanosPerSecond;
    }
    anchored_ = true;
    offset_ns_ = offset_ns;
    now_ns_ = now.monotonic_ns;
  }

  /// False: the stamp is a second or more after the anchor. Either the batch took that long, or the
  /// wall clock was set since; a new anchor shows which. REQUIRES: anchor() was called.
  bool covers(int64_t wall_ns) const { return to_monotonic(wall_ns) - now_ns_ < kNanosPerSecond; }

  /// REQUIRES: anchor() was called.
  int64_t to_monotonic(int64_t wall_ns) const {
    const int64_t monotonic_ns = wall_ns - offset_ns_;
    if (now_ns_ >= doubt_until_ns_) [[likely]]
      return monotonic_ns;
    const int64_t older_ns = wall_ns - before_step_ns_;
    return std::abs(older_ns - now_ns_) < std::abs(monotonic_ns - now_ns_) ? older_ns
                                                                           : monotonic_ns;
  }

  int64_t offset_ns() const { return offset_ns_; }

 private:
  /// Slewing moves the clock by at most half a millisecond per second; more at once is a step.
  static constexpr int64_t kStepNs = kNanosPerMilli;

  bool anchored_ = false;
  int64_t offset_ns_ = 0;
  int64_t before_step_ns_ = 0;
  int64_t doubt_until_ns_ = INT64_MIN;
  int64_t now_ns_ = 0;
};

}  // namespace topspin
