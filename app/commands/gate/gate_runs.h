// Judgements over stored runs: opens the database, chooses the sides, and applies the rules.
#pragma once

#include "app/commands/gate/gate_options.h"
#include "ci/judgement/aa_check.h"
#include "ci/judgement/judgement.h"
#include "core/base/result.h"

namespace topspin {

/// `compare A B`.
Result<Judgement> compare_stored(const GateOptions& options);
/// `gate A B`, with the candidate's rules.
Result<Judgement> judge_stored_pairs(const GateOptions& options);
/// `gate --history [RUNS]`, with the newest run's rules.
Result<Judgement> judge_stored_history(const GateOptions& options);
/// `gate --aa N`: the runs of the newest run's commit, or of the selector that was given.
Result<AaCheck> check_stored_aa(const GateOptions& options);

}  // namespace topspin
