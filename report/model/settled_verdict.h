// What the verdict of one metric is worth beside the verdict on all.
#pragma once

#include "ci/judgement/judgement.h"

namespace topspin {

/// What a metric's own verdict is worth in its judgement: nothing is settled in an invalid one, and
/// no metric fails where the whole does not (too few pairs).
Verdict settled_verdict(const Judgement& judgement, const Comparison& metric);

}  // namespace topspin
