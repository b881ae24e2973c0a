// Difficult cases of which threads belong to the subject: exec by another thread than the leader, a
// thread's number given as a process's, a cgroup that is made again, topspin inside its own
// subject, a /proc that hides processes, more threads than rows. Also compares the sums with an
// independent source.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <latch>
#include <map>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "probes/proc/proc_reader.h"
#include "probes/scheduler/doubts.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/own_cgroup.h"
#include "tests/probes/probe_fixture.h"
#include "tests/support/in_child.h"

namespace topspin {
namespace {

using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr int64_t kMilli = kNanosPerMilli;

/// Skips the rungs that need BPF if it cannot be used.
class OnRung : public testing::TestWithParam<Rung> {
 protected:
  void SetUp() override {
    if (GetParam() != Rung::kProc) SKIP_WITHOUT_BPF();
  }
};
std::string rung_of(const testing::TestParamInfo<Rung>& rung) {
  return std::string(rung_name(rung.param));
}

/// Each thread's last row, by its identity.
class Rows {
 public:
  void take(const ProbeInterval& interval) {
    for (const ThreadRow& row : interval.changed_threads)
      rows_[{row.pid, row.tid, row.start_time_ns}] = row;
  }
  uint64_t cpu_ns() const {
    uint64_t sum = 0;
    for (const auto& [identity, row] : rows_) sum += row.cpu_ns.value_or(0);
    return sum;
  }
  const auto& all() const { return rows_; }

 private:
  std::map<std::tuple<int32_t, int32_t, int64_t>, ThreadRow> rows_;
};

/// Does not ask /proc, which shows the state of the leader; that may end before the other threads.
bool has_ended(pid_t pid) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
         info.si_pid == pid;
}

CommandUsage usage_of_children() {
  rusage used{};
  CHECK(::getrusage(RUSAGE_CHILDREN, &used) == 0);
  const auto in_ns = [](const timeval& time) {
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 +
           static_cast<uint64_t>(time.tv_usec) * 1'000;
  };
  return {in_ns(used.ru_utime) + in_ns(used.ru_stime), static_cast<uint64_t>(used.ru_nvcsw),
          static_cast<uint64_t>(used.ru_nivcsw)};
}

CommandUsage operator-(const CommandUsage& now, const CommandUsage& before) {
  return {now.cpu_ns - before.cpu_ns, now.voluntary_switches - before.voluntary_switches,
          now.involuntary_switches - before.involuntary_switches};
}

using ExecOnRung = OnRung;

TEST_P(ExecOnRung, by_another_thread_than_the_leader_leaves_rows_that_add_up) {
  if (GetParam() == Rung::kTracepoint &&
      ::access("/sys/kernel/tracing/events/sched/sched_process_exec/format", R_OK) != 0)
    GTEST_SKIP() << "needs tracefs: mount -t tracefs nodev /sys/kernel/tracing";
  const bool sums_of_proc = GetParam() == Rung::kProc || GetParam() == Rung::kTracepoint;
  ::signal(SIGPIPE, SIG_IGN);  // leave() writes to a process that has ended
  const CommandUsage before = usage_of_children();
  ForkedSubject subject([] {
    ::execl(EXEC_SUBJECT, EXEC_SUBJECT, "first", static_cast<char*>(nullptr));
    ::_exit(1);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.go();
  Rows rows;
  uint64_t cpu_ns = 0;
  int64_t taken_ns = monotonic_now_ns(), longest_gap_ns = 0;
  const auto take = [&] {
    const ProbeInterval interval = probes->take_interval();
    rows.take(interval);
    cpu_ns += interval.scheduler->cpu_ns.value_or(0);
    longest_gap_ns = std::max(longest_gap_ns, monotonic_now_ns() - taken_ns);
    taken_ns = monotonic_now_ns();
  };
  while (!has_ended(subject.pid())) {
    ::usleep(10'000);
    take();
  }
  take();
  ASSERT_EQ(subject.leave(), 0);
  const CommandUsage used = usage_of_children() - before;
  ASSERT_GE(used.cpu_ns, static_cast<uint64_t>(600 * kMilli));
  if (sums_of_proc && longest_gap_ns > 100 * kMilli)
    GTEST_SKIP() << "needs a host that lets /proc be read while each thread runs: not for "
                 << longest_gap_ns / kMilli << " ms";
  // /proc is read every 10 ms, and what a thread does after its last reading is lost.
  const auto slack = static_cast<double>((sums_of_proc ? 120 : 10) * kMilli);
  EXPECT_NEAR(static_cast<double>(cpu_ns), static_cast<double>(used.cpu_ns), slack);
  EXPECT_NEAR(static_cast<double>(rows.cpu_ns()), static_cast<double>(cpu_ns), slack);
  // The first thread, the second one under its own tid, and the second one under the first one's.
  ASSERT_THAT(rows.all(), SizeIs(3));
  std::vector<uint64_t> of_leader, of_other;
  for (const auto& [identity, row] : rows.all())
    (row.tid == row.pid ? of_leader : of_other).push_back(*row.cpu_ns / 10'000'000);
  std::ranges::sort(of_leader);
  ASSERT_THAT(of_leader, SizeIs(2));
  ASSERT_THAT(of_other, SizeIs(1));
  if (GetParam() == Rung::kTracepoint) {
    // The thread that continues under the leader's tid began later than the leader.
    const ThreadRow* moved = nullptr;
    for (const auto& [identity, row] : rows.all())
      if (row.tid == row.pid && (!moved || row.start_time_ns > moved->start_time_ns)) moved = &row;
    ASSERT_TRUE(moved);
    EXPECT_TRUE(moved->on_cpu && moved->on_cpu->count() > 0);
  }
  if (sums_of_proc) return;
  EXPECT_GE(of_leader[0], 10u);  // in units of 10 ms
  EXPECT_GE(of_leader[1], 20u);
  EXPECT_GE(of_other[0], 30u);
  for (const auto& [identity, row] : rows.all()) EXPECT_TRUE(row.exited) << row.tid;
}

INSTANTIATE_TEST_SUITE_P(Rungs, ExecOnRung,
                         testing::Values(Rung::kTpBtf, Rung::kRawTracepoint, Rung::kTracepoint,
                                         Rung::kProc),
                         rung_of);

TEST(Subject, a_threads_number_stands_for_its_process_and_that_is_said) {
  Shared<std::atomic<int32_t>> tid;
  ForkedSubject subject([&] {
    std::thread other([&] {
      *tid.operator->() = ::gettid();
      burn_cpu_ns(30 * kMilli);
      while (true) ::pause();
    });
    while (*tid.operator->() == 0) ::usleep(1'000);
    burn_cpu_ns(40 * kMilli);
    other.detach();
  });
  subject.go();
  while (*tid.operator->() == 0) ::usleep(1'000);
  const int32_t thread = *tid.operator->();
  ASSERT_NE(thread, subject.pid());
  auto opened = Probes::open(process_tree(thread), on_rung(Rung::kProc));
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_THAT((*opened)->take_events(),
              ElementsAre(AllOf(HasSubstr(std::to_string(thread) + " is a thread"),
                                HasSubstr("of process " + std::to_string(subject.pid())))));
  EXPECT_THAT((*opened)->take_events(), IsEmpty());
  subject.wait_done();
  const ProbeInterval interval = (*opened)->take_interval();
  EXPECT_EQ(interval.resources->processes, 1);
  EXPECT_EQ(interval.resources->threads, 2);
  // For a process's own number there is nothing to say.
  auto process = Probes::open(process_tree(subject.pid()), on_rung(Rung::kProc));
  ASSERT_TRUE(process.ok());
  EXPECT_THAT((*process)->take_events(), IsEmpty());
}

TEST(Subject, that_proc_hides_is_said_to_run_and_how_to_see_it) {
  if (::geteuid() != 0 || !has_effective_capability(CAP_SYS_ADMIN))
    GTEST_SKIP() << "needs root, to mount a /proc that hides";
  const ForkedSubject hidden([] {});
  const std::string text = in_child([&]() -> std::string {
    CHECK(::unshare(CLONE_NEWNS) == 0);
    CHECK(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    if (::mount("proc", "/proc", "proc", 0, "hidepid=2") != 0) return "cannot mount";
    CHECK(::setgroups(0, nullptr) == 0 && ::setgid(65534) == 0 && ::setuid(65534) == 0);
    const auto opened = Probes::open(process_tree(hidden.pid()), {});
    const auto gone = Probes::open(process_tree(0x3fffffff), {});
    return opened.ok() || gone.ok()
               ? "opened"
               : fmt::format("{}: {} | {}: {}", opened.error().code == ErrorCode::kPermission,
                             opened.error().message, gone.error().code == ErrorCode::kUsage,
                             gone.error().message);
  });
  if (text == "cannot mount") GTEST_SKIP() << "needs to mount /proc in a namespace of its own";
  EXPECT_THAT(text, HasSubstr(fmt::format("true: process {} runs", hidden.pid())));
  EXPECT_THAT(text, AllOf(HasSubstr("hidepid"), HasSubstr("gid="), HasSubstr("cap_sys_ptrace")));
  EXPECT_THAT(text, HasSubstr("| true: no process 1073741823: it has ended"));
}

class CgroupOnRung : public OnRung {
 protected:
  void SetUp() override {
    OnRung::SetUp();
    if (!IsSkipped() && !cgroup_.missing().empty()) GTEST_SKIP() << cgroup_.missing();
  }
  OwnCgroup cgroup_;
};

/// Without those about the kernel's waits, which some rungs also have.
std::vector<std::string> events_of_cgroup(Probes& probes) {
  std::vector<std::string> events = probes.take_events();
  std::erase_if(events, [](const std::string& event) { return !event.starts_with("the cgroup "); });
  return events;
}

TEST_P(CgroupOnRung, that_is_removed_and_made_again_is_followed_and_told) {
  ProbeOptions options = on_rung(GetParam());
  options.syscalls = GetParam() == Rung::kTpBtf;
  OPEN_ON_RUNG(probes, cgroup_.spec(), options, GetParam());
  EXPECT_THAT(probes->take_events(), IsEmpty());
  {
    ForkedSubject first([] { burn_cpu_ns(30 * kMilli); });
    cgroup_.take_in(first.pid());
    (void)probes->take_interval();
    first.run();
    EXPECT_GE(*probes->take_interval().scheduler->cpu_ns, static_cast<uint64_t>(29 * kMilli));
    first.leave();
  }
  cgroup_.remove();
  (void)probes->take_interval();
  EXPECT_THAT(events_of_cgroup(*probes), ElementsAre(HasSubstr("was removed")));
  cgroup_.make();
  probes->handle_events();  // as a recording does when its descriptor is readable
  EXPECT_THAT(events_of_cgroup(*probes), ElementsAre(HasSubstr("was created again")));
  ForkedSubject second([] {
    burn_cpu_ns(40 * kMilli);
    for (int count = 0; count < 7; ++count) ::getppid();
  });
  cgroup_.take_in(second.pid());
  if (GetParam() != Rung::kTpBtf) (void)probes->take_interval();  // finds the new process
  second.run();
  const ProbeInterval interval = probes->take_interval();
  EXPECT_GE(*interval.scheduler->cpu_ns, static_cast<uint64_t>(39 * kMilli));
  EXPECT_EQ(interval.resources->processes, 1);
  if (options.syscalls) {
    uint64_t calls = 0;
    for (const SyscallRow& row : interval.changed_syscalls)
      if (row.name == "getppid") calls = row.count;
    EXPECT_EQ(calls, 7u);
  }
  second.leave();
  cgroup_.remove();
  cgroup_.make();
  (void)probes->take_interval();
  EXPECT_THAT(events_of_cgroup(*probes), ElementsAre(HasSubstr("was removed and created again")));
}

TEST_P(CgroupOnRung, leaves_topspins_own_threads_out_and_says_so) {
  ForkedSubject inside([] { burn_cpu_ns(20 * kMilli); });
  cgroup_.take_in(inside.pid());
  cgroup_.take_in(::getpid());
  {
    OPEN_ON_RUNG(probes, cgroup_.spec(), on_rung(GetParam()), GetParam());
    EXPECT_THAT(probes->take_events(), ElementsAre(HasSubstr("topspin itself runs in the cgroup")));
    (void)probes->take_interval();
    // A helper thread, a helper process, and this thread all work.
    std::thread helper([] { burn_cpu_ns(60 * kMilli); });
    const pid_t process = ::fork();
    CHECK(process >= 0);
    if (process == 0) {
      burn_cpu_ns(60 * kMilli);
      ::_exit(0);
    }
    helper.join();
    ::waitpid(process, nullptr, 0);
    burn_cpu_ns(60 * kMilli);
    inside.run();
    const ProbeInterval interval = probes->take_interval();
    EXPECT_GE(*interval.scheduler->cpu_ns, static_cast<uint64_t>(19 * kMilli));
    EXPECT_LT(*interval.scheduler->cpu_ns, static_cast<uint64_t>(59 * kMilli));
    EXPECT_EQ(interval.resources->processes, 1);
    for (const ThreadRow& row : interval.changed_threads) EXPECT_EQ(row.pid, inside.pid());
  }
  cgroup_.put_out(::getpid());
}

INSTANTIATE_TEST_SUITE_P(Rungs, CgroupOnRung,
                         testing::Values(Rung::kTpBtf, Rung::kRawTracepoint, Rung::kProc), rung_of);

using TreeOnRung = OnRung;

TEST_P(TreeOnRung, leaves_topspin_out_where_it_is_a_descendant_and_says_so) {
  const std::string text = in_child([]() -> std::string {
    auto opened = Probes::open(process_tree(::getppid()), on_rung(GetParam()));
    if (!opened.ok()) return opened.error().message;
    if ((*opened)->status()[0].rung != GetParam()) return (*opened)->status()[0].reason;
    const std::vector<std::string> events = (*opened)->take_events();
    (void)(*opened)->take_interval();
    std::thread helper([] { burn_cpu_ns(60 * kMilli); });
    helper.join();
    burn_cpu_ns(60 * kMilli);
    const ProbeInterval interval = (*opened)->take_interval();
    const bool ours = std::ranges::any_of(
        interval.changed_threads, [](const ThreadRow& row) { return row.pid == ::getpid(); });
    return fmt::format("{} | {} | {}", events.empty() ? "nothing said" : events.front(),
                       ours ? "has our rows" : "has none of our rows",
                       *interval.scheduler->cpu_ns < static_cast<uint64_t>(59 * kMilli));
  });
  EXPECT_THAT(text, HasSubstr("topspin itself is a descendant of the process that it watches"));
  EXPECT_THAT(text, HasSubstr("| has none of our rows | true"));
}

/// Runs threads one after the other, each for 1 ms of CPU time.
void short_threads(int count) {
  for (int index = 0; index < count; ++index) {
    std::thread thread([] { burn_cpu_ns(kMilli); });
    thread.join();
  }
}

TEST_P(TreeOnRung, gives_rows_again_when_threads_exit_and_counts_the_rest) {
  if (GetParam() == Rung::kProc) GTEST_SKIP() << "sees only the threads that live when it reads";
  Shared<std::atomic<int>> step;
  ForkedSubject subject([&] {
    short_threads(20);
    *step.operator->() = 1;
    while (*step.operator->() == 1) ::usleep(1'000);
    std::vector<std::thread> threads;
    std::latch all(6);  // however late they start, they live at once
    for (int index = 0; index < 6; ++index) threads.emplace_back([&] { all.arrive_and_wait(); });
    for (std::thread& thread : threads) thread.join();
  });
  ProbeOptions options = on_rung(GetParam());
  options.max_threads = 3;
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), options, GetParam());
  subject.go();
  while (*step.operator->() != 1) ::usleep(1'000);
  Rows rows;
  ProbeInterval interval = probes->take_interval();
  rows.take(interval);
  EXPECT_EQ(interval.losses.thread_rows_unstored, 0u);  // 21 threads, never more than 3 at once
  EXPECT_THAT(rows.all(), SizeIs(21));
  *step.operator->() = 3;
  subject.wait_done();
  interval = probes->take_interval();
  EXPECT_GE(interval.losses.thread_rows_unstored, 1u);  // 7 at once
  EXPECT_LE(interval.losses.thread_rows_unstored, 4u);
}

TEST_P(TreeOnRung, keeps_no_more_rows_for_later_than_four_intervals_worth) {
  if (GetParam() == Rung::kProc) GTEST_SKIP() << "sees only the threads that live when it reads";
  ForkedSubject subject([] { short_threads(40); });
  ProbeOptions options = on_rung(GetParam());
  options.max_thread_rows_per_interval = 2;
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), options, GetParam());
  subject.run();
  size_t rows = 0;
  uint64_t unstored = 0;
  for (int reading = 0; reading < 8; ++reading) {
    const ProbeInterval interval = probes->take_interval();
    rows += interval.changed_threads.size();
    unstored += interval.losses.thread_rows_unstored;
    EXPECT_LE(interval.changed_threads.size(), 2u);
  }
  EXPECT_GE(unstored, 30u);
  EXPECT_GE(rows, 8u);
}

TEST_P(TreeOnRung, sums_are_doubted_where_the_kernel_charged_the_command_more) {
  const CommandUsage before = usage_of_children();
  ForkedSubject subject([] {
    for (int index = 0; index < 100; ++index) {
      const pid_t child = ::fork();
      if (child == 0) {
        burn_cpu_ns(4 * kMilli);
        ::_exit(0);
      }
      ::waitpid(child, nullptr, 0);
    }
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.run();
  subject.leave();
  (void)probes->take_interval();
  const CommandUsage used = usage_of_children() - before;
  ASSERT_GE(used.cpu_ns, static_cast<uint64_t>(400 * kMilli));
  const std::vector<std::string> doubts = probes->doubts(true, used);
  if (GetParam() != Rung::kProc) {
    EXPECT_THAT(doubts, IsEmpty());
    return;
  }
  ASSERT_THAT(doubts, SizeIs(1));
  EXPECT_THAT(doubts[0], AllOf(HasSubstr("proc, which sees only a part of short-lived processes"),
                               HasSubstr("of CPU time")));
  // The kernel's clock of the process tree shows it too if there is no usage from wait4.
  EXPECT_THAT(probes->doubts(true, std::nullopt), SizeIs(1));
}

TEST_P(TreeOnRung, sums_are_doubted_where_nobody_waited_for_what_was_missed) {
  const CommandUsage before = usage_of_children();
  ForkedSubject subject([] {
    (void)::signal(SIGCHLD, SIG_IGN);  // the kernel reaps the children and charges nobody for them
    for (int index = 0; index < 40; ++index) {
      if (::fork() == 0) {
        burn_cpu_ns(10 * kMilli);
        ::_exit(0);
      }
    }
    ::waitpid(-1, nullptr, 0);  // waits until the last one has ended
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.run();
  subject.leave();
  const ProbeInterval interval = probes->take_interval();
  const CommandUsage used = usage_of_children() - before;
  const std::vector<std::string> doubts = probes->doubts(true, used);
  if (GetParam() == Rung::kProc) {
    EXPECT_THAT(doubts, ElementsAre(HasSubstr("watched by proc")));
    return;
  }
  // `used` contains only what forking took.
  EXPECT_GE(*interval.scheduler->cpu_ns, used.cpu_ns + static_cast<uint64_t>(300 * kMilli));
  EXPECT_THAT(doubts, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Rungs, TreeOnRung,
                         testing::Values(Rung::kTpBtf, Rung::kRawTracepoint, Rung::kProc), rung_of);

TEST(SelfTest, tells_a_kernel_that_counts_sleep_from_a_fault) {
  using Verdict = SchedulerSelfTest::Verdict;
  constexpr uint64_t kSecond = 1'000'000'000;
  EXPECT_EQ(judge_self_test(kSecond, kSecond + kSecond / 200, 1'000, true).verdict,
            Verdict::kAgree);
  EXPECT_EQ(judge_self_test(0, 0, 0, false).verdict, Verdict::kAgree);
  // The kernel leaves out some microseconds of each wait that a wakeup ends immediately.
  EXPECT_EQ(judge_self_test(kSecond + 15'000 * 50'000, kSecond, 50'000, true).verdict,
            Verdict::kAgree);
  const auto sleep = judge_self_test(73'000'000, 1'050'000'000, 23, true);
  EXPECT_EQ(sleep.verdict, Verdict::kKernelCountsSleep);
  EXPECT_THAT(sleep.sentence, HasSubstr("the kernel counts sleep as wait"));
  EXPECT_EQ(judge_self_test(73'000'000, 1'050'000'000, 23, false).verdict, Verdict::kDiffer);
  EXPECT_EQ(judge_self_test(2 * kSecond, kSecond, 23, true).verdict, Verdict::kDiffer);
}

TEST(Doubt, names_each_sum_that_is_short_and_by_how_much) {
  SchedulerInterval sums;
  sums.cpu_ns = 7'800'000'000;
  sums.voluntary_switches = 212'232;
  sums.involuntary_switches = 1'361;
  const CommandUsage usage{55'900'000'000, 324'633, 125'494};
  const auto doubt = doubt_sums(Rung::kPerf, sums, usage);
  ASSERT_TRUE(doubt);
  EXPECT_THAT(*doubt, AllOf(HasSubstr("by perf, which sees only a part"), HasSubstr("(14%)"),
                            HasSubstr("212232 of 324633 voluntary switches (65%)"),
                            HasSubstr("1361 of 125494 involuntary switches (1%)")));
  EXPECT_FALSE(doubt_sums(Rung::kPerf, sums, {7'900'000'000, 212'300, 1'362}));
  EXPECT_FALSE(doubt_sums(Rung::kPerf, sums, {1'000'000'000, 1, 1}));  // no rusage has daemons
  const auto whole = doubt_sums(Rung::kTpBtf, sums, {9'000'000'000, 212'232, 1'361});
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->find("short-lived"), std::string::npos);
  EXPECT_EQ(whole->find("switches"), std::string::npos);
  EXPECT_FALSE(doubt_sums(Rung::kProc, {}, usage));  // an absent sum is not too small
}

}  // namespace
}  // namespace topspin
