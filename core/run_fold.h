// A run folded: its ticks merged into one. What every report, list, rule and gate reads of a run
// without looking at its ticks; stored when the run ends. Plain values; thread-agnostic.
#pragma once

#include <cstdint>

#include "core/sample.h"

namespace topspin {

struct RunFold {
  uint64_t ticks = 0;
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
