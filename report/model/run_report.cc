#include "report/model/run_report.h"

#include <algorithm>
#include <span>

#include "core/flow/periods.h"
#include "report/model/keep_first.h"

namespace topspin {

bool held_more(const CpuHolderRow& a, const CpuHolderRow& b) { return a.held_ns > b.held_ns; }

bool is_busier_flow(const FlowRow& a, const FlowRow& b) {
  return a.packets[0] + a.packets[1] > b.packets[0] + b.packets[1];
}

Result<std::vector<StackRow>> read_busiest_stacks(RunStore& store, const std::string& run_id,
                                                  uint64_t& samples) {
  std::vector<StackRow> stacks;
  TOPSPIN_TRY(store.for_each_stack(run_id, [&](const StackRow& stack) {
    samples += stack.samples;
    keep_first(stacks, stack, kPageStacks,
               [](const StackRow& a, const StackRow& b) { return a.samples > b.samples; });
  }));
  return stacks;
}

Result<std::vector<SleepStackRow>> read_longest_sleeps(RunStore& store, const std::string& run_id,
                                                       uint64_t& slept_ns) {
  std::vector<SleepStackRow> longest;
  TOPSPIN_TRY(store.for_each_sleep_stack(run_id, [&](const SleepStackRow& stack) {
    slept_ns += stack.slept_ns;
    keep_first(
        longest, stack, kPageSleepStacks,
        [](const SleepStackRow& a, const SleepStackRow& b) { return a.slept_ns > b.slept_ns; });
  }));
  return longest;
}

Result<std::vector<CalledRow>> read_called(RunStore& store, const std::string& run_id) {
  std::vector<CalledRow> called;
  TOPSPIN_TRY(
      store.for_each_called(run_id, [&](const CalledRow& address) { called.push_back(address); }));
  std::stable_sort(called.begin(), called.end(), [](const CalledRow& a, const CalledRow& b) {
    if (a.latency.sum() != b.latency.sum()) return a.latency.sum() > b.latency.sum();
    return a.hidden_connections < b.hidden_connections;
  });
  return called;
}

Result<std::vector<SlowReply>> read_slowest_replies(RunStore& store, const std::string& run_id,
                                                    size_t most) {
  std::vector<SlowReply> slowest;
  TOPSPIN_TRY(store.for_each_slow_reply(run_id, [&](const SlowReply& reply) {
    keep_first(slowest, reply, most,
               [](const SlowReply& a, const SlowReply& b) { return a.total_ns > b.total_ns; });
  }));
  return slowest;
}

bool has_lateness(const RunFold& fold, const RunSettings& settings) {
  return fold.greatest.flows.periodic_flows > 0 ||
         has_lateness(fold.merged.flows, settings.period_ns);
}

ReportTick::ReportTick(const Sample& from)
    : sample(from),
      lateness_ns(from.flows.lateness.summary()),
      reply_latency_ns(from.flows.reply_latency.summary()),
      tcp_handshake_ns(from.flows.tcp_handshake.summary()) {
  sample.flows.lateness = {};
  sample.flows.reply_latency = {};
  sample.flows.tcp_handshake = {};
  if (sample.sockets) {
    const auto keep = [](std::optional<Histogram>& histogram,
                         std::optional<HistogramSummary>& summary) {
      if (histogram) summary = histogram->summary();
      histogram.reset();
    };
    keep(sample.sockets->accept_delay, accept_delay_ns);
    keep(sample.sockets->socket_wait, socket_wait_ns);
    keep(sample.sockets->reply_socket, reply_socket_ns);
    keep(sample.sockets->reply_cpu_queue, reply_cpu_queue_ns);
    keep(sample.sockets->reply_runtime, reply_runtime_ns);
    sample.sockets->reply.reset();
    sample.sockets->reply_parts = {};
  }
  sample.slowest_replies.clear();
  if (!sample.scheduler) return;
  if (const auto& latency = sample.scheduler->run_queue_latency)
    run_queue_latency_ns = latency->summary();
  SchedulerInterval::for_each_histogram(*sample.scheduler,
                                        [](auto, auto& histogram) { histogram.reset(); });
}

std::vector<std::string> invalid_reasons(const StoredRun& run) {
  std::vector<std::string> reasons = run.end.invalid_reasons;
  switch (run.end.status) {
    case RunStatus::kComplete:
    case RunStatus::kIncident: break;
    case RunStatus::kInterrupted: reasons.emplace_back("the recording was interrupted"); break;
    case RunStatus::kRunning: reasons.emplace_back("the run is still being recorded"); break;
    case RunStatus::kFailed:
      if (reasons.empty()) reasons.emplace_back("the recording failed");
      break;
  }
  return reasons;
}

Result<std::vector<SloResult>> read_slos(RunStore& store, const StoredRun& run,
                                         const RulesOfRun& rules_of) {
  if (!rules_of) return std::vector<SloResult>();
  const auto rules = rules_of(run);
  if (!rules.ok()) {
    SloResult unread;
    unread.rule = "the plan's rules";
    unread.explanation = rules.error().message;
    return std::vector<SloResult>{unread};
  }
  if (rules->empty()) return std::vector<SloResult>();
  return judge_slos(store, run, *rules);
}

Result<RunReport> read_run_report(RunStore& store, const StoredRun& run,
                                  const RulesOfRun& rules_of) {
  RunReport report;
  report.run = run;
  const std::string& id = report.run.info.id;
  std::vector<GrowthPoint> growth;
  TOPSPIN_ASSIGN(const auto stages, store.load_stages(id));
  const int64_t measured_ns = measured_from_ns(stages);
  RunFold measured;
  report.fold.load_end_ns = measured.load_end_ns = load_end_ns(stages);
  TOPSPIN_TRY(store.for_each_tick(id, [&](const Sample& sample) {
    if (sample.elapsed_ns > measured_ns) measured.add(sample);
    report.fold.add(sample);
    report.ticks.emplace_back(sample);
    growth.push_back(growth_point(sample));
  }));
  report.growth = judge_growth(growth, judged_from(stages));
  RunTotals totals(measured);
  report.standing = standing_of(report.run.info, report.run.end, totals);
  ProcessSums processes;
  TOPSPIN_TRY(store.for_each_thread(id, [&](const ThreadRow& thread) {
    report.threads.push_back(thread);
    processes.add(thread);
  }));
  report.processes = processes.take();
  TOPSPIN_TRY(store.for_each_cpu_holder(
      id, [&](const CpuHolderRow& holder) { report.cpu_holders.push_back(holder); }));
  std::stable_sort(report.cpu_holders.begin(), report.cpu_holders.end(), held_more);
  TOPSPIN_TRY(store.for_each_flow(id, [&](const FlowRow& flow) {
    keep_first(report.busiest_flows, flow, kBusiestFlows, is_busier_flow);
  }));
  uint64_t stack_samples = 0;
  TOPSPIN_ASSIGN(const auto stacks, read_busiest_stacks(store, id, stack_samples));
  uint64_t slept_ns = 0;
  TOPSPIN_ASSIGN(report.sleep_stacks, read_longest_sleeps(store, id, slept_ns));
  TOPSPIN_ASSIGN(report.stretches, read_long_stretches(store, id));
  TOPSPIN_ASSIGN(report.called, read_called(store, id));
  TOPSPIN_TRY(store.for_each_owner(id, [&](const FlowOwner& owner) { report.owners.set(owner); }));
  TOPSPIN_TRY(store.for_each_socket(
      id, [&](const SocketRow& socket) { report.sockets.push_back(socket); }));
  TOPSPIN_TRY(store.for_each_syscall(
      id, [&](const SyscallRow& syscall) { report.syscalls.push_back(syscall); }));
  TOPSPIN_ASSIGN(report.slowest_replies, read_slowest_replies(store, id, kReportSlowReplies));
  TOPSPIN_TRY(
      store.for_each_event(id, [&](const StoredEvent& event) { report.events.push_back(event); }));
  TOPSPIN_ASSIGN(report.load, store.load_load(id));
  TOPSPIN_ASSIGN(report.slos, read_slos(store, report.run, rules_of));
  std::stable_sort(report.threads.begin(), report.threads.end(),
                   [](const ThreadRow& a, const ThreadRow& b) {
                     return a.cpu_ns.value_or(0) > b.cpu_ns.value_or(0);
                   });
  std::stable_sort(report.sockets.begin(), report.sockets.end(),
                   [](const SocketRow& a, const SocketRow& b) {
                     return a.drops != b.drops ? a.drops > b.drops : a.local.port < b.local.port;
                   });
  std::stable_sort(
      report.syscalls.begin(), report.syscalls.end(),
      [](const SyscallRow& a, const SyscallRow& b) { return a.latency.sum() > b.latency.sum(); });
  if (report.load) totals.set_load(*report.load);
  const std::span<const ThreadRow> threads(report.threads);
  report.findings = find_causes(
      {report.run.info, measured, totals, report.growth, report.load ? &*report.load : nullptr,
       threads.first(std::min(threads.size(), kPageThreads)), report.sockets, stacks, stack_samples,
       report.called, report.cpu_holders, report.sleep_stacks, report.slowest_replies,
       &report.stretches, measured_ns});
  return report;
}

}  // namespace topspin
