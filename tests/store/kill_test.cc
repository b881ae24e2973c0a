// kill -9 at any moment: a real writer process reports each tick after append() has returned, until
// it is killed. Every reported tick must be stored, and the run must be marked as interrupted.
#include <cerrno>
#include <csignal>
#include <random>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/unique_fd.h"
#include "store/sqlite/sqlite.h"
#include "store_testing.h"

namespace topspin {
namespace {

constexpr uint64_t kFlows = 300;

/// Writes ticks until it is killed, and reports each one's number as 8 bytes.
[[noreturn]] void write_forever(const std::string& path, const RunInfo& run, int report_fd) {
  auto writer = RunWriter::create(path, run, {});
  if (!writer.ok()) _exit(1);
  for (uint64_t tick = 1;; ++tick) {
    if (!(*writer)->append(make_tick(tick, kFlows)).ok()) _exit(2);
    if (::write(report_fd, &tick, sizeof tick) != sizeof tick) _exit(3);
  }
}

struct KilledWriter {
  uint64_t acknowledged = 0;
  int wait_status = 0;
};

/// `delay_us` counts from the fork, or from the first tick if `after_first_tick`.
KilledWriter run_and_kill(const std::string& path, const RunInfo& run, int64_t delay_us,
                          bool after_first_tick) {
  int ends[2];
  CHECK(::pipe(ends) == 0);
  const pid_t child = ::fork();
  CHECK(child >= 0);
  if (child == 0) {
    ::close(ends[0]);
    write_forever(path, run, ends[1]);
  }
  const UniqueFd reports(ends[0]);
  ::close(ends[1]);
  KilledWriter result;
  uint64_t tick = 0;
  const auto take_report = [&] {
    if (::read(reports.get(), &tick, sizeof tick) != sizeof tick) return false;
    result.acknowledged = tick;
    return true;
  };
  if (after_first_tick) take_report();
  const int64_t end_ns = monotonic_now_ns() + delay_us * 1000;
  while (monotonic_now_ns() < end_ns) {  // empty the pipe: a full one would block the writer
    pollfd poll{reports.get(), POLLIN, 0};
    if (::poll(&poll, 1, 0) == 1 && !take_report()) break;
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, &result.wait_status, 0);
  while (take_report()) {
  }
  return result;
}

TEST(Kill, LosesNoAcknowledgedTickAndLeavesAnInterruptedRun) {
  const TemporaryDirectory directory;
  std::mt19937 random(20'261'120);
  uint64_t acknowledged_total = 0;
  RunInfo last_run;
  for (int round = 0; round < 40; ++round) {
    SCOPED_TRACE(round);
    // Half of the rounds use one file that grows. The others use a new file, so that creation is
    // killed too.
    const bool fresh = round % 2 == 1;
    const std::string path = directory.file(fresh ? std::to_string(round) : "shared");
    const RunInfo run = make_run(1'700'000'000'000'000'000 + round);
    const bool early = round % 4 == 1;
    const auto delay_us = std::uniform_int_distribution<int64_t>(0, early ? 8'000 : 60'000)(random);
    const KilledWriter killed = run_and_kill(path, run, delay_us, !early);
    ASSERT_TRUE(WIFSIGNALED(killed.wait_status)) << killed.wait_status;
    acknowledged_total += killed.acknowledged;

    // Reads the file with the log that the killed writer left.
    auto store = RunStore::open(path);
    if (killed.acknowledged > 0) {
      ASSERT_TRUE(store.ok()) << store.error().message;
      const StoredRun stored = must((*store)->find_run(run.id));
      EXPECT_EQ(stored.end.status, RunStatus::kInterrupted);
      const auto ticks = ticks_of(**store, run.id);
      EXPECT_GE(ticks.size(), killed.acknowledged);
      EXPECT_LE(ticks.size(), killed.acknowledged + 1);  // + 1: killed between commit and report
      EXPECT_EQ(stored.ticks, ticks.size());
      EXPECT_EQ(stored.end.duration_ns, static_cast<int64_t>(ticks.size()) * kNanosPerSecond);
      for (const FlowRow& flow : flows_of(**store, run.id)) {
        EXPECT_EQ(flow.packets[0], ticks.size());  // as of the last stored tick
      }
      EXPECT_EQ(flows_of(**store, run.id).size(), kFlows);
    } else if (!store.ok()) {
      EXPECT_TRUE(store.error().code == ErrorCode::kInput ||
                  store.error().code == ErrorCode::kPermission)
          << store.error().message;
    }
    if (store.ok()) store->reset();

    // The next writer stores the status `interrupted` and leaves one sound file.
    const RunInfo next = make_run(1'700'000'000'000'500'000 + round);
    store_run(path, 1, 1, next);
    EXPECT_FALSE(std::filesystem::exists(path + "-wal"));
    const auto reopened = open(path);
    if (killed.acknowledged > 0) {
      auto connection = must(Connection::open(path, Access::kRead));
      EXPECT_EQ(must(connection->query_text("SELECT status FROM run WHERE id = '" + run.id + "'")),
                "interrupted");
      EXPECT_GE(ticks_of(*reopened, run.id).size(), killed.acknowledged);
    }
    auto connection = must(Connection::open(path, Access::kRead));
    EXPECT_EQ(must(connection->query_text("PRAGMA integrity_check")), "ok");
    EXPECT_EQ(must(connection->query_text("PRAGMA journal_mode")), "delete");
  }
  EXPECT_GT(acknowledged_total, 20u);  // writers were not killed before they wrote, even if slow
}

TEST(Kill, ALiveWriterOfAnotherProcessIsNotMarked) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  int ends[2], go[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::pipe(go), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::close(go[1]);
    char byte = 0;
    auto writer = RunWriter::create(directory.file(), run, {});
    if (!writer.ok() || !(*writer)->append(make_tick(1, 5)).ok()) _exit(1);
    if (::write(ends[1], "1", 1) != 1) _exit(2);
    if (::read(go[0], &byte, 1) != 1) _exit(3);
    if (!(*writer)->append(make_tick(2, 5)).ok()) _exit(4);
    RunEnd end;
    end.duration_ns = 2;
    _exit((*writer)->finish(end).ok() ? 0 : 5);
  }
  ::close(ends[1]);
  ::close(go[0]);
  char byte = 0;
  ASSERT_EQ(::read(ends[0], &byte, 1), 1);
  EXPECT_EQ(must(open(directory.file())->find_run(run.id)).end.status, RunStatus::kRunning);
  const std::string other = store_run(directory.file(), 3, 4, make_run());  // a second writer
  EXPECT_EQ(must(open(directory.file())->find_run(run.id)).end.status, RunStatus::kRunning);
  ASSERT_EQ(::write(go[1], "g", 1), 1);
  int wait_status = 0;
  ASSERT_EQ(::waitpid(child, &wait_status, 0), child);
  EXPECT_EQ(wait_status, 0);
  const auto store = open(directory.file());
  EXPECT_EQ(must(store->find_run(run.id)).end.status, RunStatus::kComplete);
  EXPECT_EQ(ticks_of(*store, run.id).size(), 2u);
  EXPECT_EQ(ticks_of(*store, other).size(), 3u);
  EXPECT_FALSE(std::filesystem::exists(directory.file() + "-wal"));
  ::close(ends[0]);
  ::close(go[1]);
}

}  // namespace
}  // namespace topspin
