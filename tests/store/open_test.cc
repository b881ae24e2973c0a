// Opening a file: if it is no database, not ours, or of a newer schema, it is refused with one
// sentence and not changed. An empty file becomes ours. A writer migrates an older schema step by
// step.
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "store/schema/database.h"
#include "store_testing.h"

namespace topspin {
namespace {

using testing::HasSubstr;

std::string contents(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// Makes a database with plain SQL, without the store.
void make_database(const std::string& path, const std::string& sql) {
  write_file(path, "");
  auto connection = must(Connection::open(path, Access::kWrite));
  EXPECT_OK(connection->execute(sql));
}

void expect_refused(const std::string& path, ErrorCode code, const std::string& part) {
  const std::string before = std::filesystem::is_regular_file(path) ? contents(path) : "";
  const auto written = RunWriter::create(path, make_run(), {});
  ASSERT_FALSE(written.ok()) << path;
  EXPECT_EQ(written.error().code, code) << written.error().message;
  EXPECT_THAT(written.error().message, HasSubstr(part));
  EXPECT_THAT(written.error().message, HasSubstr("--db"));
  EXPECT_EQ(written.error().message.find('\n'), std::string::npos);
  const auto read = RunStore::open(path);
  ASSERT_FALSE(read.ok()) << path;
  EXPECT_EQ(read.error().code, code) << read.error().message;
  EXPECT_THAT(read.error().message, HasSubstr(part));
  if (std::filesystem::is_regular_file(path)) {
    EXPECT_EQ(contents(path), before) << "changed by us";
    EXPECT_FALSE(std::filesystem::exists(path + "-wal"));
    EXPECT_FALSE(std::filesystem::exists(path + "-journal"));
  }
}

TEST(Open, AFinishedRunIsOneFileWithOurMarks) {
  const TemporaryDirectory directory;
  store_run(directory.file(), 3, 3);
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    ++files;
  }
  EXPECT_EQ(files, 1u);
  auto connection = must(Connection::open(directory.file(), Access::kRead));
  EXPECT_EQ(must(connection->query_int("PRAGMA application_id")), kApplicationId);
  EXPECT_EQ(must(connection->query_int("PRAGMA user_version")),
            static_cast<int64_t>(migrations().size()));
  EXPECT_EQ(must(connection->query_text("PRAGMA journal_mode")), "delete");
  EXPECT_EQ(must(connection->query_int("PRAGMA auto_vacuum")), 2);  // 2: incremental
  EXPECT_EQ(must(connection->query_int("PRAGMA page_size")), 4096);
  EXPECT_EQ(
      must(connection->query_int("SELECT count(*) FROM pragma_table_list WHERE schema = 'main'"
                                 " AND name NOT LIKE 'sqlite_%' AND strict = 0")),
      0);
  // The application id, which file(1) reads at this offset.
  EXPECT_EQ(contents(directory.file()).substr(68, 4), "TSPN");
}

TEST(Open, WritesInWalModeWithOneCommitATick) {
  const TemporaryDirectory directory;
  auto writer = create(directory.file());
  EXPECT_TRUE(std::filesystem::exists(directory.file() + "-wal"));
  EXPECT_OK(writer->append(make_tick(1)));
  auto connection = must(Connection::open(directory.file(), Access::kRead));
  EXPECT_EQ(must(connection->query_text("PRAGMA journal_mode")), "wal");
  EXPECT_EQ(must(connection->query_int("SELECT count(*) FROM tick")), 1);
}

TEST(Open, AnEmptyFileBecomesOurs) {
  const TemporaryDirectory directory;
  write_file(directory.file(), "");
  const auto read = RunStore::open(directory.file());
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, ErrorCode::kInput);
  EXPECT_THAT(read.error().message, HasSubstr("is empty"));
  const std::string id = store_run(directory.file(), 1, 1);
  EXPECT_EQ(must(open(directory.file())->last_run()).info.id, id);
}

TEST(Open, ADatabaseWithoutRunsSaysSo) {
  const TemporaryDirectory directory;
  ASSERT_TRUE(open_for_writing(directory.file(), {}).ok());
  const auto store = open(directory.file());
  EXPECT_TRUE(must(store->list_runs()).empty());
  const auto last = store->last_run();
  ASSERT_FALSE(last.ok());
  EXPECT_EQ(last.error().code, ErrorCode::kUsage);
  EXPECT_THAT(last.error().message, HasSubstr("holds no run yet"));
}

TEST(Open, WhatIsNoDatabaseIsRefusedAndLeftAlone) {
  const TemporaryDirectory directory;
  for (const size_t size : {1u, 15u, 99u, 100u, 511u, 512u, 4095u, 4096u, 100'000u}) {
    SCOPED_TRACE(size);
    const std::string path = directory.file("garbage" + std::to_string(size));
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 131 + 7);
    write_file(path, bytes);
    expect_refused(path, ErrorCode::kInput, "is not a topspin database");
  }
}

TEST(Open, AForeignDatabaseIsRefusedAndLeftAlone) {
  const TemporaryDirectory directory;
  make_database(directory.file("plain"), "CREATE TABLE run (id TEXT)");
  expect_refused(directory.file("plain"), ErrorCode::kInput, "of another program");
  make_database(directory.file("marked"), "PRAGMA application_id = 42; CREATE TABLE t (a)");
  expect_refused(directory.file("marked"), ErrorCode::kInput, "of another program");
  // A database whose tables were dropped still belongs to another program.
  make_database(directory.file("emptied"), "CREATE TABLE t (a); DROP TABLE t; VACUUM");
  expect_refused(directory.file("emptied"), ErrorCode::kInput, "of another program");
}

TEST(Open, AForeignLogIsNotMovedIntoItsFile) {
  const TemporaryDirectory directory;
  make_database(directory.file(), "CREATE TABLE t (a)");
  {
    // Leaves a log behind, as a killed program would: a Connection does not checkpoint on close.
    auto connection = must(Connection::open(directory.file(), Access::kWrite));
    EXPECT_OK(connection->execute("PRAGMA journal_mode = WAL; INSERT INTO t VALUES (1)"));
  }
  const std::string log = contents(directory.file() + "-wal");
  ASSERT_FALSE(log.empty());
  const std::string file = contents(directory.file());
  EXPECT_FALSE(RunWriter::create(directory.file(), make_run(), {}).ok());
  EXPECT_FALSE(RunStore::open(directory.file()).ok());
  EXPECT_EQ(contents(directory.file()), file);
  EXPECT_EQ(contents(directory.file() + "-wal"), log);
}

TEST(Open, ANewerSchemaIsRefused) {
  const TemporaryDirectory directory;
  make_database(
      directory.file(),
      fmt::format("PRAGMA application_id = {}; PRAGMA user_version = 11; CREATE TABLE t (a)",
                  kApplicationId));
  expect_refused(directory.file(), ErrorCode::kInput,
                 "was written by a newer topspin: schema 11, this one knows 10; upgrade topspin");
}

TEST(Open, OurMarkWithoutASchemaIsDamage) {
  const TemporaryDirectory directory;
  for (const int version : {0, -1}) {
    const std::string path = directory.file(std::to_string(version));
    make_database(path, fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {};"
                                    "CREATE TABLE t (a)",
                                    kApplicationId, version));
    expect_refused(path, ErrorCode::kInput, "no schema version");
  }
}

TEST(Open, OurMarksWithoutOurTablesAreRefused) {
  const TemporaryDirectory directory;
  make_database(
      directory.file(),
      fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}; CREATE TABLE t (a)",
                  kApplicationId, migrations().size()));
  const auto written = RunWriter::create(directory.file(), make_run(), {});
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::kInput);
  EXPECT_THAT(written.error().message, HasSubstr("does not have the tables"));
  const auto listed = open(directory.file())->list_runs();
  ASSERT_FALSE(listed.ok());
  EXPECT_EQ(listed.error().code, ErrorCode::kInput);
}

TEST(Open, WhatIsNoRegularFileIsRefused) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory.file("sub"));
  ASSERT_EQ(::mkfifo(directory.file("fifo").c_str(), 0600), 0);
  for (const auto& [name, part] :
       {std::pair("sub", "is a directory"), std::pair("fifo", "is not a regular file")}) {
    const auto written = RunWriter::create(directory.file(name), make_run(), {});
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code, ErrorCode::kOutput);
    EXPECT_THAT(written.error().message, HasSubstr(part));
    const auto read = RunStore::open(directory.file(name));
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.error().code, ErrorCode::kInput);
    EXPECT_THAT(read.error().message, HasSubstr(part));
  }
  for (const std::string& path :
       {std::string(), directory.path() + "/", directory.file("sub/..")}) {
    const auto written = RunWriter::create(path, make_run(), {});
    ASSERT_FALSE(written.ok()) << path;
    EXPECT_EQ(written.error().code, ErrorCode::kUsage);
  }
}

TEST(Open, WhatIsMissingIsNamed) {
  const TemporaryDirectory directory;
  const auto read = RunStore::open(directory.file());
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, ErrorCode::kInput);
  EXPECT_THAT(read.error().message, HasSubstr("there is no database " + directory.file()));
  EXPECT_FALSE(std::filesystem::exists(directory.file()));  // reading creates nothing
  const auto written = RunWriter::create(directory.file("no/such.db"), make_run(), {});
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::kOutput);
  EXPECT_THAT(written.error().message, HasSubstr("create its directory"));
}

TEST(Open, NamesThatMeanSomethingToSqliteAreJustNames) {
  const TemporaryDirectory directory;
  for (const char* name : {":memory:", "file:x?mode=memory", "a%20b", "a b'c\"d;e?f#g", "-rf"}) {
    SCOPED_TRACE(name);
    const std::string id = store_run(directory.file(name), 1, 1);
    EXPECT_TRUE(std::filesystem::exists(directory.file(name)));
    EXPECT_EQ(must(open(directory.file(name))->last_run()).info.id, id);
  }
}

TEST(Open, ARelativePathWorks) {
  const TemporaryDirectory directory;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  store_run("topspin.db", 1, 1);
  EXPECT_EQ(must(open("topspin.db")->list_runs()).size(), 1u);
  std::filesystem::current_path(before);
  EXPECT_TRUE(std::filesystem::exists(directory.file()));
}

TEST(Open, ATruncatedFileIsAnErrorOrLess) {
  const TemporaryDirectory directory;
  const std::string id = store_run(directory.file(), 50, 500);
  const std::string whole = contents(directory.file());
  for (size_t size = 0; size < whole.size(); size += whole.size() / 40 + 1) {
    SCOPED_TRACE(size);
    write_file(directory.file("cut"), whole.substr(0, size));
    const auto store = RunStore::open(directory.file("cut"));
    bool failed = !store.ok();
    if (store.ok()) {
      failed = failed || !(*store)->find_run(id).ok();
      failed = failed || !(*store)->for_each_tick(id, [](const Sample&) {}).ok();
      failed = failed || !(*store)->for_each_flow(id, [](const FlowRow&) {}).ok();
    }
    EXPECT_TRUE(failed);
  }
}

TEST(Migrate, GoesForwardInStepsAndRemembersHowFar) {
  const TemporaryDirectory directory;
  write_file(directory.file(), "");
  auto connection = must(Connection::open(directory.file(), Access::kWrite));
  const std::array<const char*, 3> steps = {"CREATE TABLE a (x)", "CREATE TABLE b (x)",
                                            "ALTER TABLE a ADD COLUMN y"};
  EXPECT_OK(migrate(*connection, std::span(steps).first(1)));
  EXPECT_EQ(must(connection->query_int("PRAGMA user_version")), 1);
  EXPECT_EQ(must(connection->query_int("PRAGMA application_id")), kApplicationId);
  EXPECT_OK(migrate(*connection, steps));
  EXPECT_EQ(must(connection->query_int("PRAGMA user_version")), 3);
  EXPECT_EQ(must(connection->query_int("SELECT count(y) FROM a")), 0);
  EXPECT_OK(migrate(*connection, steps));  // nothing left to do
}

TEST(Migrate, AFileOfTheFirstSchemaTakesNewRunsAndKeepsItsOwn) {
  const TemporaryDirectory directory;
  write_file(directory.file(), "");
  {
    auto connection = must(Connection::open(directory.file(), Access::kWrite));
    EXPECT_OK(migrate(*connection, migrations().first(1)));
    EXPECT_OK(connection->execute(
        "INSERT INTO run (id, started_wall_ns, started_monotonic_ns, status, duration_ns, ticks, "
        "window_ns, interval_ns, reply_timeout_ns, max_flows, max_stored_flows, writer_pid, "
        "writer_start_ticks, writer_pid_namespace) "
        "VALUES ('old', 1, 1, 'complete', 5, 0, 1, 1, 1, 1, 1, 1, 1, 1)"));
  }
  EXPECT_EQ(must(open(directory.file())->find_run("old")).end.duration_ns, 5);
  store_run(directory.file(), 3, 3);
  const auto runs = must(open(directory.file())->list_runs());
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(must(open(directory.file())->find_run("old")).end.duration_ns, 5);
}

TEST(Migrate, AStepThatFailsLeavesTheFileAsItWas) {
  const TemporaryDirectory directory;
  write_file(directory.file(), "");
  auto connection = must(Connection::open(directory.file(), Access::kWrite));
  const std::array<const char*, 2> steps = {"CREATE TABLE a (x)", "CREATE TABLE b (x); NONSENSE"};
  EXPECT_OK(migrate(*connection, std::span(steps).first(1)));
  EXPECT_FALSE(migrate(*connection, steps).ok());
  EXPECT_EQ(must(connection->query_int("PRAGMA user_version")), 1);
  EXPECT_EQ(must(connection->query_int("SELECT count(*) FROM sqlite_schema")), 1);
}

}  // namespace
}  // namespace topspin
