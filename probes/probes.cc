// Probes: resolves the subject, climbs each ladder from the top, and turns readings (sums since
// opening) into intervals.
#include "probes/probes.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/capability.h>
#include <sys/epoll.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/text.h"
#include "core/unique_fd.h"
#include "probes/capabilities.h"
#include "probes/counters.h"
#include "probes/cpu_stacks.h"
#include "probes/perf_event.h"
#include "probes/process_tree.h"
#include "probes/resources.h"
#include "probes/scheduler_rung.h"
#include "probes/socket_queues.h"
#include "probes/socket_times.h"
#include "probes/subject.h"
#include "probes/syscalls.h"

namespace topspin {
namespace {

std::optional<uint64_t> growth(std::optional<uint64_t> now, std::optional<uint64_t> before) {
  if (now) *now -= std::min(before.value_or(0), *now);
  return now;
}

/// Takes each distribution of `before` from that of `interval`.
template <typename Interval>
void subtract_histograms(Interval& interval, const Interval& before) {
  std::vector<const std::optional<Histogram>*> histograms;
  Interval::for_each_histogram(
      before, [&](auto, const auto& histogram) { histograms.push_back(&histogram); });
  auto old_histogram = histograms.begin();
  Interval::for_each_histogram(interval, [&](auto, auto& histogram) {
    const std::optional<Histogram>& old = **old_histogram++;
    if (histogram && old) histogram->subtract(*old);
  });
}

/// `now` less `before`, both of which only grow. Of CPUs, those that grew.
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

LossInterval growth(const LossInterval& now, const LossInterval& before) {
  LossInterval difference;
  LossInterval::for_each_field([&](const char*, uint64_t LossInterval::*field) {
    difference.*field = now.*field - std::min(before.*field, now.*field);
  });
  return difference;
}

/// What was reported may never shrink, so that a sum that falls for one reading (a thread caught
/// between two places) is not counted twice when it is back.
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

/// Linux 6.12 brought delayed dequeue: a thread that sleeps may stay on its run queue for a while,
/// and the kernel's run_delay counts that too.
bool kernel_may_count_sleep() {
  utsname names{};
  unsigned major = 0;
  unsigned minor = 0;
  if (::uname(&names) != 0 || std::sscanf(names.release, "%u.%u", &major, &minor) != 2)
    return false;
  return major > 6 || (major == 6 && minor >= 12);
}

/// Such a rung takes its sums from /proc, and misses what lives for less than a reading.
bool sums_are_from_proc(Rung rung) {
  return rung == Rung::kTracepoint || rung == Rung::kPerf || rung == Rung::kProc;
}

/// The kernel's own clock of the CPU time of a process and all that it starts from now on, whoever
/// waits for these or does not. Invalid where the kernel refuses it.
UniqueFd open_family_clock(int32_t pid) {
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_TASK_CLOCK;
  attr.inherit = 1;
  attr.exclude_kernel = 1;  // asks for less privilege; the clock runs in the kernel all the same
  attr.exclude_hv = 1;
  auto opened = open_perf_event(attr, pid, -1);
  return opened.ok() ? std::move(opened).value() : UniqueFd();
}

class OpenProbes final : public Probes {
 public:
  OpenProbes(Subject subject, const ProbeOptions& options)
      : subject_(std::move(subject)),
        proc_(options.proc_root),
        tree_(subject_, proc_),
        resources_(proc_, subject_.cgroup_directory),
        cgroup_path_(subject_) {}

  void open(const ProbeOptions& options) {
    begin_ns_ = monotonic_now_ns();  // what is measured while opening is in the first interval
    if (subject_.kind == SubjectSpec::Kind::kNone) {
      for (const char* probe :
           {"scheduler", "resources", "timers", "sockets", "accepts", "replies", "syscalls"})
        status_.push_back({probe, Rung::kNone, "no subject: name a command, --pid or --cgroup"});
      return;
    }
    if (!subject_.remark.empty()) events_.push_back(subject_.remark);
    tree_.update();
    if (tree_.has_own_process())
      events_.emplace_back(
          subject_.kind == SubjectSpec::Kind::kCgroup
              ? "topspin itself runs in the cgroup that it watches: its own threads are left out "
                "(the cgroup's own sums, memory and perf counters, have them)"
              : "topspin itself is a descendant of the process that it watches: its own threads "
                "are left out");
    open_scheduler(options);
    if (subject_.kind == SubjectSpec::Kind::kProcessTree && scheduler_ &&
        sums_are_from_proc(status_.front().rung))
      family_clock_ = open_family_clock(subject_.pid);
    const auto forced = options.forced.find("resources");
    if (forced == options.forced.end() || forced->second == Rung::kProc) {
      reads_resources_ = true;
      if (subject_.pid != 0) resources_.begin_pressure(subject_.pid);
      status_.push_back({"resources", Rung::kProc, ""});
    } else {
      status_.push_back({"resources", Rung::kNone, "only the rung proc measures resources"});
    }
    const std::string missing = scheduler_ ? scheduler_->timers_missing() : "no scheduler probe";
    status_.push_back({"timers", missing.empty() ? Rung::kRawTracepoint : Rung::kNone, missing});
    open_sockets(options);
    open_syscalls(options);
    if (options.counters)
      open_perf("counters", options, counters_, [&] { return Counters::open(subject_, proc_); });
    if (options.stacks_per_second > 0)
      open_perf("stacks", options, stacks_,
                [&] { return CpuStacks::open(subject_, options.stacks_per_second, proc_); });
    open_events();
  }

  const std::vector<ProbeStatus>& status() const override { return status_; }

  ProbeInterval take_interval() override {
    follow_cgroup();
    ProbeInterval interval;
    interval.begin_ns = begin_ns_;
    std::vector<int32_t> processes;
    std::optional<int64_t> minor_faults;
    std::optional<int64_t> major_faults;
    if (scheduler_) {
      SchedulerReading reading = scheduler_->read();
      interval.scheduler = growth(reading.totals, previous_.totals);
      sums_.merge(*interval.scheduler);
      uint64_t family_ns = 0;
      if (family_clock_ &&
          ::read(family_clock_.get(), &family_ns, sizeof family_ns) == sizeof family_ns)
        family_cpu_ns_ = family_ns;
      interval.losses = growth(reading.losses, previous_.losses);
      if (reading.bpf_ns) interval.bpf_ns = *reading.bpf_ns - previous_.bpf_ns.value_or(0);
      interval.changed_threads = std::move(reading.changed_threads);
      processes = std::move(reading.processes);
      if (reading.minor_faults) minor_faults = static_cast<int64_t>(*reading.minor_faults);
      if (reading.major_faults) major_faults = static_cast<int64_t>(*reading.major_faults);
      SchedulerInterval kept = std::move(previous_.totals);
      keep_grown(kept, reading.totals);
      previous_ = std::move(reading);
      previous_.totals = std::move(kept);
      if (const auto test = self_test();
          !sleep_told_ && test && test->verdict == SchedulerSelfTest::Verdict::kKernelCountsSleep) {
        sleep_told_ = true;
        events_.push_back(test->sentence);
      }
    } else if (subject_.kind != SubjectSpec::Kind::kNone) {
      tree_.update();
      processes = tree_.processes();
    }
    interval.end_ns = monotonic_now_ns();
    begin_ns_ = interval.end_ns;
    if (reads_resources_) {
      interval.resources = resources_.read(processes, interval.end_ns);
      interval.pressure = resources_.pressure();
      // The kernel's own count per thread has those too that nobody waited for.
      if (minor_faults) interval.resources->minor_faults = minor_faults;
      if (major_faults) interval.resources->major_faults = major_faults;
      // A process tree that has ended holds nothing that could be read: no number, rather than
      // none.
      if (subject_.kind == SubjectSpec::Kind::kProcessTree && processes.empty())
        interval.resources->processes.reset();
    }
    take_sockets(processes, interval);
    take_syscalls(interval);
    if (counters_) {
      interval.counters = counters_->take_interval();
      interval.losses.counter_threads_missed =
          counters_->threads_missed() - std::exchange(threads_missed_, counters_->threads_missed());
    }
    if (stacks_) {
      CpuStackInterval stacks = stacks_->take_interval();
      interval.changed_stacks = std::move(stacks.changed);
      interval.losses.stack_samples_lost = stacks.samples_lost;
      interval.losses.stacks_unstored = stacks.samples_unstored;
    }
    // A cgroup may be empty now and then; a process tree never comes back.
    interval.subject_alive = subject_.kind != SubjectSpec::Kind::kProcessTree || !processes.empty();
    return interval;
  }

  std::vector<std::string> take_events() override { return std::exchange(events_, {}); }
  int event_fd() const override { return event_fd_.get(); }
  void handle_events() override {
    if (socket_times_) socket_times_->handle_notices();
    follow_cgroup();
  }

  LossInterval end_losses() const override {
    LossInterval losses;
    losses.scheduler_right_censored = previous_.open_waits;
    return losses;
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
    if (!scheduler_) return doubts;
    // A process that nobody waits for is not in `usage`: its parent ignores SIGCHLD, or has ended.
    std::optional<CommandUsage> charged = usage;
    if (is_command && family_cpu_ns_) {
      if (!charged) charged.emplace();
      charged->cpu_ns = std::max(charged->cpu_ns, *family_cpu_ns_);
    }
    const Rung rung = status_.front().rung;
    if (charged) {
      if (auto doubt = doubt_sums(rung, sums_, *charged)) {
        doubts.push_back(std::move(*doubt));
        return doubts;
      }
    }
    // Without the kernel's clock nothing tells how much such a rung missed.
    if (sums_are_from_proc(rung) && (!is_command || !family_cpu_ns_)) {
      doubts.push_back(
          fmt::format("the scheduler was watched by {}, which sees only part of what processes and "
                      "threads do that live for less than a tick{}",
                      rung_name(rung),
                      is_command ? ", and perf events, which would tell how much that is, are "
                                   "refused here"
                                 : ""));
    }
    return doubts;
  }

  std::vector<int> capabilities_needed() const override {
    std::vector<int> needed;
    if (subject_.kind == SubjectSpec::Kind::kNone) return needed;
    if (bpf_ && kernel_restricts_open_bpf()) needed.push_back(CAP_BPF);
    // Another user's smaps_rollup, maps and fd; kept only if it is there.
    if (reads_resources_ && has_effective_capability(CAP_SYS_PTRACE))
      needed.push_back(CAP_SYS_PTRACE);
    return needed;
  }

 private:
  /// Whoever waits for events waits for all of them at one descriptor.
  void open_events() {
    event_fd_.reset(::epoll_create1(EPOLL_CLOEXEC));
    for (const int fd :
         {socket_times_ ? socket_times_->notice_fd() : -1, cgroup_path_.notice_fd()}) {
      epoll_event event{};
      event.events = EPOLLIN;
      if (fd >= 0 && event_fd_) (void)::epoll_ctl(event_fd_.get(), EPOLL_CTL_ADD, fd, &event);
    }
  }

  void follow_cgroup() {
    auto change = cgroup_path_.look();
    if (!change) return;
    if (change->new_id != 0) {
      subject_.cgroup_id = change->new_id;
      if (scheduler_) scheduler_->follow_cgroup(change->new_id);
      if (socket_times_) socket_times_->follow_cgroup(change->new_id);
      if (syscalls_) syscalls_->follow_cgroup(change->new_id);
      if (counters_) change->sentence += "; perf counters stay with the one that is gone";
    }
    events_.push_back(std::move(change->sentence));
  }

  /// A probe on perf events, which have one rung.
  template <typename Probe, typename Open>
  void open_perf(const char* name, const ProbeOptions& options, std::optional<Probe>& into,
                 Open open) {
    const auto forced = options.forced.find(name);
    if (forced != options.forced.end() && forced->second != Rung::kPerf) {
      status_.push_back({name, Rung::kNone, fmt::format("only the rung perf has {}", name)});
      return;
    }
    auto opened = open();
    if (!opened.ok()) {
      status_.push_back({name, Rung::kNone, opened.error().message});
      return;
    }
    into.emplace(std::move(opened).value());
    status_.push_back({name, Rung::kPerf, into->reason()});
  }

  void open_scheduler(const ProbeOptions& options) {
    const auto forced = options.forced.find("scheduler");
    ProbeStatus status{"scheduler", Rung::kNone, ""};
    std::string reasons;
    for (const Rung rung : kSchedulerLadder) {
      if (forced != options.forced.end() && forced->second != rung) continue;
      auto opened = open_scheduler_rung(rung, subject_, options, proc_);
      if (opened.ok()) {
        scheduler_ = std::move(opened).value();
        status.rung = rung;
        bpf_ = rung == Rung::kTpBtf || rung == Rung::kRawTracepoint || rung == Rung::kTracepoint;
        break;
      }
      if (!reasons.empty()) reasons += "; ";
      reasons += fmt::format("{}: {}", rung_name(rung), opened.error().message);
    }
    if (forced != options.forced.end() && reasons.empty()) {
      reasons = status.rung == Rung::kNone
                    ? fmt::format("the scheduler probe has no rung {}", rung_name(forced->second))
                : status.rung == Rung::kTpBtf ? ""
                                              : "forced";
    }
    status.reason = reasons;
    status_.push_back(std::move(status));
  }

  /// Whether the user left this rung to this probe.
  static bool may_use(const ProbeOptions& options, const char* probe, Rung rung) {
    const auto forced = options.forced.find(probe);
    return forced == options.forced.end() || forced->second == rung;
  }

  void open_sockets(const ProbeOptions& options) {
    ProbeStatus queues{"sockets", Rung::kNone, "only the rung proc reads the sockets"};
    if (may_use(options, "sockets", Rung::kProc)) {
      auto opened = SocketQueues::open(subject_, options.proc_root, options.max_sockets);
      queues.rung = opened.ok() ? Rung::kProc : Rung::kNone;
      queues.reason = opened.ok() ? "" : opened.error().message;
      if (opened.ok()) socket_queues_ = std::move(opened).value();
    }
    status_.push_back(std::move(queues));

    constexpr const char* kOnlyBpf = "only the rung tp_btf measures it";
    ProbeStatus accepts{"accepts", Rung::kNone, kOnlyBpf};
    ProbeStatus replies{"replies", Rung::kNone, kOnlyBpf};
    const SocketFeatures wanted{may_use(options, "accepts", Rung::kTpBtf),
                                may_use(options, "replies", Rung::kTpBtf)};
    // Both at once; if the kernel refuses that, each by itself.
    open_socket_times(wanted, accepts, replies);
    if (!socket_times_ && wanted.accepts && wanted.replies) {
      open_socket_times({true, false}, accepts, replies);
      if (!socket_times_) open_socket_times({false, true}, accepts, replies);
    }
    status_.push_back(std::move(accepts));
    status_.push_back(std::move(replies));
  }

  void open_socket_times(const SocketFeatures& features, ProbeStatus& accepts,
                         ProbeStatus& replies) {
    if (!features.accepts && !features.replies) return;
    auto opened =
        SocketTimes::open(subject_, features, scheduler_ ? scheduler_->task_storage_fd() : -1);
    for (auto* status :
         {features.accepts ? &accepts : nullptr, features.replies ? &replies : nullptr}) {
      if (!status) continue;
      status->rung = opened.ok() ? Rung::kTpBtf : Rung::kNone;
      status->reason = opened.ok() ? "" : "tp_btf: " + opened.error().message;
    }
    if (opened.ok()) socket_times_ = std::move(opened).value();
    bpf_ |= opened.ok();
  }

  void open_syscalls(const ProbeOptions& options) {
    ProbeStatus status{"syscalls", Rung::kNone, "not asked for: --syscalls"};
    if (options.syscalls) {
      std::string refused;
      for (const Rung rung : {Rung::kTpBtf, Rung::kTracepoint}) {
        if (!may_use(options, "syscalls", rung)) continue;
        auto opened = rung == Rung::kTpBtf
                          ? SyscallProbe::open_tp_btf(subject_)
                          : SyscallProbe::open_tracepoint(subject_, options.max_threads, proc_);
        if (opened.ok()) {
          status.rung = rung;
          syscalls_ = std::move(opened).value();
          bpf_ = true;
          break;
        }
        refused += fmt::format("{}{}: {}", refused.empty() ? "" : "; ", rung_name(rung),
                               opened.error().message);
      }
      status.reason = refused.empty() && !syscalls_
                          ? "only the rungs tp_btf and tracepoint measure them"
                          : refused;
    }
    status_.push_back(std::move(status));
  }

  void take_sockets(const std::vector<int32_t>& processes, ProbeInterval& interval) {
    SocketInterval sockets;
    if (socket_queues_) {
      SocketLedger::Reading reading = socket_queues_->read(processes);
      sockets = std::move(reading.interval);
      interval.changed_sockets = std::move(reading.changed);
      interval.losses.socket_rows_unstored += reading.rows_unstored;
    }
    if (socket_times_) {
      SocketTimesReading reading = socket_times_->read();
      SocketInterval times = reading.totals;
      subtract_histograms(times, previous_sockets_.totals);
      if (times.replies_multiplexed)
        *times.replies_multiplexed -= previous_sockets_.totals.replies_multiplexed.value_or(0);
      sockets.merge(times);
      // Between two ticks a queue may have been fuller than at either.
      if (reading.accept_queue_max > sockets.accept_queue_max) {
        sockets.accept_queue_max = reading.accept_queue_max;
        sockets.accept_queue_limit = reading.accept_queue_limit;
      }
      if (reading.udp_drops) add_unlisted_drops(*reading.udp_drops, sockets);
      interval.losses.merge(growth(reading.losses, previous_sockets_.losses));
      add_bpf_ns(interval, reading.bpf_ns - previous_sockets_.bpf_ns);
      previous_sockets_ = std::move(reading);
    }
    if (socket_queues_ || socket_times_) interval.sockets = std::move(sockets);
  }

  /// The sockets' own counts have every kind of drop, and miss what a socket dropped between the
  /// last tick and its end; `seen` (since opening) has that, and of drops only those for want of
  /// room. Neither counts one twice, so the greater is right.
  void add_unlisted_drops(uint64_t seen, SocketInterval& sockets) {
    drops_listed_ += sockets.udp_drops.value_or(0);
    const uint64_t all = std::max(drops_listed_, seen);
    sockets.udp_drops = all - drops_told_;
    drops_told_ = all;
  }

  void take_syscalls(ProbeInterval& interval) {
    if (!syscalls_) return;
    SyscallReading reading = syscalls_->read();
    interval.changed_syscalls = std::move(reading.changed);
    interval.losses.merge(growth(reading.losses, previous_syscalls_.losses));
    add_bpf_ns(interval, reading.bpf_ns - previous_syscalls_.bpf_ns);
    previous_syscalls_ = std::move(reading);
  }

  /// Zero: the kernel does not count it.
  static void add_bpf_ns(ProbeInterval& interval, int64_t run_ns) {
    if (run_ns > 0) interval.bpf_ns = interval.bpf_ns.value_or(0) + run_ns;
  }

  Subject subject_;
  ProcReader proc_;
  ProcessTree tree_;
  ResourceProbe resources_;
  CgroupPath cgroup_path_;
  UniqueFd event_fd_;
  std::vector<std::string> events_;        // to be told
  SchedulerInterval sums_;                 // of the intervals told
  UniqueFd family_clock_;                  // of a subject whose rung may miss something
  std::optional<uint64_t> family_cpu_ns_;  // by it, as of the last interval
  bool sleep_told_ = false;                // that the kernel counts sleep as wait
  std::unique_ptr<SchedulerRung> scheduler_;
  std::optional<Counters> counters_;
  uint64_t threads_missed_ = 0;  // as told already
  std::optional<CpuStacks> stacks_;
  bool bpf_ = false;
  bool reads_resources_ = false;
  std::vector<ProbeStatus> status_;
  SchedulerReading previous_;
  std::unique_ptr<SocketQueues> socket_queues_;
  std::unique_ptr<SocketTimes> socket_times_;
  SocketTimesReading previous_sockets_;
  uint64_t drops_listed_ = 0;  // by the sockets themselves, since opening
  uint64_t drops_told_ = 0;
  std::unique_ptr<SyscallProbe> syscalls_;
  SyscallReading previous_syscalls_;
  int64_t begin_ns_ = 0;
};

}  // namespace

SchedulerSelfTest judge_self_test(uint64_t histogram_sum_ns, uint64_t run_delay_ns, uint64_t waits,
                                  bool kernel_counts_sleep) {
  // The kernel counts no wait where it spares itself reading its clock: some 10 us at each.
  constexpr uint64_t kUncountedNs = 20'000;
  constexpr uint64_t kSlackNs = 10 * kNanosPerMilli;
  SchedulerSelfTest test{histogram_sum_ns, run_delay_ns, waits, SchedulerSelfTest::Verdict::kAgree,
                         ""};
  const uint64_t share = std::max(histogram_sum_ns, run_delay_ns) / 100;
  const auto text = [](uint64_t ns) { return format_duration(static_cast<int64_t>(ns)); };
  if (run_delay_ns > histogram_sum_ns + share + kSlackNs) {
    if (kernel_counts_sleep) {
      test.verdict = SchedulerSelfTest::Verdict::kKernelCountsSleep;
      test.sentence = fmt::format(
          "the kernel counts sleep as wait: its run_delay is {}, while the waits of the same "
          "threads "
          "add up to {}; the run's waits are the latter",
          text(run_delay_ns), text(histogram_sum_ns));
      return test;
    }
  } else if (histogram_sum_ns <= run_delay_ns + share + kSlackNs + waits * kUncountedNs) {
    return test;
  }
  test.verdict = SchedulerSelfTest::Verdict::kDiffer;
  test.sentence = fmt::format(
      "the waits for a CPU add up to {}, while the kernel's own account of the same threads is {}",
      text(histogram_sum_ns), text(run_delay_ns));
  return test;
}

std::optional<std::string> doubt_sums(Rung rung, const SchedulerInterval& sums,
                                      const CommandUsage& usage) {
  // What the command does between its end and ours, and before it is released, is not much.
  constexpr uint64_t kSlackNs = 50 * kNanosPerMilli;
  constexpr uint64_t kSlackSwitches = 100;
  const auto misses = [](std::optional<uint64_t> counted, uint64_t truth, uint64_t slack) {
    return counted && *counted + truth / 20 + slack < truth;
  };
  const auto part = [](uint64_t counted, uint64_t truth) {
    return 100 * static_cast<double>(counted) / static_cast<double>(truth);
  };
  std::string found;
  const auto say = [&](std::string text) {
    found += found.empty() ? "" : ", ";
    found += text;
  };
  // rusage has whole microseconds; who is waited for by nobody is in no rusage, so more is no
  // doubt.
  if (misses(sums.cpu_ns, usage.cpu_ns, kSlackNs))
    say(fmt::format(
        "{} of {} of CPU time ({:.0f}%)", format_duration(static_cast<int64_t>(*sums.cpu_ns)),
        format_duration(static_cast<int64_t>(usage.cpu_ns)), part(*sums.cpu_ns, usage.cpu_ns)));
  const std::pair<const char*, std::pair<std::optional<uint64_t>, uint64_t>> switches[] = {
      {"voluntary", {sums.voluntary_switches, usage.voluntary_switches}},
      {"involuntary", {sums.involuntary_switches, usage.involuntary_switches}}};
  for (const auto& [kind, numbers] : switches) {
    const auto& [counted, truth] = numbers;
    if (misses(counted, truth, kSlackSwitches))
      say(fmt::format("{} of {} {} switches ({:.0f}%)", *counted, truth, kind,
                      part(*counted, truth)));
  }
  if (found.empty()) return std::nullopt;
  const bool bpf = rung == Rung::kTpBtf || rung == Rung::kRawTracepoint;
  return fmt::format(
      "the scheduler was watched by {}{}: it saw {} of what the kernel charged the "
      "command",
      rung_name(rung), bpf ? "" : ", which sees only a part of short-lived processes", found);
}

SchedulerRungResult open_scheduler_rung(Rung rung, const Subject& subject,
                                        const ProbeOptions& options, ProcReader& proc) {
  switch (rung) {
    case Rung::kTpBtf: return open_scheduler_tp_btf(subject, options);
    case Rung::kRawTracepoint: return open_scheduler_raw_tp(subject, options, proc);
    case Rung::kProc: return open_scheduler_proc(subject, options, proc);
    case Rung::kTracepoint: return open_scheduler_tracepoint(subject, options, proc);
    case Rung::kPerf: return open_scheduler_perf(subject, options, proc);
    case Rung::kNone: break;
  }
  return make_error(ErrorCode::kUnsupported,
                    fmt::format("the scheduler probe has no rung {}", rung_name(rung)));
}

Result<std::unique_ptr<Probes>> Probes::open(const SubjectSpec& spec, const ProbeOptions& options) {
  ProcReader proc(options.proc_root);
  TOPSPIN_ASSIGN(Subject subject, resolve_subject(spec, proc));
  auto probes = std::make_unique<OpenProbes>(std::move(subject), options);
  probes->open(options);
  return Result<std::unique_ptr<Probes>>(std::move(probes));
}

std::string bpf_library_version() { return libbpf_version_string(); }

}  // namespace topspin
