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

/// The change of one of the subject's costs (RunCosts), by difference: `change`, `ci_low` and
/// `ci_high` are in ns a reply, or in ns a second of the run. It has no verdict.
struct CostChange {
  CostKind kind = CostKind::kSyscall;
  Comparison of;  // its metric's name is hostile text
  // How often a reply (or a second): calls, samples, sleeps; the medians of the sides.
  double times_a = 0;
  double times_b = 0;
};

struct CauseChanges {
  /// The changes of the parts of a reply, in ns a reply: each part's time over all replies of a
  /// run, divided by their number. So the parts' changes add up to that of the whole reply, which
  /// is the first. The others follow by the size of their change. Each is a Comparison by
  /// difference without a verdict. Parts that are less than a hundredth of the reply on both sides
  /// are left out, to keep chance out. Empty: replies were not split on both sides.
  std::vector<Comparison> parts;
  /// By kind, then by the size of their change. Of each kind there are the greatest, by the mean of
  /// both sides: kMostCosts at most, and none below a hundredth of the subject's CPU time (system
  /// calls) or of all of their kind. Empty: the runs had neither --syscalls nor --stacks.
  std::vector<CostChange> costs;
  bool per_reply = false;  // else costs are per second
};

/// Of each CostKind. More of them would make a true change harder to see.
inline constexpr std::array<size_t, kCostKindCount> kMostCosts = {10, 12, 6};

/// The q of all parts and costs is Benjamini and Hochberg's over all of them together.
CauseChanges cause_changes(std::span<const RunTotals* const> a, std::span<const RunTotals* const> b,
                           Layout layout, uint64_t seed);

/// Whether it changed: its interval does not hold 0, and q is at most kFalseDiscoveryRate.
bool has_changed(const Comparison& cause);

/// What a part is called: "inside: slept on a futex" for "reply_inside_futex_ns".
std::string_view cause_label(std::string_view name);

/// One paragraph: "A reply takes +14.0us [+9.10us, +19.0us] in the server: inside, on a CPU +13.2us
/// [..., ...]. Unchanged: .... On a CPU, a reply: parse +13.0us [..., ...]". Costs are in it only
/// where they changed. Empty: there is nothing to say. Hostile text.
std::string why_changed(const CauseChanges& changes);

}  // namespace topspin
