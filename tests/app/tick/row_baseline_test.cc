#include "app/tick/row_baseline.h"

#include <gtest/gtest.h>

namespace topspin {
namespace {

ThreadRow thread(int32_t tid, uint64_t cpu_ns, uint64_t waits, uint64_t max_ns) {
  ThreadRow row;
  row.pid = 1;
  row.tid = tid;
  row.start_time_ns = tid;
  row.cpu_ns = cpu_ns;
  row.run_queue_waits = waits;
  row.run_queue_wait_max_ns = max_ns;
  row.run_queue_wait.emplace();
  for (uint64_t i = 0; i < waits; ++i) row.run_queue_wait->record(1000 + i);
  return row;
}

TEST(RowBaseline, RowsBeginWithTheRun) {
  RowBaseline baseline;
  ProbeInterval before;
  before.changed_threads = {thread(1, 500, 3, 9'000'000), thread(2, 70, 1, 10)};
  SyscallRow call;
  call.number = 5;
  call.count = 10;
  call.errors = 2;
  for (int i = 0; i < 10; ++i) call.latency.record(100);
  before.changed_syscalls = {call};
  before.changed_stacks = {{1, "t", "a;b", 40}, {2, "t", "a;c", 5}};
  baseline.take(before);

  ProbeInterval first;
  first.changed_threads = {thread(1, 800, 5, 9'000'000), thread(3, 11, 1, 10)};
  call.count = 12;
  for (int i = 0; i < 2; ++i) call.latency.record(200);
  first.changed_syscalls = {call};
  first.changed_stacks = {{1, "t", "a;b", 42}, {2, "t", "a;c", 5}, {3, "t", "d", 1}};
  baseline.apply(first);

  ASSERT_EQ(first.changed_threads.size(), 3u);
  const ThreadRow& grown = first.changed_threads[0];
  EXPECT_EQ(grown.cpu_ns, 300u);
  EXPECT_EQ(grown.run_queue_waits, 2u);
  EXPECT_EQ(grown.run_queue_wait->count(), 2u);
  EXPECT_LT(*grown.run_queue_wait_max_ns, 9'000'000u);  // that wait was before the run
  EXPECT_EQ(first.changed_threads[1].cpu_ns, 11u);      // it came with the run
  EXPECT_EQ(first.changed_threads[2].tid, 2);           // it exists, and has done nothing
  EXPECT_EQ(first.changed_threads[2].cpu_ns, 0u);
  EXPECT_EQ(first.changed_syscalls[0].count, 2u);
  EXPECT_EQ(first.changed_syscalls[0].errors, 0u);
  EXPECT_EQ(first.changed_syscalls[0].latency.count(), 2u);
  ASSERT_EQ(first.changed_stacks.size(), 2u);
  EXPECT_EQ(first.changed_stacks[0].samples, 2u);
  EXPECT_EQ(first.changed_stacks[1].samples, 1u);

  ProbeInterval second;
  second.changed_threads = {thread(1, 900, 5, 9'500'000)};
  baseline.apply(second);
  ASSERT_EQ(second.changed_threads.size(), 1u);
  EXPECT_EQ(second.changed_threads[0].cpu_ns, 400u);
  EXPECT_EQ(second.changed_threads[0].run_queue_wait_max_ns, 9'500'000u);
}

TEST(RowBaseline, CpuHoldersAndSleepsBeginWithTheRun) {
  RowBaseline baseline;
  const auto sleeping = [](uint64_t count, uint64_t ns, uint64_t stretch_ns) {
    ThreadRow row = thread(1, 500, 0, 0);
    row.blocked_by[0] = {count, ns};
    row.busy_stretch_max_ns = stretch_ns;
    return row;
  };
  const auto holder = [](uint32_t number, uint64_t held_ns) {
    return CpuHolderRow{number, CpuHolder::kProcess, "hog", "", 7, 1, held_ns};
  };
  ProbeInterval before;
  before.changed_threads = {sleeping(5, 700, 3'000)};
  before.changed_cpu_holders = {holder(1, 400), holder(2, 30)};
  baseline.take(before);

  ProbeInterval first;
  first.changed_threads = {sleeping(7, 900, 3'000)};
  first.changed_cpu_holders = {holder(1, 450), holder(2, 30), holder(3, 8)};
  baseline.apply(first);
  EXPECT_EQ(first.changed_threads[0].blocked_by[0].count, 2u);
  EXPECT_EQ(first.changed_threads[0].blocked_by[0].ns, 200u);
  EXPECT_EQ(first.changed_threads[0].busy_stretch_max_ns, std::nullopt);  // it was before the run
  ASSERT_EQ(first.changed_cpu_holders.size(), 2u);
  EXPECT_EQ(first.changed_cpu_holders[0].held_ns, 50u);
  EXPECT_EQ(first.changed_cpu_holders[1].number, 3u);

  ProbeInterval second;
  second.changed_threads = {sleeping(8, 950, 4'000)};
  baseline.apply(second);
  EXPECT_EQ(second.changed_threads[0].busy_stretch_max_ns, 4'000u);
}

TEST(RowBaseline, AnAccountThatStartsAnewIsTakenAsItIs) {
  RowBaseline baseline;
  ProbeInterval before;
  before.changed_threads = {thread(1, 500, 3, 100)};
  baseline.take(before);
  ProbeInterval later;
  later.changed_threads = {thread(1, 20, 1, 50)};
  baseline.apply(later);
  EXPECT_EQ(later.changed_threads[0].cpu_ns, 20u);
}

TEST(RowBaseline, SocketsThatWereThereAreRowsOfTheFirstInterval) {
  const auto socket = [](uint64_t cookie, uint64_t drops, bool closed) {
    SocketRow row;
    row.cookie = cookie;
    row.drops = drops;
    row.closed = closed;
    return row;
  };
  RowBaseline baseline;
  ProbeInterval before;
  before.changed_sockets = {socket(1, 0, false), socket(2, 0, false), socket(3, 0, false)};
  baseline.take(before);
  before.changed_sockets = {socket(3, 0, true)};  // closed before the run began
  baseline.take(before);

  ProbeInterval first;
  first.changed_sockets = {socket(2, 7, false)};
  baseline.apply(first);
  ASSERT_EQ(first.changed_sockets.size(), 2u);
  EXPECT_EQ(first.changed_sockets[0].drops, 7u);  // as it stands now
  EXPECT_EQ(first.changed_sockets[1].cookie, 1u);

  ProbeInterval second;
  baseline.apply(second);
  EXPECT_TRUE(second.changed_sockets.empty());
}

}  // namespace
}  // namespace topspin
