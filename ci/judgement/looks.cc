#include "ci/judgement/looks.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"

namespace topspin {
namespace {

bool any_rule_broken(const Judgement& judgement) {
  return std::any_of(judgement.slos.begin(), judgement.slos.end(),
                     [](const SloOutcome& o) { return o.broken > 0; });
}

bool is_failed_work(const Comparison& c) {
  return c.metric.gating && c.apart && c.verdict == Verdict::kFail;
}

/// Whether no gating metric asks for more pairs. A rule that cannot be judged may still keep the
/// whole from passing, which more pairs do not change.
bool all_metrics_pass(const Judgement& judgement) {
  if (judgement.verdict == Verdict::kPass) return true;
  if (judgement.verdict != Verdict::kInconclusive) return false;
  if (!judgement.pairs || judgement.pairs->judged < kFewestPairs) return false;
  bool any = false;
  for (const Comparison& c : judgement.metrics) {
    if (!c.metric.gating) continue;
    any = true;
    if (c.verdict != Verdict::kPass) return false;
  }
  return any;
}

}  // namespace

std::vector<size_t> looks_at(size_t first, size_t most) {
  CHECK(first >= 1 && first <= most);
  const double from = static_cast<double>(std::min(std::max(first, kFewestPairs), most));
  const double ratio = static_cast<double>(most) / from;
  std::vector<size_t> looks;
  for (size_t i = 0; i < kMostLooks; ++i) {
    const double share = static_cast<double>(i) / (kMostLooks - 1);
    const auto pairs = static_cast<size_t>(std::lround(from * std::pow(ratio, share)));
    if (looks.empty() || pairs > looks.back()) looks.push_back(pairs);
  }
  return looks;
}

Result<bool> are_enough(size_t made, const std::vector<size_t>& looks, const JudgeAtLevel& judge) {
  CHECK(!looks.empty());
  if (made >= looks.back()) return true;
  if (made < kFewestMade) return false;
  const bool is_due = std::binary_search(looks.begin(), looks.end(), made);
  TOPSPIN_ASSIGN(const Judgement usual, judge(kFalseDiscoveryRate, !is_due));
  if (usual.verdict == Verdict::kFail && any_rule_broken(usual)) return true;
  if (std::any_of(usual.metrics.begin(), usual.metrics.end(), is_failed_work)) return true;
  if (!is_due) return false;
  if (all_metrics_pass(usual)) return true;
  if (usual.verdict != Verdict::kFail) return false;
  TOPSPIN_ASSIGN(const Judgement early, judge(kEarlyLevel, false));
  return early.verdict == Verdict::kFail;
}

}  // namespace topspin
