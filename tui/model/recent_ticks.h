// RecentTicks: the ticks of the last minute, merged into one. A screen of current causes needs it:
// causes from an hour ago must not be shown, and one tick has too few replies.
#pragma once

#include <cstddef>

#include "core/run/run_fold.h"
#include "core/tick/sample.h"

namespace topspin {

/// At least the last kHalf ticks (or all), and at most twice as many. There are two folds in turn,
/// because merged ticks cannot be removed. A value.
class RecentTicks {
 public:
  static constexpr size_t kHalf = 30;

  /// Adds the next tick.
  void add(const Sample& tick) {
    if (newer_.ticks == kHalf) {
      older_ = std::move(newer_);
      newer_ = RunFold();
    }
    newer_.add(tick);
  }

  RunFold fold() const {
    if (older_.ticks == 0) return newer_;
    RunFold both = older_;
    both.add(newer_.merged);
    both.ticks = older_.ticks + newer_.ticks;
    return both;
  }

 private:
  RunFold older_, newer_;
};

}  // namespace topspin
