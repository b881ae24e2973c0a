// Readers and writers at the same time, in one process, each with its own connection.
#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "store/sqlite/sqlite.h"
#include "store_testing.h"

namespace topspin {
namespace {

bool has_log(const std::string& path) { return std::filesystem::exists(path + "-wal"); }

TEST(Concurrency, AReaderSeesEachTickOnceItIsAppended) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  const auto store = open(directory.file());
  for (uint64_t tick = 1; tick <= 5; ++tick) {
    EXPECT_OK(writer->append(make_tick(tick, 10)));
    EXPECT_EQ(ticks_of(*store, run.id).size(), tick);
    const StoredRun stored = must(store->find_run(run.id));
    EXPECT_EQ(stored.end.status, RunStatus::kRunning);
    EXPECT_EQ(stored.ticks, tick);
    EXPECT_EQ(stored.end.duration_ns, static_cast<int64_t>(tick) * 1'000'000'000);
  }
  EXPECT_OK(writer->finish({}));
  EXPECT_EQ(must(store->find_run(run.id)).end.status, RunStatus::kComplete);
}

TEST(Concurrency, AVisitorThatWritesDoesNotBlockItself) {
  // The reader holds nothing open while it visits.
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->append(make_tick(1, 10)));
  const auto store = open(directory.file());
  uint64_t tick = 1;
  EXPECT_OK(store->for_each_flow(run.id, [&](const FlowRow&) {
    EXPECT_OK(writer->append(make_tick(++tick, 10)));
    auto other = must(Connection::open(directory.file(), Access::kWrite));
    EXPECT_EQ(must(other->query_int("PRAGMA wal_checkpoint(TRUNCATE)")),
              0);  // 0: not blocked by a reader or writer
  }));
  EXPECT_OK(writer->finish({}));
}

TEST(Concurrency, FinishingBesideAnOpenReaderLosesNothing) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->append(make_tick(1, 10)));
  auto reader = must(Connection::open(directory.file(), Access::kRead));
  EXPECT_OK(reader->execute("BEGIN"));
  EXPECT_EQ(must(reader->query_int("SELECT count(*) FROM tick")), 1);
  EXPECT_OK(writer->append(make_tick(2, 10)));
  EXPECT_OK(writer->finish({}));
  EXPECT_EQ(must(reader->query_int("SELECT count(*) FROM tick")), 1);  // its snapshot
  reader.reset();
  {
    const auto store = open(directory.file());
    EXPECT_EQ(ticks_of(*store, run.id).size(), 2u);
    EXPECT_EQ(must(store->find_run(run.id)).end.status, RunStatus::kComplete);
  }
  // The next writer removes the log again.
  store_run(directory.file(), 1, 1);
  EXPECT_FALSE(has_log(directory.file()));
  EXPECT_EQ(ticks_of(*open(directory.file()), run.id).size(), 2u);
}

TEST(Concurrency, OfTwoWritersTheLastLeavesOneFile) {
  const TemporaryDirectory directory;
  const RunInfo a = make_run(), b = make_run();
  auto first = create(directory.file(), a);
  auto second = create(directory.file(), b);
  for (uint64_t tick = 1; tick <= 20; ++tick) {
    EXPECT_OK(first->append(make_tick(tick, 50)));
    EXPECT_OK(second->append(make_tick(tick, 60)));
  }
  EXPECT_OK(first->finish({}));
  EXPECT_TRUE(has_log(directory.file()));
  EXPECT_EQ(must(open(directory.file())->find_run(b.id)).end.status, RunStatus::kRunning);
  EXPECT_OK(second->append(make_tick(21, 60)));
  EXPECT_OK(second->finish({}));
  EXPECT_FALSE(has_log(directory.file()));
  const auto store = open(directory.file());
  EXPECT_EQ(ticks_of(*store, a.id).size(), 20u);
  EXPECT_EQ(ticks_of(*store, b.id).size(), 21u);
  EXPECT_EQ(flows_of(*store, a.id).size(), 50u);
  EXPECT_EQ(flows_of(*store, b.id).size(), 60u);
}

TEST(Concurrency, WritersThatStartAndEndTogetherAndReadersAllSucceed) {
  const TemporaryDirectory directory;
  constexpr int kWriters = 3;
  constexpr uint64_t kTicks = 40;
  std::atomic<int> writing = kWriters;
  std::vector<std::thread> threads;
  for (int i = 0; i < kWriters; ++i) {
    threads.emplace_back([&] {
      auto writer = create(directory.file(), make_run());
      for (uint64_t tick = 1; tick <= kTicks; ++tick)
        EXPECT_OK(writer->append(make_tick(tick, 20)));
      EXPECT_OK(writer->finish({}));
      writer.reset();
      --writing;
    });
  }
  threads.emplace_back([&] {
    while (writing > 0) {
      auto store = RunStore::open(directory.file());
      if (!store.ok()) continue;  // not created yet
      auto runs = (*store)->list_runs();
      ASSERT_TRUE(runs.ok()) << runs.error().message;
      for (const StoredRun& run : *runs) {
        uint64_t ticks = 0;
        EXPECT_OK((*store)->for_each_tick(run.info.id, [&](const Sample&) { ++ticks; }));
        EXPECT_GE(ticks, run.ticks);
      }
    }
  });
  for (std::thread& thread : threads) thread.join();
  store_run(directory.file(), 1, 1);
  EXPECT_FALSE(has_log(directory.file()));
  const auto store = open(directory.file());
  const auto runs = must(store->list_runs());
  ASSERT_EQ(runs.size(), kWriters + 1u);
  for (int i = 0; i < kWriters; ++i) {
    const StoredRun& run = runs[static_cast<size_t>(i)];
    EXPECT_EQ(run.end.status, RunStatus::kComplete);
    EXPECT_EQ(run.ticks, kTicks);
    EXPECT_EQ(flows_of(*store, run.info.id).size(), 20u);
  }
  auto connection = must(Connection::open(directory.file(), Access::kRead));
  EXPECT_EQ(must(connection->query_text("PRAGMA integrity_check")), "ok");
}

}  // namespace
}  // namespace topspin
