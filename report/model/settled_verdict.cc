#include "report/model/settled_verdict.h"

namespace topspin {

Verdict settled_verdict(const Judgement& judgement, const Comparison& metric) {
  if (judgement.verdict == Verdict::kInvalid) return Verdict::kInvalid;
  if (judgement.verdict == Verdict::kInconclusive && metric.verdict == Verdict::kFail)
    return Verdict::kInconclusive;
  return metric.verdict;
}

}  // namespace topspin
