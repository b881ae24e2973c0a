// A database is hostile input. Whatever its bytes and rows are, reading it gives a result or an
// error with one sentence.
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <gtest/gtest.h>

#include "store/sql/sql_reader.h"
#include "store/sqlite/sqlite.h"
#include "store_testing.h"
#include "tests/support/every_night.h"

namespace topspin {
namespace {

/// Reads each view in SQL, and returns how many of them failed.
int ask_everything(const std::string& path) {
  int failures = 0;
  const auto reader =
      SqlReader::open(path, [](RunStore&, const StoredRun&) { return RunDescription{}; }, {});
  if (!reader.ok()) return 1;
  for (const SqlView& view : sql_views()) {
    SqlRefusal refusal;
    const auto rows = (*reader)->ask("SELECT * FROM " + view.name, refusal);
    bool failed = rows == nullptr;
    EXPECT_TRUE(!failed || !refusal.error.message.empty());
    for (std::vector<SqlValue> row; !failed;) {
      const auto more = rows->next(row);
      failed = !more.ok();
      EXPECT_TRUE(!failed || !more.error().message.empty());
      if (failed || !*more) break;
    }
    failures += failed ? 1 : 0;
  }
  return failures;
}

/// Reads everything and returns how many reads failed. Each must fail with a sentence.
int read_everything(const std::string& path) {
  int failures = 0;
  const auto check = [&](const auto& result) {
    if (result.ok()) return true;
    EXPECT_FALSE(result.error().message.empty());
    EXPECT_NE(result.error().code, ErrorCode::kInternal) << result.error().message;
    ++failures;
    return false;
  };
  const auto store = RunStore::open(path);
  if (!check(store)) return failures;
  failures += ask_everything(path);
  const auto runs = (*store)->list_runs();
  check((*store)->last_run());
  if (!check(runs)) return failures;
  for (const StoredRun& run : *runs) {
    check((*store)->for_each_tick(run.info.id,
                                  [](const Sample& s) { (void)s.flows.lateness.summary(); }));
    check((*store)->for_each_flow(run.info.id, [](const FlowRow&) {}));
    check((*store)->for_each_thread(run.info.id, [](const ThreadRow&) {}));
    check((*store)->for_each_thread_tick(run.info.id, [](const ThreadTick&) {}));
    check((*store)->for_each_late_message(run.info.id, [](const LateMessage&) {}));
    check((*store)->for_each_socket(run.info.id, [](const SocketRow&) {}));
    check((*store)->for_each_syscall(run.info.id, [](const SyscallRow&) {}));
    check((*store)->for_each_sleep_stack(run.info.id, [](const SleepStackRow&) {}));
    check((*store)->for_each_busy_stretch(run.info.id, [](const BusyStretch&) {}));
    check((*store)->for_each_cpu_holder(run.info.id, [](const CpuHolderRow&) {}));
    check((*store)->for_each_owner(run.info.id, [](const FlowOwner&) {}));
    check((*store)->for_each_called(run.info.id, [](const CalledRow&) {}));
    check((*store)->for_each_stack(run.info.id, [](const StackRow&) {}));
    check((*store)->for_each_slow_reply(run.info.id, [](const SlowReply&) {}));
    check((*store)->for_each_event(run.info.id, [](const StoredEvent&) {}));
  }
  return failures;
}

std::string make_full_database(const TemporaryDirectory& directory) {
  Filler filler;
  RunInfo run;
  filler.fill(run);
  auto writer = create(directory.file(), run);
  for (uint64_t tick = 1; tick <= 10; ++tick) {
    Sample sample;
    filler.fill(sample);
    sample.tick = tick;
    EXPECT_OK(writer->append(sample));
    EXPECT_OK(writer->add_event(1, "event"));
  }
  EXPECT_OK(writer->finish({}));
  std::ostringstream bytes;
  bytes << std::ifstream(directory.file(), std::ios::binary).rdbuf();
  return bytes.str();
}

TEST(Hostile, FlippedBytesGiveAnErrorOrAResult) {
  const TemporaryDirectory directory;
  const std::string whole = make_full_database(directory);
  ASSERT_EQ(read_everything(directory.file()), 0);
  std::mt19937 random(7);
  int failures = 0;
  const int rounds = test::repeats(40, 240);
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE(round);
    std::string bytes = whole;
    const int flips = 1 << (round % 8);
    for (int i = 0; i < flips; ++i) {
      // Two of three rounds do not touch the first pages, which hold the schema, so that the rows
      // can be reached.
      const size_t from = round % 3 == 0 ? 0 : 10 * 4096;
      bytes[std::uniform_int_distribution<size_t>(from, bytes.size() - 1)(random)] =
          static_cast<char>(random());
    }
    std::ofstream(directory.file("flipped"), std::ios::binary) << bytes;
    failures += read_everything(directory.file("flipped"));
    // Writing to it may fail too, but must not do worse.
    if (round % 8 == 0) {
      auto writer = RunWriter::create(directory.file("flipped"), make_run(), {});
      if (writer.ok() && (*writer)->append(make_tick(1, 5)).ok()) {
        (void)(*writer)->finish({}).ok();
      }
      for (const char* suffix : {"-wal", "-shm", "-journal"}) {
        std::filesystem::remove(directory.file("flipped") + suffix);
      }
    }
  }
  EXPECT_GT(failures, rounds / 5);  // the flips did damage
}

TEST(Hostile, ValuesOutOfRangeAndOfTheWrongTypeAreDamage) {
  // STRICT tables check types, but a hostile file may declare its tables as it likes.
  const std::vector<std::string> harms = {
      "UPDATE tick SET packets = -1",
      "UPDATE tick SET active_is_lower_bound = 7",
      "UPDATE run SET status = 'splendid'",
      "UPDATE run SET exit_status = 99999999999",
      "UPDATE run SET run = -5",
      "UPDATE run SET run = 9223372036854775807",
      "UPDATE probe SET rung = 'top'",
      "UPDATE flow SET ip_version = 5",
      "UPDATE flow SET ip_version = 300",
      "UPDATE flow SET initiator_port = 65536",
      "UPDATE flow SET initiator_address = 'localhost'",
      "UPDATE flow SET responder_address = ''",
      "UPDATE thread SET tid = 99999999999",
      "UPDATE histogram SET data = x''",
      "UPDATE histogram SET data = x'01ffffffffffffffffffffff'",
      "UPDATE histogram SET data = zeroblob(1000000)",
      "UPDATE histogram SET tick = tick + 1000",  // belongs to no tick, so nothing reads it
      "DROP TABLE event",
      "DROP TABLE flow; CREATE TABLE flow (row)",
      "ALTER TABLE tick RENAME TO t; CREATE VIEW tick AS SELECT * FROM t",
  };
  const TemporaryDirectory whole;
  make_full_database(whole);
  for (const std::string& harm : harms) {
    SCOPED_TRACE(harm);
    const TemporaryDirectory directory;
    std::filesystem::copy_file(whole.file(), directory.file());
    {
      auto connection = must(Connection::open(directory.file(), Access::kWrite));
      EXPECT_OK(connection->execute(harm));
    }
    const int failures = read_everything(directory.file());
    if (harm.find("tick + 1000") == std::string::npos) {
      EXPECT_GT(failures, 0);
    }
    auto writer = RunWriter::create(directory.file(), make_run(), {});
    if (writer.ok()) (void)(*writer)->append(make_tick(1, 2)).ok();
  }
}

TEST(Hostile, ABadRunIsNamedAndTheGoodOnesAreListed) {
  const TemporaryDirectory directory;
  std::vector<std::string> ids;
  for (int i = 1; i <= 3; ++i) ids.push_back(store_run(directory.file(), 1, 1, make_run(i)));
  {
    auto connection = must(Connection::open(directory.file(), Access::kWrite));
    EXPECT_OK(connection->execute("UPDATE run SET ticks = -1 WHERE run = 2"));
  }
  const auto store = open(directory.file());
  EXPECT_FALSE(store->list_runs().ok());
  std::vector<Error> damaged;
  const auto runs = must(store->list_runs(&damaged));
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].info.id, ids[0]);
  EXPECT_EQ(runs[1].info.id, ids[2]);
  ASSERT_EQ(damaged.size(), 1u);
  EXPECT_EQ(damaged[0].code, ErrorCode::kInput);
  EXPECT_NE(damaged[0].message.find(ids[1]), std::string::npos) << damaged[0].message;
}

TEST(Hostile, TriggersOfAFileDoNotRun) {
  const TemporaryDirectory directory;
  store_run(directory.file(), 1, 1);
  {
    auto connection = must(Connection::open(directory.file(), Access::kWrite));
    EXPECT_OK(connection->execute(
        "CREATE TRIGGER t AFTER INSERT ON tick BEGIN DELETE FROM run; DELETE FROM tick; END"));
  }
  const std::string id = store_run(directory.file(), 2, 1);
  const auto store = open(directory.file());
  EXPECT_EQ(must(store->list_runs()).size(), 2u);
  EXPECT_EQ(ticks_of(*store, id).size(), 2u);
}

}  // namespace
}  // namespace topspin
