// Why a thread was late according to the scheduler probe, with subjects for which the causes are
// known: who preempted it, what it slept for, which timer overslept, how long its CPU's queue was.
// Expected numbers come from schedstat, getrusage, or the subject's own clock.
#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <set>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "probes/proc/proc_reader.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/probe_fixture.h"
#include "tests/support/every_night.h"
#include "tests/support/privileges.h"

namespace topspin {
namespace {

constexpr int64_t kMilli = kNanosPerMilli;

void expect_close(uint64_t actual, uint64_t expected, double share, uint64_t slack,
                  std::string_view what) {
  const double difference = static_cast<double>(actual) - static_cast<double>(expected);
  EXPECT_LE(std::abs(difference),
            share * static_cast<double>(expected) + static_cast<double>(slack))
      << what << ": " << actual << " instead of " << expected;
}

void sleep_ns(int64_t ns) {
  const timespec pause{ns / kNanosPerSecond, ns % kNanosPerSecond};
  ::nanosleep(&pause, nullptr);
}

/// Uses vfork, because fork would copy a sanitizer's memory.
void one_short_process() {
  const pid_t child = ::vfork();
  if (child == 0) ::_exit(0);
  CHECK(child > 0);
  ::waitpid(child, nullptr, 0);
}

const Preemptions& preempted_by(const SchedulerInterval& interval, Preemptor by) {
  return interval.preempted_by[static_cast<size_t>(by)];
}
const OffCpuTime& off_cpu(const SchedulerInterval& interval, OffCpuState state) {
  return interval.off_cpu[static_cast<size_t>(state)];
}

class CausesOnRung : public testing::TestWithParam<Rung> {
 protected:
  void SetUp() override { SKIP_WITHOUT_BPF(); }
};

TEST_P(CausesOnRung, another_process_of_the_same_cgroup_preempts) {
  ForkedSubject busy([] {
    pin_to_cpu(0);
    burn_cpu_ns(300 * kMilli);
  });
  ForkedSubject subject([] {
    pin_to_cpu(0);
    burn_cpu_ns(300 * kMilli);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  ProcReader proc("/proc");
  const auto before = proc.thread_schedstat(subject.pid(), subject.pid());
  busy.go();
  subject.run();
  const SchedulerInterval seen = *probes->take_interval().scheduler;
  const auto after = proc.thread_schedstat(subject.pid(), subject.pid());
  busy.wait_done();
  // From 6.12 on the kernel may count a sleep's first slice as a wait, if the queue is busy: a
  // thread that falls asleep stays in the queue until its turn (docs/kernels.md).
  expect_close(seen.run_queue_latency->sum(), after->run_delay_ns - before->run_delay_ns, 0.01,
               8 * kMilli, "waits");
  const Preemptions& by_busy = preempted_by(seen, Preemptor::kSameCgroup);
  uint64_t count = 0;
  uint64_t wait_ns = 0;
  for (const Preemptions& by : seen.preempted_by) {
    count += *by.count;
    wait_ns += *by.wait_ns;
  }
  EXPECT_EQ(count, seen.preemption_wait->count());
  EXPECT_EQ(wait_ns, seen.preemption_wait->sum());
  ASSERT_GT(wait_ns, static_cast<uint64_t>(100 * kMilli));
  EXPECT_GT(*by_busy.wait_ns, wait_ns / 2);
  EXPECT_EQ(preempted_by(seen, Preemptor::kSameProcess).count, 0u);  // it has only one thread
}

TEST_P(CausesOnRung, threads_of_one_process_preempt_each_other) {
  ForkedSubject subject([] {
    pin_to_cpu(0);
    std::thread other([] { burn_cpu_ns(300 * kMilli); });
    burn_cpu_ns(300 * kMilli);
    other.join();
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.run();
  sleep_ns(10 * kMilli);
  const ProbeInterval interval = probes->take_interval();
  const SchedulerInterval& seen = *interval.scheduler;
  EXPECT_GT(*preempted_by(seen, Preemptor::kSameProcess).wait_ns,
            static_cast<uint64_t>(100 * kMilli));
  uint64_t of_rows = 0;
  for (const ThreadRow& row : interval.changed_threads)
    of_rows += *row.preempted_by[static_cast<size_t>(Preemptor::kSameProcess)];
  EXPECT_EQ(of_rows, *preempted_by(seen, Preemptor::kSameProcess).count);
}

TEST_P(CausesOnRung, slices_and_waits_of_each_thread_sum_up_to_its_account) {
  ForkedSubject subject([] {
    pin_to_cpu(0);
    std::vector<std::thread> threads;
    for (int index = 0; index < 4; ++index) {
      threads.emplace_back([] {
        for (int turn = 0; turn < 40; ++turn) {
          burn_cpu_ns(kMilli / 2);
          sleep_ns(kMilli / 2);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.run();
  sleep_ns(10 * kMilli);
  const ProbeInterval interval = probes->take_interval();
  SKIP_UNLESS_EVERY_SWITCH_WAS_SHOWN(interval);
  const SchedulerInterval& seen = *interval.scheduler;
  uint64_t slices = 0;
  uint64_t slice_ns = 0;
  ASSERT_EQ(interval.changed_threads.size(), 5u);
  for (const ThreadRow& row : interval.changed_threads) {
    ASSERT_TRUE(row.on_cpu && row.run_queue_wait);
    // A slice is time on a CPU by the clock. The kernel charges the same, without stolen time.
    expect_close(row.on_cpu->sum(), *row.cpu_ns, 0.05, 300'000, "slices");
    EXPECT_EQ(row.run_queue_wait->sum(), *row.run_queue_wait_ns);
    EXPECT_EQ(row.run_queue_wait->count(), *row.run_queue_waits);
    EXPECT_EQ(row.run_queue_wait->max(), *row.run_queue_wait_max_ns);
    // Each wait ends in a slice, and each slice in a switch. The last slice of the main thread may
    // not have ended.
    expect_close(row.on_cpu->count(), *row.voluntary_switches + *row.involuntary_switches, 0, 2,
                 "number of slices");
    expect_close(row.on_cpu->count(), row.run_queue_wait->count(), 0, 1, "slices and waits");
    slices += row.on_cpu->count();
    slice_ns += row.on_cpu->sum();
  }
  EXPECT_EQ(slices, seen.on_cpu->count());
  EXPECT_EQ(slice_ns, seen.on_cpu->sum());
  EXPECT_GT(seen.on_cpu->count(), 160u);
}

TEST_P(CausesOnRung, time_off_the_cpu_by_state) {
  constexpr int64_t kPauseNs = 60 * kMilli;
  ForkedSubject subject([] {
    pin_to_cpu(0);
    for (int count = 0; count < 3; ++count) sleep_ns(kPauseNs);
    // The parent of a vfork waits uninterruptibly.
    const pid_t child = ::vfork();
    if (child == 0) {
      sleep_ns(kPauseNs);
      ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    ::raise(SIGSTOP);
  });
  const int64_t opened_ns = monotonic_now_ns();
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  const int64_t begin_ns = monotonic_now_ns();
  subject.go();
  int status = 0;
  ASSERT_EQ(::waitpid(subject.pid(), &status, WUNTRACED), subject.pid());
  ASSERT_TRUE(WIFSTOPPED(status));
  const int64_t stopped_ns = monotonic_now_ns();
  sleep_ns(kPauseNs);
  ::kill(subject.pid(), SIGCONT);
  const int64_t continued_ns = monotonic_now_ns();
  subject.wait_done();
  const ProbeInterval interval = probes->take_interval();
  SKIP_UNLESS_EVERY_SWITCH_WAS_SHOWN(interval);
  const SchedulerInterval& seen = *interval.scheduler;
  const auto pauses = static_cast<uint64_t>(kPauseNs);
  // Two processes were off their CPUs for at most the time that there was. The subject was already
  // asleep when the interval began.
  const auto elapsed = static_cast<uint64_t>(monotonic_now_ns() - opened_ns);
  EXPECT_LE(*off_cpu(seen, OffCpuState::kUninterruptible).ns,
            static_cast<uint64_t>(stopped_ns - begin_ns));
  EXPECT_LE(*off_cpu(seen, OffCpuState::kSleeping).ns, 2 * elapsed);
  // Three pauses of the subject and one of its child. It also waits for this test.
  const uint64_t sleeps = 4;
  EXPECT_GE(*off_cpu(seen, OffCpuState::kSleeping).ns, sleeps * pauses);
  EXPECT_GE(*off_cpu(seen, OffCpuState::kSleeping).count, sleeps);
  EXPECT_GE(*off_cpu(seen, OffCpuState::kUninterruptible).ns, pauses);
  EXPECT_GE(*off_cpu(seen, OffCpuState::kUninterruptible).count, 1u);
  EXPECT_EQ(*off_cpu(seen, OffCpuState::kOther).count, 1u);
  expect_close(*off_cpu(seen, OffCpuState::kOther).ns,
               static_cast<uint64_t>(continued_ns - stopped_ns), 0.1, 5 * kMilli, "stopped");
}

TEST_P(CausesOnRung, run_queues_are_as_long_as_what_waits_there) {
  constexpr int kBusy = 3;
  ForkedSubject busy([] {
    pin_to_cpu(0);
    std::vector<std::thread> threads;
    for (int index = 1; index < kBusy; ++index)
      threads.emplace_back([] { burn_cpu_ns(200 * kMilli); });
    burn_cpu_ns(200 * kMilli);
    for (std::thread& thread : threads) thread.join();
  });
  ForkedSubject subject([] {
    pin_to_cpu(0);
    for (int count = 0; count < 20; ++count) sleep_ns(5 * kMilli);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  busy.go();
  sleep_ns(20 * kMilli);
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  const SchedulerInterval& seen = *interval.scheduler;
  busy.wait_done();
  const auto row = std::ranges::find(seen.cpus, 0, &CpuScheduling::cpu);
  ASSERT_NE(row, seen.cpus.end());
  EXPECT_GE(row->queue_samples, 20u);
  // The queue holds the thread that was woken, and the busy ones while they are busy.
  EXPECT_GE(row->queue_length_max, static_cast<uint64_t>(kBusy + 1));
  EXPECT_GE(row->queue_length_sum, row->queue_samples * 2);
  uint64_t switches = 0;
  uint64_t waits = 0;
  uint64_t wait_ns = 0;
  uint64_t samples = 0;
  for (const CpuScheduling& cpu : seen.cpus) {
    switches += cpu.switches;
    waits += cpu.waits;
    wait_ns += cpu.wait_ns;
    samples += cpu.queue_samples;
  }
  EXPECT_EQ(waits, seen.run_queue_latency->count());
  EXPECT_EQ(wait_ns, seen.run_queue_latency->sum());
  // The wait before a switch that the kernel hid is recovered.
  EXPECT_LE(switches, waits);
  EXPECT_LE(waits, switches + interval.losses.scheduler_hidden_switches);
  expect_close(samples, seen.queue_wait->count(), 0, 1, "wakeups");
  const SchedulerInterval later = *probes->take_interval().scheduler;
  for (const CpuScheduling& cpu : later.cpus) EXPECT_LE(cpu.switches, 2u) << "of the interval only";
}

/// How much later than requested a subject's sleeps ended, by its own clock.
struct Sleeps {
  uint64_t count;
  uint64_t late_ns;
  uint64_t least_late_ns;

  void add(int64_t late_ns_of_one) {
    const auto one = static_cast<uint64_t>(late_ns_of_one);
    least_late_ns = count == 0 ? one : std::min(least_late_ns, one);
    late_ns += one;
    ++count;
  }
};

/// How far the wall clock is ahead of the monotonic one. This changes when the wall clock is set.
int64_t wall_ahead_ns() {
  timespec wall{};
  CHECK(::clock_gettime(CLOCK_REALTIME, &wall) == 0);
  return wall.tv_sec * kNanosPerSecond + wall.tv_nsec - monotonic_now_ns();
}

/// How many voluntary switches the calling thread has made.
int64_t waits_of_this_thread() {
  rusage used{};
  CHECK(::getrusage(RUSAGE_THREAD, &used) == 0);
  return used.ru_nvcsw;
}

/// What a subject did in one phase, by its own clock and the kernel's count.
struct Phase {
  uint64_t sleeps;  // voluntary switches
  uint64_t wall_ns;
};

/// Runs `work` and records it as the phase.
template <typename Work>
void run_phase(Phase& phase, Work work) {
  const int64_t begin_ns = monotonic_now_ns();
  const int64_t before = waits_of_this_thread();
  work();
  phase.sleeps = static_cast<uint64_t>(waits_of_this_thread() - before);
  phase.wall_ns = static_cast<uint64_t>(monotonic_now_ns() - begin_ns);
}

TEST_P(CausesOnRung, time_off_the_cpu_by_the_call_in_progress) {
  constexpr int kTimes = 10;
  constexpr int64_t kPauseNs = 5 * kMilli;
  int pipe_ends[2];
  int sockets[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  const int events = ::eventfd(0, 0);
  const UniqueFd file(::open(".", O_TMPFILE | O_RDWR, 0600));
  ForkedSubject writer([&] {
    const uint64_t one = 1;
    for (const int fd : {pipe_ends[1], sockets[1], events}) {
      for (int count = 0; count < kTimes; ++count) {
        sleep_ns(kPauseNs);
        CHECK(::write(fd, &one, sizeof(one)) == sizeof(one));
      }
    }
  });
  Shared<std::array<Phase, kBlockedByCount>> phases;
  ForkedSubject subject([&] {
    auto& by = *phases.operator->();
    const auto phase = [&](BlockedBy reason, auto work) {
      run_phase(by[static_cast<size_t>(reason)], [&] {
        for (int count = 0; count < kTimes; ++count) work();
      });
    };
    uint64_t value = 0;
    phase(BlockedBy::kPipe, [&] { CHECK(::read(pipe_ends[0], &value, 8) == 8); });
    phase(BlockedBy::kSocket, [&] { CHECK(::read(sockets[0], &value, 8) == 8); });
    phase(BlockedBy::kPoll, [&] { CHECK(::read(events, &value, 8) == 8); });
    phase(BlockedBy::kSleep, [&] { sleep_ns(kPauseNs); });
    phase(BlockedBy::kFutex, [&] {
      const timespec pause{0, kPauseNs};
      uint32_t word = 0;
      ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &pause, nullptr, 0);
    });
    phase(BlockedBy::kDisk, [&] {
      if (file) CHECK(::pwrite(file.get(), &value, 8, 0) == 8 && ::fsync(file.get()) == 0);
    });
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  writer.go();
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  const SchedulerInterval& seen = *interval.scheduler;
  writer.wait_done();
  const uint64_t hidden = interval.losses.scheduler_hidden_switches;
  uint64_t count = 0;
  uint64_t sum = 0;
  for (size_t reason = 0; reason < kBlockedByCount; ++reason) {
    const Histogram& sleeps = *seen.blocked_by[reason];
    const Phase& phase = (*phases.operator->())[reason];
    const std::string name(blocked_by_name(static_cast<BlockedBy>(reason)));
    count += sleeps.count();
    sum += sleeps.sum();
    if (phase.wall_ns == 0) continue;
    EXPECT_LE(sleeps.count(), phase.sleeps) << name;
    EXPECT_GE(sleeps.count() + hidden, phase.sleeps) << name;
    EXPECT_LE(sleeps.sum(), phase.wall_ns) << name;
    if (reason == static_cast<size_t>(BlockedBy::kDisk)) continue;  // fsync may not sleep
    EXPECT_GE(phase.sleeps, kTimes / 2u) << name;
    EXPECT_GE(sleeps.max().value_or(0), static_cast<uint64_t>(kPauseNs / 2)) << name;
  }
  uint64_t off_count = 0;
  uint64_t off_sum = 0;
  for (const OffCpuTime& state : seen.off_cpu) {
    off_count += *state.count;
    off_sum += *state.ns;
  }
  EXPECT_EQ(count, off_count);
  EXPECT_EQ(sum, off_sum);
  for (const int fd : {pipe_ends[0], pipe_ends[1], sockets[0], sockets[1], events}) ::close(fd);
}

TEST_P(CausesOnRung, a_stopped_thread_and_a_parent_that_waits) {
  ForkedSubject subject([] {
    const pid_t child = ::vfork();
    if (child == 0) {
      sleep_ns(20 * kMilli);
      ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    ::raise(SIGSTOP);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  subject.go();
  int status = 0;
  ASSERT_EQ(::waitpid(subject.pid(), &status, WUNTRACED), subject.pid());
  ASSERT_TRUE(WIFSTOPPED(status));
  const int64_t stopped_ns = monotonic_now_ns();
  sleep_ns(20 * kMilli);
  const int64_t least_ns = monotonic_now_ns() - stopped_ns;
  ::kill(subject.pid(), SIGCONT);
  subject.wait_done();
  const ProbeInterval interval = probes->take_interval();
  SKIP_UNLESS_EVERY_SWITCH_WAS_SHOWN(interval);
  const auto& by = interval.scheduler->blocked_by;
  EXPECT_EQ(by[static_cast<size_t>(BlockedBy::kStopped)]->count(), 1u);
  EXPECT_GE(by[static_cast<size_t>(BlockedBy::kStopped)]->sum() + kMilli,
            static_cast<uint64_t>(least_ns));
  EXPECT_GE(by[static_cast<size_t>(BlockedBy::kWait)]->count(), 1u);
  EXPECT_GE(by[static_cast<size_t>(BlockedBy::kWait)]->sum(), static_cast<uint64_t>(19 * kMilli));
}

TEST_P(CausesOnRung, a_busy_stretch_lasts_from_sleep_to_sleep) {
  constexpr int kTurns = 8;
  ForkedSubject busy([] {
    pin_to_cpu(0);
    burn_cpu_ns(200 * kMilli);
  });
  ForkedSubject subject([] {
    pin_to_cpu(0);
    for (int turn = 0; turn < kTurns; ++turn) {
      sleep_ns(2 * kMilli);
      burn_cpu_ns(20 * kMilli);
    }
    sleep_ns(2 * kMilli);
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  busy.go();
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  const SchedulerInterval& seen = *interval.scheduler;
  busy.wait_done();
  ASSERT_GT(seen.preemption_wait->count(), 0u);  // which does not end a stretch
  uint64_t turns = 0;
  for (uint32_t cell = 0; cell < kHistogramBuckets; ++cell)
    if (histogram_bucket_max(cell) >= static_cast<uint64_t>(19 * kMilli))
      turns += seen.busy_stretch->cell(cell);
  EXPECT_LE(turns, static_cast<uint64_t>(kTurns));
  EXPECT_GE(turns + interval.losses.scheduler_hidden_switches, static_cast<uint64_t>(kTurns));
  EXPECT_GE(seen.busy_stretch->sum() + 2 * interval.losses.scheduler_hidden_switches * 20 * kMilli,
            seen.on_cpu->sum() * 9 / 10);
}

void expect_timers(const ProbeInterval& interval, const Sleeps& own) {
  const SchedulerInterval& seen = *interval.scheduler;
  ASSERT_TRUE(seen.timer_oversleep);
  // Some sleeps end with a switch that the kernel hides.
  EXPECT_LE(seen.timer_oversleep->count(), own.count);
  EXPECT_GE(seen.timer_oversleep->count() + 2 + interval.losses.scheduler_hidden_switches,
            own.count);
  EXPECT_EQ(seen.timer_oversleep->sum(),
            seen.timer_slack->sum() + seen.timer_late_expiry->sum() + seen.timer_queueing->sum());
  // The subject's own clock includes the way into the kernel and back.
  EXPECT_LE(seen.timer_oversleep->sum(), own.late_ns);
  // The subject may be preempted after it woke, before it reads its clock. So only the shortest
  // sleeps of the two accounts can be compared. If the probe did not see all sleeps, the shortest
  // one may be among those that it missed.
  if (seen.timer_oversleep->count() == own.count ||
      *seen.timer_oversleep->min() < own.least_late_ns) {
    expect_close(*seen.timer_oversleep->min(), own.least_late_ns, 0.10, 50'000, "least oversleep");
  }
}

TEST_P(CausesOnRung, nanosleep_oversleeps_by_its_slack) {
  constexpr uint64_t kSleeps = 60;
  constexpr int64_t kSlackNs = 3 * kMilli;
  Shared<Sleeps> own;
  ForkedSubject subject([&] {
    pin_to_cpu(0);
    CHECK(::prctl(PR_SET_TIMERSLACK, kSlackNs) == 0);
    for (uint64_t count = 0; count < kSleeps; ++count) {
      const int64_t begin_ns = monotonic_now_ns();
      sleep_ns(kMilli);
      own->add(monotonic_now_ns() - begin_ns - kMilli);
    }
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  ASSERT_EQ(probes->status()[2].reason, "");
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  const SchedulerInterval& seen = *interval.scheduler;
  expect_timers(interval, *own.operator->());
  // The slack delays a timer at most by its length. Another interrupt may fire it earlier.
  EXPECT_LE(*seen.timer_slack->max(), static_cast<uint64_t>(kSlackNs));
  EXPECT_GT(seen.timer_slack->sum(), seen.timer_oversleep->sum() / 4);
}

TEST_P(CausesOnRung, a_sleeper_behind_a_busy_thread_is_late_by_queueing) {
  constexpr uint64_t kSleeps = 40;
  Shared<Sleeps> own;
  ForkedSubject busy([] {
    pin_to_cpu(0);
    (void)!::nice(-5);  // if that is allowed
    burn_cpu_ns(400 * kMilli);
  });
  ForkedSubject subject([&] {
    pin_to_cpu(0);
    (void)!::nice(10);
    CHECK(::prctl(PR_SET_TIMERSLACK, 1'000) == 0);
    // Works between the sleeps, so that it has no credit with the scheduler when it wakes.
    for (uint64_t count = 0; count < kSleeps; ++count) {
      const int64_t begin_ns = monotonic_now_ns();
      sleep_ns(kMilli / 4);
      own->add(monotonic_now_ns() - begin_ns - kMilli / 4);
      burn_cpu_ns(kMilli);
    }
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  busy.go();
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  const SchedulerInterval& seen = *interval.scheduler;
  busy.wait_done();
  expect_timers(interval, *own.operator->());
  EXPECT_LT(seen.timer_slack->sum(), seen.timer_queueing->sum());
  // The waits for a CPU after a timer are a part of all queue waits.
  EXPECT_LE(seen.timer_queueing->sum(),
            seen.queue_wait->sum() + kSleeps * static_cast<uint64_t>(kMilli) / 5);
}

TEST_P(CausesOnRung, timeouts_of_epoll_and_timerfd_count_and_events_do_not) {
  constexpr int kEach = 15;
  Shared<Sleeps> own;
  ForkedSubject subject([&] {
    pin_to_cpu(0);
    const int poll = ::epoll_create1(0);
    const int timer = ::timerfd_create(CLOCK_REALTIME, 0);
    CHECK(poll >= 0 && timer >= 0);
    epoll_event event{};
    for (int count = 0; count < kEach; ++count) {
      const int64_t begin_ns = monotonic_now_ns();
      CHECK(::epoll_wait(poll, &event, 1, 2) == 0);
      own->add(monotonic_now_ns() - begin_ns - 2 * kMilli);
    }
    event.events = EPOLLIN;
    CHECK(::epoll_ctl(poll, EPOLL_CTL_ADD, timer, &event) == 0);
    for (int count = 0; count < kEach; ++count) {
      const itimerspec once{{0, 0}, {0, 2 * kMilli}};
      const int64_t waits_before = waits_of_this_thread();
      const int64_t begin_ns = monotonic_now_ns();
      CHECK(::timerfd_settime(timer, 0, &once, nullptr) == 0);
      CHECK(::epoll_wait(poll, &event, 1, 10'000) == 1);
      const int64_t late_ns = monotonic_now_ns() - begin_ns - 2 * kMilli;
      // If the thread was preempted until its timer had fired, it did not sleep.
      if (waits_of_this_thread() > waits_before) own->add(late_ns);
      uint64_t expirations = 0;
      CHECK(::read(timer, &expirations, sizeof(expirations)) == sizeof(expirations));
    }
    ping_pong(200);  // woken by an event each time
  });
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), on_rung(GetParam()), GetParam());
  const int64_t ahead_ns = wall_ahead_ns();
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  const SchedulerInterval& seen = *interval.scheduler;
  if (std::abs(wall_ahead_ns() - ahead_ns) > kMilli / 50)
    TOPSPIN_SKIP("the wall clock was set during the test, and with it when a timer of it fires");
  EXPECT_GT(seen.queue_wait->count(), 200u);
  expect_timers(interval, *own.operator->());
}

TEST_P(CausesOnRung, timers_can_be_left_out) {
  ForkedSubject subject([] { sleep_ns(kMilli); });
  ProbeOptions options = on_rung(GetParam());
  options.forced["timers"] = Rung::kNone;
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), options, GetParam());
  EXPECT_EQ(probes->status()[2].name, "timers");
  EXPECT_EQ(probes->status()[2].rung, Rung::kNone);
  subject.run();
  const SchedulerInterval seen = *probes->take_interval().scheduler;
  EXPECT_FALSE(seen.timer_oversleep);
  EXPECT_FALSE(seen.timer_slack);
  EXPECT_TRUE(seen.on_cpu);
}

TEST_P(CausesOnRung, fourteen_thousand_threads_have_a_row_and_distributions_each) {
  constexpr int kThreads = 14'000;
  Shared<int> made;
  ForkedSubject subject([&] {
    std::mutex mutex;
    std::condition_variable changed;
    bool over = false;
    std::vector<pthread_t> threads;
    struct Context {
      std::mutex* mutex;
      std::condition_variable* changed;
      bool* over;
    } context{&mutex, &changed, &over};
    pthread_attr_t attributes;
    CHECK(::pthread_attr_init(&attributes) == 0 &&
          ::pthread_attr_setstacksize(&attributes, 64 << 10) == 0);
    for (int index = 0; index < kThreads; ++index) {
      pthread_t thread{};
      const int error = ::pthread_create(
          &thread, &attributes,
          [](void* argument) -> void* {
            auto& c = *static_cast<Context*>(argument);
            std::unique_lock lock(*c.mutex);
            c.changed->wait(lock, [&] { return *c.over; });
            return nullptr;
          },
          &context);
      if (error != 0) break;
      threads.push_back(thread);
    }
    *made.operator->() = static_cast<int>(threads.size());
    {
      const std::lock_guard lock(mutex);
      over = true;
    }
    changed.notify_all();
    for (const pthread_t thread : threads) ::pthread_join(thread, nullptr);
  });
  ProbeOptions options = on_rung(GetParam());
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), options, GetParam());
  subject.go();
  // Reads now and then, as a recording does.
  std::atomic<bool> done{false};
  std::thread waiter([&] {
    subject.wait_done();
    done = true;
  });
  std::set<int32_t> exited;
  LossInterval losses;
  uint64_t waits_of_rows = 0;
  uint64_t waits = 0;
  const auto take = [&] {
    const ProbeInterval interval = probes->take_interval();
    losses.merge(interval.losses);
    waits += interval.scheduler->run_queue_latency->count();
    for (const ThreadRow& row : interval.changed_threads) {
      if (!row.exited) continue;
      exited.insert(row.tid);
      waits_of_rows += row.run_queue_wait->count();
    }
  };
  while (!done) {
    sleep_ns(200 * kMilli);
    take();
  }
  waiter.join();
  sleep_ns(50 * kMilli);
  take();
  if (*made.operator->() < kThreads)
    GTEST_SKIP() << "needs 14,000 threads: this host gave " << *made.operator->();
  EXPECT_EQ(exited.size(), static_cast<size_t>(kThreads));
  EXPECT_EQ(losses.scheduler_map_full, 0u);
  EXPECT_EQ(losses.thread_rows_unstored, 0u);
  EXPECT_EQ(losses.scheduler_ring_full, 0u);
  EXPECT_GE(waits_of_rows, static_cast<uint64_t>(kThreads));
  EXPECT_GE(waits, waits_of_rows);
}

TEST_P(CausesOnRung, short_processes_by_the_thousand_are_all_in_the_sums) {
  const int processes = test::repeats(40'000, 100'000);  // there are 32,768 process numbers
  ForkedSubject subject([&] {
    for (int count = 0; count < processes; ++count) one_short_process();
  });
  ProbeOptions options = on_rung(GetParam());
  options.max_threads = 1'000;  // limits the rows, not the sums
  OPEN_ON_RUNG(probes, process_tree(subject.pid()), options, GetParam());
  subject.run();
  sleep_ns(20 * kMilli);
  const ProbeInterval interval = probes->take_interval();
  const SchedulerInterval& seen = *interval.scheduler;
  EXPECT_GE(seen.on_cpu->count(), static_cast<uint64_t>(processes));
  EXPECT_GE(seen.run_queue_latency->count(), static_cast<uint64_t>(processes));
  EXPECT_EQ(interval.losses.scheduler_map_full, 0u);
  // Each process has a row or is counted: because its last row found no room in the ring, which was
  // not read meanwhile, or because it was beyond a limit.
  const auto told_of = [](const ProbeInterval& of) {
    return of.changed_threads.size() + of.losses.thread_rows_unstored +
           of.losses.scheduler_ring_full;
  };
  uint64_t rows = told_of(interval);
  for (ProbeInterval later = probes->take_interval();
       !later.changed_threads.empty() && rows < 2u * processes; later = probes->take_interval())
    rows += told_of(later);
  EXPECT_GE(rows, static_cast<uint64_t>(processes + 1));
  // The kernel's sum leaves out some microseconds per wait, and most of these waits are that short.
  const SchedulerSelfTest test = *probes->self_test();
  expect_close(test.histogram_sum_ns, test.run_delay_ns, 0.01,
               20'000 * seen.run_queue_latency->count(), "self-test");
}

INSTANTIATE_TEST_SUITE_P(Rungs, CausesOnRung, testing::Values(Rung::kTpBtf, Rung::kRawTracepoint),
                         [](const auto& rung) { return std::string(rung_name(rung.param)); });

}  // namespace
}  // namespace topspin
