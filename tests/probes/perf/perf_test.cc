// Perf counters and CPU stacks on subjects with known behaviour, compared with getrusage and with
// the CPU time that the subjects measure themselves.
#include <csignal>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "probes/counters/counters.h"
#include "probes/perf/perf_event.h"
#include "probes/stacks/cpu_stacks.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/probe_fixture.h"

namespace topspin {
namespace {

using testing::HasSubstr;

Subject subject_of(pid_t pid, ProcReader& proc) {
  auto resolved = resolve_subject(process_tree(pid), proc);
  CHECK(resolved.ok());
  return *resolved;
}

/// Why perf events cannot be expected here at all; nullopt if they must work.
std::optional<std::string> no_perf_reason() {
  perf_event_attr attr{};
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_TASK_CLOCK;
  attr.exclude_kernel = 1;
  const auto fd = open_perf_event(attr, 0, -1);
  return fd.ok() ? std::nullopt : std::optional(fd.error().message);
}

#define SKIP_WITHOUT_PERF() \
  if (const auto reason = no_perf_reason()) GTEST_SKIP() << *reason

TEST(Counters, agree_with_getrusage_through_fork_and_exit) {
  SKIP_WITHOUT_PERF();
  ProcReader proc("/proc");
  if (!perf_may_see_kernel(proc)) GTEST_SKIP() << "needs cap_perfmon to count in the kernel";
  // A process's counter goes early in its exit, and the kernel charges it for the rest: so what is
  // counted lies between what the children had used just before they exited and all that they and
  // the subject, which forks and waits, were charged with.
  struct Uses {
    rusage child_before_exit, grandchild_before_exit, children, subject;
  };
  Shared<Uses> used;
  Uses* const uses = used.operator->();
  constexpr size_t kPages = 2000;
  ForkedSubject subject([uses] {
    // The work is done by a child and a grandchild, which have ended when the counters are read.
    const pid_t child = ::fork();
    if (child == 0) {
      burn_cpu_ns(60 * kNanosPerMilli);
      const size_t bytes = kPages * 4096;
      char* memory = static_cast<char*>(
          ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      CHECK(memory != MAP_FAILED);
      ::madvise(memory, bytes, MADV_NOHUGEPAGE);
      for (size_t page = 0; page < kPages; ++page) memory[page * 4096] = 1;
      for (int i = 0; i < 50; ++i) ::usleep(200);
      if (::fork() == 0) {
        burn_cpu_ns(40 * kNanosPerMilli);
        ::getrusage(RUSAGE_SELF, &uses->grandchild_before_exit);
        ::_exit(0);
      }
      ::wait(nullptr);
      ::getrusage(RUSAGE_SELF, &uses->child_before_exit);
      ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    ::getrusage(RUSAGE_CHILDREN, &uses->children);
    ::getrusage(RUSAGE_SELF, &uses->subject);
  });
  auto counters = Counters::open(subject_of(subject.pid(), proc), proc);
  ASSERT_TRUE(counters.ok()) << counters.error().message;
  const int64_t begin_ns = monotonic_now_ns();
  (void)counters->take_interval();
  subject.run();
  const CounterInterval counted = counters->take_interval();
  ASSERT_TRUE(counted.task_clock_ns && counted.minor_faults && counted.context_switches);
  const auto cpu_us = [](const rusage& use) {
    return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1'000'000 + use.ru_utime.tv_usec +
           use.ru_stime.tv_usec;
  };
  const auto faults = [](const rusage& use) { return use.ru_minflt; };
  const auto switches = [](const rusage& use) { return use.ru_nvcsw + use.ru_nivcsw; };
  const auto least = [&](const auto& number) {
    return static_cast<uint64_t>(number(uses->child_before_exit) +
                                 number(uses->grandchild_before_exit));
  };
  const auto most = [&](const auto& number) {
    return static_cast<uint64_t>(number(uses->children) + number(uses->subject));
  };
  // The two clocks differ by what a host takes from the CPU, so time has no upper bound but that
  // of all CPUs; two times of one process are cut to microseconds.
  EXPECT_GE(counted.task_clock_ns->count + 4000, 1000 * least(cpu_us));
  EXPECT_LE(static_cast<int64_t>(counted.task_clock_ns->count),
            (monotonic_now_ns() - begin_ns) * ::sysconf(_SC_NPROCESSORS_ONLN));
  EXPECT_GE(counted.task_clock_ns->count, 100 * kNanosPerMilli);
  EXPECT_GE(counted.minor_faults->count, kPages);
  EXPECT_GE(counted.minor_faults->count, least(faults));
  EXPECT_LE(counted.minor_faults->count,
            most(faults) + 100);  // what the subject does after it asks
  EXPECT_GE(counted.context_switches->count, 50u);
  EXPECT_GE(counted.context_switches->count, least(switches));
  EXPECT_LE(counted.context_switches->count, most(switches) + 8);
  // Software events never have to take turns.
  EXPECT_EQ(counted.context_switches->enabled_ns, counted.context_switches->running_ns);
  EXPECT_TRUE(counted.cycles || counters->reason().find("cycles") != std::string::npos);
  // Nothing is counted twice.
  EXPECT_LT(counters->take_interval().minor_faults->count, 100u);
}

TEST(Counters, hardware_is_there_or_the_reason_is) {
  SKIP_WITHOUT_PERF();
  ProcReader proc("/proc");
  auto counters = Counters::open(subject_of(::getpid(), proc), proc);
  ASSERT_TRUE(counters.ok()) << counters.error().message;
  burn_cpu_ns(10 * kNanosPerMilli);
  const CounterInterval counted = counters->take_interval();
  if (!counted.instructions) {
    EXPECT_THAT(counters->reason(), HasSubstr("instructions"));
    GTEST_SKIP() << counters->reason();
  }
  EXPECT_GT(counted.instructions->scaled().value_or(0), 100'000u);
}

TEST(Counters, work_for_ones_own_child_without_any_privilege) {
  if (::geteuid() != 0) GTEST_SKIP() << "is without privilege as it is; needs root to give it up";
  Shared<int> outcome;
  *outcome.operator->() = -1;
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
    ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // a change of user clears it
    ProcReader proc("/proc");
    const pid_t own = ::fork();
    if (own == 0) {
      burn_cpu_ns(50 * kNanosPerMilli);
      ::pause();
      ::_exit(0);
    }
    auto counters = Counters::open(subject_of(own, proc), proc);
    if (!counters.ok()) {
      *outcome.operator->() = counters.error().code == ErrorCode::kPermission ? 2 : 3;
    } else {
      ::usleep(200'000);
      const CounterInterval counted = counters->take_interval();
      const bool right = counted.task_clock_ns && counted.task_clock_ns->count > 5'000'000 &&
                         !counted.context_switches && !counters->reason().empty();
      *outcome.operator->() = right ? 0 : 1;
    }
    ::kill(own, SIGKILL);
    ::waitpid(own, nullptr, 0);
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  if (*outcome.operator->() == 2)
    GTEST_SKIP() << "kernel.perf_event_paranoid is above 2: no perf events without privilege";
  EXPECT_EQ(*outcome.operator->(), 0);
}

// Not inlined and not a tail call, so that each has a frame and a symbol.
volatile uint64_t g_spins = 0;
// It calls another function, because a leaf function may have no frame.
extern "C" [[gnu::noinline]] int64_t topspin_test_spin_leaf() {
  for (int i = 0; i < 1'000'000; ++i) g_spins = g_spins + 1;
  const int64_t now_ns = process_cpu_now_ns();
  g_spins = 0;
  return now_ns;
}
extern "C" [[gnu::noinline]] void topspin_test_spin_outer(int64_t cpu_ns) {
  const int64_t end_ns = process_cpu_now_ns() + cpu_ns;
  while (topspin_test_spin_leaf() < end_ns) {
  }
}

TEST(Stacks, name_the_functions_and_count_as_much_as_the_cpu_time) {
  SKIP_WITHOUT_PERF();
  ProcReader proc("/proc");
  ForkedSubject subject([] {
    if (::fork() == 0) {  // the child inherits its mappings and its name
      topspin_test_spin_outer(600 * kNanosPerMilli);
      ::_exit(0);
    }
    ::wait(nullptr);
  });
  auto stacks = CpuStacks::open(subject_of(subject.pid(), proc), 500, proc);
  ASSERT_TRUE(stacks.ok()) << stacks.error().message;
  subject.run();
  const CpuStackInterval interval = stacks->take_interval();
  uint64_t all = 0;
  uint64_t in_leaf = 0;
  for (const StackRow& stack : interval.changed) {
    all += stack.samples;
    const size_t outer = stack.frames.find("topspin_test_spin_outer;topspin_test_spin_leaf");
    if (outer != std::string::npos) in_leaf += stack.samples;
    EXPECT_THAT(stack.thread, HasSubstr("probes_perf"));
    EXPECT_EQ(stack.frames.find('\n'), std::string::npos);
  }
  // 600 ms of CPU time at 500 Hz. Both the subject and the sampling use the CPU clock.
  EXPECT_NEAR(static_cast<double>(all), 300, 45);
  EXPECT_GE(in_leaf * 10, all * 8)
      << (interval.changed.empty() ? "none" : interval.changed[0].frames);
  EXPECT_EQ(interval.samples_lost, 0u);
  EXPECT_TRUE(stacks->take_interval().changed.empty());
}

TEST(Stacks, follow_exec_and_name_a_program_that_was_not_there_before) {
  SKIP_WITHOUT_PERF();
  ProcReader proc("/proc");
  ForkedSubject subject([] {
    if (::fork() == 0) {
      ::execl("/bin/sh", "sh", "-c", "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done",
              static_cast<char*>(nullptr));
      ::_exit(127);
    }
    ::wait(nullptr);
  });
  auto stacks = CpuStacks::open(subject_of(subject.pid(), proc), 900, proc);
  ASSERT_TRUE(stacks.ok()) << stacks.error().message;
  subject.run();
  uint64_t of_sh = 0;
  uint64_t in_own_code = 0;
  for (const StackRow& stack : stacks->take_interval().changed) {
    if (stack.thread != "sh") continue;
    of_sh += stack.samples;
    // Debian's dash has no symbols, so its frames show the name of its file.
    in_own_code += stack.frames.find("[dash]") != std::string::npos ||
                           stack.frames.find("libc") != std::string::npos ||
                           stack.frames.find("[bash]") != std::string::npos
                       ? stack.samples
                       : 0;
  }
  EXPECT_GE(of_sh, 20u);
  EXPECT_GE(in_own_code, of_sh / 4);
}

TEST(Stacks, what_a_ring_has_no_room_for_is_counted) {
  SKIP_WITHOUT_PERF();
  ProcReader proc("/proc");
  ForkedSubject subject([] { burn_cpu_ns(400 * kNanosPerMilli); });
  auto stacks = CpuStacks::open(subject_of(subject.pid(), proc), 1000, proc,
                                static_cast<size_t>(::sysconf(_SC_PAGESIZE)));
  ASSERT_TRUE(stacks.ok()) << stacks.error().message;
  subject.run();
  uint64_t kept = 0;
  const CpuStackInterval interval = stacks->take_interval();
  for (const StackRow& stack : interval.changed) kept += stack.samples;
  const uint64_t lost = interval.samples_lost;
  EXPECT_GT(kept, 0u);
  EXPECT_GT(lost, 100u);
  EXPECT_NEAR(static_cast<double>(kept + lost), 400, 80);
}

}  // namespace
}  // namespace topspin
