// PlanSession: runs a plan: each subject in its turn, one run after the other, and everything that
// was started ended again.
//
// The process that runs the session stays small and keeps its rights; each run is recorded by a
// process of its own, forked from it, which gives up what it does not need and ends with its run. A
// subject is a child of that recorder; what leaves it is adopted, first by the recorder, then by
// the session, and ended. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "app/plan.h"
#include "ci/stored_judgement.h"
#include "core/load_result.h"
#include "core/result.h"

namespace topspin {

struct SessionOptions {
  std::string plan_file;
  std::string plan_text;
  std::string database;
  uint64_t seed = 0;
  std::vector<std::string> labels;  // KEY=VALUE
  bool ticks = false;               // print a line a tick
};

/// A run that was made, as it stands in the store.
struct SessionRun {
  PlannedRun planned;
  std::string subject;
  MeasuredRun measured;
  std::optional<LoadResult> load;
  std::vector<SloResult> slos;  // one a rule

  /// Its numbers are what the subject and not the host or the generator did.
  bool judged() const {
    return measured.run.end.status == RunStatus::kComplete &&
           measured.run.end.invalid_reasons.empty();
  }
};

struct SessionResult {
  std::string session;  // UUID
  std::vector<SessionRun> runs;
  int stop_signal = 0;  // that ended it early
};

/// `plan.subjects` are those to run, A first. `say_progress` gets a line now and then.
/// An error means that a run could not be made at all; the runs before it are in the store.
Result<SessionResult> run_session(const Plan& plan, const SessionOptions& options,
                                  const std::function<void(const std::string&)>& say_progress);

}  // namespace topspin
