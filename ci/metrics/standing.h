// How far a run can be trusted, in three terms that mean the same everywhere.
//
//   complete        the recording ended normally
//   usable          its losses are within their limits, so its numbers can be read
//   may be judged   it is usable and complete, none of its numbers is doubtful, and the host did
//                   little else. The gate uses it. A doubt about the split of replies concerns only
//                   the split: that is not judged, and the rest is
//
// It is shown when a run ends, by list, and in reports. Pure except for read_standing().
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

/// The limits. A run that is shorter, or during which the host was busier, may not be judged.
/// Shares are of all CPUs: `steal` is what the hypervisor took, `foreign` is what neither the
/// subject nor topspin used. If the subject's CPU time is not known, or there is no subject,
/// everything that topspin did not use is foreign. That includes the programs of the traffic, which
/// cannot be told from others.
inline constexpr uint64_t kFewestTicks = 3;
inline constexpr double kMostStealShare = 0.05;
inline constexpr double kMostForeignShare = 0.25;

struct RunStanding {
  bool complete = false;
  bool usable = false;
  bool may_be_judged = false;
  std::vector<std::string> reasons;  // why it may not be judged, one sentence each; hostile text
  std::vector<std::string> notes;    // which of its numbers are not judged, although the run may be
};

/// Whether a number (such as "reply_socket_ns", with or without its unit) belongs to the split of
/// replies.
bool is_of_split(std::string_view name);

/// The first of a run's doubts that concerns only the split. The others are in doubts_of_all().
std::optional<std::string> doubt_of_split(const RunEnd& end);
/// The doubts because of which the whole run may not be judged.
std::vector<std::string> doubts_of_all(const RunEnd& end);

/// `totals` are of the ticks that the gate uses (measure_runs).
RunStanding standing_of(const RunInfo& info, const RunEnd& end, const RunTotals& totals);

/// The same for a stored run. Reads its ticks.
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
