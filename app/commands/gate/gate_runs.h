// Judgements over stored runs: opens the database, chooses the sides, and applies the rules.
#pragma once

#include "app/commands/gate/gate_options.h"
#include "ci/judgement/aa_check.h"
#include "ci/judgement/judgement.h"
#include "ci/metrics/measured_run.h"
#include "core/base/result.h"

namespace topspin {

/// `compare A B`.
Result<Judgement> compare_stored(const GateOptions& options);
/// `gate A B`, with the candidate's rules.
Result<Judgement> judge_stored_pairs(const GateOptions& options);

/// The same in two steps, for who judges the same pairs several times.
struct StoredPairs {
  std::vector<RunPair> pairs;
  std::vector<SloOutcome> slos;
  std::vector<RunMetric> metrics;
};
Result<StoredPairs> read_stored_pairs(const GateOptions& options);
/// At a level of ci/judgement/looks.h. `failures_only`: without metrics that need an interval.
Judgement judge(const StoredPairs& pairs, const GateOptions& options,
                double level = kFalseDiscoveryRate, bool failures_only = false);
/// `gate --history [RUNS]`, with the newest run's rules.
Result<Judgement> judge_stored_history(const GateOptions& options);
/// `gate --aa N`: the runs of the newest run's commit, or of the selector that was given.
Result<AaCheck> check_stored_aa(const GateOptions& options);

}  // namespace topspin
