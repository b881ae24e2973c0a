// What the scheduler did with the subject's threads, counters of perf events, and stacks.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "ci/metrics/run_costs.h"
#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

constexpr size_t kCpusShown = 64;

Table counts_table(const RunFold& fold, size_t run) {
  Table table{"Of all threads", columns({"", ""})};
  table.rows = number_rows(fold, run, false, [](const Number& number) {
    return number.probe == "scheduler" && !number.name.starts_with("preempted_by_") &&
           !number.name.starts_with("off_cpu_");
  });
  return table;
}

Table preemptions_table(const SchedulerInterval& s) {
  Table table{"Preempted by", columns({"", "Times", "Waited"})};
  for (size_t i = 0; i < kPreemptorCount; ++i) {
    const Preemptions& p = s.preempted_by[i];
    if (!p.count && !p.wait_ns) continue;
    table.rows.push_back({{words(spaced(preemptor_name(static_cast<Preemptor>(i)))), count(p.count),
                           duration(p.wait_ns)},
                          p.count.value_or(0) == 0 ? Shown::kOnPages : Shown::kEverywhere});
  }
  return table;
}

Table off_cpu_table(const SchedulerInterval& s) {
  Table table{"Left the CPU voluntarily", columns({"", "Times", "Time"})};
  for (size_t i = 0; i < kOffCpuStateCount; ++i) {
    const OffCpuTime& t = s.off_cpu[i];
    if (!t.count && !t.ns) continue;
    table.rows.push_back({{words(spaced(off_cpu_state_name(static_cast<OffCpuState>(i)))),
                           count(t.count), duration(t.ns)},
                          t.count.value_or(0) == 0 ? Shown::kOnPages : Shown::kEverywhere});
  }
  return table;
}

Table cpus_table(const SchedulerInterval& s) {
  Table table{"By CPU",
              columns({"CPU", "Switches", "Waits", "Mean wait", "Mean queue", "Longest"})};
  const auto mean = [](uint64_t sum, uint64_t n) {
    return static_cast<double>(sum) / static_cast<double>(n);
  };
  for (size_t i = 0; i < std::min(s.cpus.size(), kCpusShown); ++i) {
    const CpuScheduling& c = s.cpus[i];
    table.rows.push_back(
        {{id(c.cpu), count(c.switches), count(c.waits),
          c.waits > 0 ? duration(mean(c.wait_ns, c.waits)) : absent(),
          c.queue_samples > 0
              ? words(fmt::format("{:.2f}", mean(c.queue_length_sum, c.queue_samples)))
              : absent(),
          c.queue_samples > 0 ? count(c.queue_length_max) : absent()}});
  }
  table.more = s.cpus.size() - table.rows.size();
  table.most_in_text = 16;
  return table;
}

/// Counts are scaled if the events had to take turns.
Table counters_table(const CounterInterval& counters) {
  Table table{"Events, by perf counters", columns({"", "Count", "Counted for"})};
  CounterInterval::for_each_field([&](std::string_view name, auto field) {
    const auto& counter = counters.*field;
    if (!counter) return;
    table.rows.push_back(
        {{code(name),
          name.ends_with("_ns") ? duration(counter->scaled()) : count(counter->scaled()),
          counter->enabled_ns > 0 ? share(static_cast<double>(counter->running_ns) /
                                          static_cast<double>(counter->enabled_ns))
                                  : absent()}});
  });
  return table;
}

Table stacks_table(const RunPage& run) {
  Table table{"Where CPU time went", columns({"Share", "=Thread", "=Stack"})};
  table.columns[0].is_number = true;
  for (const StackRow& stack : run.stacks) {
    const std::string& frames = stack.frames;
    const size_t last = frames.rfind(';');
    Cell where = code(last == std::string::npos ? frames : frames.substr(last + 1), 120);
    where.under = say("{}", code(frames, 1000));
    table.rows.push_back({{run.stack_samples > 0 ? share(static_cast<double>(stack.samples) /
                                                         static_cast<double>(run.stack_samples))
                                                 : absent(),
                           words(stack.thread, 60), std::move(where)}});
  }
  return table;
}

/// What a stretch's thread ran most, and in how many of its samples.
Cell ran_most(const RunPage& run, const BusyStretch& stretch) {
  const StretchSum sum = sum_of(run.stretches, std::array{&stretch});
  if (sum.samples == 0) {
    const int64_t rate = run.run.info.settings.stack_samples_per_second.value_or(0);
    const bool is_short =
        rate > 0 && static_cast<double>(stretch.cpu_ns) * static_cast<double>(rate) < 1e9;
    return is_short ? "no sample: too short" : "no sample";
  }
  if (stretch.stacks.empty()) return absent();
  const StretchStack& first = stretch.stacks.front();
  const std::string_view frames = run.stretches.frames_of(first.stack);
  Cell cell = sum.most ? Cell(say("{} ({} of {})", code(sum.most->name, 120),
                                  count(sum.most->samples), count(sum.samples)))
                       : Cell(say("{} ({} of {})", code(innermost_function(frames), 120),
                                  count(first.samples), count(sum.samples)));
  cell.under = say("{}", code(frames, 1000));
  return cell;
}

Table stretches_table(const RunPage& run) {
  Table table{"Longest busy stretches",
              columns({"At", "Length", "On a CPU", "Samples", "=Thread", "Id", "=Ran most"})};
  table.most_in_text = 5;
  table.unders_in_text = false;
  for (const BusyStretch* stretch : chosen_stretches(run.stretches, kPageStretches)) {
    Span samples = count(stretch->samples);
    samples.at_least = stretch->samples_cut;
    table.rows.push_back(
        {{moment(stretch->began_ns - run.run.info.started_monotonic_ns),
          duration(stretch->length_ns), duration(stretch->cpu_ns), std::move(samples),
          stretch->thread.empty() ? absent() : words(stretch->thread, 60), id(stretch->tid),
          ran_most(run, *stretch)}});
  }
  return table;
}

Table sleeps_table(const RunPage& run) {
  Table table{"Where it slept",
              columns({"Share", "Time", "Sleeps", "=On", "=Woken by", "=Thread", "=Stack"})};
  table.columns[0].is_number = true;
  for (const SleepStackRow& stack : run.sleep_stacks) {
    const std::string& frames = stack.frames;
    const size_t last = frames.rfind(';');
    Cell where = code(last == std::string::npos ? frames : frames.substr(last + 1), 120);
    if (last != std::string::npos) where.under = say("{}", code(frames, 1000));
    table.rows.push_back(
        {{run.slept_ns > 0
              ? share(static_cast<double>(stack.slept_ns) / static_cast<double>(run.slept_ns))
              : absent(),
          duration(stack.slept_ns), count(stack.sleeps),
          words(spaced(blocked_by_name(stack.reason))),
          stack.woken_by.empty() ? absent() : words(stack.woken_by, 60),
          stack.thread.empty() ? absent() : words(stack.thread, 60), std::move(where)}});
  }
  return table;
}

}  // namespace

Blocks scheduling(const ReportPage& page) {
  return blocks_of_runs(page, [&](size_t r) {
    const RunPage& run = page.runs[r];
    Blocks blocks;
    if (const auto& scheduler = run.fold.merged.scheduler) {
      add_table(blocks, counts_table(run.fold, r), Place::kLeft);
      add_table(blocks, preemptions_table(*scheduler), Place::kLeft);
      add_table(blocks, off_cpu_table(*scheduler), Place::kLeft);
      add_table(blocks, cpus_table(*scheduler), Place::kRight);
    }
    add_table(blocks, counters_table(run.fold.merged.counters), Place::kRight);
    add_table(blocks, stacks_table(run), Place::kWhole, true);
    add_table(blocks, stretches_table(run));
    add_table(blocks, sleeps_table(run), Place::kWhole, true);
    return blocks;
  });
}

}  // namespace topspin::sections
