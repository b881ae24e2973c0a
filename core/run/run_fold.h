// The fold of a run: its ticks, merged into one. Reports, lists, rules and the gate read it instead
// of the ticks. A run is folded once, while it is recorded (RunFolds), for its judgement, its
// closing messages and the store, which keeps the fold. Plain values; thread-agnostic.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "core/run/run.h"
#include "core/tick/sample.h"

namespace topspin {

struct RunFold {
  /// Ticks that end later add no missed ticks and no silent flows (load_end_ns() in
  /// core/run/run.h). The clients have left by then, so the server is not the cause of their
  /// silence. Set it before the first tick.
  int64_t load_end_ns = std::numeric_limits<int64_t>::max();

  uint64_t ticks = 0;
  uint64_t half_open_before = 0;  // tcp_half_open one tick before the last
  /// Each number, merged by its kind (core/number/number.h): counts and distributions are of all
  /// ticks, gauges of the last one.
  Sample merged;
  /// The greatest value of each plain number in any tick. Its distributions are empty.
  Sample greatest;

  /// Adds the next tick. If the subject has no process it has ended; its gauges of that tick, which
  /// are empty, do not replace the earlier ones.
  void add(const Sample& tick);
};

/// The folds of a run that is being made: one of all ticks, and one of those under load.
class RunFolds {
 public:
  /// Adds the next tick, which must be complete.
  void add(const Sample& tick);

  /// Sets or updates a stage. `position` counts from 0.
  void put_stage(uint64_t position, const RunStage& stage);

  const RunFold& whole() const { return whole_; }
  /// The fold from the first load stage on; nullptr if there is none, so that all ticks count.
  const RunFold* measured() const { return measured_from_ns() > 0 ? &measured_ : nullptr; }
  /// False if a stage was set so late that earlier ticks were folded wrongly. The folds must then
  /// be computed again from the ticks.
  bool exact() const { return exact_; }

 private:
  int64_t measured_from_ns() const { return topspin::measured_from_ns(stages_); }

  RunFold whole_, measured_;
  std::vector<RunStage> stages_;
  int64_t last_ns_ = 0;
  bool exact_ = true;
};

}  // namespace topspin
