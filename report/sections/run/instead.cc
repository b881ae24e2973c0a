// Who had the CPUs while threads of the subject waited for them.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

constexpr std::string_view kUnnamed[kCpuHolderCount] = {
    "other threads of the subject",
    "other processes",
    "other kernel threads",
    "interrupts, or the hypervisor",
    "nobody: the CPU was idle and had to wake up",
    "nobody: the cgroup's quota held the thread back",
    "not seen",
};

Line who(const CpuHolderRow& holder) {
  const std::string_view name = holder.name.empty() ? "others" : std::string_view(holder.name);
  switch (holder.kind) {
    case CpuHolder::kSubject: return say("{}, the subject itself", words(name, 60));
    case CpuHolder::kKernelThread: return say("{}, of the kernel", words(name, 60));
    default: return say("{}", words(name, 60));
  }
}

/// The limits on CPU time, in words; empty if there were none.
Blocks limits(const RunPage& run) {
  Blocks blocks;
  if (const auto few = few_cpus(run.run.info, run.fold); !few.empty()) {
    blocks.emplace_back(Paragraph{
        say("The subject ran on {} {} only, of {}: its affinity, or its "
            "cpuset.",
            few.size() == 1 ? "CPU" : "CPUs", words(fmt::format("{}", fmt::join(few, ", "))),
            count(run.run.info.host.cpus_online))});
  }
  return blocks;
}

}  // namespace

Blocks instead(const ReportPage& page) {
  Blocks blocks = blocks_of_runs(page, [&](size_t r) {
    const RunPage& run = page.runs[r];
    Blocks of_run;
    const auto& scheduler = run.fold.merged.scheduler;
    if (!scheduler) return of_run;
    std::array<uint64_t, kCpuHolderCount> left{};  // the time that is in no row of the table
    uint64_t all = 0;
    for (size_t i = 0; i < kCpuHolderCount; ++i) {
      left[i] = scheduler->waited_behind[i].value_or(0);
      all += left[i];
    }
    if (all == 0) return of_run;
    const auto share_of_all = [&](uint64_t ns) {
      return share(static_cast<double>(ns) / static_cast<double>(all));
    };
    Table table{"", columns({"=Who", "Process", "=Cgroup", "Waited", "Share"})};
    for (const CpuHolderRow& holder : run.cpu_holders) {
      uint64_t& of_kind = left[static_cast<size_t>(holder.kind)];
      of_kind -= std::min(of_kind, holder.held_ns);
      table.rows.push_back(
          {{who(holder),
            holder.processes == 1 ? Cell(id(holder.pid))
                                  : Cell(plural(holder.processes, "process", "processes")),
            holder.cgroup.empty() ? absent() : code(holder.cgroup, 60), duration(holder.held_ns),
            share_of_all(holder.held_ns)}});
    }
    for (size_t i = 0; i < kCpuHolderCount; ++i) {
      if (left[i] == 0) continue;
      table.rows.push_back(
          {{words(kUnnamed[i]), absent(), absent(), duration(left[i]), share_of_all(left[i])}});
    }
    add_table(of_run, std::move(table));
    for (Block& block : limits(run)) of_run.push_back(std::move(block));
    return of_run;
  });
  if (!blocks.empty()) {
    blocks.insert(blocks.begin(),
                  Paragraph{say("Who had the CPUs for which threads of the subject waited. Waited: "
                                "the threads' waits behind it, added up."),
                            true});
  }
  return blocks;
}

}  // namespace topspin::sections
