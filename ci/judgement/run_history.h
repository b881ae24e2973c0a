// The gate over the history of stored runs: whether the level of the newest run is worse than that
// of the runs before it.
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

/// `topspin gate --history`: judges each gating metric over all given runs, oldest first. Older
/// runs that may not be judged are left out. The exit code is 3 if the newest run may not be
/// judged, and 4 if it is from another host than those before it. `acknowledged` has ids of runs.
/// `accepted` is the gate's log; its entries about runs count. If an accepted run no longer exists,
/// or lacks the metric, the next run takes its place: ids of runs sort by time.
Judgement judge_run_history(const std::vector<MeasuredRun>& runs,
                            const std::vector<std::string>& acknowledged, uint64_t seed,
                            bool strict, std::span<const RunMetric> metrics = run_metrics(),
                            std::span<const Acceptance> accepted = {});

}  // namespace topspin
