// The subject's threads, the busiest first.
#include <algorithm>

#include "core/tick/thread_wait.h"
#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {
constexpr size_t kThreadsInText = 12;
}  // namespace

Blocks threads(const ReportPage& page) {
  return blocks_of_runs(page, [&](size_t r) {
    const RunPage& run = page.runs[r];
    Table table{"",
                columns({"Thread", "Process", "Id", "CPU", "Waited", "Longest wait", "Voluntary",
                         "Involuntary", "-Migrations", "-Longest stretch", "-=Slept on"})};
    for (const ThreadRow& t : run.threads) {
      table.rows.push_back(
          {{t.name.empty() ? absent() : words(t.name, 60), id(t.pid), id(t.tid), duration(t.cpu_ns),
            duration(waited_ns(t)), duration(t.run_queue_wait_max_ns), count(t.voluntary_switches),
            count(t.involuntary_switches), count(t.migrations), duration(t.busy_stretch_max_ns),
            slept_on(t.blocked_by)}});
    }
    table.more = run.threads_in_all - run.threads.size();
    table.most_in_text = kThreadsInText;
    Blocks blocks;
    add_table(blocks, std::move(table));
    const bool by_kernel =
        std::any_of(run.threads.begin(), run.threads.end(),
                    [](const ThreadRow& t) { return t.run_queue_wait_ns && !t.run_queue_wait; });
    if (by_kernel)
      blocks.emplace_back(Paragraph{
          say("Waits of threads are the kernel's run_delay: single waits were not measured. From "
              "Linux 6.12 on it counts some sleep as wait.")});
    return blocks;
  });
}

}  // namespace topspin::sections
