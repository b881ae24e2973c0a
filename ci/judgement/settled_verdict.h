// The verdict of one metric in view of the verdict on all of them.
#pragma once

#include "ci/judgement/judgement.h"

namespace topspin {

/// The verdict that is shown for a metric. In an invalid judgement nothing is decided, and no
/// metric fails if the whole does not (because there are too few pairs).
inline Verdict settled_verdict(const Judgement& judgement, const Comparison& metric) {
  if (judgement.verdict == Verdict::kInvalid) return Verdict::kInvalid;
  if (judgement.verdict == Verdict::kInconclusive && metric.verdict == Verdict::kFail)
    return Verdict::kInconclusive;
  return metric.verdict;
}

}  // namespace topspin
