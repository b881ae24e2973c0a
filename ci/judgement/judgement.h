// Judgement: the complete result of the gate, and the functions that compute it from numbers.
// stored_judgement.h computes one from stored runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ci/judgement/cause_changes.h"
#include "ci/judgement/compare.h"
#include "ci/judgement/verdict.h"
#include "ci/statistics/change_points.h"
#include "ci/statistics/distribution.h"

namespace topspin {

inline constexpr uint64_t kDefaultSeed = 1;

/// How many pairs the gate starts with, and the most that it asks for.
inline constexpr size_t kFewestPairs = 10;
inline constexpr size_t kMostPairs = 30;

/// The greatest number of gating metrics. Each additional one makes a true change harder to see.
inline constexpr size_t kMostGatingMetrics = 8;

struct HistoryChange {
  std::string metric;
  size_t index = 0;  // of the first value on the new level, from 0
  std::string time;  // from the history; empty: not known; hostile text
  ChangePoint point;
  bool worse = false;
  bool acknowledged = false;
  bool recovered = false;  // the newest level is no longer worse than the one before this change
  std::string run_id;      // for stored runs: the first on the new level
  std::string because;     // why it was acknowledged, if the gate's log says so; hostile text
};

/// The result of one SLO rule over the candidate's runs.
struct SloOutcome {
  std::string rule;
  size_t kept = 0;  // runs
  size_t broken = 0;
  size_t unknown = 0;       // could not be judged
  std::string run_id;       // of the first that broke it, or that could not be judged
  std::string explanation;  // of that run
  bool lenient = false;     // it is no failure if the rule cannot be judged
};

/// How many pairs an A/B judgement used, and how many would be enough for a decision if noise and
/// change stay the same. `wanted` is greater than `judged` if more pairs are needed, and never
/// greater than kMostPairs.
struct PairCount {
  size_t judged = 0;
  size_t wanted = 0;
};

struct Judgement {
  Verdict verdict = Verdict::kInvalid;
  int exit_code = kExitNotJudged;
  std::string mode;  // "compare", "ab", "history"
  uint64_t seed = kDefaultSeed;
  bool paired = false;               // two sides of stored runs: each run against its partner
  std::vector<std::string> reasons;  // sentences, the most important first; hostile text
  std::vector<Comparison> metrics;
  std::vector<Comparison> causes;      // for two sides: changed parts of the replies' time
                                       // (cause_changes.h)
  std::vector<CostChange> costs;       // and changed costs of the subject, by name
  bool costs_per_reply = false;        // otherwise they are per second of a run
  std::string why;                     // both in one paragraph; hostile text; may be empty
  std::vector<HistoryChange> changes;  // for a history, in order of metric and index
  std::vector<SloOutcome> slos;
  std::optional<PairCount> pairs;           // for A/B
  std::vector<std::string> not_comparable;  // sentences: how the two sides' conditions differ
  std::vector<Distribution> distributions;  // for two sides of stored runs
  // The subjects of the two sides, if each side has runs of one subject of a plan, and they differ;
  // hostile text.
  std::string name_a = {};
  std::string name_b = {};
};

/// Judges the comparisons and sets the overall verdict. It fails if a gating metric fails;
/// otherwise it is inconclusive if one is inconclusive, or if no metric gates. It is never invalid.
/// Existing reasons are kept, after those of the verdict.
void conclude(Judgement& judgement, bool strict, double level = kFalseDiscoveryRate);

/// One history of one metric, oldest first.
struct History {
  Metric metric;  // its margin is the least change that counts
  std::vector<double> values;
  std::vector<std::string> times;    // one per value, or empty
  std::vector<std::string> run_ids;  // likewise
};

/// With fewer values than this there can be no change point, which needs two segments.
inline constexpr size_t kFewestHistoryValues = 2 * ChangePointSettings{}.min_segment;

/// With fewer values, finding no change means nothing. A step is compared with shuffles of its two
/// segments, and short segments have so few arrangements that some shuffle makes the same step.
/// With this number, that happens to a step in the middle in 1 of 90 histories.
inline constexpr size_t kFewestToSeeChanges = 20;

/// The intended changes of a history: single changes by their index, and with `baseline` every
/// change up to there. An index covers changes that are found within one segment length of it,
/// because later values may move a change by a few places. The texts are the given reasons; they
/// may be empty.
struct OnPurpose {
  std::map<size_t, std::string> changes;
  std::optional<std::pair<size_t, std::string>> baseline;
};

/// Finds the change points of a history and judges it. It fails if a change for the worse is
/// neither acknowledged nor recovered, or if the newest value of an absolute metric (failed work)
/// is worse than usual. It is inconclusive with fewer than kFewestHistoryValues values, and, if it
/// does not fail, with fewer than kFewestToSeeChanges.
void judge_history(Judgement& judgement, const History& history, const OnPurpose& on_purpose);
void judge_history(Judgement& judgement, const History& history,
                   const std::set<size_t>& acknowledged);

/// The overall verdict of judge_history's metrics.
void conclude_history(Judgement& judgement, bool strict);

}  // namespace topspin
