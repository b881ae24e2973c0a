// Why two sides differ: which parts of the time of their replies changed from A to B beyond chance,
// and on which system calls, functions and sleeps their subjects spent more or less time. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ci/judgement/compare.h"
#include "ci/metrics/run_costs.h"
#include "ci/metrics/run_metrics.h"

namespace topspin {

/// The change of one of the subject's costs (RunCosts), as a difference: `change`, `ci_low` and
/// `ci_high` are in ns per reply, or in ns per second of the run. It has no verdict.
struct CostChange {
  CostKind kind = CostKind::kSyscall;
  Comparison of;  // its metric's name is hostile text
  // Calls, samples or sleeps per reply (or per second): the medians of the sides.
  double times_a = 0;
  double times_b = 0;
};

struct CauseChanges {
  /// The changes of the parts of a reply, in ns per reply: each part's time over all replies of a
  /// run, divided by their number. So the changes of the parts add up to the change of the whole
  /// reply, which is the first element. The others follow by the size of their change. Each is a
  /// Comparison by difference without a verdict. Parts below a hundredth of the reply on both sides
  /// are left out, because their changes are mostly chance. Empty if replies were not split on both
  /// sides.
  std::vector<Comparison> parts;
  /// By kind, then by the size of their change. For each kind there are at most kMostCosts, the
  /// greatest by the mean of both sides, and none below a hundredth of the subject's CPU time
  /// (system calls) or of all costs of their kind. Empty if the runs had neither --syscalls nor
  /// --stacks.
  std::vector<CostChange> costs;
  bool per_reply = false;  // otherwise costs are per second
};

/// The most costs of each CostKind. More of them would make a true change harder to see.
inline constexpr std::array<size_t, kCostKindCount> kMostCosts = {10, 12, 6};

/// The q of each part and cost is that of Benjamini and Hochberg over all of them together.
CauseChanges cause_changes(std::span<const RunTotals* const> a, std::span<const RunTotals* const> b,
                           Layout layout, uint64_t seed);

/// Whether it changed: its interval does not contain 0, and q is at most kFalseDiscoveryRate.
bool has_changed(const Comparison& cause);

/// The label of a part: "inside: slept on a futex" for "reply_inside_futex_ns".
std::string_view cause_label(std::string_view name);

/// One paragraph: "A reply takes +14.0us [+9.10us, +19.0us] in the server: inside, on a CPU +13.2us
/// [..., ...]. Unchanged: .... On a CPU, a reply: parse +13.0us [..., ...]". It has only costs that
/// changed. Empty if there is nothing to report. Hostile text.
std::string why_changed(const CauseChanges& changes);

}  // namespace topspin
