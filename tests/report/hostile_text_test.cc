// A database in which every text is hostile: nothing that is printed controls a terminal or the CI
// system that reads the log. The schema gives the columns, so that new ones are tested too.
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "exported_run.h"
#include "store/runs/gate_log.h"
#include "store/sqlite/sqlite.h"

namespace topspin::test {
namespace {

/// Terminal escapes, a C1 control, a bidirectional override, and lines that are commands to GitHub
/// and Azure.
std::string poison() {
  using namespace std::string_literals;
  return "::error::p\x1b]0;owned\x07\xc2\x9b\xe2\x80\xae\n::warning file=x::y\r\n  ##[error]z"s;
}

/// Columns with words of ours, addresses and parts of keys. Other text there is damage, which is
/// refused.
const std::set<std::string>& words_of_ours() {
  static const std::set<std::string> words = {
      "run.status", "probe.rung", "owner.quality", "stage.kind", "load.workload", "load_count.kind",
      "load_count.name", "load_distribution.kind", "histogram.name", "counter.name",
      "acceptance.kind", "acceptance.series", "flow.initiator_address", "flow.responder_address",
      "socket.local_address", "called.address", "slow_reply.local_address",
      "slow_reply.remote_address", "cpu_holder.kind", "sleep_stack.blocked_by",
      // Documents in TOML and JSON.
      "plan.text", "judgement.document"};
  return words;
}

std::vector<std::pair<std::string, std::string>> text_columns(Connection& connection) {
  auto select = connection.prepare(
      "SELECT t.name, c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c"
      " WHERE t.type = 'table' AND c.type = 'TEXT'");
  std::vector<std::pair<std::string, std::string>> columns;
  while (select.ok() && select->step().value())
    columns.emplace_back(select->bytes_at(0), select->bytes_at(1));
  return columns;
}

/// Replaces every text by poison. A text that must be unique gets its row's number at the end.
void poison_every_text(const std::string& db) {
  auto opened = Connection::open(db, Access::kWrite);
  ASSERT_TRUE(opened.ok());
  Connection& connection = **opened;
  size_t poisoned = 0;
  for (const auto& [table, column] : text_columns(connection)) {
    const std::string name = table + "." + column;
    if (words_of_ours().contains(name)) continue;
    // compare and gate find their sides by this label, so it stays.
    const std::string where = table == "label" ? " WHERE key <> 'side'" : "";
    const std::string unique = name == "run.id" ? " || run" : "";
    auto update = connection.prepare("UPDATE OR IGNORE " + table + " SET " + column + " = ?1" +
                                     unique + where);
    ASSERT_TRUE(update.ok()) << update.error().message;
    const std::string text = poison();
    update->bind_text(1, text);
    const Status done = update->run();
    ASSERT_TRUE(done.ok()) << name << ": " << done.error().message;
    ++poisoned;
  }
  EXPECT_GT(poisoned, 30u);
}

void expect_harmless(const std::string& text, bool own_commands = false) {
  for (const char* raw : {"\x1b", "\x07", "\xc2\x9b", "\xe2\x80\xae"})
    EXPECT_EQ(text.find(raw), std::string::npos) << "raw control in: " << text.substr(0, 400);
  if (own_commands) return;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream parts(line);  // some readers take a carriage return for a line end
    for (std::string part; std::getline(parts, part, '\r');) {
      const size_t first = part.find_first_not_of(" \t");
      if (first == std::string::npos) continue;
      EXPECT_NE(part.substr(first, 2), "::") << part;
      EXPECT_NE(part.substr(first, 3), "##[") << part;
    }
  }
}

class HostileText : public testing::Test {
 protected:
  void SetUp() override {
    store_hostile_run(db());
    store_hostile_run(db());
    {
      auto connection = Connection::open(db(), Access::kWrite);
      ASSERT_TRUE(connection.ok());
      ASSERT_TRUE((*connection)
                      ->execute("UPDATE label SET value = 'b' WHERE key = 'side' AND run = 2;"
                                "INSERT INTO stage (run, position, name, kind, start_ns)"
                                " SELECT run, 0, 'x', 'load', 0 FROM run;"
                                "INSERT INTO invalid_reason SELECT run, 0, 'x' FROM run;"
                                "INSERT INTO doubt SELECT run, 0, 'x' FROM run;"
                                "INSERT INTO plan SELECT run, 's', 'n', '', 'x', 1, 1, 1 FROM run")
                      .ok());
    }
    ASSERT_TRUE(log_judgement(db(), {1, "ab", "pass", 0, 1, "{}"}).ok());
    poison_every_text(db());
  }
  std::string db() const { return dir_.file("t.db"); }
  /// Runs topspin, checks what it prints, and returns its exit code.
  int harmless(std::vector<std::string> words, bool own_commands = false) {
    std::string all;
    for (const std::string& word : words) all += word + " ";
    SCOPED_TRACE(all);
    words.insert(words.end(), {"--db", db()});
    const Outcome run = topspin(words);
    EXPECT_LE(run.exit_code, 5) << run.err;
    expect_harmless(run.out, own_commands);
    expect_harmless(run.err);
    return run.exit_code;
  }

  TempDir dir_;
};

TEST_F(HostileText, NoReportHandsItOn) {
  EXPECT_EQ(harmless({"list"}), 0);
  EXPECT_EQ(harmless({"list", "--format", "json"}), 0);
  EXPECT_EQ(harmless({"list", "--format", "markdown"}), 0);
  for (const char* format : {"text", "markdown", "json"})
    harmless({"load", "show", "last", "--format", format});
  for (const char* format : {"text", "json", "html", "markdown"}) {
    EXPECT_EQ(harmless({"report", "last", "--format", format}), 0);
    harmless({"report", "side=a", "side=b", "--format", format});
  }
}

TEST_F(HostileText, NoExportHandsItOn) {
  for (const char* format : {"json", "ndjson", "openmetrics", "hdr", "perfetto", "folded"})
    EXPECT_EQ(harmless({"export", "last", "--format", format}), 0);
  for (const char* table :
       {"ticks",        "flows",   "threads",      "thread_ticks",   "late_messages",
        "owners",       "sockets", "syscalls",     "called",         "cpu_holders",
        "slow_replies", "stacks",  "sleep_stacks", "busy_stretches", "counters",
        "stages",       "loads",   "load_parts",   "events",         "runs"})
    EXPECT_EQ(harmless({"export", "last", "--format", "csv", "--table", table}), 0);
  harmless({"export", "--format", "junit"});
  harmless({"export", "--format", "github"}, true);
}

TEST_F(HostileText, NoVerdictHandsItOn) {
  for (const char* format : {"text", "json", "markdown"})
    harmless({"compare", "side=a", "side=b", "--format", format});
  for (const char* format : {"text", "json", "markdown", "junit"})
    harmless({"gate", "side=a", "side=b", "--format", format});
  harmless({"gate", "--history", "side=a"});
  harmless({"report", "no-such-run"});
}

/// Sums over ticks must not overflow. (The sanitizer would end the program.)
TEST_F(HostileText, NumbersAtTheirLimitsAreReported) {
  {
    auto connection = Connection::open(db(), Access::kWrite);
    ASSERT_TRUE(connection.ok());
    std::string columns, values, extremes;
    auto select = (*connection)->prepare("SELECT name FROM pragma_table_info('tick')");
    ASSERT_TRUE(select.ok());
    while (select->step().value()) {
      const std::string name(select->bytes_at(0));
      columns += (columns.empty() ? "" : ", ") + name;
      values += (values.empty() ? "" : ", ") + (name == "tick" ? "tick + n.n" : name);
      const bool flag = name == "active_is_lower_bound" || name == "run" || name == "tick";
      if (!flag) extremes += (extremes.empty() ? "" : ", ") + name + " = 9223372036854775807";
    }
    const Status done =
        (*connection)
            ->execute("INSERT INTO tick (" + columns + ") SELECT " + values +
                      " FROM tick, (SELECT column1 AS n FROM (VALUES (2), (4), (6), (8)))"
                      " AS n; UPDATE tick SET " +
                      extremes);
    ASSERT_TRUE(done.ok()) << done.error().message;
  }
  for (const char* format : {"text", "json", "html", "markdown"})
    EXPECT_EQ(harmless({"report", "last", "--format", format}), 0);
  harmless({"report", "side=a", "side=b", "--format", "markdown"});
  harmless({"gate", "side=a", "side=b"});
  for (const char* format : {"json", "openmetrics", "perfetto"})
    EXPECT_EQ(harmless({"export", "last", "--format", format}), 0);
}

/// toml++ would abort on such plans. Here they come from a database.
TEST_F(HostileText, AStoredPlanThatIsNoPlanLeavesItsRulesUnknown) {
  for (const char* text : {"[[[", "[.", "[#", "x = ["}) {
    auto connection = Connection::open(db(), Access::kWrite);
    ASSERT_TRUE(connection.ok());
    auto update = (*connection)->prepare("UPDATE plan SET text = ?1");
    ASSERT_TRUE(update.ok());
    update->bind_text(1, text);
    ASSERT_TRUE(update->run().ok());
    EXPECT_EQ(harmless({"report", "last"}), 0);
    EXPECT_NE(topspin({"report", "last", "--db", db()}).out.find("cannot be read"),
              std::string::npos);
    EXPECT_EQ(harmless({"list"}), 0);
  }
}

}  // namespace
}  // namespace topspin::test
