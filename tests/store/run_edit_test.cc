// Removing runs and changing their labels: completely or not at all, beside readers and writers.
#include "store/runs/run_edit.h"

#include <atomic>
#include <filesystem>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/sqlite/sqlite.h"
#include "store_testing.h"

namespace topspin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

std::vector<std::string> ids_of(const std::string& path) {
  std::vector<std::string> ids;
  for (const StoredRun& run : must(open(path)->list_runs())) ids.push_back(run.info.id);
  return ids;
}

/// How many rows belong to the run with number `run`, over all tables whose rows belong to runs.
int64_t rows_of(const std::string& path, int64_t run) {
  auto connection = must(Connection::open(path, Access::kRead));
  auto tables = must(connection->prepare(
      "SELECT name, EXISTS (SELECT 1 FROM pragma_table_info(t.name) WHERE name = 'row') FROM "
      "sqlite_schema AS t WHERE type = 'table' AND EXISTS (SELECT 1 FROM pragma_table_info(t.name) "
      "WHERE name IN ('run', 'row'))"));
  int64_t rows = 0;
  while (must(tables.step())) {
    rows += must(connection->query_int(
        fmt::format("SELECT count(*) FROM {} WHERE {} = {}", tables.bytes_at(0),
                    tables.int_at(1) == 1 ? "row >> 32" : "run", run)));
  }
  return rows;
}

TEST(RemoveRuns, TakesAllThatIsStoredOfThemAndNothingElse) {
  const TemporaryDirectory directory;
  const std::string path = directory.file();
  const std::string a = store_run(path, 3, 20, make_run(1));
  const std::string b = store_run(path, 3, 20, make_run(2));
  const std::string c = store_run(path, 3, 20, make_run(3));
  const int64_t rows = rows_of(path, 2);
  ASSERT_GT(rows, 20);
  EXPECT_TRUE(remove_runs(path, std::vector{a, c}).ok());
  EXPECT_THAT(ids_of(path), ElementsAre(b));
  EXPECT_EQ(rows_of(path, 1), 0);
  EXPECT_EQ(rows_of(path, 2), rows);
  EXPECT_EQ(rows_of(path, 3), 0);
  EXPECT_EQ(must(open(path)->list_runs()).front().number, 2u) << "numbers stay";
  EXPECT_EQ(flows_of(*open(path), b).size(), 20u);
  EXPECT_FALSE(std::filesystem::exists(path + "-wal"));
}

TEST(RemoveRuns, GivesTheSpaceBack) {
  const TemporaryDirectory directory;
  const std::string path = directory.file();
  const std::string small = store_run(path, 1, 1, make_run(1));
  const auto before = std::filesystem::file_size(path);
  const std::string large = store_run(path, 5, 20'000, make_run(2));
  const auto full = std::filesystem::file_size(path);
  ASSERT_GT(full, before + (uintmax_t{1} << 20));
  const auto removed = must(remove_runs(path, std::vector{large}));
  EXPECT_EQ(removed.bytes_unused, 0u);
  EXPECT_EQ(std::filesystem::file_size(path), full - removed.bytes_freed);
  EXPECT_LT(std::filesystem::file_size(path), before + (uintmax_t{64} << 10));
}

TEST(RemoveRuns, RemovesNothingIfOneCannotBeRemoved) {
  const TemporaryDirectory directory;
  const std::string path = directory.file();
  const std::string a = store_run(path, 1, 1, make_run(1));
  const RunInfo open_run = make_run(2);
  auto writer = create(path, open_run);
  EXPECT_OK(writer->append(make_tick(1, 1)));
  const auto recording = remove_runs(path, std::vector{a, open_run.id});
  ASSERT_FALSE(recording.ok());
  EXPECT_EQ(recording.error().code, ErrorCode::kUsage);
  EXPECT_THAT(recording.error().message, HasSubstr("still being recorded"));
  const auto missing = remove_runs(path, std::vector<std::string>{a, "nobody"});
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message, HasSubstr("nobody"));
  EXPECT_EQ(ids_of(path).size(), 2u);
  EXPECT_OK(writer->append(make_tick(2, 1)));  // the recording goes on
  EXPECT_OK(writer->finish({}));
}

TEST(RemoveRuns, CreatesNoDatabase) {
  const TemporaryDirectory directory;
  EXPECT_FALSE(remove_runs(directory.file(), std::vector<std::string>{"a"}).ok());
  EXPECT_FALSE(std::filesystem::exists(directory.file()));
}

/// A reader gets the whole run or an error, never a part of it.
TEST(RemoveRuns, AReaderInTheMiddleOfTheRunIsTold) {
  const TemporaryDirectory directory;
  const std::string path = directory.file();
  const std::string id = store_run(path, 3, 30'000, make_run(1));
  const auto store = open(path);
  bool removed = false;
  uint64_t flows = 0;
  const Status read = store->for_each_flow(id, [&](const FlowRow&) {
    ++flows;
    if (std::exchange(removed, true)) return;
    EXPECT_TRUE(remove_runs(path, std::vector{id}).ok());
    store_run(path, 1, 5, make_run(2));  // gets the number of the removed run
  });
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message, HasSubstr("was removed while it was read"));
  EXPECT_LT(flows, 30'000u);
}

TEST(RemoveRuns, ReadersAndWritersGoOnMeanwhile) {
  const TemporaryDirectory directory;
  const std::string path = directory.file();
  constexpr int kRuns = 8;
  constexpr uint64_t kTicks = 20;
  for (int i = 0; i < kRuns; ++i) store_run(path, kTicks, 200, make_run(i));
  const auto ids = ids_of(path);
  std::atomic<bool> removing{true};
  const RunInfo recorded = make_run(100);
  uint64_t appended = 0;
  std::thread writer_thread([&] {
    auto writer = create(path, recorded);
    do EXPECT_OK(writer->append(make_tick(++appended, 5)));
    while (removing);
    EXPECT_OK(writer->finish({}));
  });
  std::thread reader_thread([&] {
    while (removing) {
      const auto store = open(path);
      for (const StoredRun& run : must(store->list_runs())) {
        uint64_t ticks = 0;
        const Status read = store->for_each_tick(run.info.id, [&](const Sample&) { ++ticks; });
        if (read.ok() && run.info.id != recorded.id) {
          EXPECT_EQ(ticks, kTicks);
        }
      }
    }
  });
  for (const std::string& id : ids) {
    const auto removed = remove_runs(path, std::vector{id});
    EXPECT_TRUE(removed.ok()) << removed.error().message;
  }
  removing = false;
  writer_thread.join();
  reader_thread.join();
  EXPECT_THAT(ids_of(path), ElementsAre(recorded.id));
  EXPECT_EQ(ticks_of(*open(path), recorded.id).size(), appended);
  auto connection = must(Connection::open(path, Access::kRead));
  EXPECT_EQ(must(connection->query_text("PRAGMA integrity_check")), "ok");
}

TEST(ChangeLabels, SetsChangesAndRemoves) {
  const TemporaryDirectory directory;
  const std::string path = directory.file();
  RunInfo info = make_run(1);
  info.labels = {{"side", "a"}, {"build", "7"}};
  const std::string id = store_run(path, 1, 1, info);
  const std::string other = store_run(path, 1, 1, make_run(2));
  const auto others = must(open(path)->find_run(other)).info.labels;
  EXPECT_OK(change_labels(path, std::vector{id},
                          {{"side", "b"}, {"build", std::nullopt}, {"note", "two words\n"}}));
  EXPECT_THAT(must(open(path)->find_run(id)).info.labels,
              ElementsAre(Pair("note", "two words\n"), Pair("side", "b")));
  EXPECT_EQ(must(open(path)->find_run(other)).info.labels, others);
  EXPECT_OK(change_labels(path, std::vector{id}, {{"nothing", std::nullopt}}));
}

TEST(ChangeLabels, ChangesNothingIfOneRunIsMissing) {
  const TemporaryDirectory directory;
  const std::string path = directory.file();
  const std::string id = store_run(path, 1, 1, make_run(1));
  const auto before = must(open(path)->find_run(id)).info.labels;
  const Status changed =
      change_labels(path, std::vector<std::string>{id, "nobody"}, {{"new", "x"}});
  ASSERT_FALSE(changed.ok());
  EXPECT_EQ(changed.error().code, ErrorCode::kUsage);
  EXPECT_EQ(must(open(path)->find_run(id)).info.labels, before);
}

}  // namespace
}  // namespace topspin
