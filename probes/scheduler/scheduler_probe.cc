// The probes "scheduler" and "timers". The scheduler probe climbs its ladder and turns the rung's
// readings (sums since opening) into intervals; its BPF rungs also measure timers.
#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "probes/bpf/bpf_object.h"
#include "probes/bpf/capabilities.h"
#include "probes/growth.h"
#include "probes/perf/perf_event.h"
#include "probes/probe.h"
#include "probes/scheduler/doubts.h"
#include "probes/scheduler/rungs/scheduler_rung.h"

namespace topspin {
namespace {

std::optional<uint64_t> growth(std::optional<uint64_t> now, std::optional<uint64_t> before) {
  if (now) *now -= std::min(before.value_or(0), *now);
  return now;
}

/// `now` minus `before`; both only grow. Keeps the CPUs that grew.
SchedulerInterval growth(const SchedulerInterval& now, const SchedulerInterval& before) {
  SchedulerInterval difference = now;
  subtract_histograms(difference, before);
  std::vector<std::optional<uint64_t>> counts;
  SchedulerInterval::for_each_count(before,
                                    [&](auto, const auto& count) { counts.push_back(count); });
  auto old_count = counts.begin();
  SchedulerInterval::for_each_count(
      difference, [&](auto, auto& count) { count = growth(count, *old_count++); });
  return difference;
}

/// What was reported never shrinks. So if a sum falls for one reading (a thread was caught between
/// two places), it is not counted twice when it rises again.
void keep_grown(SchedulerInterval& kept, const SchedulerInterval& now) {
  SchedulerInterval next = now;
  std::vector<std::optional<uint64_t>> counts;
  SchedulerInterval::for_each_count(kept,
                                    [&](auto, const auto& count) { counts.push_back(count); });
  auto old = counts.begin();
  SchedulerInterval::for_each_count(next, [&](auto, auto& count) {
    if (count)
      count = std::max(*count, old->value_or(0));
    else
      count = *old;
    ++old;
  });
  kept = std::move(next);
}

/// Linux 6.12 introduced delayed dequeue: a sleeping thread may stay on its run queue for a while,
/// and the kernel's run_delay counts that too.
bool kernel_may_count_sleep() { return kernel_is_since(6, 12); }

/// Such a rung takes its sums from /proc, and misses processes that live for less than one reading.
bool sums_are_from_proc(Rung rung) {
  return rung == Rung::kTracepoint || rung == Rung::kPerf || rung == Rung::kProc;
}

class SchedulerProbe final : public Probe {
 public:
  /// `storage`: context.task_storage_fd, or none.
  SchedulerProbe(ProbeContext& context, UniqueFd storage)
      : context_(context), storage_(std::move(storage)) {
    status_ = climb("scheduler", kSchedulerLadder, context.options, [&](Rung rung) -> Status {
      TOPSPIN_ASSIGN(rung_, open_scheduler_rung(rung, context.subject, context.options,
                                                context.proc, context.task_storage_fd));
      return {};
    });
    if (context.subject.kind == SubjectSpec::Kind::kProcessTree && rung_ &&
        sums_are_from_proc(status_.rung))
      family_clock_ = open_family_clock(context.subject.pid);
    if (!rung_ || rung_->task_storage_fd() < 0)
      context.task_storage_fd = -1;
    else if (!storage_)
      context.task_storage_fd = rung_->task_storage_fd();
    context.timers_missing = rung_ ? rung_->timers_missing() : "no scheduler probe";
  }

  std::vector<ProbeStatus> status() const override { return {status_}; }

  void read(ProbeInterval& interval) override {
    if (!rung_) {
      context_.tree.update();
      context_.processes = context_.tree.processes();
      return;
    }
    SchedulerReading reading = rung_->read();
    interval.scheduler = growth(reading.totals, previous_.totals);
    sums_.merge(*interval.scheduler);
    uint64_t family_ns = 0;
    if (family_clock_ &&
        ::read(family_clock_.get(), &family_ns, sizeof family_ns) == sizeof family_ns)
      family_cpu_ns_ = family_ns;
    interval.losses.merge(growth(reading.losses, previous_.losses));
    if (reading.bpf_ns) interval.add_bpf_ns(*reading.bpf_ns - previous_.bpf_ns.value_or(0));
    interval.changed_threads = std::move(reading.changed_threads);
    interval.changed_cpu_holders = std::move(reading.changed_cpu_holders);
    context_.processes = std::move(reading.processes);
    if (reading.minor_faults) context_.minor_faults = static_cast<int64_t>(*reading.minor_faults);
    if (reading.major_faults) context_.major_faults = static_cast<int64_t>(*reading.major_faults);
    SchedulerInterval kept = std::move(previous_.totals);
    keep_grown(kept, reading.totals);
    previous_ = std::move(reading);
    previous_.totals = std::move(kept);
    tell_sleep_once();
  }

  LossInterval end_losses() const override {
    LossInterval losses;
    losses.scheduler_right_censored = previous_.open_waits;
    return losses;
  }

  std::vector<int> capabilities_needed() const override {
    const Rung rung = status_.rung;
    const bool bpf =
        rung == Rung::kTpBtf || rung == Rung::kRawTracepoint || rung == Rung::kTracepoint;
    return bpf ? bpf_capabilities_needed() : std::vector<int>{};
  }

  std::string follow_cgroup(uint64_t new_id) override {
    if (rung_) rung_->follow_cgroup(new_id);
    return {};
  }

  std::optional<SchedulerSelfTest> self_test() const override {
    const SchedulerInterval& totals = previous_.totals;
    if (!totals.run_queue_latency || !totals.kernel_run_delay_ns) return std::nullopt;
    return judge_self_test(totals.run_queue_latency->sum(), *totals.kernel_run_delay_ns,
                           totals.run_queue_latency->count(), kernel_may_count_sleep());
  }

  std::vector<std::string> doubts(bool is_command,
                                  const std::optional<CommandUsage>& usage) const override {
    std::vector<std::string> doubts;
    if (const auto test = self_test(); test && test->verdict == SchedulerSelfTest::Verdict::kDiffer)
      doubts.push_back(test->sentence);
    if (!rung_) return doubts;
    // A process that nobody waits for is not in `usage`: its parent ignores SIGCHLD, or has ended.
    std::optional<CommandUsage> charged = usage;
    if (is_command && family_cpu_ns_) {
      if (!charged) charged.emplace();
      charged->cpu_ns = std::max(charged->cpu_ns, *family_cpu_ns_);
    }
    if (charged) {
      if (auto doubt = doubt_sums(status_.rung, sums_, *charged)) {
        doubts.push_back(std::move(*doubt));
        return doubts;
      }
    }
    // Without the kernel's account, nothing shows how much such a rung missed.
    if (sums_are_from_proc(status_.rung) && (!is_command || !family_cpu_ns_)) {
      doubts.push_back(
          fmt::format("the scheduler was watched by {}, which sees only part of what processes and "
                      "threads do that live for less than a tick{}",
                      rung_name(status_.rung),
                      is_command ? ", and perf events, which would tell how much that is, are "
                                   "refused here"
                                 : ""));
    }
    return doubts;
  }

 private:
  void tell_sleep_once() {
    if (sleep_told_) return;
    const SchedulerInterval& totals = previous_.totals;
    std::string sentence;
    if (!totals.run_queue_latency && totals.kernel_run_delay_ns && kernel_may_count_sleep()) {
      // Nothing else measured the waits, so how much of this number was sleep cannot be told.
      sentence = fmt::format(
          "the waits for a CPU are the kernel's run_delay, because the rung {} does not measure "
          "them; since Linux 6.12 it counts some sleep as wait, so they may be too long",
          rung_name(status_.rung));
    } else if (const auto test = self_test();
               test && test->verdict == SchedulerSelfTest::Verdict::kKernelCountsSleep) {
      sentence = test->sentence;
    }
    if (sentence.empty()) return;
    sleep_told_ = true;
    context_.events.push_back(std::move(sentence));
  }

  ProbeContext& context_;
  UniqueFd storage_;
  std::unique_ptr<SchedulerRung> rung_;  // nullptr: none opened
  ProbeStatus status_;
  SchedulerReading previous_;
  SchedulerInterval sums_;                 // of the intervals read
  UniqueFd family_clock_;                  // if the rung may miss some processes of the subject
  std::optional<uint64_t> family_cpu_ns_;  // from that clock, up to the last interval
  bool sleep_told_ = false;  // whether it was reported that the kernel counts sleep as wait
};

/// Its numbers are part of the scheduler's.
class TimersProbe final : public Probe {
 public:
  explicit TimersProbe(const ProbeContext& context)
      : status_{"timers", context.timers_missing.empty() ? Rung::kRawTracepoint : Rung::kNone,
                context.timers_missing} {}
  std::vector<ProbeStatus> status() const override { return {status_}; }
  void read(ProbeInterval&) override {}

 private:
  ProbeStatus status_;
};

RungReport examine_scheduler(Rung rung, ProbeContext& self) {
  RungReport report{"scheduler", rung, false, "", ""};
  auto opened = open_scheduler_rung(rung, self.subject, self.options, self.proc);
  if (!opened.ok()) return refused_rung("scheduler", rung, opened.error());
  (void)(*opened)->read();
  sleep_and_work();
  const SchedulerReading reading = (*opened)->read();
  if (!reading.totals.cpu_ns || *reading.totals.cpu_ns == 0)
    report.reason = "it opens, but sees no CPU time of topspin's own";
  else if (reading.totals.queue_wait && 2 * reading.totals.queue_wait->count() < kExamineSleeps)
    report.reason = "it opens, but misses wakeups of topspin's own";
  else if (rung == Rung::kPerf && 2 * reading.totals.on_cpu->count() < kExamineSleeps)
    report.reason = "it opens, but misses switches of topspin's own";
  else
    report.works = true;
  return report;
}

/// Tries it with whichever BPF rung works.
RungReport examine_timers(ProbeContext& self) {
  RungReport report{"timers", Rung::kRawTracepoint, false, "", ""};
  for (const Rung rung : {Rung::kTpBtf, Rung::kRawTracepoint}) {
    auto opened = open_scheduler_rung(rung, self.subject, self.options, self.proc);
    if (!opened.ok()) {
      report = refused_rung("timers", Rung::kRawTracepoint, opened.error());
      continue;
    }
    report.remedy = "";
    report.reason = (*opened)->timers_missing();
    if (!report.reason.empty()) return report;
    sleep_and_work();
    const SchedulerReading reading = (*opened)->read();
    // A sleep may end with a switch that the kernel does not show.
    if (2 * reading.totals.timer_oversleep->count() < kExamineSleeps)
      report.reason = "it opens, but misses sleeps of topspin's own";
    else
      report.works = true;
    return report;
  }
  return report;
}

/// Makes the map that it shares with the sockets' programs.
std::function<std::unique_ptr<Probe>()> begin_scheduler(ProbeContext& context) {
  const auto storage = std::make_shared<UniqueFd>();
  if (may_use(context.options, "scheduler", Rung::kTpBtf)) {
    if (auto made = make_task_storage("threads", sizeof(topspin_thread)); made.ok())
      *storage = std::move(made).value();
  }
  context.task_storage_fd = storage->get();
  return [&context, storage] {
    return std::make_unique<SchedulerProbe>(context, std::move(*storage));
  };
}

}  // namespace

ProbeKind scheduler_probe() {
  ProbeKind kind;
  kind.names = {"scheduler"};
  kind.begin = begin_scheduler;
  kind.examine = [](ProbeContext& self, std::vector<RungReport>& reports) {
    for (const Rung rung : kSchedulerLadder) reports.push_back(examine_scheduler(rung, self));
  };
  return kind;
}

ProbeKind timers_probe() {
  ProbeKind kind;
  kind.names = {"timers"};
  kind.open = open_as<TimersProbe>;
  kind.examine = [](ProbeContext& self, std::vector<RungReport>& reports) {
    reports.push_back(examine_timers(self));
  };
  return kind;
}

}  // namespace topspin
