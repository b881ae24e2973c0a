// The scheduler probe with subjects of known behaviour, compared with an independent source:
// schedstat, status, getrusage, or what the subject itself counted.
#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "probes/proc/proc_reader.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/probe_fixture.h"

namespace topspin {
namespace {

constexpr int64_t kMilli = kNanosPerMilli;

struct Usage {
  uint64_t cpu_ns = 0;
  uint64_t voluntary = 0;
  uint64_t involuntary = 0;
};

Usage usage_of(int who) {
  rusage usage{};
  CHECK(::getrusage(who, &usage) == 0);
  const auto ns = [](const timeval& time) {
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 +
           static_cast<uint64_t>(time.tv_usec) * 1'000;
  };
  return {ns(usage.ru_utime) + ns(usage.ru_stime), static_cast<uint64_t>(usage.ru_nvcsw),
          static_cast<uint64_t>(usage.ru_nivcsw)};
}

void expect_close(uint64_t actual, uint64_t expected, double share, uint64_t slack,
                  std::string_view what) {
  const double difference = static_cast<double>(actual) - static_cast<double>(expected);
  EXPECT_LE(std::abs(difference),
            share * static_cast<double>(expected) + static_cast<double>(slack))
      << what << ": " << actual << " instead of " << expected;
}

void sleep_ms(int64_t ms) {
  const timespec pause{ms / 1000, (ms % 1000) * kMilli};
  ::nanosleep(&pause, nullptr);
}

/// Uses vfork, because fork would copy a sanitizer's memory.
void one_short_process() {
  const pid_t child = ::vfork();
  if (child == 0) ::_exit(0);
  CHECK(child > 0);
  ::waitpid(child, nullptr, 0);
}

/// Keeps the calling thread off CPU 0 while it lives, if there is another CPU.
class OtherCpu {
 public:
  OtherCpu() {
    CPU_ZERO(&before_);
    CHECK(::sched_getaffinity(0, sizeof(before_), &before_) == 0);
    cpu_set_t set = before_;
    CPU_CLR(0, &set);
    if (CPU_COUNT(&set) > 0) CHECK(::sched_setaffinity(0, sizeof(set), &set) == 0);
  }
  ~OtherCpu() { ::sched_setaffinity(0, sizeof(before_), &before_); }
  OtherCpu(const OtherCpu&) = delete;
  OtherCpu& operator=(const OtherCpu&) = delete;

 private:
  cpu_set_t before_;
};

class OnBpfRung : public testing::TestWithParam<Rung> {
 protected:
  void SetUp() override { SKIP_WITHOUT_BPF(); }
};

TEST_P(OnBpfRung, a_starved_process_waits_as_long_as_schedstat_says) {
  ForkedSubject busy([] {
    pin_to_cpu(0);
    burn_cpu_ns(400 * kMilli);
  });
  ForkedSubject subject([] {
    pin_to_cpu(0);
    burn_cpu_ns(400 * kMilli);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  ProcReader proc("/proc");
  const auto before = proc.thread_schedstat(subject.pid(), subject.pid());
  const auto status_before = proc.thread_status(subject.pid(), subject.pid());
  busy.go();
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  const auto after = proc.thread_schedstat(subject.pid(), subject.pid());
  const auto status_after = proc.thread_status(subject.pid(), subject.pid());
  ASSERT_TRUE(before && after && status_before && status_after && interval.scheduler);

  const SchedulerInterval& seen = *interval.scheduler;
  const uint64_t waited_ns = after->run_delay_ns - before->run_delay_ns;
  ASSERT_GT(waited_ns, static_cast<uint64_t>(100 * kMilli));  // it was really starved
  // From 6.12 on the kernel may count a sleep's first slice as a wait, if the queue is busy: a
  // thread that falls asleep stays in the queue until its turn (docs/kernels.md).
  expect_close(seen.run_queue_latency->sum(), waited_ns, 0.01, 8 * kMilli, "histogram sum");
  expect_close(*seen.kernel_run_delay_ns, waited_ns, 0.001, 100'000, "run_delay");
  EXPECT_EQ(seen.run_queue_wait_ns, seen.run_queue_latency->sum());
  expect_close(*seen.cpu_ns, after->cpu_ns - before->cpu_ns, 0.01, 500'000, "cpu");
  const uint64_t preempted =
      *status_after->involuntary_switches - *status_before->involuntary_switches;
  expect_close(seen.preemption_wait->count(), preempted, 0, 1, "preemptions");
  expect_close(*seen.involuntary_switches, preempted, 0, 1, "involuntary switches");
  EXPECT_GT(seen.preemption_wait->sum(), seen.queue_wait->sum());
  EXPECT_EQ(interval.resources->processes, 1);  // without the busy one
  EXPECT_EQ(interval.losses.scheduler_missed_runs, 0u);
  busy.wait_done();
}

TEST_P(OnBpfRung, ping_pong_counts_what_getrusage_counts) {
  Shared<Usage> own;
  Shared<Usage> partner;
  ForkedSubject subject([&] {
    const Usage before = usage_of(RUSAGE_SELF);
    pin_to_cpu(0);
    ping_pong(5'000);
    const Usage after = usage_of(RUSAGE_SELF);
    *own.operator->() = {after.cpu_ns - before.cpu_ns, after.voluntary - before.voluntary,
                         after.involuntary - before.involuntary};
    *partner.operator->() = usage_of(RUSAGE_CHILDREN);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.run();
  sleep_ms(10);  // the partner's last switch comes after its parent was notified
  const ProbeInterval interval = probes->take_interval();
  const SchedulerInterval& seen = *interval.scheduler;
  const uint64_t voluntary = own->voluntary + partner->voluntary;
  const uint64_t involuntary = own->involuntary + partner->involuntary;
  ASSERT_GT(voluntary, 5'000u);
  expect_close(*seen.voluntary_switches, voluntary, 0, 6, "voluntary switches");
  expect_close(*seen.involuntary_switches, involuntary, 0, 6, "involuntary switches");
  expect_close(seen.run_queue_latency->count(), voluntary + involuntary, 0, 8, "waits");
  // There is one wakeup per sleep, and one preemption per involuntary switch.
  expect_close(seen.queue_wait->count(), voluntary, 0, 6, "wakeups");
  expect_close(seen.preemption_wait->count(), involuntary, 0, 6, "preemptions");
  EXPECT_LT(seen.wake_delivery->count(), 100u);  // everything is on one CPU
  EXPECT_EQ(seen.run_queue_latency->count(),
            seen.queue_wait->count() + seen.preemption_wait->count());
  EXPECT_EQ(interval.losses.scheduler_missed_runs, 0u);
  EXPECT_EQ(interval.losses.scheduler_left_censored, 0u);

  uint64_t waits = 0;
  uint64_t exited = 0;
  for (const ThreadRow& row : interval.changed_threads) {
    waits += row.run_queue_waits.value_or(0);
    exited += row.exited;
  }
  EXPECT_EQ(waits, seen.run_queue_latency->count());
  EXPECT_EQ(exited, 1u);
}

TEST_P(OnBpfRung, delivery_of_wakeups_across_cpus_is_measured) {
  constexpr int kWakeups = 200;
  if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "needs two CPUs";
  int wakeups[2];
  ASSERT_EQ(::pipe(wakeups), 0);
  ForkedSubject waker([&] {
    pin_to_cpu(0);
    for (int count = 0; count < kWakeups; ++count) {
      sleep_ms(1);
      CHECK(::write(wakeups[1], "x", 1) == 1);
    }
  });
  ForkedSubject subject([&] {
    pin_to_cpu(1);
    char byte = 0;
    for (int count = 0; count < kWakeups; ++count) CHECK(::read(wakeups[0], &byte, 1) == 1);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.go();
  waker.run();
  subject.wait_done();
  ::close(wakeups[0]);
  ::close(wakeups[1]);
  const ProbeInterval interval = probes->take_interval();
  const SchedulerInterval& seen = *interval.scheduler;
  // If the reader was kept waiting, some reads find a byte in the pipe and do not sleep. Each sleep
  // ends with a wakeup.
  expect_close(seen.wake_delivery->count(), seen.queue_wait->count(), 0.1, 4, "deliveries");
  EXPECT_GT(seen.wake_delivery->count(), static_cast<uint64_t>(kWakeups / 4));
}

TEST_P(OnBpfRung, self_test_holds_within_one_percent_threads_that_left_included) {
  ForkedSubject subject([] {
    pin_to_cpu(0);
    for (int round = 0; round < 4; ++round) {
      std::vector<std::thread> threads;
      for (int index = 0; index < 6; ++index) {
        threads.emplace_back([] {
          for (int turn = 0; turn < 5; ++turn) {
            burn_cpu_ns(4 * kMilli);
            sleep_ms(1);
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
    }
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  EXPECT_FALSE(probes->self_test());  // nothing measured yet
  subject.run();
  sleep_ms(10);
  const ProbeInterval interval = probes->take_interval();
  ASSERT_TRUE(probes->self_test());
  const SchedulerSelfTest test = *probes->self_test();
  ASSERT_GT(test.run_delay_ns, static_cast<uint64_t>(500 * kMilli));
  expect_close(test.histogram_sum_ns, test.run_delay_ns, 0.01, 0, "self-test");
  EXPECT_EQ(interval.losses.scheduler_missed_runs, 0u);
}

TEST_P(OnBpfRung, follows_fork_exec_and_double_fork) {
  struct Pids {
    pid_t grandchild;
    pid_t shell;
  };
  Shared<Pids> pids;
  ForkedSubject subject([&] {
    const pid_t child = ::fork();
    if (child == 0) {
      const pid_t grandchild = ::fork();  // its parent exits, so init adopts it
      if (grandchild == 0) {
        sleep_ms(20);
        burn_cpu_ns(60 * kMilli);
        ::_exit(0);
      }
      pids->grandchild = grandchild;
      ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    const pid_t shell = ::fork();
    if (shell == 0) {
      ::execl("/bin/sh", "renamed", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done",
              static_cast<char*>(nullptr));
      ::_exit(127);
    }
    pids->shell = shell;
    ::waitpid(shell, nullptr, 0);
    while (::kill(pids->grandchild, 0) == 0) sleep_ms(10);
    sleep_ms(20);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.run();
  sleep_ms(10);
  const ProbeInterval interval = probes->take_interval();
  std::map<pid_t, ThreadRow> rows;
  for (const ThreadRow& row : interval.changed_threads) rows[row.pid] = row;
  EXPECT_EQ(rows.size(), 4u);  // the root, the child between, the grandchild, the shell
  ASSERT_TRUE(rows.contains(pids->grandchild));
  EXPECT_TRUE(rows[pids->grandchild].exited);
  EXPECT_GE(*rows[pids->grandchild].cpu_ns, static_cast<uint64_t>(60 * kMilli));
  ASSERT_TRUE(rows.contains(pids->shell));
  EXPECT_EQ(rows[pids->shell].name, "sh");  // comm is that of the file executed
  EXPECT_GT(*rows[pids->shell].cpu_ns, static_cast<uint64_t>(kMilli));
  uint64_t cpu_ns = 0;
  for (const auto& [pid, row] : rows) cpu_ns += *row.cpu_ns;
  expect_close(*interval.scheduler->cpu_ns, cpu_ns, 0.001, 0, "cpu of all rows");
  EXPECT_TRUE(interval.subject_alive);
  subject.leave();
  EXPECT_FALSE(probes->take_interval().subject_alive);
}

TEST_P(OnBpfRung, loses_no_count_of_thousands_of_short_processes) {
  constexpr int kProcesses = 5'000;
  Shared<Usage> children;
  ForkedSubject subject([&] {
    for (int count = 0; count < kProcesses; ++count) one_short_process();
    *children.operator->() = usage_of(RUSAGE_CHILDREN);
  });
  ProbeOptions options = on_rung(GetParam());
  options.max_threads = 1'024;  // limits the rows, not the sums
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), options, GetParam());
  subject.run();
  sleep_ms(10);
  const ProbeInterval interval = probes->take_interval();
  const SchedulerInterval& seen = *interval.scheduler;
  EXPECT_GE(seen.run_queue_latency->count(), static_cast<uint64_t>(kProcesses));
  EXPECT_EQ(interval.losses.scheduler_map_full, 0u);
  EXPECT_EQ(interval.losses.scheduler_missed_runs, 0u);
  // The limit is for rows at one time. Those of processes that have ended are used again.
  EXPECT_EQ(interval.losses.thread_rows_unstored + interval.changed_threads.size(),
            static_cast<uint64_t>(kProcesses + 1));
  EXPECT_GE(*seen.voluntary_switches + *seen.involuntary_switches,
            children->voluntary + children->involuntary);
  EXPECT_EQ(interval.resources->processes, 1);
}

TEST_P(OnBpfRung, two_thousand_threads_have_a_row_each) {
  constexpr int kThreads = 2'000;
  ForkedSubject subject([] {
    std::mutex mutex;
    std::condition_variable changed;
    int ready = 0;
    bool over = false;
    std::vector<std::thread> threads;
    for (int index = 0; index < kThreads; ++index) {
      threads.emplace_back([&] {
        std::unique_lock lock(mutex);
        if (++ready == kThreads) changed.notify_all();
        changed.wait(lock, [&] { return over; });
      });
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ready == kThreads; });
    over = true;
    lock.unlock();
    changed.notify_all();
    for (std::thread& thread : threads) thread.join();
  });
  ProbeOptions options = on_rung(GetParam());
  options.max_thread_rows_per_interval = 1'500;
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), options, GetParam());
  subject.run();
  sleep_ms(10);
  std::set<int32_t> tids;
  const ProbeInterval interval = probes->take_interval();
  EXPECT_EQ(interval.changed_threads.size(), 1'500u);
  for (const ThreadRow& row : interval.changed_threads) tids.insert(row.tid);
  const ProbeInterval next = probes->take_interval();  // the rest comes with the next
  for (const ThreadRow& row : next.changed_threads) tids.insert(row.tid);
  EXPECT_EQ(tids.size(), static_cast<size_t>(kThreads + 1));
  EXPECT_EQ(interval.losses.thread_rows_unstored, 0u);
  EXPECT_EQ(interval.losses.scheduler_missed_runs, 0u);
}

TEST_P(OnBpfRung, joins_the_threads_of_a_running_process) {
  constexpr int kThreads = 50;
  int release[2];
  ASSERT_EQ(::pipe(release), 0);
  ForkedSubject subject([&] {
    std::mutex mutex;
    std::condition_variable changed;
    bool over = false;
    std::vector<std::thread> threads;
    for (int index = 0; index < kThreads; ++index) {
      threads.emplace_back([&] {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return over; });
      });
    }
    char byte = 0;
    CHECK(::read(release[0], &byte, 1) == 1);
    {
      const std::lock_guard lock(mutex);
      over = true;
    }
    changed.notify_all();
    for (std::thread& thread : threads) thread.join();
  });
  subject.go();
  const auto all_asleep = [&] {
    ProcReader proc("/proc");
    const std::vector<int32_t> tids = proc.threads(subject.pid());
    return tids.size() >= kThreads + 1 && std::ranges::all_of(tids, [&](int32_t tid) {
             const auto stat = proc.thread_stat(subject.pid(), tid);
             return stat && stat->state == 'S';
           });
  };
  for (int tries = 0; tries < 1'000 && !all_asleep(); ++tries) sleep_ms(10);
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  ASSERT_EQ(::write(release[1], "x", 1), 1);
  subject.wait_done();
  ::close(release[0]);
  ::close(release[1]);
  // A thread that was joined may not have exited completely yet.
  std::set<int32_t> exited;
  uint64_t waits = 0;
  LossInterval losses;
  for (int tick = 0; tick < 500 && exited.size() < kThreads; ++tick) {
    const ProbeInterval interval = probes->take_interval();
    for (const ThreadRow& row : interval.changed_threads)
      if (row.exited) exited.insert(row.tid);
    waits += interval.scheduler->run_queue_latency->count();
    losses.merge(interval.losses);
    sleep_ms(10);
  }
  EXPECT_EQ(exited.size(), static_cast<size_t>(kThreads));
  EXPECT_GE(waits, static_cast<uint64_t>(kThreads));
  EXPECT_EQ(losses.scheduler_left_censored, 0u);  // all threads slept
  EXPECT_EQ(losses.scheduler_missed_runs, 0u);
}

TEST_P(OnBpfRung, counts_waits_cut_off_at_both_ends) {
  // Two threads that never sleep share a CPU, so at any moment one of them waits.
  ForkedSubject subject([] {
    pin_to_cpu(0);
    std::thread other([] { burn_cpu_ns(60'000 * kMilli); });
    burn_cpu_ns(60'000 * kMilli);
    other.join();
  });
  subject.go();
  sleep_ms(100);
  const OtherCpu elsewhere;  // so that this thread does not preempt them
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  sleep_ms(200);
  const ProbeInterval interval = probes->take_interval();
  // Both wait if something else ran there at that moment.
  EXPECT_GE(interval.losses.scheduler_left_censored, 1u);
  EXPECT_LE(interval.losses.scheduler_left_censored, 2u);
  EXPECT_EQ(interval.losses.scheduler_right_censored, 0u);
  EXPECT_EQ(interval.losses.scheduler_missed_runs, 0u);
  // The threads are read one after the other. If they switch meanwhile, both may be seen running;
  // the same holds between a switch that the kernel hid and the next one.
  uint64_t waiting = 0;
  for (int tries = 0; tries < 500 && waiting == 0; ++tries) {
    waiting = probes->end_losses().scheduler_right_censored;
    if (waiting == 0) sleep_ms(1);
  }
  EXPECT_GE(waiting, 1u);
  EXPECT_LE(waiting, 2u);
  // Stops the subject, so that nothing changes during the reading and the last switches are seen.
  ASSERT_EQ(::kill(subject.pid(), SIGSTOP), 0);
  sleep_ms(100);
  const ProbeInterval rest = probes->take_interval();
  EXPECT_EQ(probes->end_losses().scheduler_right_censored, 0u);
  const SchedulerSelfTest test = *probes->self_test();
  ASSERT_GT(rest.scheduler->run_queue_latency->count(), 0u);
  // Neither sum includes the waits that were in progress when the probe attached.
  expect_close(test.histogram_sum_ns, test.run_delay_ns, 0.01, 0, "self-test");
}

TEST_P(OnBpfRung, the_account_of_a_process_that_never_slept_is_whole_when_it_has_exited) {
  ForkedSubject subject([] {
    burn_cpu_ns(150 * kMilli);
    ::_exit(0);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.go();
  sleep_ms(80);
  const ProbeInterval middle = probes->take_interval();
  EXPECT_GT(*middle.scheduler->cpu_ns, 0u);  // while it runs
  EXPECT_TRUE(middle.subject_alive);
  subject.wait_done();
  sleep_ms(50);
  const ProbeInterval end = probes->take_interval();
  EXPECT_GE(*middle.scheduler->cpu_ns + *end.scheduler->cpu_ns,
            static_cast<uint64_t>(150 * kMilli));
  EXPECT_FALSE(end.subject_alive);
  ASSERT_EQ(end.changed_threads.size(), 1u);
  EXPECT_TRUE(end.changed_threads[0].exited);
  EXPECT_EQ(*end.changed_threads[0].cpu_ns, *middle.scheduler->cpu_ns + *end.scheduler->cpu_ns);
}

TEST_P(OnBpfRung, a_row_carries_the_thread_s_own_name_raw) {
  ForkedSubject subject([] {
    ::prctl(PR_SET_NAME, "\x1b[31m\nred");
    sleep_ms(1);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  ASSERT_EQ(interval.changed_threads.size(), 1u);
  EXPECT_EQ(interval.changed_threads[0].name, "\x1b[31m\nred");
  const auto stat = ProcReader("/proc").stat(subject.pid());
  EXPECT_EQ(interval.changed_threads[0].start_time_ns / 10'000'000,
            static_cast<int64_t>(stat->start_ticks));
}

INSTANTIATE_TEST_SUITE_P(Rungs, OnBpfRung, testing::Values(Rung::kTpBtf, Rung::kRawTracepoint),
                         [](const auto& rung) { return std::string(rung_name(rung.param)); });

}  // namespace
}  // namespace topspin
