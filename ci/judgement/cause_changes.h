// Why two sides differ: of what the time of their replies is made, part by part, and which parts
// changed from A to B beyond chance. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ci/judgement/compare.h"
#include "ci/metrics/run_metrics.h"

namespace topspin {

/// The changes of the parts of a reply from A to B, in ns a reply: each part's time over all
/// replies of a run, divided by their number. So the parts' changes add up to that of the whole
/// reply, which is the first. The others follow by the size of their change. Each is a Comparison
/// by difference
/// (`change`, `ci_low` and `ci_high` are in ns a reply) whose q is Benjamini and Hochberg's over
/// the parts; it has no verdict. Parts that are less than a hundredth of the reply on both sides
/// are left out, to keep chance out. Empty: replies were not split on both sides.
std::vector<Comparison> cause_changes(std::span<const RunTotals* const> a,
                                      std::span<const RunTotals* const> b, Layout layout,
                                      uint64_t seed);

/// Whether it changed: its interval does not hold 0, and q is at most kFalseDiscoveryRate.
bool has_changed(const Comparison& cause);

/// What a part is called: "inside: slept on a futex" for "reply_inside_futex_ns".
std::string_view cause_label(std::string_view name);

/// One paragraph: "Replies take +14.0us [9.10us, 19.0us] longer: inside, on a CPU +13.2us [...,
/// ...]. Unchanged: ...". Empty: there are no causes.
std::string why_changed(std::span<const Comparison> causes);

}  // namespace topspin
