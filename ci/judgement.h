// Judgement: the gate's whole answer, ready to be shown; and the functions that reach one from
// numbers. stored_judgement.h reaches one from stored runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ci/change_points.h"
#include "ci/compare.h"
#include "ci/verdict.h"

namespace topspin {

inline constexpr uint64_t kDefaultSeed = 1;

/// Pairs that the gate starts with and at most asks for.
inline constexpr size_t kFewestPairs = 10;
inline constexpr size_t kMostPairs = 30;

/// At most so many metrics gate: with each more, a true change is harder to see among them.
inline constexpr size_t kMostGatingMetrics = 8;

struct HistoryChange {
  std::string metric;
  size_t index = 0;  // of the first value on the new level, from 0
  std::string time;  // as the history gives it; empty: not known; hostile text
  ChangePoint point;
  bool worse = false;
  bool acknowledged = false;
  bool recovered = false;  // the newest level is no longer worse than the one before this change
};

struct Judgement {
  Verdict verdict = Verdict::kInvalid;
  int exit_code = kExitNotJudged;
  std::string mode;  // "compare", "ab", "history"
  uint64_t seed = kDefaultSeed;
  std::vector<std::string> reasons;  // sentences, the weightiest first; hostile text
  std::vector<Comparison> metrics;
  std::vector<HistoryChange> changes;  // of history, in order of metric and index
};

/// The verdict over all: invalid never comes from here; one failing gating metric fails, else one
/// inconclusive makes it inconclusive. No gating metric at all is inconclusive. Judges the
/// comparisons first. Reasons already there are kept, after the verdict's own.
void conclude(Judgement& judgement, bool strict);

/// One history of one metric, oldest first.
struct History {
  Metric metric;  // its margin is the least change that counts
  std::vector<double> values;
  std::vector<std::string> times;  // as many, or empty
};

/// Fewer values than this hold no change point: two segments.
inline constexpr size_t kFewestHistoryValues = 2 * ChangePointSettings{}.min_segment;

/// Change points of a history and its verdict: fail if a change for the worse is neither
/// acknowledged nor recovered; inconclusive with fewer than kFewestHistoryValues. `acknowledged`
/// holds indexes of changes taken on purpose; one of them covers a change found within one segment
/// length, since later values may move it by a few places.
void judge_history(Judgement& judgement, const History& history,
                   const std::set<size_t>& acknowledged);

/// The overall verdict of judge_history's metrics.
void conclude_history(Judgement& judgement, bool strict);

}  // namespace topspin
