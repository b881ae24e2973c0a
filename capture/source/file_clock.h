// FileClock: the stamps of a capture file as one clock that does not go back.
//
// A file's stamps step back when the clock was set while it was written, when captures were put one
// behind the other, or when its first packet carries nonsense. A stamp of more than kStepNs before
// the latest is read as such a step: time goes on from the latest, and the stamps after it keep
// their distances. Two clocks that take turns (two cards in one file) are told apart by which of
// the last two ties puts a stamp near the latest. Less than that is packets out of order, and stays
// as it is. A jump ahead is a silence, and stays so, too; one of more than kSilenceMaxNs is said:
// the clock may have been set. Pure, one thread.
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
    bool stepped = false;  // shift_ns() is another than before
    bool jumped = false;   // ahead, by more than kSilenceMaxNs
  };

  /// Whether the stamp is as it stands the time, near the latest, as nearly all are. Notes it then.
  bool is_time(int64_t stamp_ns) {
    if (shift_ns_ != 0 || is_far(stamp_ns) || !started_) [[unlikely]]
      return false;
    latest_ns_ = std::max(latest_ns_, stamp_ns);
    return true;
  }

  /// REQUIRES: 0 <= stamp_ns <= INT64_MAX / 2; so is what comes out.
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
