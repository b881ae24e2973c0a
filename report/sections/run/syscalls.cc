// Where the time inside system calls went.
#include <algorithm>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

Blocks syscalls(const ReportPage& page) {
  Blocks blocks = blocks_of_runs(page, [&](size_t r) {
    const RunPage& run = page.runs[r];
    Table table{"", columns({"Call", "Calls", "Errors", "Inside", "Blocked", "On a CPU", "p50",
                             "p99", "Max"})};
    for (const SyscallRow& call : run.syscalls) {
      const HistogramSummary s = call.latency.summary();
      table.rows.push_back(
          {{code(call.name, 60), count(call.count), count(call.errors),
            duration(call.latency.sum()), duration(std::min(call.blocked_ns, call.latency.sum())),
            duration(call.working_ns()), duration(s.p50), duration(s.p99), duration(s.max)}});
    }
    table.more = run.syscalls_in_all - run.syscalls.size();
    table.most_in_text = 16;
    Blocks of_run;
    add_table(of_run, std::move(table));
    return of_run;
  });
  if (!blocks.empty()) {
    blocks.insert(blocks.begin(),
                  Paragraph{say("Inside: from entry to return, summed over all calls; blocked is "
                                "the part of it that was spent off a CPU."),
                            true});
  }
  return blocks;
}

}  // namespace topspin::sections
