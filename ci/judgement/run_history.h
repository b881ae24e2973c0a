// The gate over the history of stored runs: whether the newest run stands on a worse level than
// those before it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ci/judgement/judgement.h"
#include "ci/metrics/measured_run.h"
#include "ci/metrics/run_metrics.h"
#include "store/runs/gate_log.h"

namespace topspin {

/// `topspin gate --history`: each gating metric over all runs given, oldest first. The newest run
/// must be fit to be judged (else exit 3), older ones that are not are left out; a newest run of
/// another host than those before it is exit 4. `acknowledged` are ids of runs; `accepted` the
/// gate's log, of which what speaks of runs counts. An accepted run that is no longer there, or has
/// not the metric, stands for the next one: ids of runs sort by time.
Judgement judge_run_history(const std::vector<MeasuredRun>& runs,
                            const std::vector<std::string>& acknowledged, uint64_t seed,
                            bool strict, std::span<const RunMetric> metrics = run_metrics(),
                            std::span<const Acceptance> accepted = {});

}  // namespace topspin
