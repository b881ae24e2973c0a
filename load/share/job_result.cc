#include "load/share/job_result.h"

#include <algorithm>

#include <fmt/format.h>

#include "load/engine/validity.h"
#include "load/share/assignment.h"

namespace topspin {
namespace {

/// Calls count(stage, moments) for what is due of a client in a part of its stay.
template <typename Count>
void count_in_stages(const ClientStay& client, const Schedule& schedule, const Rhythm& rhythm,
                     int64_t from_ns, int64_t until_ns, Count count) {
  const int64_t phase = client_phase_ns(client.slot, rhythm);
  from_ns = std::max(from_ns, client.join_ns);
  until_ns = std::min(until_ns, client.leave_ns);
  for (size_t s = 0; s < schedule.stages.size(); ++s) {
    const int64_t begin = std::max(from_ns, schedule.stage_begin_ns[s]);
    const int64_t end = std::min(until_ns, schedule.stage_end_ns(s));
    if (end > begin) count(s, count_due(phase, rhythm.period_ns, begin, end));
  }
}

uint64_t sum_of(const std::vector<uint64_t>& counts) {
  uint64_t sum = 0;
  for (const uint64_t count : counts) sum += count;
  return sum;
}

/// What was sent and has had no end yet will have none.
uint64_t lose_open(LoadPart& part, int64_t timeout_ns) {
  LoadAccounts& a = part.accounts;
  const uint64_t ended = a.replied + a.late_replies + a.lost;
  const uint64_t open = a.sent - std::min(a.sent, ended);
  a.lost += open;
  if (open > 0) {
    part.latency_intended.record_n(static_cast<uint64_t>(timeout_ns), open);
    part.latency_actual.record_n(static_cast<uint64_t>(timeout_ns), open);
  }
  return open;
}

void add_never_sent(LoadPart& part, uint64_t count) {
  part.accounts.scheduled += count;
  part.accounts.never_scheduled += count;
}

std::string name_of(const WorkerPart& worker) {
  return worker.host.empty() ? fmt::format("thread {}", worker.id)
                             : fmt::format("worker {} ({})", worker.id, worker.host);
}

}  // namespace

Rhythm rhythm_of(const LoadOptions& options) {
  return {options.period_ns, options.grid_ns.value_or(options.period_ns / 1000)};
}

std::vector<uint64_t> planned_for(const std::string& id, const Schedule& schedule,
                                  const Rhythm& rhythm, std::span<const JobEpoch> epochs,
                                  int64_t from_ns, int64_t until_ns) {
  std::vector<uint64_t> planned(schedule.stages.size());
  for (size_t e = 0; e < epochs.size(); ++e) {
    const JobEpoch& epoch = epochs[e];
    if (epoch.is_last) break;
    const int64_t begin = std::max(from_ns, epoch.from_ns);
    const int64_t end =
        e + 1 < epochs.size() ? std::min(until_ns, epochs[e + 1].from_ns) : until_ns;
    if (begin >= end) continue;
    const auto found = std::find(epoch.members.begin(), epoch.members.end(), id);
    const bool is_nobodys = id.empty() && epoch.members.empty();
    if (found == epoch.members.end() && !is_nobodys) continue;
    const auto position = static_cast<size_t>(found - epoch.members.begin());
    const Assignment assignment(epoch.members);
    for (const ClientStay& client : schedule.stays) {
      if (client.join_ns >= end) break;  // they are in this order
      if (client.leave_ns <= begin) continue;
      if (!is_nobodys && !assignment.owns(position, client.slot)) continue;
      count_in_stages(client, schedule, rhythm, begin, end,
                      [&](size_t stage, uint64_t count) { planned[stage] += count; });
    }
  }
  return planned;
}

LoadResult join_job(const LoadOptions& options, const Schedule& schedule,
                    std::span<const JobEpoch> epochs, std::vector<JobWorker> workers) {
  const Rhythm rhythm = rhythm_of(options);
  int64_t end_ns = schedule.end_ns;
  LoadResult whole;
  for (const JobEpoch& epoch : epochs) {
    if (!epoch.is_last || epoch.from_ns >= end_ns) continue;
    end_ns = epoch.from_ns;
    whole.stopped_early = true;
  }
  whole.workload = options.workload;
  whole.target = options.target;
  whole.closed_loop = options.closed_loop;
  // As the workload itself says of a closed loop over HTTP: the server's speed decides.
  whole.has_plan = !(options.closed_loop && options.workload == WorkloadKind::kHttp);
  whole.planned = count_planned(schedule, rhythm, end_ns);
  for (const ClientStay& client : schedule.stays) {
    if (client.join_ns < end_ns) ++whole.clients_joined;
  }
  for (size_t s = 0; s < schedule.stages.size(); ++s) {
    const LoadStage& stage = schedule.stages[s];
    if (schedule.stage_begin_ns[s] > end_ns) break;
    LoadPart& part = whole.stages.emplace_back();
    part.name = stage.name;
    part.begin_ns = schedule.stage_begin_ns[s];
    part.end_ns = std::min(schedule.stage_end_ns(s), end_ns);
    part.clients_from = stage.from;
    part.clients_to = stage.to;
    whole.clients_max = std::max({whole.clients_max, stage.from, stage.to});
  }

  const std::vector<uint64_t> of_nobody = planned_for("", schedule, rhythm, epochs, 0, end_ns);
  // A worker that has sent its last report says what its shares asked for. What the epochs ask is
  // computed for the others; and for all if the sum is wrong, as when one left just before an epoch
  // that still has it.
  std::vector<std::vector<uint64_t>> asked(workers.size());
  const auto ask_epochs = [&](bool of_all) {
    uint64_t sum = sum_of(of_nobody);
    for (size_t w = 0; w < workers.size(); ++w) {
      if ((of_all || !workers[w].report.is_last) && asked[w].empty())
        asked[w] = planned_for(workers[w].about.id, schedule, rhythm, epochs, 0, end_ns);
      sum += asked[w].empty() ? workers[w].report.planned : sum_of(asked[w]);
    }
    return sum;
  };
  if (ask_epochs(false) != whole.planned && whole.has_plan) (void)ask_epochs(true);
  std::vector<std::string> reasons;
  uint64_t orphaned = 0, store_away = 0, sum_planned = sum_of(of_nobody);
  for (size_t w = 0; w < workers.size(); ++w) {
    JobWorker& worker = workers[w];
    WorkerPart& about = worker.about;
    LoadReport& report = worker.report;
    std::vector<LoadPart> stages(whole.stages.size());
    for (const auto& [position, part] : report.stages) {
      if (position < stages.size())
        stages[position].merge(part);
      else
        reasons.push_back(fmt::format("{} reports a stage that is not there", name_of(about)));
    }
    about.store_away = report.store_away;
    about.planned = report.planned;
    if (const std::vector<uint64_t>& planned = asked[w]; !planned.empty()) {
      uint64_t open = 0;
      about.planned = sum_of(planned);
      for (size_t s = 0; s < stages.size(); ++s) {
        open += lose_open(stages[s], options.timeout_ns);
        const uint64_t known = stages[s].accounts.scheduled;
        if (!whole.has_plan || planned[s] <= known) continue;
        add_never_sent(stages[s], planned[s] - known);
        about.orphaned += planned[s] - known;
      }
      if (report.tcp) report.tcp->failed += open;
      if (!report.is_last) {
        about.perhaps_sent = std::min(
            about.orphaned, sum_of(planned_for(about.id, schedule, rhythm, epochs, report.until_ns,
                                               std::min(end_ns, worker.claimed_until_ns))));
      }
      if (about.orphaned > 0 || open > 0) {
        reasons.push_back(fmt::format(
            "{} {}: it reported nothing about {} messages, of which it may have sent {}; {} "
            "replies were not awaited",
            name_of(about), worker.why.empty() ? std::string("died") : "failed: " + worker.why,
            about.orphaned, about.perhaps_sent, open));
      }
    }
    if (!worker.why.empty() && about.orphaned == 0)
      about.invalid_reasons.push_back("failed: " + worker.why);
    for (const std::string& reason : report.invalid_reasons) {
      if (about.planned > 0) about.invalid_reasons.push_back(reason);
    }
    for (const std::string& reason : about.invalid_reasons)
      reasons.push_back(fmt::format("{}: {}", name_of(about), reason));
    for (size_t s = 0; s < stages.size(); ++s) {
      whole.stages[s].merge(stages[s]);
      about.accounts.merge(stages[s].accounts);
      about.latency_intended.merge(stages[s].latency_intended);
      about.own_lateness.merge(stages[s].own_lateness);
    }
    orphaned += about.orphaned;
    store_away += about.store_away;
    sum_planned += about.planned;
    merge_accounts(whole.tcp, report.tcp);
    merge_accounts(whole.http, report.http);
    merge_accounts(whole.tls, report.tls);
    whole.connect_latency.merge(report.connect_latency);
    whole.bytes_received += report.bytes_received;
    whole.port_unreachable += report.port_unreachable;
    for (const auto& [name, count] : report.errors) whole.errors[name] += count;
    if (report.own.wall_ns > 0) {
      about.cpu_ns = report.own.cpu_ns;
      about.wall_ns = report.own.wall_ns;
    }
    whole.own.add_generator(report.own);
    whole.workers.push_back(std::move(about));
  }
  for (size_t s = 0; s < whole.stages.size(); ++s) add_never_sent(whole.stages[s], of_nobody[s]);
  if (whole.has_plan && sum_planned != whole.planned) {
    reasons.push_back(fmt::format(
        "the accounts do not balance: the workers' shares ask for {}, the stages for {}",
        sum_planned, whole.planned));
  }
  if (orphaned > 0) whole.never_scheduled_reasons["a worker had died or failed"] = orphaned;
  if (store_away > 0)
    whole.never_scheduled_reasons["a worker was stopped, or had no word from the store"] =
        store_away;
  if (const uint64_t nobodys = sum_of(of_nobody); nobodys > 0)
    whole.never_scheduled_reasons["there was no worker"] = nobodys;
  whole.total.name = "total";
  whole.total.end_ns = end_ns;
  for (const LoadPart& part : whole.stages) whole.total.merge(part);
  // Each worker has judged its own CPU; the sum is of several cores.
  LoadResult judged = whole;
  judged.own.cpu_ns = 0;
  whole.invalid_reasons = judge_load(judged);
  whole.invalid_reasons.insert(whole.invalid_reasons.end(), reasons.begin(), reasons.end());
  return whole;
}

}  // namespace topspin
