// What the subject's threads slept on, by reason, those with the longest total first.
#include <algorithm>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

Table processes_table(const RunPage& run) {
  Table table{"By process", columns({"Process", "Id", "Threads", "Sleeps", "Time", "=Slept on",
                                     "Longest stretch"})};
  for (const ProcessSleeps& process : run.processes) {
    uint64_t sleeps = 0;
    for (const OffCpuTime& of_reason : process.blocked_by) sleeps += of_reason.count.value_or(0);
    table.rows.push_back(
        {{process.name.empty() ? absent() : words(process.name, 60), id(process.pid),
          count(process.threads), count(sleeps), duration(process.blocked_ns()),
          slept_on(process.blocked_by), duration(process.busy_stretch_max_ns)}});
  }
  table.more = run.processes_in_all - run.processes.size();
  table.most_in_text = 8;
  return table;
}

}  // namespace

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
    add_table(blocks, processes_table(page.runs[r]));
    return blocks;
  });
}

}  // namespace topspin::sections
