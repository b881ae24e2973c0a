// What the subject's threads slept on, by reason, the longest in all first.
#include <algorithm>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

Blocks blocked(const ReportPage& page) {
  return blocks_of_runs(page, [&](size_t r) {
    Blocks blocks;
    const auto& scheduler = page.runs[r].fold.merged.scheduler;
    if (!scheduler) return blocks;
    std::vector<std::pair<BlockedBy, const Histogram*>> reasons;
    for (size_t i = 0; i < kBlockedByCount; ++i) {
      if (const auto& sleeps = scheduler->blocked_by[i]; sleeps && !sleeps->empty())
        reasons.emplace_back(static_cast<BlockedBy>(i), &*sleeps);
    }
    std::ranges::stable_sort(reasons, std::ranges::greater(),
                             [](const auto& reason) { return reason.second->sum(); });
    Table table{"", columns({"Blocked by", "Times", "Time", "p50", "p99", "Longest"})};
    for (const auto& [reason, sleeps] : reasons) {
      table.rows.push_back({{words(spaced(blocked_by_name(reason))), count(sleeps->count()),
                             duration(sleeps->sum()), duration(sleeps->percentile(0.5)),
                             duration(sleeps->percentile(0.99)), duration(sleeps->max())}});
    }
    add_table(blocks, std::move(table));
    return blocks;
  });
}

}  // namespace topspin::sections
