// A run folded: its ticks merged into one. What every report, list, rule and gate reads of a run
// without looking at its ticks; stored when the run ends. Plain values; thread-agnostic.
#pragma once

#include <cstdint>
#include <limits>

#include "core/sample.h"

namespace topspin {

struct RunFold {
  /// Ticks that end later add no missed ticks and no silent flows (load_end_ns() in core/run.h):
  /// the clients have left, and no silence of theirs is the server's. Set before the first tick.
  int64_t load_end_ns = std::numeric_limits<int64_t>::max();

  uint64_t ticks = 0;
  uint64_t half_open_before = 0;  // tcp_half_open one tick before the last
  /// Each number merged by its kind (core/number.h): counts and distributions of all ticks, gauges
  /// of the last one.
  Sample merged;
  /// Of each plain number, the greatest value of any tick. Its distributions are empty.
  Sample greatest;

  /// The tick that follows. A subject without a process has ended: what it held then (nothing)
  /// does not replace what it held before.
  void add(const Sample& tick);
};

}  // namespace topspin
