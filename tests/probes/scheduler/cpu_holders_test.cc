// Who had the CPUs while the subject waited, with hogs whose process, name and cgroup are known.
// The sums are compared with schedstat's run_delay and with the waits themselves. Also what each
// thread slept on, compared with the sums of all threads.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "app/prove/quota_cgroup.h"
#include "core/base/clock.h"
#include "probes/proc/proc_reader.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/probe_fixture.h"

namespace topspin {
namespace {

constexpr int64_t kMilli = kNanosPerMilli;

void pause_ns(int64_t ns) {
  const timespec pause{ns / kNanosPerSecond, ns % kNanosPerSecond};
  ::nanosleep(&pause, nullptr);
}

/// Of a thread of this process.
bool is_asleep(pid_t tid) {
  const auto stat = ProcReader("/proc").thread_stat(::getpid(), tid);
  return stat && stat->state == 'S';
}

uint64_t behind(const SchedulerInterval& seen, CpuHolder kind) {
  return seen.waited_behind[static_cast<size_t>(kind)].value_or(0);
}

uint64_t behind_all(const SchedulerInterval& seen) {
  uint64_t sum = 0;
  for (const auto& held_ns : seen.waited_behind) sum += held_ns.value_or(0);
  return sum;
}

const CpuHolderRow* holder_named(const ProbeInterval& interval, std::string_view name) {
  const auto& rows = interval.changed_cpu_holders;
  const auto found =
      std::ranges::find_if(rows, [&](const CpuHolderRow& row) { return row.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

/// A process with its own name that competes with the subject for CPU 0.
void hog(const char* name, int64_t cpu_ns) {
  ::prctl(PR_SET_NAME, name);
  pin_to_cpu(0);
  burn_cpu_ns(cpu_ns);
}

/// Waits that have ended are in both sums. An open wait is only in the sum of the holders.
void expect_sums_agree(const ProbeInterval& interval) {
  const auto waits = static_cast<double>(*interval.scheduler->run_queue_wait_ns);
  EXPECT_NEAR(static_cast<double>(behind_all(*interval.scheduler)), waits, 0.01 * waits + 1e6);
  uint64_t rows = 0;
  for (const CpuHolderRow& row : interval.changed_cpu_holders) rows += row.held_ns;
  EXPECT_EQ(rows, behind(*interval.scheduler, CpuHolder::kSubject) +
                      behind(*interval.scheduler, CpuHolder::kProcess) +
                      behind(*interval.scheduler, CpuHolder::kKernelThread));
}

class HoldersOnRung : public testing::TestWithParam<Rung> {
 protected:
  void SetUp() override { SKIP_WITHOUT_BPF(); }
};

TEST_P(HoldersOnRung, a_hog_is_named_with_what_the_subject_waited_behind_it) {
  ForkedSubject busy([] { hog("the-hog", 400 * kMilli); });
  ForkedSubject subject([] {
    pin_to_cpu(0);
    burn_cpu_ns(200 * kMilli);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  ProcReader proc("/proc");
  const auto before = proc.thread_schedstat(subject.pid(), subject.pid());
  busy.go();
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  const auto after = proc.thread_schedstat(subject.pid(), subject.pid());
  busy.wait_done();
  const auto run_delay = static_cast<double>(after->run_delay_ns - before->run_delay_ns);
  EXPECT_NEAR(static_cast<double>(behind_all(*interval.scheduler)), run_delay,
              0.01 * run_delay + 1e6);
  expect_sums_agree(interval);
  const CpuHolderRow* row = holder_named(interval, "the-hog");
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->kind, CpuHolder::kProcess);
  EXPECT_EQ(row->pid, busy.pid());
  EXPECT_EQ(row->processes, 1u);
  // On a busy host it shares the CPU not only with the subject.
  EXPECT_GT(row->held_ns, static_cast<uint64_t>(20 * kMilli));
  std::ifstream groups(fmt::format("/proc/{}/cgroup", busy.pid()));
  const std::string text{std::istreambuf_iterator<char>(groups), {}};
  EXPECT_THAT(text, testing::HasSubstr(":" + row->cgroup + "\n"));
}

TEST_P(HoldersOnRung, processes_of_one_name_are_one_row) {
  const auto work = [] { hog("many-hogs", 100 * kMilli); };
  ForkedSubject first(work), second(work), third(work);
  ForkedSubject subject([] {
    pin_to_cpu(0);
    burn_cpu_ns(100 * kMilli);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  for (ForkedSubject* one : {&first, &second, &third}) one->go();
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  const CpuHolderRow* row = holder_named(interval, "many-hogs");
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->processes, 3u);
  expect_sums_agree(interval);
}

TEST_P(HoldersOnRung, threads_of_the_subject_that_wait_for_each_other_wait_behind_the_subject) {
  ForkedSubject subject([] {
    ::prctl(PR_SET_NAME, "own-threads");
    pin_to_cpu(0);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([] { burn_cpu_ns(100 * kMilli); });
    for (std::thread& thread : threads) thread.join();
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  const CpuHolderRow* row = holder_named(interval, "own-threads");
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(row->kind, CpuHolder::kSubject);
  // Three threads of 100 ms each on one CPU wait for at least 300 ms in sum.
  EXPECT_GT(row->held_ns, static_cast<uint64_t>(200 * kMilli));
  expect_sums_agree(interval);
}

/// The rows as text, for messages of failed tests.
std::string rows_text(const ProbeInterval& interval) {
  std::string text;
  for (const CpuHolderRow& row : interval.changed_cpu_holders)
    text += fmt::format("{} \"{}\" {} {}\n", cpu_holder_name(row.kind), row.name, row.cgroup,
                        row.held_ns);
  return text;
}

TEST_P(HoldersOnRung, a_kernel_thread_is_named) {
  // A thread that is moved back and forth may wait behind kernel threads: the one that moves it,
  // workers, and softirqs. Whether it does, and behind which, is up to the kernel.
  if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "needs two CPUs";
  ForkedSubject subject([] {
    for (int i = 0; i < 2000; ++i) pin_to_cpu(i % 2);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  expect_sums_agree(interval);
  size_t named = 0;
  for (const CpuHolderRow& row : interval.changed_cpu_holders) {
    if (row.kind != CpuHolder::kKernelThread) continue;
    EXPECT_EQ(row.cgroup, "");
    std::ifstream file(fmt::format("/proc/{}/comm", row.pid));
    std::string comm;
    if (!std::getline(file, comm)) continue;  // a worker that has ended
    EXPECT_THAT(comm, testing::StartsWith(row.name)) << rows_text(interval);
    ++named;
  }
  if (named == 0) GTEST_SKIP() << "no thread of the kernel had a CPU meanwhile";
  EXPECT_GT(behind(*interval.scheduler, CpuHolder::kKernelThread), 0u);
}

TEST_P(HoldersOnRung, threads_that_are_moved_while_they_wait_stay_in_the_sum) {
  if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "needs two CPUs";
  ForkedSubject busy([] { hog("the-hog", 300 * kMilli); });
  ForkedSubject subject([] {
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([] {
        for (int turn = 0; turn < 20; ++turn) {
          burn_cpu_ns(5 * kMilli);
          pause_ns(kMilli);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  busy.go();
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  expect_sums_agree(interval);
  if (*interval.scheduler->migrations == 0) GTEST_SKIP() << "the kernel moved no thread meanwhile";
  EXPECT_LT(behind(*interval.scheduler, CpuHolder::kUnseen), behind_all(*interval.scheduler) / 10);
}

void run_before_all_others() {
  const sched_param priority{10};
  CHECK(::sched_setscheduler(0, SCHED_FIFO, &priority) == 0);
}

std::vector<int32_t> threads_of(int32_t pid) {
  std::vector<int32_t> tids;
  for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid)))
    tids.push_back(std::stoi(entry.path().filename()));
  return tids;
}

/// The balancer often takes several threads to a CPU at once.
TEST_P(HoldersOnRung, threads_that_are_moved_together_wait_behind_who_has_the_new_cpu) {
  if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "needs two CPUs";
  const sched_param first{1}, usual{0};
  if (::sched_setscheduler(0, SCHED_FIFO, &first) != 0) GTEST_SKIP() << "may not use SCHED_FIFO";
  ASSERT_EQ(::sched_setscheduler(0, SCHED_OTHER, &usual), 0);
  constexpr size_t kThreads = 8;
  constexpr int64_t kBehindNs = 60 * kMilli;
  ForkedSubject subject([] {
    pin_to_cpu(0);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kThreads; ++i) threads.emplace_back([] { burn_cpu_ns(40 * kMilli); });
    for (std::thread& thread : threads) thread.join();
  });
  // Two threads that nothing preempts: one has CPU 1; the other has CPU 0, where the subject waits,
  // and moves it to CPU 1 meanwhile.
  ForkedSubject wall([pid = subject.pid()] {
    ::prctl(PR_SET_NAME, "the-wall");
    while (threads_of(pid).size() <= kThreads) pause_ns(kMilli);
    std::atomic<bool> has_cpu{false}, moved{false};
    std::thread other([&] {
      pin_to_cpu(1);
      run_before_all_others();
      has_cpu = true;
      while (!moved) {
      }
      const int64_t end_ns = monotonic_now_ns() + kBehindNs;
      while (monotonic_now_ns() < end_ns) {
      }
    });
    pin_to_cpu(0);
    run_before_all_others();
    while (!has_cpu) {
    }
    cpu_set_t cpu_1;
    CPU_ZERO(&cpu_1);
    CPU_SET(1, &cpu_1);
    for (const int32_t tid : threads_of(pid)) ::sched_setaffinity(tid, sizeof(cpu_1), &cpu_1);
    moved = true;
    other.join();
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  wall.go();
  subject.run();
  wall.wait_done();
  const ProbeInterval interval = probes->take_interval();
  expect_sums_agree(interval);
  const CpuHolderRow* row = holder_named(interval, "the-wall");
  ASSERT_NE(row, nullptr) << rows_text(interval);
  // The part before the move is behind it too. A thread may have ended before.
  EXPECT_GT(row->held_ns, static_cast<uint64_t>(kThreads / 2 * kBehindNs)) << rows_text(interval);
  EXPECT_LT(behind(*interval.scheduler, CpuHolder::kUnseen), behind_all(*interval.scheduler) / 50)
      << rows_text(interval);
}

TEST_P(HoldersOnRung, a_quota_is_told_from_others) {
  const QuotaCgroup group({.used_us = 2000, .period_us = 20'000});
  if (!group.missing().empty()) GTEST_SKIP() << group.missing();
  {
    ForkedSubject subject([] {
      pin_to_cpu(0);
      burn_cpu_ns(60 * kMilli);
    });
    ASSERT_TRUE(group.add(subject.pid()));
    OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
    subject.run();
    const ProbeInterval interval = probes->take_interval();
    // 60 ms of work at 2 ms per 20 ms: it waits about 30 times, for 18 ms each.
    EXPECT_GT(behind(*interval.scheduler, CpuHolder::kQuota), static_cast<uint64_t>(200 * kMilli));
    expect_sums_agree(interval);
  }
}

TEST_P(HoldersOnRung, each_thread_has_its_sleeps_by_reason_and_its_longest_stretch) {
  ForkedSubject subject([] {
    std::thread sleeper([] {
      ::prctl(PR_SET_NAME, "sleeper");
      for (int i = 0; i < 10; ++i) pause_ns(2 * kMilli);
      burn_cpu_ns(40 * kMilli);
      pause_ns(kMilli);
    });
    std::thread reader([] {
      ::prctl(PR_SET_NAME, "reader");
      int ends[2];
      CHECK(::pipe(ends) == 0);
      std::thread writer([&, reader = static_cast<pid_t>(::syscall(SYS_gettid))] {
        ::prctl(PR_SET_NAME, "writer");
        for (int i = 0; i < 5; ++i) {
          while (!is_asleep(reader)) pause_ns(kMilli);
          pause_ns(3 * kMilli);
          CHECK(::write(ends[1], "x", 1) == 1);
        }
      });
      char byte = 0;
      for (int i = 0; i < 5; ++i) CHECK(::read(ends[0], &byte, 1) == 1);
      writer.join();
    });
    sleeper.join();
    reader.join();
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  SKIP_UNLESS_EVERY_SWITCH_WAS_SHOWN(interval);
  std::array<OffCpuTime, kBlockedByCount> sums;
  uint64_t longest_ns = 0;
  for (OffCpuTime& sum : sums) sum = {0, 0};
  for (const ThreadRow& row : interval.changed_threads) {
    for (size_t i = 0; i < kBlockedByCount; ++i) {
      *sums[i].count += *row.blocked_by[i].count;
      *sums[i].ns += *row.blocked_by[i].ns;
    }
    longest_ns = std::max(longest_ns, *row.busy_stretch_max_ns);
  }
  for (size_t i = 0; i < kBlockedByCount; ++i) {
    const auto& all = interval.scheduler->blocked_by[i];
    EXPECT_EQ(*sums[i].count, all->count()) << blocked_by_name(static_cast<BlockedBy>(i));
    EXPECT_EQ(*sums[i].ns, all->sum()) << blocked_by_name(static_cast<BlockedBy>(i));
  }
  const uint64_t longest = *interval.scheduler->busy_stretch->max();
  EXPECT_GE(longest_ns, longest);
  EXPECT_LE(longest_ns, longest + 1024);
  const auto row_named = [&](std::string_view name) {
    return std::ranges::find_if(interval.changed_threads,
                                [&](const ThreadRow& row) { return row.name == name; });
  };
  const auto sleeper = row_named("sleeper"), reader = row_named("reader");
  ASSERT_NE(sleeper, interval.changed_threads.end());
  ASSERT_NE(reader, interval.changed_threads.end());
  const auto& by_sleep = sleeper->blocked_by[static_cast<size_t>(BlockedBy::kSleep)];
  EXPECT_EQ(by_sleep.count, 11u);
  EXPECT_GE(*by_sleep.ns, static_cast<uint64_t>(21 * kMilli));
  EXPECT_GE(*sleeper->busy_stretch_max_ns, static_cast<uint64_t>(40 * kMilli));
  const auto& by_pipe = reader->blocked_by[static_cast<size_t>(BlockedBy::kPipe)];
  EXPECT_EQ(by_pipe.count, 5u);
  EXPECT_GE(*by_pipe.ns, static_cast<uint64_t>(10 * kMilli));
}

INSTANTIATE_TEST_SUITE_P(Rungs, HoldersOnRung, testing::Values(Rung::kTpBtf, Rung::kRawTracepoint),
                         [](const auto& rung) { return std::string(rung_name(rung.param)); });

}  // namespace
}  // namespace topspin
