#include "report/model/report_page.h"

#include <algorithm>
#include <array>
#include <span>

#include "ci/judgement/run_history.h"
#include "ci/judgement/stored_judgement.h"
#include "ci/metrics/run_metrics.h"
#include "ci/run_selection.h"
#include "core/base/check.h"
#include "core/flow/periods.h"
#include "report/model/curves.h"
#include "report/model/keep_first.h"

namespace topspin {
namespace {

bool is_busier_thread(const ThreadRow& a, const ThreadRow& b) {
  return a.cpu_ns.value_or(0) > b.cpu_ns.value_or(0);
}

/// a - b, wrapping, because times from a damaged file may have any value.
int64_t minus(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}

}  // namespace

RunPage::RunPage()
    : timeline(curve_specs().size(), kPageBins),
      lateness_heat(kPageHeatColumns),
      reply_heat(kPageHeatColumns),
      run_queue_heat(kPageHeatColumns) {}

void RunPage::add(const Sample& sample) {
  const int64_t end_ns = sample.elapsed_ns;
  const int64_t begin_ns = std::min(end_ns, minus(end_ns, sample.interval_ns));
  if (!flows_begin_ns) flows_begin_ns = minus(sample.flows.begin_ns, begin_ns);
  elapsed_ns = std::max(elapsed_ns, end_ns);
  fold.add(sample);
  timeline.add(begin_ns, end_ns, curve_values(sample, run.info.settings.period_ns));
  if (has_lateness(sample.flows, run.info.settings.period_ns))
    lateness_heat.add(begin_ns, end_ns, sample.flows.lateness.non_negative());
  reply_heat.add(begin_ns, end_ns, sample.flows.reply_latency);
  if (sample.scheduler && sample.scheduler->run_queue_latency)
    run_queue_heat.add(begin_ns, end_ns, *sample.scheduler->run_queue_latency);
  if (sample.resources && sample.resources->rss_bytes) resources = *sample.resources;
}

namespace {

/// `judged` becomes the fold of the ticks that the gate judges.
Status read_ticks(RunStore& store, RunPage& page, RunFold& judged) {
  std::vector<GrowthPoint> growth;
  const int64_t measured_ns = measured_from_ns(page.stages);
  page.fold.load_end_ns = judged.load_end_ns = load_end_ns(page.stages);
  TOPSPIN_TRY(store.for_each_tick(page.run.info.id, [&](const Sample& sample) {
    page.add(sample);
    if (sample.elapsed_ns > measured_ns) judged.add(sample);
    growth.push_back(growth_point(sample));
  }));
  page.measured = RunTotals(judged);
  page.growth = judge_growth(growth, judged_from(page.stages));
  return {};
}

Status read_flows(RunStore& store, RunPage& page) {
  const std::string& id = page.run.info.id;
  std::vector<FlowLife> lives;
  const int64_t origin_ns = page.flows_begin_ns.value_or(0);
  TOPSPIN_TRY(store.for_each_flow(id, [&](const FlowRow& flow) {
    lives.push_back(
        {minus(flow.first_ns, origin_ns), minus(flow.last_ns, origin_ns), flow.missed_ticks});
    keep_first(page.busiest_flows, flow, kBusiestFlows, is_busier_flow);
  }));
  page.lives = make_life_grid(std::move(lives), page.elapsed_ns, page.run.info.settings.interval_ns,
                              kPageLifeRows, kPageLifeColumns);
  return store.for_each_owner(id, [&](const FlowOwner& owner) {
    const bool shown =
        std::any_of(page.busiest_flows.begin(), page.busiest_flows.end(), [&](const FlowRow& flow) {
          return flow.owners[0] == owner.number || flow.owners[1] == owner.number;
        });
    if (shown) page.owners.set(owner);
  });
}

/// Reads the rows about the subject.
Status read_subject(RunStore& store, RunPage& page) {
  const std::string& id = page.run.info.id;
  ProcessSums processes;
  TOPSPIN_TRY(store.for_each_thread(id, [&](const ThreadRow& thread) {
    ++page.threads_in_all;
    processes.add(thread);
    keep_first(page.threads, thread, kPageThreads, is_busier_thread);
  }));
  page.processes = processes.take();
  page.processes_in_all = page.processes.size();
  if (page.processes.size() > kPageProcesses) page.processes.resize(kPageProcesses);
  TOPSPIN_TRY(store.for_each_cpu_holder(id, [&](const CpuHolderRow& holder) {
    keep_first(page.cpu_holders, holder, kPageCpuHolders, held_more);
  }));
  TOPSPIN_TRY(store.for_each_socket(id, [&](const SocketRow& socket) {
    ++page.sockets_in_all;
    keep_first(page.socket_rows, socket, kPageSockets,
               [](const SocketRow& a, const SocketRow& b) { return a.drops > b.drops; });
  }));
  TOPSPIN_TRY(store.for_each_syscall(id, [&](const SyscallRow& syscall) {
    ++page.syscalls_in_all;
    keep_first(page.syscalls, syscall, kPageSyscalls, [](const SyscallRow& a, const SyscallRow& b) {
      return a.latency.sum() > b.latency.sum();
    });
  }));
  TOPSPIN_ASSIGN(page.called, read_called(store, id));
  TOPSPIN_ASSIGN(page.slowest_replies, read_slowest_replies(store, id, kSlowRepliesARun));
  TOPSPIN_ASSIGN(page.stacks, read_busiest_stacks(store, id, page.stack_samples));
  TOPSPIN_ASSIGN(page.sleep_stacks, read_longest_sleeps(store, id, page.slept_ns));
  TOPSPIN_ASSIGN(page.stretches, read_long_stretches(store, id));
  return {};
}

/// `judged` is the fold of the ticks that the gate judges.
std::vector<Finding> findings_of(const RunPage& page, const RunFold& judged) {
  return find_causes({page.run.info, judged, page.measured, page.growth,
                      page.load ? &*page.load : nullptr, page.threads, page.socket_rows,
                      page.stacks, page.stack_samples, page.called, page.cpu_holders,
                      page.sleep_stacks, page.slowest_replies, &page.stretches,
                      measured_from_ns(page.stages)});
}

}  // namespace

Result<std::vector<Finding>> read_findings(RunStore& store, const StoredRun& run) {
  RunPage page;
  page.run = run;
  const std::string& id = run.info.id;
  TOPSPIN_ASSIGN(page.stages, store.load_stages(id));
  TOPSPIN_ASSIGN(const RunFold judged, store.fold(id, RunPart::kMeasured));
  page.measured = RunTotals(judged);
  std::vector<GrowthPoint> growth;
  TOPSPIN_TRY(store.for_each_tick(id, TickParts::kPlain, [&](const Sample& sample) {
    growth.push_back(growth_point(sample));
  }));
  page.growth = judge_growth(growth, judged_from(page.stages));
  TOPSPIN_TRY(read_subject(store, page));
  TOPSPIN_ASSIGN(page.load, store.load_load(id));
  if (page.load) page.measured.set_load(*page.load);
  return findings_of(page, judged);
}

Result<RunPage> read_run_page(RunStore& store, const StoredRun& run, const RulesOfRun& rules_of) {
  RunPage page;
  page.run = run;
  const std::string& id = run.info.id;
  TOPSPIN_ASSIGN(page.stages, store.load_stages(id));
  RunFold judged;
  TOPSPIN_TRY(read_ticks(store, page, judged));
  if (page.stages.size() > kPageStages) page.stages.resize(kPageStages);
  TOPSPIN_TRY(read_flows(store, page));
  TOPSPIN_TRY(read_subject(store, page));
  TOPSPIN_TRY(store.for_each_event(id, [&](const StoredEvent& event) {
    ++page.events_in_all;
    if (page.events.size() < kPageEvents) page.events.push_back(event);
  }));
  TOPSPIN_ASSIGN(page.load, store.load_load(id));
  if (page.load) page.measured.set_load(*page.load);
  page.standing = standing_of(run.info, run.end, page.measured);
  TOPSPIN_ASSIGN(page.slos, read_slos(store, run, rules_of));
  page.findings = findings_of(page, judged);
  return page;
}

namespace {

std::vector<std::string> ids_of(const std::vector<StoredRun>& runs) {
  std::vector<std::string> ids;
  for (const StoredRun& run : runs) ids.push_back(run.info.id);
  return ids;
}

/// Reads the flame graphs of one run.
Status read_flames_of(RunStore& store, const StoredRun& run, ReportPage& page) {
  const std::vector<std::string> side{run.info.id};
  TOPSPIN_ASSIGN(page.flames, read_flames(store, std::span(&side, 1)));
  return {};
}

/// Gives a run no rules if its rules cannot be read; that error is shown with the run.
RulesOfRun readable(const RulesOfRun& rules_of) {
  return [&rules_of](const StoredRun& run) -> Result<std::vector<SloRule>> {
    auto rules = rules_of ? rules_of(run) : Result<std::vector<SloRule>>(std::vector<SloRule>());
    return rules.ok() ? std::move(*rules) : std::vector<SloRule>();
  };
}

}  // namespace

Result<ReportPage> read_comparison_page(RunStore& store, const std::vector<StoredRun>& a,
                                        const std::vector<StoredRun>& b,
                                        const RulesOfRun& rules_of) {
  ReportPage page;
  TOPSPIN_TRY(check_sides(a, b));
  TOPSPIN_ASSIGN(auto measured_a, measure_runs(store, a));
  TOPSPIN_ASSIGN(auto measured_b, measure_runs(store, b));
  TOPSPIN_TRY(measure_costs(store, measured_a));
  TOPSPIN_TRY(measure_costs(store, measured_b));
  page.judgement = judge_sides(measured_a, measured_b, kDefaultSeed, false);
  TOPSPIN_ASSIGN(auto slos, judge_candidates(store, measured_b, readable(rules_of)));
  apply_slos(*page.judgement, std::move(slos), false);
  for (const StoredRun& newest : {a.back(), b.back()}) {
    TOPSPIN_ASSIGN(RunPage run, read_run_page(store, newest, rules_of));
    page.runs.push_back(std::move(run));
  }
  const std::array sides{ids_of(a), ids_of(b)};
  TOPSPIN_ASSIGN(page.flames, read_flames(store, sides));
  return page;
}

namespace {

Result<ReportPage> read_history(RunStore& store, std::vector<StoredRun> runs,
                                const RulesOfRun& rules_of) {
  ReportPage page;
  TOPSPIN_ASSIGN(const auto measured, measure_runs(store, runs));
  page.judgement = judge_run_history(measured, {}, kDefaultSeed, false);
  TOPSPIN_ASSIGN(auto slos,
                 judge_candidates(store, std::span(measured).last(1), readable(rules_of)));
  apply_slos(*page.judgement, std::move(slos), false);
  for (const RunMetric& metric : run_metrics()) {
    if (!metric.metric.gating) continue;
    HistoryCurve curve{metric.metric, {}};
    bool any = false;
    for (const MeasuredRun& run : measured) {
      curve.values.push_back(metric.take(run.totals));
      any = any || curve.values.back();
    }
    if (any) page.history.push_back(std::move(curve));
  }
  TOPSPIN_ASSIGN(RunPage newest, read_run_page(store, runs.back(), rules_of));
  TOPSPIN_TRY(read_flames_of(store, runs.back(), page));
  page.runs.push_back(std::move(newest));
  page.history_runs = std::move(runs);
  return page;
}

}  // namespace

Result<ReportPage> read_report_page(RunStore& store, const std::vector<std::string>& selectors,
                                    const RulesOfRun& rules_of) {
  CHECK(!selectors.empty());
  TOPSPIN_ASSIGN(const auto all, store.list_runs());
  std::vector<std::vector<StoredRun>> selected;
  for (const std::string& selector : selectors) {
    TOPSPIN_ASSIGN(auto runs, select_runs(all, selector));
    CHECK(!runs.empty());
    selected.push_back(std::move(runs));
  }
  if (selected.size() == 2) return read_comparison_page(store, selected[0], selected[1], rules_of);
  if (selected.size() == 1 && selected[0].size() == 1) {
    ReportPage page;
    TOPSPIN_ASSIGN(RunPage run, read_run_page(store, selected[0].front(), rules_of));
    page.runs.push_back(std::move(run));
    TOPSPIN_TRY(read_flames_of(store, selected[0].front(), page));
    return page;
  }
  // In the order of the database, each only once, however often it was named.
  std::vector<StoredRun> runs;
  for (const StoredRun& run : all) {
    const bool wanted = std::any_of(selected.begin(), selected.end(), [&](const auto& group) {
      return std::any_of(group.begin(), group.end(),
                         [&](const StoredRun& r) { return r.info.id == run.info.id; });
    });
    if (wanted) runs.push_back(run);
  }
  return read_history(store, std::move(runs), rules_of);
}

}  // namespace topspin
