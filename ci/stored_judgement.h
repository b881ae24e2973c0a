// Judgements over stored runs: which runs are meant, which of them may be judged, how they pair,
// and what their metrics say.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ci/judgement.h"
#include "ci/run_metrics.h"
#include "ci/standing.h"
#include "core/result.h"
#include "store/gate_log.h"
#include "store/run_store.h"

namespace topspin {

/// A run as the gate sees it.
struct MeasuredRun {
  StoredRun run;
  RunTotals totals;
};

/// Why a run may not be judged, a sentence each (ci/standing.h); none: it may.
std::vector<std::string> reasons_not_to_judge(const MeasuredRun& run);

/// Why the run failed, if that is its subject's doing: it ended by itself, never became ready, or
/// answered nothing of a load. Empty: it did not fail so.
std::string fault_of_subject(const RunEnd& end);

/// The runs that `selector` names, oldest first: "KEY=VALUE" all with that label; "last" the
/// newest; otherwise those of a commit (at least 7 hex digits) whose tree is known to have had no
/// changes, with "+changes" behind it the others of that commit, or those of a branch; otherwise
/// the one with that id or prefix of an id. kUsage: none, or a prefix of several ids.
Result<std::vector<StoredRun>> select_runs(const std::vector<StoredRun>& runs,
                                           std::string_view selector);

/// If some run was made by a plan: the runs of the last such run's session alone; else all. What
/// `topspin gate` judges when no side is named is what was just run, not what stood in the database
/// before, nor what was recorded since. REQUIRES: in the order in which the database got them.
std::vector<StoredRun> newest_session(std::vector<StoredRun> runs);

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

/// The name of the metric that compares how many runs of each side fault_of_subject() failed. Not
/// one of run_metrics(): it is of a side, not of a run, and there only where a run failed so.
inline constexpr std::string_view kFailedRuns = "failed_runs";

/// `topspin compare A B`: in pairs if the runs pair (pair_runs), as the gate does, else all runs of
/// A against all of B. Runs that may not be judged are left out and named; if that leaves a side
/// empty, all are described and nothing is judged (invalid, with its numbers). Different hosts,
/// rungs, plans, settings and sessions are said. `metrics` may be those of gate.toml.
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
