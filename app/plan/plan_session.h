// PlanSession: runs a plan, one run after the other, and ends everything that it started.
//
// The session's process stays small and keeps its privileges. It forks a recorder for each run: a
// process that gives up the privileges it does not need, and ends with its run. A subject is a
// child of that recorder. Processes that the subject leaves behind are adopted by the recorder, or
// else by the session, and ended. One thread.
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

struct SessionResult;

struct SessionOptions {
  std::string plan_file;
  std::string plan_text;
  std::string database;
  uint64_t seed = 0;
  std::vector<std::string> labels;  // KEY=VALUE
  bool ticks = false;               // print one line per tick
  // Called after each repeat, with all runs so far. If it returns true, the session ends. It says
  // how far the session is, so the session does not.
  std::function<bool(const SessionResult&)> enough = {};
};

/// A finished run, as it is in the store.
struct SessionRun {
  PlannedRun planned;
  std::string subject;
  MeasuredRun measured;
  std::optional<LoadResult> load;
  std::vector<SloResult> slos;  // one per rule

  RunStanding standing() const {
    return standing_of(measured.run.info, measured.run.end, measured.totals);
  }
  /// Whether its rules count. They do if it is complete and usable, and no doubt concerns the whole
  /// run. (A doubt about the split of replies excludes only the rules about the split; see
  /// judge_slos().) A busy host keeps a run out of the gate, but its rules still count.
  bool judged() const {
    const RunStanding s = standing();
    return s.complete && s.usable && doubts_of_all(measured.run.end).empty();
  }
};

struct SessionResult {
  std::string session;  // UUID
  std::vector<SessionRun> runs;
  int stop_signal = 0;  // the signal that ended it early; 0: none
};

/// Checks before anything is started that the plan's filter compiles, that its interface and
/// directories exist, and that its commands can be found and executed. (It does not check commands
/// that a commit or a build will provide.) kUsage, with the plan's key, if not.
Status check_surroundings(const Plan& plan, const std::string& plan_file);

/// Runs `plan.subjects`, A first. Calls `say_progress` with a line from time to time. An error
/// means that a run could not be made at all; the runs before it are in the store.
Result<SessionResult> run_session(const Plan& plan, const SessionOptions& options,
                                  const std::function<void(const std::string&)>& say_progress);

}  // namespace topspin
