// The ladder: different rungs on one workload, forced rungs, fewer privileges, cgroups, and the
// resources of a subject that holds known amounts.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "probes/proc/proc_reader.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/own_cgroup.h"
#include "tests/probes/probe_fixture.h"
#include "tests/support/in_child.h"

namespace topspin {
namespace {

using testing::HasSubstr;

constexpr int64_t kMilli = kNanosPerMilli;

void sleep_ms(int64_t ms) {
  const timespec pause{ms / 1000, (ms % 1000) * kMilli};
  ::nanosleep(&pause, nullptr);
}

/// The CPU time of this process.
int64_t cpu_clock_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * kNanosPerSecond + now.tv_nsec;
}

void expect_close(uint64_t actual, uint64_t expected, double share, uint64_t slack,
                  std::string_view what) {
  const double difference = static_cast<double>(actual) - static_cast<double>(expected);
  EXPECT_LE(std::abs(difference),
            share * static_cast<double>(expected) + static_cast<double>(slack))
      << what << ": " << actual << " instead of " << expected;
}

/// Leaves this process only `kept` as effective and permitted capabilities. This cannot be undone,
/// so it is called in a child.
void keep_only_capabilities(const std::vector<cap_value_t>& kept) {
  cap_t state = ::cap_init();
  if (!kept.empty()) {
    for (const cap_flag_t flag : {CAP_EFFECTIVE, CAP_PERMITTED})
      CHECK(::cap_set_flag(state, flag, static_cast<int>(kept.size()), kept.data(), CAP_SET) == 0);
  }
  CHECK(::cap_set_proc(state) == 0);
  ::cap_free(state);
}

/// The rung, what one interval holds, and the reason, such as
/// "proc | cpu yes | histogram no | resources yes | needs cap_bpf".
std::string describe_probes(const ProbeOptions& options,
                            const std::function<void(const Probes&)>& after_open) {
  ForkedSubject subject([] { burn_cpu_ns(50 * kMilli); });
  auto probes = Probes::open(process_tree(subject.pid()), options);
  if (!probes.ok()) return "error: " + probes.error().message;
  after_open(**probes);
  subject.run();
  const ProbeInterval interval = (*probes)->take_interval();
  const bool cpu = interval.scheduler && interval.scheduler->cpu_ns &&
                   *interval.scheduler->cpu_ns >= static_cast<uint64_t>(49 * kMilli);
  const bool histogram = interval.scheduler && interval.scheduler->run_queue_latency &&
                         interval.scheduler->run_queue_latency->count() > 0;
  const bool resources = interval.resources && interval.resources->rss_bytes &&
                         interval.resources->pss_bytes && interval.resources->fds;
  const ProbeStatus& status = (*probes)->status()[0];
  return fmt::format("{} | cpu {} | histogram {} | resources {} | {}", rung_name(status.rung),
                     cpu ? "yes" : "no", histogram ? "yes" : "no", resources ? "yes" : "no",
                     status.reason);
}

TEST(Ladder, every_rung_says_the_same_of_one_workload) {
  SKIP_WITHOUT_BPF();
  ForkedSubject subject([] {
    pin_to_cpu(0);
    ping_pong(2'000);
    burn_cpu_ns(100 * kMilli);
    // The partner stays alive, so that the rung that does not see exits also measures all of it.
    const pid_t partner = ::fork();
    if (partner == 0) {
      burn_cpu_ns(100 * kMilli);
      ::pause();
    }
    burn_cpu_ns(100 * kMilli);
    sleep_ms(50);
    ::kill(partner, SIGKILL);
    ::waitpid(partner, nullptr, 0);
  });
  OPEN_ON_RUNG(top, process_tree(subject.pid()), on_rung(Rung::kTpBtf), Rung::kTpBtf);
  OPEN_ON_RUNG(raw, process_tree(subject.pid()), on_rung(Rung::kRawTracepoint),
               Rung::kRawTracepoint);
  OPEN_ON_RUNG(proc, process_tree(subject.pid()), on_rung(Rung::kProc), Rung::kProc);
  subject.go();
  // /proc does not show what a thread does after its last reading.
  SchedulerInterval proc_sums;
  for (int tick = 0; tick < 40; ++tick) {
    sleep_ms(20);
    const ProbeInterval interval = proc->take_interval();
    const SchedulerInterval& part = *interval.scheduler;
    proc_sums.cpu_ns = proc_sums.cpu_ns.value_or(0) + *part.cpu_ns;
    proc_sums.run_queue_wait_ns = proc_sums.run_queue_wait_ns.value_or(0) + *part.run_queue_wait_ns;
    EXPECT_FALSE(part.run_queue_latency);  // absent, not empty
    EXPECT_EQ(part.run_queue_wait_ns, part.kernel_run_delay_ns);
    EXPECT_FALSE(part.migrations);
  }
  subject.wait_done();
  sleep_ms(10);
  const ProbeInterval top_interval = top->take_interval();
  const ProbeInterval raw_interval = raw->take_interval();
  const SchedulerInterval& a = *top_interval.scheduler;
  const SchedulerInterval& b = *raw_interval.scheduler;
  expect_close(*b.cpu_ns, *a.cpu_ns, 0.001, 200'000, "raw_tp cpu");
  expect_close(*b.kernel_run_delay_ns, *a.kernel_run_delay_ns, 0.001, 100'000, "raw_tp run_delay");
  expect_close(*b.voluntary_switches, *a.voluntary_switches, 0, 2, "raw_tp voluntary");
  expect_close(*b.involuntary_switches, *a.involuntary_switches, 0, 2, "raw_tp involuntary");
  expect_close(*b.migrations, *a.migrations, 0, 1, "raw_tp migrations");
  expect_close(b.run_queue_latency->count(), a.run_queue_latency->count(), 0, 2, "raw_tp waits");
  expect_close(b.run_queue_latency->sum(), a.run_queue_latency->sum(), 0.01, 0, "raw_tp sum");
  expect_close(*proc_sums.cpu_ns, *a.cpu_ns, 0.10, 20 * kMilli, "proc cpu");
}

/// Gives this process its own mount namespace. Called in a child.
void leave_mount_namespace() {
  CHECK(::unshare(CLONE_NEWNS) == 0);
  CHECK(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
}
void mount_over(const char* type, const char* path) {
  // EBUSY: it is already mounted there.
  CHECK(::mount("none", path, type, 0, nullptr) == 0 || errno == EBUSY);
}

TEST(Ladder, tracepoints_need_no_btf_and_agree_with_the_top_rung) {
  SKIP_WITHOUT_BPF();
  if (!has_effective_capability(CAP_SYS_ADMIN)) GTEST_SKIP() << "needs cap_sys_admin to mount";
  const std::string text = in_child([]() -> std::string {
    ForkedSubject busy([] {
      pin_to_cpu(0);
      burn_cpu_ns(300 * kMilli);
    });
    ForkedSubject subject([] {
      pin_to_cpu(0);
      ping_pong(3'000);
      const pid_t partner = ::fork();
      if (partner == 0) {
        burn_cpu_ns(100 * kMilli);
        ::_exit(0);
      }
      burn_cpu_ns(100 * kMilli);
      ::waitpid(partner, nullptr, 0);
      sleep_ms(50);
    });
    auto top = Probes::open(process_tree(subject.pid()), on_rung(Rung::kTpBtf));
    leave_mount_namespace();
    mount_over("tracefs", "/sys/kernel/tracing");
    mount_over("tmpfs", "/sys/kernel/btf");
    auto tracepoint = Probes::open(process_tree(subject.pid()), on_rung(Rung::kTracepoint));
    CHECK(top.ok() && tracepoint.ok());
    if ((*tracepoint)->status()[0].rung != Rung::kTracepoint)
      return (*tracepoint)->status()[0].reason;
    busy.go();
    subject.run();
    busy.wait_done();
    sleep_ms(10);
    const SchedulerInterval a = *(*top)->take_interval().scheduler;
    const ProbeInterval interval = (*tracepoint)->take_interval();
    const SchedulerInterval& b = *interval.scheduler;
    std::string differences;
    const auto compare = [&](std::string_view what, uint64_t actual, uint64_t expected,
                             double share, uint64_t slack) {
      const double difference = static_cast<double>(actual) - static_cast<double>(expected);
      if (std::abs(difference) > share * static_cast<double>(expected) + static_cast<double>(slack))
        differences += fmt::format("{}: {} instead of {}; ", what, actual, expected);
    };
    const auto compare_histograms = [&](std::string_view what, const std::optional<Histogram>& own,
                                        const std::optional<Histogram>& expected) {
      compare(what, own->count(), expected->count(), 0.01, 3);
      // The time stamps of the two BPF programs differ by a microsecond or two.
      compare(what, own->sum(), expected->sum(), 0.02, 2 * kMilli + 2'000 * expected->count());
    };
    compare_histograms("queue_wait", b.queue_wait, a.queue_wait);
    compare_histograms("preemption_wait", b.preemption_wait, a.preemption_wait);
    compare_histograms("on_cpu", b.on_cpu, a.on_cpu);
    compare("sleeping", *b.off_cpu[0].ns, *a.off_cpu[0].ns, 0.05, 5 * kMilli);
    if (b.preempted_by[0].count || b.wake_delivery) differences += "not absent; ";
    uint64_t waits = 0;
    for (const ThreadRow& row : interval.changed_threads)
      if (row.tid == subject.pid() && row.run_queue_wait) waits = row.run_queue_wait->count();
    if (waits < 1'000) differences += "the subject's row has no distribution; ";
    return fmt::format("{} preemptions | {}", a.preemption_wait->count() > 20 ? "many" : "few",
                       differences);
  });
  EXPECT_EQ(text, "many preemptions | ");
}

TEST(Ladder, without_tracefs_the_tracepoint_rung_says_how_to_get_it) {
  SKIP_WITHOUT_BPF();
  if (!has_effective_capability(CAP_SYS_ADMIN)) GTEST_SKIP() << "needs cap_sys_admin to mount";
  const std::string text = in_child([] {
    leave_mount_namespace();
    mount_over("tmpfs", "/sys/kernel");
    ForkedSubject subject([] {});
    auto probes = Probes::open(process_tree(subject.pid()), on_rung(Rung::kTracepoint));
    CHECK(probes.ok());
    return (*probes)->status()[0].reason;
  });
  EXPECT_THAT(text, HasSubstr("mount -t tracefs"));
}

/// Why perf events cannot be expected here; nullopt if they can.
std::optional<std::string> no_perf_reason() {
  std::ifstream file("/proc/sys/kernel/perf_event_paranoid");
  int paranoid = 4;
  file >> paranoid;
  if (paranoid > 2)
    return fmt::format("needs kernel.perf_event_paranoid of 2 or less: it is {}", paranoid);
  return std::nullopt;
}

TEST(Ladder, perf_sees_the_same_slices_and_preemptions_as_the_top_rung) {
  SKIP_WITHOUT_BPF();
  if (const auto reason = no_perf_reason()) GTEST_SKIP() << *reason;
  ForkedSubject busy([] {
    pin_to_cpu(0);
    burn_cpu_ns(300 * kMilli);
  });
  Shared<uint64_t> ping_pong_cpu_ns;
  constexpr int kRounds = 3'000;
  ForkedSubject subject([&] {
    pin_to_cpu(0);
    const int64_t begin_ns = cpu_clock_ns();
    ping_pong(kRounds);
    *ping_pong_cpu_ns.operator->() = static_cast<uint64_t>(cpu_clock_ns() - begin_ns);
    const pid_t partner = ::fork();
    if (partner == 0) {
      burn_cpu_ns(100 * kMilli);
      ::_exit(0);
    }
    burn_cpu_ns(100 * kMilli);
    ::waitpid(partner, nullptr, 0);
    sleep_ms(20);
  });
  OPEN_ON_RUNG(top, process_tree(subject.pid()), on_rung(Rung::kTpBtf), Rung::kTpBtf);
  OPEN_ON_RUNG(perf, process_tree(subject.pid()), on_rung(Rung::kPerf), Rung::kPerf);
  busy.go();
  subject.run();
  busy.wait_done();
  sleep_ms(10);
  const ProbeInterval top_interval = top->take_interval();
  const SchedulerInterval a = *top_interval.scheduler;
  const ProbeInterval perf_interval = perf->take_interval();
  const SchedulerInterval& b = *perf_interval.scheduler;
  EXPECT_EQ(perf_interval.losses.scheduler_ring_full, 0u);
  // The cost of one round on this machine, including the work of both rungs.
  const uint64_t switch_cost_ns = *ping_pong_cpu_ns.operator->() / kRounds;
  ASSERT_GT(a.preemption_wait->count(), 20u);
  // The top rung misses the switches that the kernel hides, and the slices before and after them.
  // The length of these slices is the difference between the CPU time that the kernel charged and
  // the slices that the rung saw.
  const uint64_t hidden = top_interval.losses.scheduler_hidden_switches;
  const uint64_t hidden_ns =
      *a.cpu_ns > a.on_cpu->sum() ? *a.cpu_ns - a.on_cpu->sum() : a.on_cpu->sum() - *a.cpu_ns;
  // A slice of one rung contains the other rung's work at a switch, which is a part of the cost.
  const uint64_t work_ns = 2 * switch_cost_ns * a.on_cpu->count();
  expect_close(b.on_cpu->count(), a.on_cpu->count(), 0.01, 3 + 2 * hidden, "slices");
  expect_close(b.on_cpu->sum(), a.on_cpu->sum(), 0.02, 2 * kMilli + hidden_ns + work_ns,
               "time on CPU");
  expect_close(b.preemption_wait->count(), a.preemption_wait->count(), 0.02, 3 + 2 * hidden,
               "preemptions");
  EXPECT_FALSE(b.queue_wait);  // perf does not show wakeups: absent, not empty
  EXPECT_FALSE(b.run_queue_latency);
  EXPECT_FALSE(b.preempted_by[0].count);
  bool has_distribution = false;
  for (const ThreadRow& row : perf_interval.changed_threads)
    has_distribution |= row.tid == subject.pid() && row.on_cpu && row.on_cpu->count() > 1'000;
  EXPECT_TRUE(has_distribution);
  // The three processes on CPU 0 do not wait for each other longer than all of them work.
  if (a.preemption_wait->sum() > static_cast<uint64_t>(3'000 * kMilli))
    GTEST_SKIP() << "needs a quiet CPU 0 to compare the waits: others had it meanwhile";
  // A preemption of which one rung missed the begin or the end may be as long as the longest one.
  const uint64_t unseen = (1 + 2 * hidden) * a.preemption_wait->max().value_or(0) +
                          2 * switch_cost_ns * a.preemption_wait->count();
  expect_close(b.preemption_wait->sum(), a.preemption_wait->sum(), 0.02, 2 * kMilli + unseen,
               "preempted");
}

TEST(Privileges, as_nobody_without_any_own_children_are_seen_by_perf) {
  if (const auto reason = no_perf_reason()) GTEST_SKIP() << *reason;
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become nobody";
  const std::string text = in_child([] {
    CHECK(::setgroups(0, nullptr) == 0 && ::setresgid(65534, 65534, 65534) == 0);
    CHECK(::setresuid(65534, 65534, 65534) == 0);
    // As if nobody had started it. After a change of user, a process may not be inspected by others
    // of that user.
    CHECK(::prctl(PR_SET_DUMPABLE, 1) == 0);
    ForkedSubject subject([] {
      for (int count = 0; count < 20; ++count) {
        burn_cpu_ns(kMilli);
        sleep_ms(1);
      }
    });
    auto probes = Probes::open(process_tree(subject.pid()), {});
    CHECK(probes.ok());
    subject.run();
    const ProbeInterval interval = (*probes)->take_interval();
    return fmt::format(
        "{} | slices {} | cpu {}", rung_name((*probes)->status()[0].rung),
        interval.scheduler->on_cpu && interval.scheduler->on_cpu->count() >= 19 ? "yes" : "no",
        *interval.scheduler->cpu_ns >= 19 * kMilli ? "yes" : "no");
  });
  EXPECT_EQ(text, "perf | slices yes | cpu yes");
}

TEST(Privileges, where_perf_is_refused_proc_is_left) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become nobody";
  const std::string text = in_child([] {
    // The subject belongs to root, and this process becomes nobody.
    ForkedSubject subject([] {});
    CHECK(::setgroups(0, nullptr) == 0 && ::setresgid(65534, 65534, 65534) == 0);
    CHECK(::setresuid(65534, 65534, 65534) == 0);
    auto probes = Probes::open(process_tree(subject.pid()), on_rung(Rung::kPerf));
    CHECK(probes.ok());
    return fmt::format("{} | {}", rung_name((*probes)->status()[0].rung),
                       (*probes)->status()[0].reason);
  });
  EXPECT_THAT(text, testing::StartsWith("none | perf: perf events are refused"));
}

TEST(Ladder, a_forced_rung_that_is_not_there_is_a_reason_and_no_failure) {
  ForkedSubject subject([] {});
  auto probes = Probes::open(process_tree(subject.pid()), on_rung(Rung::kNone));
  ASSERT_TRUE(probes.ok());
  EXPECT_EQ((*probes)->status()[0].name, "scheduler");
  EXPECT_EQ((*probes)->status()[0].rung, Rung::kNone);
  EXPECT_THAT((*probes)->status()[0].reason, HasSubstr("no rung none"));
  const ProbeInterval interval = (*probes)->take_interval();
  EXPECT_FALSE(interval.scheduler);
  ASSERT_TRUE(interval.resources);  // the other probe does not depend on it
  EXPECT_EQ(interval.resources->processes, 1);
  EXPECT_TRUE(interval.subject_alive);
}

TEST(Ladder, no_subject_is_no_probe) {
  auto probes = Probes::open({}, {});
  ASSERT_TRUE(probes.ok());
  const ProbeInterval interval = (*probes)->take_interval();
  EXPECT_FALSE(interval.scheduler);
  EXPECT_FALSE(interval.resources);
  EXPECT_TRUE(interval.subject_alive);
  EXPECT_FALSE((*probes)->self_test());
  for (const ProbeStatus& status : (*probes)->status()) EXPECT_EQ(status.rung, Rung::kNone);
}

TEST(Ladder, a_missing_process_is_an_error_that_says_so) {
  pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ::waitpid(gone, nullptr, 0);
  auto probes = Probes::open(process_tree(gone), {});
  ASSERT_FALSE(probes.ok());
  EXPECT_EQ(probes.error().code, ErrorCode::kUsage);
  EXPECT_THAT(probes.error().message, HasSubstr(std::to_string(gone)));
}

TEST(Privileges, with_none_the_lower_rungs_still_measure) {
  const std::string text = in_child([] {
    keep_only_capabilities({});
    return describe_probes({}, [](const Probes&) {});
  });
  EXPECT_THAT(text, HasSubstr(" | cpu yes | histogram no"));
  EXPECT_THAT(text, HasSubstr("resources yes"));
  EXPECT_THAT(text, HasSubstr("tp_btf: cannot load"));
  EXPECT_THAT(text, HasSubstr("needs cap_bpf and cap_perfmon"));
}

TEST(Privileges, half_of_the_pair_is_not_enough_and_says_so) {
  SKIP_WITHOUT_BPF();
  for (const cap_value_t half : {CAP_BPF, CAP_PERFMON}) {
    const std::string text = in_child([&] {
      keep_only_capabilities({half});
      return describe_probes({}, [](const Probes&) {});
    });
    EXPECT_THAT(text, HasSubstr("cpu yes | histogram no"));
    EXPECT_THAT(text, HasSubstr("needs cap_bpf and cap_perfmon"));
  }
}

TEST(Privileges, cap_bpf_and_cap_perfmon_are_enough) {
  SKIP_WITHOUT_BPF();
  for (const Rung rung : {Rung::kTpBtf, Rung::kRawTracepoint}) {
    const std::string text = in_child([&] {
      keep_only_capabilities({CAP_BPF, CAP_PERFMON});
      return describe_probes(on_rung(rung), [](const Probes&) {});
    });
    EXPECT_THAT(text, HasSubstr("cpu yes | histogram yes | resources yes")) << rung_name(rung);
    EXPECT_THAT(text, testing::StartsWith(rung_name(rung)));
  }
}

TEST(Privileges, once_open_nothing_but_capabilities_needed_is_needed) {
  SKIP_WITHOUT_BPF();
  for (const Rung rung : {Rung::kTpBtf, Rung::kRawTracepoint}) {
    const std::string text = in_child([&] {
      return describe_probes(on_rung(rung), [](const Probes& probes) {
        const std::vector<int> needed = probes.capabilities_needed();
        CHECK(std::ranges::count(needed, CAP_BPF) == 0);  // not needed since Linux 5.19
        keep_only_capabilities({needed.begin(), needed.end()});
      });
    });
    EXPECT_THAT(text, testing::StartsWith(rung_name(rung)));
    EXPECT_THAT(text, HasSubstr("cpu yes | histogram yes | resources yes"));
  }
}

TEST(Privileges, without_btf_the_lower_rungs_say_why) {
  SKIP_WITHOUT_BPF();
  if (!has_effective_capability(CAP_SYS_ADMIN)) GTEST_SKIP() << "needs cap_sys_admin to mount";
  const std::string text = in_child([] {
    CHECK(::unshare(CLONE_NEWNS) == 0);
    CHECK(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    CHECK(::mount("none", "/sys/kernel/btf", "tmpfs", 0, nullptr) == 0);
    return describe_probes({}, [](const Probes&) {});
  });
  // With tracefs the tracepoint rung remains, which has a histogram. Otherwise there are only sums.
  EXPECT_THAT(text, testing::Not(testing::StartsWith("none")));
  EXPECT_THAT(text, HasSubstr("| cpu yes |"));
  EXPECT_THAT(text, HasSubstr("there is no /sys/kernel/btf/vmlinux"));
}

TEST(Privileges, without_btf_system_calls_are_counted_on_tracepoints) {
  SKIP_WITHOUT_BPF();
  if (!has_effective_capability(CAP_SYS_ADMIN)) GTEST_SKIP() << "needs cap_sys_admin to mount";
  if (::access("/sys/kernel/tracing/events/raw_syscalls/sys_enter/format", R_OK) != 0)
    GTEST_SKIP() << "needs tracefs: mount -t tracefs nodev /sys/kernel/tracing";
  const std::string text = in_child([] {
    CHECK(::unshare(CLONE_NEWNS) == 0);
    CHECK(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    CHECK(::mount("none", "/sys/kernel/btf", "tmpfs", 0, nullptr) == 0);
    ProbeOptions options;
    options.syscalls = true;
    auto probes = Probes::open(process_tree(::getpid()), options);
    CHECK(probes.ok());
    for (int count = 0; count < 5; ++count) ::syscall(SYS_getppid);
    std::string said;
    for (const ProbeStatus& status : (*probes)->status()) {
      if (status.name == "syscalls") said = rung_name(status.rung);
    }
    for (const SyscallRow& row : (*probes)->take_interval().changed_syscalls) {
      if (row.name == "getppid") said += fmt::format(" {}", row.count);
    }
    return said;
  });
  EXPECT_EQ(text, "tracepoint 5");
}

TEST(Examine, tries_each_rung_on_itself) {
  const std::vector<RungReport> reports = examine_probes();
  const auto report_of = [&](std::string_view probe, Rung rung) {
    const auto found = std::ranges::find_if(reports, [&](const RungReport& report) {
      return report.probe == probe && report.rung == rung;
    });
    CHECK(found != reports.end());
    return *found;
  };
  std::vector<Rung> ladder;
  for (const RungReport& report : reports)
    if (report.probe == "scheduler") ladder.push_back(report.rung);
  EXPECT_TRUE(std::ranges::is_sorted(ladder));
  EXPECT_EQ(ladder.front(), Rung::kTpBtf);
  EXPECT_TRUE(report_of("scheduler", Rung::kProc).works);
  EXPECT_TRUE(report_of("resources", Rung::kProc).works);
  for (const RungReport& report : reports)
    EXPECT_EQ(report.works, report.reason.empty()) << rung_name(report.rung);
  EXPECT_TRUE(report_of("owners", Rung::kProc).works);
  if (no_bpf_reason()) return;
  for (const Rung rung : {Rung::kTpBtf, Rung::kRawTracepoint, Rung::kPerf})
    EXPECT_TRUE(report_of("scheduler", rung).works) << report_of("scheduler", rung).reason;
  EXPECT_TRUE(report_of("timers", Rung::kRawTracepoint).works);
  EXPECT_TRUE(report_of("owners", Rung::kTpBtf).works) << report_of("owners", Rung::kTpBtf).reason;
  const std::string text = in_child([] {
    keep_only_capabilities({});
    const RungReport report = examine_probes()[0];
    return fmt::format("{} | {} | {}", report.works, report.reason, report.remedy);
  });
  EXPECT_THAT(text, HasSubstr("false | "));
  EXPECT_THAT(text, HasSubstr("setcap cap_bpf,cap_perfmon"));
}

class InCgroup : public testing::TestWithParam<Rung> {
 protected:
  void SetUp() override {
    if (GetParam() != Rung::kProc) SKIP_WITHOUT_BPF();
    if (!cgroup_.missing().empty()) GTEST_SKIP() << cgroup_.missing();
  }
  static uint64_t voluntary_switches(pid_t pid) {
    return ProcReader("/proc").thread_status(pid, pid)->voluntary_switches.value();
  }

  OwnCgroup cgroup_;
};

/// The pipes through which two processes wake each other.
struct Pipes {
  int there[2];
  int back[2];
  Pipes() { CHECK(::pipe(there) == 0 && ::pipe(back) == 0); }
  ~Pipes() {
    for (const int fd : {there[0], there[1], back[0], back[1]}) ::close(fd);
  }
};

TEST_P(InCgroup, only_the_one_inside_is_counted_though_the_one_outside_wakes_it) {
  constexpr int kRounds = 3'000;
  Pipes pipes;
  char byte = 'x';
  ForkedSubject outside([&] {
    pin_to_cpu(0);
    for (int round = 0; round < kRounds; ++round)
      CHECK(::write(pipes.there[1], &byte, 1) == 1 && ::read(pipes.back[0], &byte, 1) == 1);
    burn_cpu_ns(200 * kMilli);
  });
  ForkedSubject inside([&] {
    pin_to_cpu(0);
    for (int round = 0; round < kRounds; ++round)
      CHECK(::read(pipes.there[0], &byte, 1) == 1 && ::write(pipes.back[1], &byte, 1) == 1);
  });
  cgroup_.take_in(inside.pid(), "/inner");  // a cgroup inside the subject's is part of the subject
  OPEN_ON_RUNG(probes, cgroup_.spec(), on_rung(GetParam()), GetParam());
  const uint64_t before = voluntary_switches(inside.pid());
  outside.go();
  inside.run();
  const ProbeInterval interval = probes->take_interval();
  const uint64_t switches = voluntary_switches(inside.pid()) - before;
  ASSERT_GT(switches, 50u);  // in some rounds the byte is already there
  expect_close(*interval.scheduler->voluntary_switches, switches, 0, 2, "voluntary switches");
  EXPECT_EQ(interval.resources->processes, 1);
  if (GetParam() != Rung::kProc)
    expect_close(interval.scheduler->queue_wait->count(), switches, 0, 3, "wakeups");
  for (const ThreadRow& row : interval.changed_threads) EXPECT_EQ(row.pid, inside.pid());
  outside.wait_done();
  EXPECT_LT(*probes->take_interval().scheduler->cpu_ns, static_cast<uint64_t>(50 * kMilli));
}

TEST_P(InCgroup, those_that_come_are_counted_from_then_and_those_that_leave_until_then) {
  ForkedSubject comes([] { burn_cpu_ns(50 * kMilli); });
  ForkedSubject leaves([] { burn_cpu_ns(50 * kMilli); });
  cgroup_.take_in(leaves.pid());
  OPEN_ON_RUNG(probes, cgroup_.spec(), on_rung(GetParam()), GetParam());
  EXPECT_EQ(probes->take_interval().resources->processes, 1);
  cgroup_.take_in(comes.pid());
  cgroup_.put_out(leaves.pid());
  EXPECT_EQ(probes->take_interval().resources->processes, 1);
  leaves.run();
  EXPECT_LT(*probes->take_interval().scheduler->cpu_ns, static_cast<uint64_t>(5 * kMilli));
  comes.run();
  const ProbeInterval interval = probes->take_interval();
  EXPECT_GE(*interval.scheduler->cpu_ns, static_cast<uint64_t>(49 * kMilli));
  comes.leave();
  EXPECT_TRUE(probes->take_interval().subject_alive);  // empty, but it may fill again
}

INSTANTIATE_TEST_SUITE_P(Rungs, InCgroup,
                         testing::Values(Rung::kTpBtf, Rung::kRawTracepoint, Rung::kProc),
                         [](const auto& rung) { return std::string(rung_name(rung.param)); });

TEST(Resources, of_a_process_that_has_ended_are_not_measured_rather_than_none) {
  ForkedSubject subject([] { ::_exit(0); });
  auto probes = Probes::open(process_tree(subject.pid()), {});
  ASSERT_TRUE(probes.ok());
  EXPECT_GT((*probes)->take_interval().resources->fds, 0);
  subject.run();
  const auto after = (*probes)->take_interval().resources;
  ASSERT_TRUE(after);
  EXPECT_EQ(after->processes, std::nullopt);  // absent like the other numbers, not 0
  EXPECT_EQ(after->fds, std::nullopt);
  EXPECT_EQ(after->rss_bytes, std::nullopt);
}

/// What the kernel finds by walking a process's page tables.
struct Walked {
  int64_t rss_bytes = 0;
  int64_t pss_bytes = 0;
  int64_t anonymous_bytes = 0;
};
Walked walk_memory(pid_t pid) {
  Walked walked;
  std::ifstream file(fmt::format("/proc/{}/smaps_rollup", pid));
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key;
    int64_t kib = 0;
    words >> key >> kib;
    if (key == "Rss:") walked.rss_bytes = kib * 1024;
    if (key == "Pss:") walked.pss_bytes = kib * 1024;
    if (key == "Anonymous:") walked.anonymous_bytes = kib * 1024;
  }
  return walked;
}

TEST(Resources, say_what_the_subject_took) {
  constexpr int64_t kTouched = 64 << 20;
  constexpr int64_t kMapped = 1 << 30;
  constexpr int kFds = 40;
  constexpr int64_t kPages = 400;
  ForkedSubject subject([] {
    const int64_t page = ::sysconf(_SC_PAGESIZE);
    const auto map = [](int64_t bytes, int protection) {
      void* area = ::mmap(nullptr, static_cast<size_t>(bytes), protection,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      CHECK(area != MAP_FAILED);
      return static_cast<char*>(area);
    };
    char* touched = map(kTouched, PROT_READ | PROT_WRITE);
    for (int64_t offset = 0; offset < kTouched; offset += page) touched[offset] = 1;
    map(kMapped, PROT_NONE);
    char* pages = map(kPages * page, PROT_READ);
    for (int64_t index = 0; index < kPages; index += 2)
      CHECK(::mprotect(pages + index * page, static_cast<size_t>(page), PROT_NONE) == 0);
    for (int count = 0; count < kFds; ++count) CHECK(::dup(0) >= 0);
  });
  auto probes = Probes::open(process_tree(subject.pid()), {});
  ASSERT_TRUE(probes.ok());
  const ResourceReading before = *(*probes)->take_interval().resources;
  const Walked walked_before = walk_memory(subject.pid());
  subject.run();
  // Readings of pss and mappings may take only a share of the time, so they may come a few ticks
  // later.
  ResourceReading after;
  std::optional<int64_t> mappings;
  std::optional<int64_t> pss_bytes;
  for (int tick = 0; tick < 200 && !(pss_bytes && mappings); ++tick) {
    sleep_ms(100);
    after = *(*probes)->take_interval().resources;
    if (after.mappings) mappings = after.mappings;
    if (after.pss_bytes) pss_bytes = after.pss_bytes;
  }
  const Walked walked_after = walk_memory(subject.pid());
  after.mappings = mappings;
  after.pss_bytes = pss_bytes;
  ASSERT_TRUE(before.pss_bytes && after.pss_bytes && before.mappings && after.mappings);
  const auto expect_growth = [](std::optional<int64_t> now, std::optional<int64_t> then,
                                int64_t expected, int64_t slack, std::string_view what) {
    ASSERT_TRUE(now && then) << what;
    EXPECT_NEAR(static_cast<double>(*now - *then), static_cast<double>(expected),
                static_cast<double>(slack))
        << what;
  };
  // Compares the kernel's counters with its walk of the page tables, which is exact. Each CPU may
  // hold back a batch of pages of each of the four kinds. Both include the sanitizers' shadow
  // memory, and the pages that become the child's own when the parent writes to them.
  const int64_t cpus = ::sysconf(_SC_NPROCESSORS_CONF);
  const int64_t batch = 4 * cpus * std::max<int64_t>(32, 2 * cpus) * ::sysconf(_SC_PAGESIZE);
  expect_growth(before.rss_bytes, 0, walked_before.rss_bytes, batch, "rss before");
  expect_growth(after.rss_bytes, 0, walked_after.rss_bytes, batch, "rss after");
  expect_growth(after.anonymous_bytes, before.anonymous_bytes,
                walked_after.anonymous_bytes - walked_before.anonymous_bytes, 2 * batch,
                "anonymous");
  EXPECT_GE(walked_after.anonymous_bytes - walked_before.anonymous_bytes, kTouched);
  // The parent shares its pages with the subject, and it ran between the two walks.
  constexpr int64_t kOfParent = 4 << 20;
  expect_growth(before.pss_bytes, 0, walked_before.pss_bytes, kOfParent, "pss before");
  expect_growth(after.pss_bytes, 0, walked_after.pss_bytes, kOfParent, "pss after");
  EXPECT_GE(*after.pss_bytes - *before.pss_bytes, kTouched - kOfParent);
  constexpr int64_t kSlack = 4 << 20;
  expect_growth(after.vsz_bytes, before.vsz_bytes, kTouched + kMapped, kSlack, "vsz");
  expect_growth(after.mappings, before.mappings, kPages + 2, 8, "mappings");
  expect_growth(after.fds, before.fds, kFds, 0, "fds");
  const int64_t page = ::sysconf(_SC_PAGESIZE);
  EXPECT_GE(*after.minor_faults - *before.minor_faults, kTouched / page / 512);
  EXPECT_EQ(after.processes, 1);
  EXPECT_EQ(after.threads, 1);
}

TEST(Resources, sum_over_the_tree) {
  ForkedSubject subject([] {
    for (int count = 0; count < 5; ++count) {
      if (::fork() == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::pause();
        ::_exit(0);
      }
    }
  });
  auto probes = Probes::open(process_tree(subject.pid()), {});
  ASSERT_TRUE(probes.ok());
  const ResourceReading before = *(*probes)->take_interval().resources;
  subject.run();
  const ResourceReading after = *(*probes)->take_interval().resources;
  EXPECT_EQ(after.processes, 6);
  EXPECT_EQ(after.threads, 6);
  EXPECT_EQ(*after.fds, *before.fds * 6);
}

}  // namespace
}  // namespace topspin
