// `topspin sql`, the real binary: what it answers is what reports say, what is refused and where,
// and that neither a question nor a database can do more than answer.
#include <csignal>
#include <fstream>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "exported_run.h"
#include "store/sql/sql_reader.h"
#include "store/sqlite/sqlite.h"
#include "tests/support/pcap_writer.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kEndless =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT ";

class Sql : public testing::Test {
 protected:
  void SetUp() override { id_ = store_hostile_run(db()); }
  std::string db() const { return dir_.file("t.db"); }

  Outcome ask(const std::string& statement, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"sql", statement, "--db", db()});
    return topspin(more);
  }
  Json rows(const std::string& statement) const {
    const Outcome run = ask(statement, {"--format", "json"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    const Json json = Json::parse(run.out, nullptr, false);
    EXPECT_FALSE(json.is_discarded()) << run.out;
    return json.is_discarded() ? Json() : json["rows"];
  }
  /// What is printed about a statement that must be refused.
  std::string refusal(const std::string& statement) const {
    const Outcome run = ask(statement);
    EXPECT_EQ(run.exit_code, 2) << statement;
    EXPECT_EQ(run.out, "") << statement;
    return run.err;
  }
  void change(const std::string& sql) const {
    auto connection = Connection::open(db(), Access::kWrite);
    ASSERT_TRUE(connection.ok());
    const Status changed = (*connection)->execute(sql);
    ASSERT_TRUE(changed.ok()) << changed.error().message;
  }

  /// Adds a run whose totals are stored, and returns its id.
  std::string read_pings() const {
    five_pings().save(dir_.file("a.pcap"));
    EXPECT_EQ(topspin({"read", dir_.file("a.pcap"), "--db", db()}).exit_code, 0);
    return rows("SELECT id FROM runs WHERE run = 2").at(0)["id"];
  }

  TempDir dir_;
  std::string id_;
};

/// The members of a latency in JSON, and how SQL asks for them.
const std::vector<std::pair<std::string, std::string>> kMeasures = {
    {"count", "hist_count({})"},     {"sum", "hist_sum({})"},
    {"min", "hist_min({})"},         {"max", "hist_max({})"},
    {"p50", "percentile({}, 0.5)"},  {"p90", "percentile({}, 0.9)"},
    {"p99", "percentile({}, 0.99)"}, {"p999", "percentile({}, 0.999)"}};

std::string measures_of(const std::string& histogram) {
  std::string columns;
  for (const auto& [name, sql] : kMeasures) {
    columns += columns.empty() ? "" : ", ";
    columns += fmt::format(fmt::runtime(sql), histogram) + " AS " + name;
  }
  return columns;
}

TEST_F(Sql, TotalsHasEachNumberOfTheReport) {
  const Outcome report = topspin({"report", "last", "--db", db(), "--format", "json"});
  ASSERT_EQ(report.exit_code, 0) << report.err;
  const Json numbers = Json::parse(report.out)["summary"]["numbers"];
  EXPECT_GT(numbers.size(), 300u);
  const Json totals = rows("SELECT * FROM totals");
  ASSERT_EQ(totals.size(), 1u);
  size_t histograms = 0, gauges = 0;
  for (const auto& [name, value] : numbers.items()) {
    SCOPED_TRACE(name);
    const Json& column = totals[0].at(name);
    if (value.is_object() && value.contains("last")) {
      ++gauges;
      EXPECT_EQ(column, value["last"]);
      EXPECT_EQ(totals[0].at(name + "_greatest"), value["max"]);
    } else if (value.is_object()) {
      ++histograms;
      EXPECT_EQ(rows("SELECT " + measures_of(name) + " FROM totals").at(0), value);
    } else if (value.is_boolean()) {
      EXPECT_EQ(column, value.get<bool>() ? 1 : 0);
    } else {
      EXPECT_EQ(column, value);
    }
  }
  EXPECT_GT(histograms, 1u);
  EXPECT_GT(gauges, 10u);
  EXPECT_EQ(rows("SELECT * FROM measured"), totals) << "there is no load stage";
}

TEST_F(Sql, MergeJoinsTicksToTheirRun) {
  EXPECT_EQ(rows("SELECT merge(reply_latency_ns) = (SELECT reply_latency_ns FROM totals) AS a, "
                 "merge(lateness_ns) = (SELECT lateness_ns FROM totals) AS b, "
                 "merge(run_queue_latency_ns) AS c FROM ticks"),
            Json::parse(R"([{"a": 1, "b": 1, "c": null}])"));
  EXPECT_EQ(rows("SELECT percentile(lateness_ns, 0.1) < 0 AS early, hist_mean(reply_latency_ns) AS "
                 "mean FROM ticks WHERE tick = 1"),
            Json::parse(R"([{"early": 1, "mean": 500500.0}])"));
  EXPECT_THAT(refusal("SELECT merge(h) FROM (SELECT lateness_ns AS h FROM ticks UNION ALL SELECT "
                      "reply_latency_ns FROM ticks)"),
              HasSubstr("different kinds"));
}

TEST_F(Sql, TicksHaveRatesAndTheScaledCountsOfPerfEvents) {
  EXPECT_EQ(rows("SELECT tick, elapsed_s, packets, packets_per_second AS rate, "
                 "counter_instructions AS i, migrations AS absent FROM ticks WHERE tick = 2"),
            Json::parse(R"([{"tick": 2, "elapsed_s": 2.0, "packets": 200, "rate": 200.0,
                             "i": 4000, "absent": null}])"));
}

TEST_F(Sql, NoSampleIsAnEmptyHistogramAndNotMeasuredIsNull) {
  for (const char* view : {"ticks", "totals"}) {
    EXPECT_EQ(rows(fmt::format("SELECT hist_count(tcp_handshake_ns) AS none, "
                               "hist_count(run_queue_latency_ns) AS absent FROM {} LIMIT 1",
                               view)),
              Json::parse(R"([{"none": 0, "absent": null}])"))
        << view;
  }
}

TEST_F(Sql, RunsSayWhatAListSays) {
  const Json run = rows("SELECT run, id, state, status, duration_s, source_commit FROM runs");
  EXPECT_EQ(run, Json::array({{{"run", 1},
                               {"id", id_},
                               {"state", "not judged"},
                               {"status", "complete"},
                               {"duration_s", 2.0},
                               {"source_commit", std::string(40, 'a')}}}));
  EXPECT_THAT(topspin({"list", "--db", db()}).out, HasSubstr("not judged"));
  EXPECT_EQ(rows("SELECT reasons FROM runs").at(0)["reasons"],
            "it has 2 ticks; at least 3 are needed");
}

TEST_F(Sql, APartOfAReplyIsFoundByEachOfItsNames) {
  EXPECT_EQ(rows("SELECT local, total_ns, mostly, part(reply, 'socket') AS s, part(reply, "
                 "'cpu_queue') AS q, part(reply, 'runtime') AS r, part(reply, 'asleep_futex') AS "
                 "f, part(reply, 'on_cpu_ns') AS c FROM replies"),
            Json::parse(R"([{"local": "127.0.0.1:8080", "total_ns": 9000000,
                             "mostly": "asleep_futex", "s": 2000000, "q": 0, "r": 7000000,
                             "f": 6000000, "c": 1000000}])"));
  EXPECT_THAT(refusal("SELECT part(reply, 'cpu_quue') FROM replies"),
              HasSubstr("a reply has no part \"cpu_quue\"; did you mean cpu_queue?"));
  EXPECT_THAT(refusal("SELECT part(sender, 'cpu_queue') FROM replies"),
              HasSubstr("the column reply of replies"));
}

TEST_F(Sql, EachViewAnswersItsExampleAndTheListShowsIt) {
  const Outcome list = topspin({"sql"});
  EXPECT_EQ(list.exit_code, 0) << list.err;
  const std::vector<SqlView> views = sql_views();
  EXPECT_GE(views.size(), 10u);
  for (const SqlView& view : views) {
    EXPECT_THAT(list.out, HasSubstr(view.example));
    EXPECT_FALSE(view.columns.empty());
    for (const std::string& column : view.columns) EXPECT_THAT(list.out, HasSubstr(column));
    if (view.name == "stages") continue;  // this run has none
    EXPECT_FALSE(rows(view.example).empty()) << view.example;
  }
}

TEST_F(Sql, ARefusalShowsThePlaceAndWhatWasMeant) {
  EXPECT_EQ(refusal("SELECT run,\n  pakets FROM ticks"),
            "topspin: no such column: pakets; did you mean packets?\n"
            "    pakets FROM ticks\n"
            "    ^\n");
  EXPECT_EQ(refusal("SELECT * FROM tiks"),
            "topspin: no such table: tiks; did you mean ticks?\n"
            "  SELECT * FROM tiks\n"
            "                ^\n");
  EXPECT_THAT(refusal("SELECT persentile(1, 2)"), HasSubstr("did you mean percentile?"));
  EXPECT_THAT(refusal("SELECT '\x1b[31m\xff' FORM runs"), Not(HasSubstr("\x1b")));
  EXPECT_THAT(refusal("SELEC 1"), HasSubstr("near \"SELEC\": syntax error\n  SELEC 1\n  ^\n"));
  EXPECT_THAT(refusal("SELECT percentile(packets, 0.9) FROM totals"),
              HasSubstr("percentile() takes a histogram, such as the column reply_latency_ns of "
                        "totals, and was given a number"));
  EXPECT_THAT(refusal("SELECT percentile(reply_latency_ns, 99) FROM totals"),
              HasSubstr("a share from 0 to 1"));
  EXPECT_THAT(refusal(" -- nothing"), HasSubstr("there is no statement"));
}

TEST_F(Sql, ItOnlyReads) {
  const auto bytes = [&] {
    std::ostringstream text;
    text << std::ifstream(db(), std::ios::binary).rdbuf();
    return text.str();
  };
  const std::string before = bytes();
  const std::string other = dir_.file("other.db");
  for (const std::string& statement :
       std::vector<std::string>{"INSERT INTO label VALUES (1, 'a', 'b')",
                                "UPDATE run SET status = 'failed'",
                                "DELETE FROM tick",
                                "WITH a AS (SELECT 1) DELETE FROM tick",
                                "DROP TABLE tick",
                                "CREATE TEMP TABLE t (a)",
                                "CREATE VIEW v AS SELECT 1",
                                "DROP VIEW runs",
                                "ALTER TABLE run ADD COLUMN a",
                                "PRAGMA writable_schema = 1",
                                "PRAGMA user_version",
                                "PRAGMA query_only = OFF",
                                "ATTACH '" + other + "' AS other",
                                "DETACH main",
                                "BEGIN",
                                "SAVEPOINT a",
                                "VACUUM",
                                "VACUUM INTO '" + other + "'",
                                "REINDEX",
                                "ANALYZE",
                                "SELECT * FROM pragma_table_info('run')",
                                "EXPLAIN PRAGMA user_version",
                                "INSERT INTO label VALUES (1, 'a', 'b') RETURNING key"})
    EXPECT_THAT(refusal(statement), StartsWith("topspin: only SELECT is allowed")) << statement;
  for (const char* function : {"load_extension('x')", "fts3_tokenizer('a')"})
    EXPECT_THAT(refusal(std::string("SELECT ") + function), HasSubstr("is not allowed"));
  for (const char* function : {"readfile('/etc/passwd')", "writefile('x', 'y')", "edit('a')"})
    EXPECT_THAT(refusal(std::string("SELECT ") + function), HasSubstr("no such function"));
  for (const char* table : {"dbstat", "sqlite_stmt"})
    EXPECT_THAT(refusal(std::string("SELECT * FROM ") + table), HasSubstr("no such table"));
  EXPECT_THAT(refusal("SELECT 1; SELECT 2"),
              HasSubstr("more than one statement\n  SELECT 1; SELECT 2\n            ^\n"));
  EXPECT_THAT(refusal("SELECT 1; DROP TABLE tick"), HasSubstr("more than one statement"));
  EXPECT_EQ(rows("SELECT 1 AS a; -- the end\n ;"), Json::parse(R"([{"a": 1}])"));
  EXPECT_EQ(bytes(), before);
  EXPECT_NE(::access(other.c_str(), F_OK), 0);
}

/// A file may have tables that code of SQLite's extensions would read, and views of its own.
TEST_F(Sql, ASchemaOfAStrangerRunsNothing) {
  const Outcome changed = run({"python3", "-c",
                               "import sqlite3, sys\n"
                               "db = sqlite3.connect(sys.argv[1])\n"
                               "db.execute('DROP TABLE doubt')\n"
                               "db.execute('PRAGMA writable_schema = ON')\n"
                               "db.execute(\"INSERT INTO sqlite_schema VALUES ('table', 'doubt', "
                               "'doubt', 0, 'CREATE VIRTUAL TABLE doubt USING fts5(run)')\")\n"
                               "db.commit()",
                               db()});
  ASSERT_EQ(changed.exit_code, 0) << changed.err;
  EXPECT_THAT(refusal("SELECT * FROM doubt"), HasSubstr("no such module: fts5"));
  change("CREATE VIEW mine AS SELECT 1; CREATE VIEW ticks AS SELECT 'theirs' AS packets");
  EXPECT_THAT(refusal("SELECT * FROM mine"), HasSubstr("access to view \"mine\" prohibited"));
  EXPECT_EQ(rows("SELECT packets FROM ticks WHERE tick = 1").at(0)["packets"], 100);
}

TEST_F(Sql, ADamagedHistogramIsAnErrorThatNamesItsRun) {
  const std::string id = read_pings();
  change("UPDATE total_histogram SET data = x'01ff' WHERE name = 'reply_latency_ns'");
  const Outcome totals = ask("SELECT percentile(reply_latency_ns, 0.5) FROM totals");
  EXPECT_EQ(totals.exit_code, 5);
  EXPECT_THAT(totals.err, HasSubstr("run " + id));
  EXPECT_THAT(totals.err, HasSubstr("damaged"));
  change("UPDATE histogram SET data = x'' WHERE name = 'reply_latency_ns' AND tick = 2");
  const Outcome ticks = ask("SELECT tick, hist_sum(reply_latency_ns) FROM ticks");
  EXPECT_EQ(ticks.exit_code, 5);
  EXPECT_THAT(ticks.err,
              HasSubstr("run #1 is damaged: its histogram reply_latency_ns cannot be read"));
  const Outcome table = ask("SELECT hist_sum(data) FROM histogram");
  EXPECT_EQ(table.exit_code, 5);
  EXPECT_THAT(table.err, HasSubstr("a stored histogram is damaged"));
  EXPECT_EQ(ask("SELECT tick, packets FROM ticks").exit_code, 0);
}

TEST_F(Sql, HostileTextIsEscapedInEachFormat) {
  const std::string statement =
      "SELECT labels, command, hostname AS \"=1+1\x1b[31m\", (SELECT text FROM events) AS text, "
      "(SELECT x'00ff') AS blob, NULL AS absent, '' AS empty FROM runs";
  const Outcome table = ask(statement);
  EXPECT_EQ(table.exit_code, 0) << table.err;
  for (const char c : table.out) ASSERT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= ' ');
  EXPECT_THAT(table.out, HasSubstr("<2 bytes>"));
  EXPECT_THAT(table.out, Not(HasSubstr("\n::error")));

  const Outcome json = ask(statement, {"--format", "json"});
  for (const char c : json.out) ASSERT_TRUE(c == '\n' || (c >= ' ' && c <= '~'));
  const Json row = Json::parse(json.out)["rows"][0];
  EXPECT_THAT(row["labels"].get<std::string>(), HasSubstr("=1+1\"',;\r\n::error::x%0A]]>&<b>"));
  EXPECT_EQ(row["blob"], "00ff");
  EXPECT_EQ(row["absent"], nullptr);
  EXPECT_EQ(row["empty"], "");
  EXPECT_TRUE(row.contains("=1+1\x1b[31m"));

  const Outcome csv = ask(statement, {"--format", "csv"});
  std::ofstream(dir_.file("out.csv")) << csv.out;
  const Json lines = python(
      "import csv,json,sys; print(json.dumps(list(csv.reader(open(sys.argv[1], newline='')))))",
      dir_.file("out.csv"));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0][2].get<std::string>(), StartsWith("'=1+1"));
  EXPECT_THAT(lines[1][2].get<std::string>(), StartsWith("'@=1+1"));
  EXPECT_THAT(csv.out, testing::EndsWith(",,\"\"\r\n"));
}

TEST_F(Sql, NumbersAreExactAndColumnsOfOneNameAreKeptApart) {
  EXPECT_THAT(ask("SELECT 9223372036854775807 AS a, -9223372036854775807 - 1 AS a, 0.1 AS b, 9e999 "
                  "AS c",
                  {"--format", "json"})
                  .out,
              HasSubstr("{\"a\":9223372036854775807,\"a_2\":-9223372036854775808,\"b\":0.1,"
                        "\"c\":null}"));
  EXPECT_EQ(ask("SELECT 9223372036854775807 AS a, 0.1 AS b", {"--format", "csv"}).out,
            "\"a\",\"b\"\r\n9223372036854775807,0.1\r\n");
  EXPECT_EQ(ask("SELECT 12 AS number, 'word' AS text, NULL AS absent").out,
            "  number  text  absent\n"
            "      12  word       -\n");
  const Outcome none = ask("SELECT run FROM runs WHERE run = 9");
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_EQ(none.out, "");
  EXPECT_EQ(none.err, "topspin: there is no such row\n");
}

TEST_F(Sql, CtrlCEndsAnEndlessQuestion) {
  for (const char* format : {"table", "csv", "json"}) {
    Process process({topspin_binary(), "sql", std::string(kEndless) + "count(*) FROM c", "--db",
                     db(), "--format", format});
    EXPECT_FALSE(process.wait_for("anything", std::chrono::seconds(1)));
    process.send(SIGINT);
    EXPECT_EQ(process.finish(std::chrono::seconds(20)).exit_code, 128 + SIGINT) << format;
  }
}

TEST_F(Sql, RowsWithoutEndAreStreamedToAReaderThatGoesAway) {
  for (const char* format : {"csv", "json"}) {
    const Outcome head = run({"sh", "-c", "\"$0\" sql \"$1\" --db \"$2\" --format $3 | head -n 3",
                              topspin_binary(), std::string(kEndless) + "x FROM c", db(), format});
    EXPECT_EQ(head.exit_code, 0);
    EXPECT_THAT(head.out, HasSubstr("2")) << format;
  }
}

TEST_F(Sql, AQuestionHasLimits) {
  const Outcome late = ask(std::string(kEndless) + "count(*) FROM c", {"--timeout", "200ms"});
  EXPECT_EQ(late.exit_code, 5);
  EXPECT_EQ(late.err, "topspin: the question took longer than --timeout 200ms\n");
  const Outcome large = ask(std::string(kEndless) + "x FROM c ORDER BY randomblob(100000)");
  EXPECT_EQ(large.exit_code, 5);
  EXPECT_THAT(large.err, HasSubstr("more than 256 MiB of memory"));
  EXPECT_THAT(refusal("SELECT zeroblob(1000000000)"), HasSubstr("too big"));
  const Outcome table = ask(std::string(kEndless) + "x FROM c");
  EXPECT_EQ(table.exit_code, 0);
  EXPECT_EQ(std::count(table.out.begin(), table.out.end(), '\n'), 10'001);
  EXPECT_THAT(table.err, HasSubstr("a table has a limit"));
}

/// A run that did not end has no totals; they are made from its ticks.
TEST_F(Sql, ARunThatWasInterruptedHasItsNumbers) {
  (void)read_pings();
  const Json before = rows("SELECT * FROM totals");
  ASSERT_EQ(rows("SELECT count(*) AS stored FROM total").at(0)["stored"], 2);
  change(
      "DELETE FROM total; DELETE FROM total_histogram; DELETE FROM total_counter; DELETE FROM "
      "total_cpu; UPDATE run SET status = 'running', duration_ns = NULL, ticks = NULL, "
      "writer_boot_id = 'gone' WHERE run = 2");
  EXPECT_EQ(rows("SELECT * FROM totals"), before);
  EXPECT_EQ(rows("SELECT state, duration_s, ticks FROM runs WHERE run = 2"),
            Json::parse(R"([{"state": "interrupted", "duration_s": 4.00009, "ticks": 4}])"));
  change("UPDATE run SET status = 'merging'");
  for (const SqlView& view : sql_views())
    EXPECT_TRUE(rows("SELECT * FROM " + view.name).empty()) << view.name;
}

/// The examples of the document, each as a shell runs it.
TEST_F(Sql, TheDocumentsExamplesRun) {
  std::ifstream document(std::string(TOPSPIN_SOURCE_DIR) + "/docs/sql.md");
  std::string script;
  bool is_script = false;
  size_t scripts = 0;
  for (std::string line; std::getline(document, line);) {
    if (!is_script) {
      is_script = line == "```sh";
      script.clear();
      continue;
    }
    if (line != "```") {
      script += line + "\n";
      continue;
    }
    is_script = false;
    ++scripts;
    const Outcome done = run({"env", "TOPSPIN_DB=" + db(),
                              "PATH=" TOPSPIN_BINARY_DIR ":" + std::string(std::getenv("PATH")),
                              "sh", "-ec", "cd " + dir_.path().string() + "\n" + script});
    EXPECT_EQ(done.exit_code, 0) << script << done.err;
  }
  EXPECT_GE(scripts, 4u);
}

}  // namespace
}  // namespace topspin::test
