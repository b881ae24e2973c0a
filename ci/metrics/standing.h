// How far a run can be trusted, in three terms that mean the same everywhere.
//
//   complete        it ended as it should
//   usable          what was lost stays within limits, so its numbers can be read
//   may be judged   usable and complete, no number of it is doubtful, and the host did little else:
//                   the gate takes it. A doubt about the split of replies touches the split alone:
//                   that is not judged, and the rest is
//
// Shown when a run ends, by list, in reports, and asked by the gate. Pure but for read_standing().
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ci/metrics/run_metrics.h"
#include "core/base/result.h"
#include "core/run/run.h"
#include "store/run_store.h"

namespace topspin {

/// A run that is shorter, or around which more was going on, may not be judged. Shares of all CPUs:
/// `steal` is what the hypervisor took, `foreign` what neither the subject nor topspin used. Where
/// the subject's own CPU time is not known, or there is no subject, all that topspin did not use is
/// foreign: the programs of the traffic too, since nothing tells them from others.
inline constexpr uint64_t kFewestTicks = 3;
inline constexpr double kMostStealShare = 0.05;
inline constexpr double kMostForeignShare = 0.25;

struct RunStanding {
  bool complete = false;
  bool usable = false;
  bool may_be_judged = false;
  std::vector<std::string> reasons;  // why it may not be judged, a sentence each; hostile text
  std::vector<std::string> notes;    // which of its numbers are not judged, though it may be
};

/// Whether a number (with or without its unit, "reply_socket_ns") is of the split of replies.
bool is_of_split(std::string_view name);

/// Of a run's doubts the first that touches the split alone; the others are in doubts_of_all().
std::optional<std::string> doubt_of_split(const RunEnd& end);
/// The doubts that keep all of the run from being judged.
std::vector<std::string> doubts_of_all(const RunEnd& end);

/// `totals` are of the ticks that the gate looks at (measure_runs).
RunStanding standing_of(const RunInfo& info, const RunEnd& end, const RunTotals& totals);

/// The same of a stored run; reads its ticks.
Result<RunStanding> read_standing(RunStore& store, const StoredRun& run);

/// A run of a list.
struct ListedRun {
  StoredRun run;
  RunStanding standing;
};

/// "complete, usable, may be judged"; "interrupted, not usable"; "complete, usable, may not be
/// judged".
std::string standing_text(const RunStanding& standing, RunStatus status);

}  // namespace topspin
