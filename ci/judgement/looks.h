// When a job that makes one pair of runs after the other looks at them, and when it has seen
// enough.
//
// Each look is one more chance for a false alarm. So there are at most kMostLooks of them, at
// numbers of pairs that do not depend on what was measured, and only the last one fails at the
// usual level of 5%. The looks before it fail at kEarlyLevel. The chance of a false alarm of one
// metric, which is half of the level because only the worse side fails, is then at most 2.5% + 3 *
// 0.25%, whatever the looks have in common. A pass may end the job at every look, because it raises
// no alarm.
//
// What is counted and certain ends the job between the looks too: a rule that a run has broken
// stays broken, and work that failed in every run of one side only is not judged by its interval.
// Pure.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "ci/judgement/judgement.h"
#include "core/base/result.h"

namespace topspin {

inline constexpr size_t kMostLooks = 4;
inline constexpr double kEarlyLevel = 0.005;

/// A job makes at least so many pairs, so that its report has some runs to compare.
inline constexpr size_t kFewestMade = 3;

/// The numbers of pairs after which to look: `first`, `most`, and at most two between them, in
/// equal ratios. A look at fewer than kFewestPairs decides nothing, so the first is not earlier
/// unless `most` is. REQUIRES: 1 <= first <= most.
std::vector<size_t> looks_at(size_t first, size_t most);

/// Judges the pairs made so far at this level: all metrics, or only those that count failures.
using JudgeAtLevel = std::function<Result<Judgement>(double level, bool failures_only)>;

/// Whether the `made` pairs are enough. The verdict is then that of the usual level.
Result<bool> are_enough(size_t made, const std::vector<size_t>& looks, const JudgeAtLevel& judge);

}  // namespace topspin
