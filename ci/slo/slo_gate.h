// SLO rules in the gate: the candidate's runs must keep them, whatever the baseline did. Only the
// validity of the judgement is checked before.
//
// A rule that a run breaks makes the gate fail. A rule by which no run could be judged turns a pass
// into an inconclusive verdict with exit code 3, unless its plan is lenient. Runs that may not be
// judged are not used. Reads the store; the rest is pure.
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

/// One entry per rule, in the order in which the runs first name them.
Result<std::vector<SloOutcome>> judge_candidates(RunStore& store,
                                                 std::span<const MeasuredRun> candidates,
                                                 const RulesOfRun& rules_of);

/// Adds the outcomes to a judgement and adjusts its verdict. An invalid judgement stays invalid.
void apply_slos(Judgement& judgement, std::vector<SloOutcome> outcomes, bool strict);

}  // namespace topspin
