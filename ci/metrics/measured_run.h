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

/// A run as the gate sees it.
struct MeasuredRun {
  StoredRun run;
  RunTotals totals;
};

/// Why a run may not be judged, a sentence each (ci/metrics/standing.h); none: it may.
std::vector<std::string> reasons_not_to_judge(const MeasuredRun& run);

/// Why the run failed, if that is its subject's doing: it ended by itself, never became ready, or
/// answered nothing of a load. Empty: it did not fail so.
std::string fault_of_subject(const RunEnd& end);

/// Of a plan's run only the ticks from its first load stage on: how it starts and warms up is not
/// what is compared.
Result<std::vector<MeasuredRun>> measure_runs(RunStore& store, const std::vector<StoredRun>& runs);

/// The runs of A and B in pairs: by their label "pair" if all have one, else by time if they were
/// recorded in turn: the k-th of A and of B before the next of either. kUsage: neither.
struct RunPair {
  MeasuredRun a;
  MeasuredRun b;
};
Result<std::vector<RunPair>> pair_runs(std::vector<MeasuredRun> a, std::vector<MeasuredRun> b);

/// kUsage: a run is on both sides, so that it would be compared with itself.
Status check_sides(const std::vector<StoredRun>& a, const std::vector<StoredRun>& b);

}  // namespace topspin
