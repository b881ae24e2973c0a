// A run folded: its ticks merged into one. Reports, lists, rules and the gate read this instead of
// the ticks; it is stored when the run ends. A run is folded once, while it is recorded (RunFolds),
// for its judgement, its closing messages and the store. Plain values; thread-agnostic.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "core/run/run.h"
#include "core/tick/sample.h"

namespace topspin {

struct RunFold {
  /// Ticks that end later add no missed ticks and no silent flows (load_end_ns() in
  /// core/run/run.h): the clients have left then, so the server does not cause their silence. Set
  /// before the first tick.
  int64_t load_end_ns = std::numeric_limits<int64_t>::max();

  uint64_t ticks = 0;
  uint64_t half_open_before = 0;  // tcp_half_open one tick before the last
  /// Each number merged by its kind (core/number/number.h): counts and distributions of all ticks,
  /// gauges of the last one.
  Sample merged;
  /// Of each plain number, the greatest value of any tick. Its distributions are empty.
  Sample greatest;

  /// The tick that follows. A subject without a process has ended: what it held then (nothing)
  /// does not replace what it held before.
  void add(const Sample& tick);
};

/// The folds of a run that is being made: of all its ticks, and of those that were measured under
/// load.
class RunFolds {
 public:
  /// The tick that follows, complete.
  void add(const Sample& tick);

  /// A stage that begins, or what has become known of it; `position` counts from 0.
  void put_stage(uint64_t position, const RunStage& stage);

  const RunFold& whole() const { return whole_; }
  /// From the start of the first load stage on; nullptr: there is none, so all was measured.
  const RunFold* measured() const { return measured_from_ns() > 0 ? &measured_ : nullptr; }
  /// false: a stage was announced so late that earlier ticks were folded wrongly. The folds must
  /// then be made again from the ticks.
  bool exact() const { return exact_; }

 private:
  int64_t measured_from_ns() const { return topspin::measured_from_ns(stages_); }

  RunFold whole_, measured_;
  std::vector<RunStage> stages_;
  int64_t last_ns_ = 0;
  bool exact_ = true;
};

}  // namespace topspin
