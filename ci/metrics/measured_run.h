// Stored runs with their numbers: whether a run may be judged, whether its subject made it fail,
// and which runs of two sides form a pair.
#pragma once

#include <string>
#include <vector>

#include "ci/metrics/run_metrics.h"
#include "ci/metrics/standing.h"
#include "core/base/result.h"
#include "store/run_store.h"

namespace topspin {

/// A run, as the gate uses it.
struct MeasuredRun {
  StoredRun run;
  RunTotals totals;
};

/// Why a run may not be judged, one sentence per reason (ci/metrics/standing.h); empty if it may.
std::vector<std::string> reasons_not_to_judge(const MeasuredRun& run);

/// Why the run failed, if the subject is the cause: it ended by itself, never became ready, or
/// answered no request of a load. Otherwise empty.
std::string fault_of_subject(const RunEnd& end);

/// Measures runs. For a plan's run, only the ticks from its first load stage on count, because
/// starting and warming up are not compared.
Result<std::vector<MeasuredRun>> measure_runs(RunStore& store, const std::vector<StoredRun>& runs);

/// Reads what comparing two sides needs in addition: RunTotals::costs.
Status measure_costs(RunStore& store, std::vector<MeasuredRun>& runs);

/// Pairs the runs of A and B: by their label "pair" if all have one, else by time if they were
/// recorded in turn (the k-th of A and of B come before the next one of either). kUsage if neither
/// works.
struct RunPair {
  MeasuredRun a;
  MeasuredRun b;
};
Result<std::vector<RunPair>> pair_runs(std::vector<MeasuredRun> a, std::vector<MeasuredRun> b);

/// kUsage if a run is on both sides, so that it would be compared with itself.
Status check_sides(const std::vector<StoredRun>& a, const std::vector<StoredRun>& b);

}  // namespace topspin
