// Tests that a merged database holds exactly what its parts held.
#include "store/runs/merge.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "store/runs/gate_log.h"
#include "store/sqlite/sqlite.h"
#include "store_testing.h"

namespace topspin {
namespace {

/// Stores a run that has rows in every table of runs.
RunInfo store_full_run(const std::string& path, int64_t started_wall_ns) {
  RunInfo run;
  LoadResult load;
  Sample sample;
  Filler filler;
  filler.fill(run);
  filler.fill(load);
  filler.fill(sample);
  run.id = make_run_id(started_wall_ns);
  run.started_wall_ns = started_wall_ns;
  auto writer = create(path, run);
  EXPECT_OK(writer->append(sample));
  EXPECT_OK(writer->add_event(5, "something happened"));
  EXPECT_OK(writer->put_stage(0, {"hold", StageKind::kLoad, 1, 2, 3, 4}));
  EXPECT_OK(writer->put_load(load));
  RunEnd end;
  filler.fill(end);
  EXPECT_OK(writer->finish(end));
  return run;
}

/// Most of what the reader gives of a run.
std::vector<std::string> everything(RunStore& store, const std::string& id) {
  std::vector<std::string> all;
  const auto add = [&](const std::vector<std::string>& lines) {
    all.insert(all.end(), lines.begin(), lines.end());
  };
  const StoredRun run = must(store.find_run(id));
  add(Listing::of(run.info));
  add(Listing::of(run.end));
  add(Listing::of(ticks_of(store, id)));
  add(Listing::of(flows_of(store, id)));
  add(Listing::of(threads_of(store, id)));
  add(Listing::of(owners_of(store, id)));
  add(Listing::of(must(store.load_stages(id))));
  add(Listing::of(*must(store.load_load(id))));
  for (const StoredEvent& event : events_of(store, id)) all.push_back(event.text);
  return all;
}

TEST(Merge, EveryRunComesOverWordForWordAndNoneTwice) {
  const TemporaryDirectory directory;
  const std::string a = directory.file("a.db"), b = directory.file("b.db"),
                    out = directory.file("out.db");
  std::vector<std::pair<std::string, RunInfo>> runs;
  for (int i = 0; i < 2; ++i) runs.emplace_back(a, store_full_run(a, 1'700'000'000'000 + i));
  for (int i = 0; i < 3; ++i) runs.emplace_back(b, store_full_run(b, 1'700'000'000'100 + i));
  MergeCounts counts = must(merge_database(out, a));
  EXPECT_EQ(counts.runs, 2u);
  counts = must(merge_database(out, b));
  EXPECT_EQ(counts.runs, 3u);
  counts = must(merge_database(out, a));
  EXPECT_EQ(counts.runs, 0u);
  EXPECT_EQ(counts.present, 2u);

  const auto joined = open(out);
  EXPECT_EQ(must(joined->list_runs()).size(), 5u);
  for (const auto& [path, run] : runs) {
    EXPECT_EQ(everything(*joined, run.id), everything(*open(path), run.id));
  }
}

/// The number of rows of each table.
std::map<std::string, int64_t> rows_of_tables(const std::string& path) {
  auto connection = must(Connection::open(path, Access::kRead));
  std::map<std::string, int64_t> rows;
  {
    Statement tables =
        must(connection->prepare("SELECT name FROM sqlite_schema WHERE type='table'"));
    while (must(tables.step())) rows[std::string(tables.bytes_at(0))] = 0;
  }
  for (auto& [table, count] : rows) {
    Statement statement = must(connection->prepare("SELECT count(*) FROM " + table));
    EXPECT_TRUE(must(statement.step()));
    count = statement.int_at(0);
  }
  return rows;
}

/// everything() does not read every table.
TEST(Merge, NoTableIsForgotten) {
  const TemporaryDirectory directory;
  const std::string a = directory.file("a.db"), out = directory.file("out.db");
  store_full_run(a, 1'700'000'000'000);
  must(merge_database(out, a));
  EXPECT_EQ(rows_of_tables(out), rows_of_tables(a));
}

TEST(Merge, ARunWhoseWriterIsAliveStaysOutAndAnInterruptedOneIsMarked) {
  const TemporaryDirectory directory;
  const std::string a = directory.file("a.db"), out = directory.file("out.db");
  const RunInfo run = make_run();
  {
    auto writer = create(a, run);
    EXPECT_OK(writer->append(make_tick(1)));
    const MergeCounts counts = must(merge_database(out, a));
    EXPECT_EQ(counts.recording, 1u);
    EXPECT_EQ(counts.runs, 0u);
  }
  EXPECT_EQ(must(merge_database(out, a)).runs, 1u);
  EXPECT_EQ(must(open(out)->find_run(run.id)).end.status, RunStatus::kInterrupted);
}

void execute(const std::string& path, const std::string& sql) {
  auto connection = must(Connection::open(path, Access::kWrite));
  EXPECT_OK(connection->execute(sql));
}

/// Merge reads all rows of a run before it copies the run. One that cannot be read would spoil the
/// merged file.
TEST(Merge, ADamagedRunIsNamedAndLeftOutAndTheOthersComeOver) {
  const std::vector<std::string> harms = {
      "UPDATE run SET ticks = -1 WHERE run = 2",
      "UPDATE run SET status = 'splendid' WHERE run = 2",
      "UPDATE run SET exit_status = 99999999999 WHERE run = 2",
      "UPDATE tick SET packets = -1 WHERE run = 2",
      "UPDATE flow SET ip_version = 5 WHERE run = 2",
      "UPDATE flow SET initiator_port = 65536 WHERE run = 2",
      "UPDATE thread SET tid = 99999999999 WHERE run = 2",
      "UPDATE histogram SET data = x'00' WHERE run = 2",
      "UPDATE stage SET kind = 'x' WHERE run = 2",
      "UPDATE load SET workload = 'x' WHERE run = 2",
      "UPDATE load_part SET latency_actual = x'' WHERE run = 2",
      "UPDATE owner SET quality = 'x' WHERE run = 2",
      "UPDATE probe SET rung = 'x' WHERE run = 2",
      // A hostile file may declare its tables without types.
      "ALTER TABLE event RENAME TO e; CREATE TABLE event (run, position, elapsed_ns, text);"
      "INSERT INTO event SELECT run, position, elapsed_ns, text FROM e;"
      "UPDATE event SET elapsed_ns = 'noon' WHERE run = 2",
      "ALTER TABLE label RENAME TO l; CREATE TABLE label (run, key, value);"
      "INSERT INTO label SELECT run, key, value FROM l; UPDATE label SET value = 1.5 WHERE run = 2",
  };
  for (const std::string& harm : harms) {
    SCOPED_TRACE(harm);
    const TemporaryDirectory directory;
    const std::string a = directory.file("a.db"), out = directory.file("out.db");
    std::vector<std::string> ids;
    for (int i = 0; i < 3; ++i) ids.push_back(store_full_run(a, 1'700'000'000'000 + i).id);
    execute(a, harm);
    const MergeCounts counts = must(merge_database(out, a));
    EXPECT_EQ(counts.runs, 2u);
    ASSERT_EQ(counts.damaged.size(), 1u);
    EXPECT_NE(counts.damaged[0].find(ids[1]), std::string::npos) << counts.damaged[0];
    const auto joined = open(out);
    ASSERT_EQ(must(joined->list_runs()).size(), 2u);
    for (const size_t good : {0, 2}) EXPECT_FALSE(everything(*joined, ids[good]).empty());
    store_run(out, 1, 1);  // the merged file still takes new runs
    // Nothing of the bad run is left.
    auto connection = must(Connection::open(out, Access::kRead));
    EXPECT_EQ(must(connection->query_int("SELECT count(*) FROM run")), 3);
    EXPECT_EQ(must(connection->query_int("SELECT count(DISTINCT run) FROM tick")), 3);
  }
}

TEST(Merge, ADamagedLogOfTheGateIsLeftOut) {
  const TemporaryDirectory directory;
  const std::string a = directory.file("a.db"), out = directory.file("out.db");
  store_run(a, 1, 1);
  EXPECT_OK(log_judgement(a, {1, "ab", "pass", 0, 1, "{}"}));
  execute(a, "UPDATE judgement SET exit_code = 99999999999");
  const MergeCounts counts = must(merge_database(out, a));
  EXPECT_EQ(counts.runs, 1u);
  EXPECT_EQ(counts.damaged.size(), 1u);
  EXPECT_FALSE(must(read_last_judgement(out)).has_value());
}

/// Such a run is left by a merge that was killed half way.
TEST(Merge, AHalfCopiedRunIsNotSeenAndTheNextMergeRemovesIt) {
  const TemporaryDirectory directory;
  const std::string a = directory.file("a.db"), out = directory.file("out.db");
  const std::string id = store_run(a, 3, 3);
  store_run(out, 2, 2, make_run(1));
  const std::string half = store_run(out, 4, 4, make_run(2));
  execute(out,
          "UPDATE run SET id = 'merging ' || id, status = 'merging', writer_pid = 1,"
          " writer_start_ticks = 1 WHERE id = '" +
              half + "'");
  {
    const auto store = open(out);
    EXPECT_EQ(must(store->list_runs()).size(), 1u);
    EXPECT_FALSE(store->find_run("merging " + half).ok());
    EXPECT_NE(must(store->last_run()).info.id, "merging " + half);
  }
  EXPECT_EQ(must(merge_database(out, a)).runs, 1u);
  auto connection = must(Connection::open(out, Access::kRead));
  EXPECT_EQ(must(connection->query_int("SELECT count(*) FROM run")), 2);
  EXPECT_EQ(must(connection->query_int("SELECT count(*) FROM tick")), 2 + 3);
  EXPECT_EQ(must(connection->query_int("SELECT count(*) FROM flow")), 2 + 3);
}

/// A recorder may write to the merged file meanwhile, so no transaction may last as long as the
/// merge.
TEST(Merge, ALargeRunIsCopiedInManyTransactions) {
  const TemporaryDirectory directory;
  const std::string a = directory.file("a.db"), out = directory.file("out.db");
  store_run(a, 2, 30'000);
  store_run(out, 1, 1, make_run(1));
  std::atomic<bool> done{false};
  std::set<int64_t> seen;  // the numbers of the run's flows that the reader found
  std::thread reader([&] {
    auto connection = must(Connection::open(out, Access::kRead));
    while (!done) {
      const auto flows = connection->query_int("SELECT count(*) FROM flow WHERE row >> 32 = 2");
      if (flows.ok()) seen.insert(*flows);
      for (const StoredRun& run : must(open(out)->list_runs()))
        EXPECT_NE(run.info.id.substr(0, 7), "merging");
    }
  });
  const MergeCounts counts = must(merge_database(out, a));
  done = true;
  reader.join();
  EXPECT_EQ(counts.runs, 1u);
  EXPECT_EQ(flows_of(*open(out), must(open(out)->last_run()).info.id).size(), 30'000u);
  EXPECT_GT(seen.size(), 3u);
}

TEST(Merge, WhatIsNoDatabaseOrTheSameFileIsRefused) {
  const TemporaryDirectory directory;
  const std::string a = directory.file("a.db");
  store_run(a, 1, 1);
  const auto same = merge_database(a, a);
  ASSERT_FALSE(same.ok());
  EXPECT_EQ(same.error().code, ErrorCode::kUsage);
  std::ofstream(directory.file("text")) << "no database";
  EXPECT_FALSE(merge_database(a, directory.file("text")).ok());
  EXPECT_FALSE(merge_database(a, directory.file("none")).ok());
  EXPECT_EQ(must(open(a)->list_runs()).size(), 1u);
}

}  // namespace
}  // namespace topspin
