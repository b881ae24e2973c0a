// Judgements of two sides of stored runs.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ci/judgement/judgement.h"
#include "ci/metrics/measured_run.h"
#include "ci/metrics/run_metrics.h"

namespace topspin {

/// The name of the metric that compares how many runs of each side failed by fault_of_subject(). It
/// is not one of run_metrics(), because it describes a side and not a run. It exists only if a run
/// failed in this way.
inline constexpr std::string_view kFailedRuns = "failed_runs";

/// `topspin compare A B`: compares in pairs if the runs pair (pair_runs), as the gate does, else
/// all runs of A with all of B. Runs that may not be judged are left out and named. If that leaves
/// a side empty, all runs are described and nothing is judged (invalid, with numbers). Differences
/// of host, rung, plan, settings and session are reported. `metrics` may be those of gate.toml.
Judgement compare_runs(const std::vector<MeasuredRun>& a, const std::vector<MeasuredRun>& b,
                       uint64_t seed, bool strict,
                       std::span<const RunMetric> metrics = run_metrics());

/// The judgement in a report of A against B. It is made as by the gate if every run has a label
/// `pair`, else as by compare.
Judgement judge_sides(const std::vector<MeasuredRun>& a, const std::vector<MeasuredRun>& b,
                      uint64_t seed, bool strict,
                      std::span<const RunMetric> metrics = run_metrics());

/// `topspin gate A B`: judges interleaved pairs. Invalid, with exit code 3, if there are too few
/// pairs of runs that may be judged, and with exit code 4 if the hosts differ. Says how many more
/// pairs would be enough for a decision. With too few pairs it fails only for failed runs and
/// failed work.
Judgement judge_pairs(const std::vector<RunPair>& pairs, uint64_t seed, bool strict,
                      std::span<const RunMetric> metrics = run_metrics(),
                      double level = kFalseDiscoveryRate);

}  // namespace topspin
