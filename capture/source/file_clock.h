// FileClock turns the stamps of a capture file into one clock that does not go back.
//
// A file's stamps step back if the clock was set while it was written, if captures were appended to
// one another, or if its first stamp is nonsense. A stamp more than kStepNs before the latest one
// is such a step: time continues from the latest stamp, and later stamps keep their distances. If
// two clocks alternate (two cards in one file), a stamp belongs to the one of the last two shifts
// that puts it near the latest. Stamps that go back by less are packets out of order and stay as
// they are. So does a jump ahead, which may be a silence; one of more than kSilenceMaxNs is
// reported, because the clock may have been set. Pure, one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/base/clock.h"

namespace topspin {

class FileClock {
 public:
  static constexpr int64_t kStepNs = kNanosPerSecond;
  static constexpr int64_t kSilenceMaxNs = 86'400 * kNanosPerSecond;

  struct Time {
    int64_t ns = 0;
    bool stepped = false;  // shift_ns() changed
    bool jumped = false;   // ahead, by more than kSilenceMaxNs
  };

  /// The fast path for nearly all stamps: if the stamp needs no shift and is near the latest, notes
  /// it and returns true.
  bool is_time(int64_t stamp_ns) {
    if (shift_ns_ != 0 || is_far(stamp_ns) || !started_) [[unlikely]]
      return false;
    latest_ns_ = std::max(latest_ns_, stamp_ns);
    return true;
  }

  /// REQUIRES: 0 <= stamp_ns <= INT64_MAX / 2. The same holds for the result.
  Time read(int64_t stamp_ns) {
    Time time{at(stamp_ns, shift_ns_)};
    if (started_ && is_far(time.ns)) [[unlikely]] {
      if (stepped_before_ && !is_far(at(stamp_ns, other_shift_ns_))) {
        std::swap(shift_ns_, other_shift_ns_);
        time = {at(stamp_ns, shift_ns_), true};
      } else if (time.ns < latest_ns_) {
        other_shift_ns_ = std::exchange(shift_ns_, latest_ns_ - stamp_ns);
        stepped_before_ = true;
        time = {latest_ns_, true};
      } else {
        time.jumped = time.ns - latest_ns_ > kSilenceMaxNs;
      }
    }
    started_ = true;
    latest_ns_ = std::max(latest_ns_, time.ns);
    return time;
  }

  /// Time = stamp + shift.
  int64_t shift_ns() const { return shift_ns_; }

 private:
  static int64_t at(int64_t stamp_ns, int64_t shift_ns) {
    return std::clamp<int64_t>(stamp_ns + shift_ns, 0, INT64_MAX / 2);
  }
  bool is_far(int64_t ns) const { return ns < latest_ns_ - kStepNs || ns > latest_ns_ + kStepNs; }

  bool started_ = false;
  int64_t latest_ns_ = 0;
  int64_t shift_ns_ = 0;
  bool stepped_before_ = false;
  int64_t other_shift_ns_ = 0;
};

}  // namespace topspin
