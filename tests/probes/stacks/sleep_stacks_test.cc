// Where the subject slept, who woke it, and its longest busy stretches. The subjects sleep and work
// in functions with known names, wake another thread, and read their own clocks. Uses real BPF.
// Times have bounds that no load on the host can break: a sleep is never longer than its caller
// saw.
#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdint>
#include <ctime>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include "core/base/clock.h"
#include "probes/stacks/sleep_stacks_abi.h"
#include "tests/probes/forked_subject.h"
#include "tests/probes/probe_fixture.h"
#include "tests/support/every_night.h"

extern "C" {
// The C library has no frame pointers, so stacks lack the function that calls into it. The first
// function that they show is that function's caller.
__attribute__((noinline)) void topspin_test_call_libc(int64_t ns) {
  const timespec how_long{0, static_cast<long>(ns)};
  ::nanosleep(&how_long, nullptr);
  asm volatile("" ::: "memory");
}
__attribute__((noinline)) void topspin_test_nap(int64_t ns) {
  topspin_test_call_libc(ns);
  asm volatile("" ::: "memory");
}
__attribute__((noinline)) void topspin_test_block(int64_t cpu_ns) {
  topspin::burn_cpu_ns(cpu_ns);
  asm volatile("" ::: "memory");
}
}

namespace topspin {
namespace {

constexpr int kNaps = 25;
constexpr int64_t kNapNs = 20 * kNanosPerMilli;
constexpr int kShortNaps = 200;

struct Clocks {
  int64_t napped_ns;
  int64_t waited_ns;
};

void nap_and_signal(Clocks& clocks) {
  std::mutex mutex;
  std::condition_variable signalled;
  int signals = 0;
  std::thread waiter([&] {
    ::pthread_setname_np(::pthread_self(), "the-waiter");
    std::unique_lock lock(mutex);
    for (int seen = 0; seen < kNaps; seen = signals) {
      const int64_t from_ns = monotonic_now_ns();
      signalled.wait(lock, [&] { return signals != seen; });
      clocks.waited_ns += monotonic_now_ns() - from_ns;
    }
  });
  std::thread napper([&] {
    ::pthread_setname_np(::pthread_self(), "the-napper");
    for (int i = 0; i < kNaps; ++i) {
      const int64_t from_ns = monotonic_now_ns();
      topspin_test_nap(kNapNs);
      clocks.napped_ns += monotonic_now_ns() - from_ns;
      const std::lock_guard lock(mutex);
      ++signals;
      signalled.notify_one();
    }
    for (int i = 0; i < kShortNaps; ++i) topspin_test_nap(1);
  });
  napper.join();
  waiter.join();
}

std::string listed(const std::vector<SleepStackRow>& rows) {
  std::string text;
  for (const SleepStackRow& row : rows)
    text +=
        fmt::format("{} x {} us, {}, woken by \"{}\", {}: {}\n", row.sleeps, row.slept_ns / 1000,
                    blocked_by_name(row.reason), row.woken_by, row.thread, row.frames);
  return text;
}

/// Skips the test where there are no perf events.
void open_with_stacks(const ForkedSubject& subject, uint32_t per_second,
                      std::unique_ptr<Probes>& probes) {
  ProbeOptions options;
  options.stacks_per_second = per_second;
  auto opened = Probes::open(process_tree(subject.pid()), options);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  probes = std::move(opened).value();
  for (const ProbeStatus& status : probes->status()) {
    if (status.name == "stacks" && status.rung == Rung::kNone)
      GTEST_SKIP() << "no perf events here: " << status.reason;
  }
}

TEST(SleepStacks, NameTheFunctionTheReasonAndTheWaker) {
  SKIP_WITHOUT_BPF();
  Shared<Clocks> clocks;
  ForkedSubject subject([&] { nap_and_signal(*clocks.operator->()); });
  ProbeOptions options;
  options.stacks_per_second = 99;
  auto opened = Probes::open(process_tree(subject.pid()), options);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  auto probes = std::move(opened).value();
  for (const ProbeStatus& status : probes->status()) {
    if (status.name != "stacks") continue;
    if (status.rung == Rung::kNone) GTEST_SKIP() << "no perf events here: " << status.reason;
    ASSERT_EQ(status.reason.find("no stacks of sleeps"), std::string::npos) << status.reason;
  }
  (void)probes->take_interval();
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  const std::vector<SleepStackRow>& rows = interval.changed_sleep_stacks;
  SCOPED_TRACE(listed(rows));

  uint64_t naps = 0, napped_ns = 0, waits = 0, waited_ns = 0, all_ns = 0, short_sleeps = 0;
  uint64_t unstored = 0;
  for (const SleepStackRow& row : rows) {
    all_ns += row.slept_ns;
    if (row.frames == kShortSleeps) short_sleeps += row.sleeps;
    if (row.frames.find(kUnstoredStack) != std::string::npos) unstored += row.sleeps;
    if (row.thread == "the-napper" && row.reason == BlockedBy::kSleep &&
        row.frames.find("topspin_test_nap") != std::string::npos && row.woken_by == "[timer]") {
      naps += row.sleeps;
      napped_ns += row.slept_ns;
    }
    if (row.thread == "the-waiter" && row.reason == BlockedBy::kFutex &&
        row.woken_by == "the-napper") {
      waits += row.sleeps;
      waited_ns += row.slept_ns;
    }
  }
  SKIP_UNLESS_EVERY_SWITCH_WAS_SHOWN(interval);
  EXPECT_EQ(unstored, 0u);
  EXPECT_GE(naps, static_cast<uint64_t>(kNaps));
  EXPECT_GT(napped_ns, static_cast<uint64_t>(kNaps * kNapNs / 2));
  EXPECT_GT(waits, 0u);
  EXPECT_LE(waited_ns, static_cast<uint64_t>(clocks->waited_ns));
  EXPECT_GT(waited_ns, static_cast<uint64_t>(clocks->waited_ns / 2));
  EXPECT_GT(short_sleeps + naps, static_cast<uint64_t>(kShortNaps / 2));
  // The scheduler probe measures the same sleeps, without stacks.
  uint64_t off_cpu_ns = 0;
  for (const auto& sleeps : interval.scheduler->blocked_by)
    off_cpu_ns += sleeps ? sleeps->sum() : 0;
  EXPECT_NEAR(static_cast<double>(all_ns), static_cast<double>(off_cpu_ns),
              0.02 * static_cast<double>(off_cpu_ns));
  fmt::print("napped {} of {} us, waited {} of {} us, all {} of {} us off CPU\n", napped_ns / 1000,
             clocks->napped_ns / 1000, waited_ns / 1000, clocks->waited_ns / 1000, all_ns / 1000,
             off_cpu_ns / 1000);
}

constexpr int kBlocks = 6;
constexpr int64_t kBlockNs = 80 * kNanosPerMilli;

/// Has kBlocks long stretches and many short ones.
void block_now_and_then(std::array<int64_t, kBlocks>& began_ns) {
  for (int64_t& began : began_ns) {
    for (int i = 0; i < 20; ++i) topspin_test_nap(kNanosPerMilli);
    began = monotonic_now_ns();
    topspin_test_block(kBlockNs);
  }
  topspin_test_nap(kNanosPerMilli);
}

TEST(BusyStretches, ComeOneByOneWithTheSamplesTakenInThem) {
  SKIP_WITHOUT_BPF();
  Shared<std::array<int64_t, kBlocks>> began_ns;
  ForkedSubject subject([&] { block_now_and_then(*began_ns.operator->()); });
  std::unique_ptr<Probes> probes;
  open_with_stacks(subject, 199, probes);
  if (HasFatalFailure() || IsSkipped()) return;
  (void)probes->take_interval();
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  SKIP_UNLESS_EVERY_SWITCH_WAS_SHOWN(interval);
  EXPECT_EQ(interval.losses.busy_stretches_lost, 0u);

  std::vector<BusyStretch> longest = interval.long_stretches;
  std::ranges::sort(longest, std::ranges::greater(), &BusyStretch::length_ns);
  ASSERT_GE(longest.size(), size_t{kBlocks});
  longest.resize(kBlocks);
  std::ranges::sort(longest, {}, &BusyStretch::began_ns);
  for (int i = 0; i < kBlocks; ++i) {
    const BusyStretch& stretch = longest[i];
    SCOPED_TRACE(fmt::format("{}: {} us, {} us on a CPU, {} samples", i, stretch.length_ns / 1000,
                             stretch.cpu_ns / 1000, stretch.samples));
    // The thread woke before it read its clock.
    EXPECT_LE(stretch.began_ns, (*began_ns.operator->())[i]);
    EXPECT_GT(stretch.end_ns(), (*began_ns.operator->())[i] + kBlockNs);
    EXPECT_GE(stretch.cpu_ns, static_cast<uint64_t>(kBlockNs) * 99 / 100);
    EXPECT_LE(stretch.cpu_ns, stretch.length_ns);
    EXPECT_EQ(stretch.tid, subject.pid());
    EXPECT_EQ(stretch.pid, subject.pid());
    EXPECT_FALSE(stretch.samples_cut);
    EXPECT_GT(stretch.samples, 0u);
    uint64_t in_block = 0;
    for (const StretchStack& of : stretch.stacks) {
      for (const StackRow& row : interval.changed_stacks) {
        if (row.number == of.stack && row.frames.find("topspin_test_block") != std::string::npos)
          in_block += of.samples;
      }
    }
    // Samples in a signal handler, or before the function has made its frame, do not show it.
    EXPECT_GE(in_block * 2, stretch.samples);
  }
}

// As many as a ring holds, and a quarter more: each thread has as many as are shown of it.
constexpr size_t kRingHolds =
    TOPSPIN_STRETCH_RING_BYTES / (sizeof(topspin_stretch) + 8);  // and the ring's own header
constexpr size_t kStretchesEach = TOPSPIN_STRETCHES_A_THREAD;
constexpr size_t kTooManyThreads = kRingHolds * 5 / 4 / kStretchesEach;

TEST(BusyStretches, ThatFindNoRoomAreCounted) {
  TOPSPIN_ONLY_EVERY_NIGHT();  // it works for seconds, on all CPUs
  SKIP_WITHOUT_BPF();
  ForkedSubject subject([] {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kTooManyThreads; ++i)
      threads.emplace_back([] {
        for (size_t stretch = 0; stretch < kStretchesEach; ++stretch) {
          topspin_test_nap(kNanosPerMilli);
          topspin_test_block(TOPSPIN_SHORT_STRETCH_NS * 11 / 10);
        }
        topspin_test_nap(kNanosPerMilli);  // ends the last one
      });
    for (std::thread& thread : threads) thread.join();
  });
  std::unique_ptr<Probes> probes;
  open_with_stacks(subject, 1, probes);
  if (HasFatalFailure() || IsSkipped()) return;
  (void)probes->take_interval();
  subject.run();
  const ProbeInterval interval = probes->take_interval();
  EXPECT_LE(interval.long_stretches.size(), kRingHolds);
  EXPECT_GE(interval.long_stretches.size(), kRingHolds * 9 / 10);
  EXPECT_GE(interval.long_stretches.size() + interval.losses.busy_stretches_lost,
            kTooManyThreads * kStretchesEach * 99 / 100);  // the kernel may hide some switches
  EXPECT_GT(interval.losses.busy_stretches_lost, 0u);
  EXPECT_EQ(probes->take_interval().losses.busy_stretches_lost, 0u) << "each is counted once";
}

}  // namespace
}  // namespace topspin
