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

#include "app/plan/plan.h"
#include "ci/judgement/stored_judgement.h"
#include "ci/metrics/standing.h"
#include "core/base/result.h"
#include "core/run/load_result.h"

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

  RunStanding standing() const {
    return standing_of(measured.run.info, measured.run.end, measured.totals);
  }
  /// Whether its rules count: it is complete and usable, and no doubt touches all of it (one about
  /// the split of replies keeps back the rules of the split alone: judge_slos). A host
  /// that was busy with something else keeps a run from the gate, not from its own rules.
  bool judged() const {
    const RunStanding s = standing();
    return s.complete && s.usable && doubts_of_all(measured.run.end).empty();
  }
};

struct SessionResult {
  std::string session;  // UUID
  std::vector<SessionRun> runs;
  int stop_signal = 0;  // that ended it early
};

/// What of a plan this machine can tell before anything is started: that its filter compiles, its
/// interface and folders are there, and its commands can be found and executed (but for those that
/// a commit or a build has still to bring). kUsage with the plan's key.
Status check_surroundings(const Plan& plan, const std::string& plan_file);

/// `plan.subjects` are those to run, A first. `say_progress` gets a line now and then.
/// An error means that a run could not be made at all; the runs before it are in the store.
Result<SessionResult> run_session(const Plan& plan, const SessionOptions& options,
                                  const std::function<void(const std::string&)>& say_progress);

}  // namespace topspin
