// A database of an older schema is read without changing it. Every number that it has can be read;
// what it lacks is absent or 0.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/runs/file_log.h"
#include "store/runs/merge.h"
#include "store/schema/database.h"
#include "store/sql/sql_reader.h"
#include "store_testing.h"

namespace topspin {
namespace {

std::string bytes_of(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

std::vector<std::string> texts(Connection& connection, const std::string& sql) {
  Statement select = must(connection.prepare(sql));
  std::vector<std::string> all;
  while (must(select.step())) all.emplace_back(select.bytes_at(0));
  return all;
}

/// Stores a run with rows in every table, in a file of the newest schema.
std::string store_full_run(const std::string& path) {
  RunInfo run;
  LoadResult load;
  Sample sample;
  RunEnd end;
  Filler filler;
  filler.fill(run);
  filler.fill(load);
  filler.fill(sample);
  filler.fill(end);
  run.id = "the-run";
  auto writer = create(path, run);
  EXPECT_OK(writer->append(sample));
  EXPECT_OK(writer->add_event(5, "something happened"));
  EXPECT_OK(writer->put_stage(0, {"hold", StageKind::kLoad, 1, 2, 3, 4}));
  EXPECT_OK(writer->put_load(load));
  EXPECT_OK(writer->finish(end));
  return run.id;
}

/// Copies the run into a new file of schema `version`, without the tables and columns that this
/// schema does not have.
void copy_into_older(const std::string& newest, const std::string& older, size_t version) {
  std::ofstream(older).close();
  auto connection = must(Connection::open(older, Access::kWrite));
  EXPECT_OK(migrate(*connection, migrations().first(version)));
  EXPECT_OK(connection->execute(fmt::format("ATTACH '{}' AS newest", newest)));
  for (const std::string& table :
       texts(*connection, "SELECT name FROM main.sqlite_schema WHERE type = 'table'")) {
    std::string columns;
    for (const std::string& column :
         texts(*connection, fmt::format("SELECT name FROM pragma_table_info('{}', 'main')", table)))
      columns += (columns.empty() ? "" : ", ") + column;
    EXPECT_OK(connection->execute(
        fmt::format("INSERT INTO main.{0} ({1}) SELECT {1} FROM newest.{0}", table, columns)));
  }
  EXPECT_OK(connection->execute("DETACH newest"));
}

/// What the reader gives of a run, by part.
std::map<std::string, std::vector<std::string>> all_tables(RunStore& store, const std::string& id) {
  const StoredRun run = must(store.find_run(id));
  std::map<std::string, std::vector<std::string>> all;
  all["info"] = Listing::of(run.info);
  all["end"] = Listing::of(run.end);
  all["ticks"] = Listing::of(ticks_of(store, id));
  all["flows"] = Listing::of(flows_of(store, id));
  std::vector<ThreadRow> threads = threads_of(store, id);
  for (ThreadRow& thread : threads) {  // schema 6 added these; files of older schemas lack them
    thread.blocked_by = {};
    thread.busy_stretch_max_ns.reset();
  }
  all["threads"] = Listing::of(threads);
  all["owners"] = Listing::of(owners_of(store, id));
  all["sockets"] = Listing::of(sockets_of(store, id));
  all["syscalls"] = Listing::of(syscalls_of(store, id));
  all["stacks"] = Listing::of(stacks_of(store, id));
  all["stages"] = Listing::of(must(store.load_stages(id)));
  auto load = must(store.load_load(id));
  if (load) {
    // Before schema 4 the count of HTTP errors was not stored; the total comes from the statuses.
    load->total.accounts.http_errors = 0;
    for (LoadPart& stage : load->stages) stage.accounts.http_errors = 0;
    if (load->tls) all["handshakes"] = Listing::of(std::exchange(load->tls->handshake_latency, {}));
    load->script.reset();  // there was none before schema 9
    all["load"] = Listing::of(*load);
  }
  for (const StoredEvent& event : events_of(store, id)) all["events"].push_back(event.text);
  size_t moments = 0;
  EXPECT_OK(store.for_each_thread_tick(id, [&](const ThreadTick&) { ++moments; }));
  EXPECT_OK(store.for_each_late_message(id, [&](const LateMessage&) { ++moments; }));
  all["moments"] = {std::to_string(moments)};
  return all;
}

/// All tables, indexes and columns, in order, with everything that the file declares about them.
std::vector<std::string> shape_of(const std::string& path) {
  auto connection = must(Connection::open(path, Access::kRead));
  std::vector<std::string> shape = texts(
      *connection,
      "SELECT format('%s %d %w %d %d', t.name, c.cid, c.name, c.pk, c.hidden) || ' ' || c.type ||"
      " ' ' || c.\"notnull\" || ' ' || coalesce(c.dflt_value, '') || t.wr || t.strict"
      " FROM pragma_table_list AS t, pragma_table_xinfo(t.name) AS c ORDER BY t.name, c.cid");
  for (const std::string& more :
       texts(*connection,
             "SELECT s.type || ' ' || s.name || coalesce(' ' || f.\"table\" || ' ' || f.\"from\" ||"
             " ' ' || f.\"to\", '') FROM sqlite_schema AS s LEFT JOIN"
             " pragma_foreign_key_list(s.name) AS f ORDER BY s.name, f.id"))
    shape.push_back(more);
  return shape;
}

TEST(NewSchema, IsWhatTheStepsEndWith) {
  const TemporaryDirectory directory;
  must(open_for_writing(directory.file("new.db"), {})).reset();
  {
    std::ofstream(directory.file("stepwise.db")).close();
    auto connection = must(Connection::open(directory.file("stepwise.db"), Access::kWrite));
    for (size_t steps = 1; steps <= migrations().size(); ++steps)
      EXPECT_OK(migrate(*connection, migrations().first(steps)));
  }
  must(open_for_writing(directory.file("stepwise.db"), {})).reset();
  const std::vector<std::string> shape = shape_of(directory.file("new.db"));
  EXPECT_GT(shape.size(), 800u);
  EXPECT_EQ(shape, shape_of(directory.file("stepwise.db")));
}

class OlderSchema : public testing::TestWithParam<size_t> {};

TEST_P(OlderSchema, ReadsAsItIsAndStaysSo) {
  const TemporaryDirectory directory;
  const std::string newest = directory.file("newest.db"), older = directory.file("older.db");
  const std::string id = store_full_run(newest);
  copy_into_older(newest, older, GetParam());
  const std::string before = bytes_of(older);
  std::filesystem::permissions(older, std::filesystem::perms::owner_read);

  const auto store = open(older);
  EXPECT_EQ(must(store->list_runs()).size(), 1u);
  EXPECT_EQ(must(store->last_run()).info.id, id);
  const auto was = all_tables(*open(newest), id), is = all_tables(*store, id);
  for (const char* part : {"owners", "events"}) EXPECT_EQ(is.at(part), was.at(part)) << part;
  if (GetParam() >= 2) {
    for (const char* part : {"info", "threads", "sockets", "syscalls", "stacks", "stages", "load"})
      EXPECT_EQ(is.at(part), was.at(part)) << part;
    EXPECT_OK(check_gate_log(older));
  }
  if (GetParam() >= 3) {
    EXPECT_EQ(is.at("moments"), was.at("moments"));
  }

  const Sample tick = ticks_of(*store, id).at(0), full = ticks_of(*open(newest), id).at(0);
  EXPECT_EQ(tick.flows.packets, full.flows.packets);
  EXPECT_EQ(tick.flows.reply_latency, full.flows.reply_latency);
  if (GetParam() < 4) {
    EXPECT_EQ(tick.flows.silent_flows, 0u);
    EXPECT_EQ(tick.losses.ticks_unstored, 0u);
  }
  EXPECT_EQ(tick.resources->rss_bytes, full.resources->rss_bytes);
  const FlowRow flow = flows_of(*store, id).at(0), full_flow = flows_of(*open(newest), id).at(0);
  EXPECT_EQ(flow.packets, full_flow.packets);
  EXPECT_EQ(flow.silent, GetParam() >= 4);
  if (GetParam() < 8) EXPECT_TRUE(busy_stretches_of(*store, id).empty());
  if (GetParam() < 7) {
    EXPECT_TRUE(sleep_stacks_of(*store, id).empty());
  }
  if (GetParam() < 6) {
    EXPECT_TRUE(cpu_holders_of(*store, id).empty());
    EXPECT_EQ(threads_of(*store, id).at(0).busy_stretch_max_ns, std::nullopt);
  }
  if (GetParam() == 1) {
    EXPECT_EQ(flow.payload_bytes[0], std::nullopt);
    EXPECT_EQ(tick.resources->file_bytes, std::nullopt);
    EXPECT_EQ(must(store->load_load(id)), std::nullopt);
    EXPECT_TRUE(must(store->load_stages(id)).empty());
  }
  EXPECT_EQ(bytes_of(older), before);
  for (const char* suffix : {"-wal", "-shm", "-journal"})
    EXPECT_FALSE(std::filesystem::exists(older + suffix)) << suffix;
}

TEST_P(OlderSchema, AnswersQuestionsInSql) {
  const TemporaryDirectory directory;
  const std::string newest = directory.file("newest.db"), older = directory.file("older.db");
  store_full_run(newest);
  copy_into_older(newest, older, GetParam());
  const auto reader = must(
      SqlReader::open(older, [](RunStore&, const StoredRun&) { return RunDescription{}; }, {}));
  const auto rows_of = [&](const std::string& sql) {
    SqlRefusal refusal;
    std::vector<std::vector<SqlValue>> all;
    const auto rows = reader->ask(sql, refusal);
    EXPECT_TRUE(rows != nullptr) << sql << refusal.error.message;
    if (rows == nullptr) return all;
    for (std::vector<SqlValue> row; must(rows->next(row));) all.push_back(row);
    return all;
  };
  for (const SqlView& view : sql_views()) {
    (void)rows_of(view.example);
    const size_t rows = rows_of("SELECT * FROM " + view.name).size();
    const bool is_absent =
        (view.name == "stages" && GetParam() < 2) || (view.name == "replies" && GetParam() < 6);
    EXPECT_EQ(rows == 0, is_absent) << view.name;
  }
  EXPECT_EQ(rows_of("SELECT totals.packets = ticks.packets, loss_ticks_unstored IS NOT NULL FROM "
                    "totals JOIN ticks USING (run, loss_ticks_unstored)"),
            (std::vector<std::vector<SqlValue>>{{int64_t{1}, int64_t{1}}}));
}

TEST_P(OlderSchema, JoinsANewDatabaseWithAllThatItHas) {
  const TemporaryDirectory directory;
  const std::string newest = directory.file("newest.db"), older = directory.file("older.db"),
                    out = directory.file("out.db");
  const std::string id = store_full_run(newest);
  copy_into_older(newest, older, GetParam());
  const std::string before = bytes_of(older);
  const MergeCounts counts = must(merge_database(out, older));
  EXPECT_EQ(counts.runs, 1u);
  EXPECT_THAT(counts.damaged, testing::IsEmpty());
  EXPECT_EQ(all_tables(*open(out), id), all_tables(*open(older), id));
  EXPECT_EQ(bytes_of(older), before);
}

TEST_P(OlderSchema, AMissingColumnOfItsOwnIsNotMadeUp) {
  const TemporaryDirectory directory;
  const std::string newest = directory.file("newest.db"), older = directory.file("older.db");
  const std::string id = store_full_run(newest);
  copy_into_older(newest, older, GetParam());
  {
    auto connection = must(Connection::open(older, Access::kWrite));
    EXPECT_OK(connection->execute("ALTER TABLE tick DROP COLUMN packets"));
  }
  const auto store = RunStore::open(older);
  const Status read =
      store.ok() ? (*store)->for_each_tick(id, [](const Sample&) {}) : Status(store.error());
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, ErrorCode::kInput);
}

/// New numbers do not need a new schema, so a file of the same schema may lack some columns.
TEST(AnOlderTopspin, LeavesNumbersAbsentAndLossesThatItDidNotCountAtNone) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("t.db");
  const std::string id = store_full_run(path);
  {
    auto connection = must(Connection::open(path, Access::kWrite));
    for (const char* table : {"tick", "total"}) {
      for (const char* column : {"loss_packets_unwritten", "tcp_srtt_mean_ns"})
        EXPECT_OK(connection->execute(fmt::format("ALTER TABLE {} DROP COLUMN {}", table, column)));
    }
  }
  const auto expect_read = [&] {
    const Sample tick = ticks_of(*open(path), id).at(0);
    EXPECT_EQ(tick.losses.packets_unwritten, 0u);
    EXPECT_EQ(tick.sockets->tcp_srtt_mean_ns, std::nullopt);
    EXPECT_GT(tick.losses.capture_kernel_drops, 0u);
  };
  expect_read();
  RunInfo another;
  another.id = "another";
  (void)create(path, another);  // adds the columns, which have no values for older runs
  expect_read();
}

INSTANTIATE_TEST_SUITE_P(Each, OlderSchema, testing::Range<size_t>(1, 9));

}  // namespace
}  // namespace topspin
