// SLO rules in the gate: the candidate's runs must keep them, whatever the baseline did. Only
// validity is checked before.
//
// A rule that a run breaks fails the gate; one that no run could be judged by leaves a pass
// inconclusive, and the exit code 3 unless its plan is lenient. Runs that may not be judged are not
// used. Reads the store; the rest is pure.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "ci/judgement/judgement.h"
#include "ci/metrics/measured_run.h"
#include "ci/slo/slo.h"
#include "core/base/result.h"

namespace topspin {

/// The rules that apply to a run.
using RulesOfRun = std::function<Result<std::vector<SloRule>>(const StoredRun& run)>;

/// One entry a rule, in the order in which the runs name them first.
Result<std::vector<SloOutcome>> judge_candidates(RunStore& store,
                                                 std::span<const MeasuredRun> candidates,
                                                 const RulesOfRun& rules_of);

/// Puts the outcomes into a judgement and changes its verdict by them. An invalid one stays so.
void apply_slos(Judgement& judgement, std::vector<SloOutcome> outcomes, bool strict);

}  // namespace topspin
