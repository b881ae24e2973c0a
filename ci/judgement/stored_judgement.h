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

/// The name of the metric that compares how many runs of each side fault_of_subject() failed. Not
/// one of run_metrics(): it is of a side, not of a run, and there only where a run failed so.
inline constexpr std::string_view kFailedRuns = "failed_runs";

/// `topspin compare A B`: in pairs if the runs pair (pair_runs), as the gate does, else all runs of
/// A against all of B. Runs that may not be judged are left out and named; if that leaves a side
/// empty, all are described and nothing is judged (invalid, with its numbers). Differences of host,
/// rung, plan, settings and session are reported. `metrics` may be those of gate.toml.
Judgement compare_runs(const std::vector<MeasuredRun>& a, const std::vector<MeasuredRun>& b,
                       uint64_t seed, bool strict,
                       std::span<const RunMetric> metrics = run_metrics());

/// What the report of A against B judges: as the gate if every run has a label `pair`, else as
/// compare.
Judgement judge_sides(const std::vector<MeasuredRun>& a, const std::vector<MeasuredRun>& b,
                      uint64_t seed, bool strict,
                      std::span<const RunMetric> metrics = run_metrics());

/// `topspin gate A B`: interleaved pairs. Invalid (exit 3) if runs that may not be judged leave too
/// few pairs; other hosts: invalid with exit 4. Says how many more pairs would decide.
Judgement judge_pairs(const std::vector<RunPair>& pairs, uint64_t seed, bool strict,
                      std::span<const RunMetric> metrics = run_metrics());

}  // namespace topspin
