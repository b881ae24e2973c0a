// A team's store: the real binary and a real PostgreSQL server. What readers say of the store is
// what they say of the file, and a push stores all of a run or nothing, whatever happens.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include "tests/support/pcap_writer.h"
#include "tests/support/postgres_server.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string bytes_of(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

class TeamStore : public testing::Test {
 protected:
  void start() {
    server_ = std::make_unique<PostgresServer>();
    if (const std::string missing = server_->missing(); !missing.empty()) TOPSPIN_SKIP(missing);
    std::string why;
    ASSERT_TRUE(server_->start(why)) << why;
    const Outcome made = topspin({"store", "init", "--at", address()});
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  void SetUp() override { make_runs(db(), 3); }
  /// Runs of five pings, with labels that differ.
  void make_runs(const std::string& path, int count) {
    five_pings().save(dir_.file("a.pcap"));
    for (int i = 0; i < count; ++i) {
      const Outcome read =
          topspin({"read", dir_.file("a.pcap"), "--db", path, "--label", "n=" + std::to_string(i),
                   "--label", i == 0 ? "side=a" : "side=b"});
      ASSERT_EQ(read.exit_code, 0) << read.err;
    }
  }
  std::string db() const { return dir_.file("t.db"); }
  std::string address(const std::string& project = "shop",
                      const std::string& user = "owner") const {
    return server_->address(project, user);
  }
  Outcome push(const std::string& path, const std::string& to) {
    return topspin({"push", "--db", path, "--to", to});
  }
  std::string count(const std::string& table) const {
    return server_->sql("SELECT count(*) FROM topspin." + table).out;
  }

  TempDir dir_;
  std::unique_ptr<PostgresServer> server_;
};
#define START_SERVER()                       \
  do {                                       \
    start();                                 \
    if (IsSkipped() || HasFailure()) return; \
  } while (false)

TEST_F(TeamStore, ReadersSayTheSameAsOfTheFile) {
  START_SERVER();
  const Outcome pushed = push(db(), address());
  ASSERT_EQ(pushed.exit_code, 0) << pushed.err;
  EXPECT_THAT(pushed.out, HasSubstr("3 pushed, 0 already there"));
  const std::vector<std::vector<std::string>> commands = {
      {"list", "--format", "json"},
      {"list", "--label", "n=1"},
      {"list", "-n", "2"},
      {"list", "--since", "1h"},
      {"list", "--status", "interrupted"},
      {"report", "last"},
      {"report", "last~1"},
      {"report", "side=b"},
      {"report", "1", "n=2", "--format", "json"},
      {"report", "#2", "--format", "html"},
      {"explain", "2"},
      {"export", "1", "--format", "csv"},
      {"export", "2", "--format", "ndjson"},
      {"export", "--format", "openmetrics"},
      {"compare", "side=a", "side=b"},
      {"gate", "side=a", "side=b"},
      {"gate", "--history"},
      {"gate", "--history", "side=b"},
      {"report", "n=7"},
      {"report", "nothing"},
      {"report", "last~7"},
      {"report", "#9"}};
  for (std::vector<std::string> words : commands) {
    const std::string shown = testing::PrintToString(words);
    std::vector<std::string> of_store = words;
    words.insert(words.end(), {"--db", db()});
    of_store.insert(of_store.end(), {"--db", address()});
    const Outcome file = topspin(words), store = topspin(of_store);
    EXPECT_EQ(store.exit_code, file.exit_code) << shown << store.err;
    EXPECT_EQ(store.out, file.out) << shown;
  }
  // A change is accepted in the store's own log.
  const Outcome accepted = topspin({"accept", "2", "--because", "a \"test\"", "--db", address()});
  EXPECT_EQ(accepted.exit_code, 0) << accepted.err;
  EXPECT_EQ(server_->sql("SELECT project, kind, because FROM topspin.acceptance").out,
            "shop|baseline|a \"test\"\n");
  EXPECT_EQ(topspin({"gate", "--history", "--db", address()}).exit_code,
            topspin({"gate", "--history", "--db", db()}).exit_code);
  // The gate logs its verdict there, and the exports of verdicts find it.
  EXPECT_NE(count("judgement"), "0\n");
  EXPECT_THAT(topspin({"export", "--format", "junit", "--db", address()}).out,
              HasSubstr("<testsuite"));
  // Another project has none of this.
  const Outcome other = topspin({"list", "--db", address("other")});
  EXPECT_EQ(other.exit_code, 0);
  EXPECT_THAT(other.err, HasSubstr("no run in the store"));
}

TEST_F(TeamStore, AFileComesBackByteForByte) {
  START_SERVER();
  make_runs(dir_.file("one.db"), 1);
  ASSERT_EQ(push(dir_.file("one.db"), address("one")).exit_code, 0);
  const Outcome pulled =
      topspin({"pull", "last", "--from", address("one"), "-o", dir_.file("back.db")});
  ASSERT_EQ(pulled.exit_code, 0) << pulled.err;
  EXPECT_EQ(bytes_of(dir_.file("back.db")), bytes_of(dir_.file("one.db")));

  // Of a file with several runs, each comes back as a file of its own, which says the same.
  ASSERT_EQ(push(db(), address()).exit_code, 0);
  ASSERT_EQ(topspin({"pull", "n=1", "--from", address(), "-o", dir_.file("n1.db")}).exit_code, 0);
  EXPECT_EQ(topspin({"export", "last", "--format", "csv", "--db", dir_.file("n1.db")}).out,
            topspin({"export", "n=1", "--format", "csv", "--db", db()}).out);
  EXPECT_EQ(topspin({"pull", "n=9", "--from", address(), "-o", dir_.file("no.db")}).exit_code, 2);
  EXPECT_FALSE(std::filesystem::exists(dir_.file("no.db")));
}

TEST_F(TeamStore, PushingTwiceOrTwoAtOnceStoresEachRunOnce) {
  START_SERVER();
  std::vector<std::unique_ptr<Process>> pushes;
  for (int i = 0; i < 4; ++i)
    pushes.push_back(std::make_unique<Process>(
        std::vector<std::string>{topspin_binary(), "push", "--db", db(), "--to", address()}));
  for (const auto& each : pushes) {
    const Outcome done = each->finish();
    EXPECT_EQ(done.exit_code, 0) << done.err;
  }
  EXPECT_EQ(server_->sql("SELECT number FROM topspin.run ORDER BY number").out, "1\n2\n3\n");
  EXPECT_THAT(push(db(), address()).out, HasSubstr("0 pushed, 3 already there"));
  // Another project may have the same run.
  EXPECT_THAT(push(db(), address("fork")).out, HasSubstr("3 pushed"));
  EXPECT_EQ(count("run"), "6\n");
}

TEST_F(TeamStore, ARunThatIsBeingRecordedIsNotPushedAndOneWhoNamedItIsTold) {
  START_SERVER();
  Process recording({topspin_binary(), "record", "-i", "lo", "--db", db(), "udp port 9"});
  for (int i = 0; i < 300 && topspin({"list", "--db", db(), "--status", "running"}).out.empty();
       ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const Outcome named = topspin({"push", "last", "--db", db(), "--to", address()});
  const Outcome all = push(db(), address());
  recording.send(SIGINT);
  const Outcome ended = recording.finish();
  if (ended.exit_code == 4) TOPSPIN_SKIP("cannot capture here: " + ended.err);
  EXPECT_EQ(named.exit_code, 3) << named.err;
  EXPECT_THAT(named.err, HasSubstr("still being recorded, so nothing of it was stored"));
  // Who named none gets what is complete.
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_THAT(all.out, HasSubstr("3 pushed, 0 already there, 1 left out"));
  EXPECT_EQ(topspin({"push", "last", "--db", db(), "--to", address()}).exit_code, 0);
  EXPECT_EQ(count("run"), "4\n");
}

TEST_F(TeamStore, APlanPushesItsRunsAndAStoreThatIsAwayChangesNoVerdict) {
  START_SERVER();
  const auto plan = [&](const std::string& store) {
    const std::string path = dir_.file("plan.toml");
    std::ofstream(path) << "name = \"p\"\nstore = \"" << store << "\"\n"
                        << "[run]\nduration = \"100ms\"\nbefore = \"50ms\"\nafter = \"50ms\"\n"
                        << "[subject.sleeper]\ncommand = [\"sleep\", \"60\"]\n"
                        << "ready = { after = \"1ms\" }\n[capture]\nfilter = \"udp port 9\"\n";
    return topspin({"run", path, "--repeat", "2", "--db", dir_.file("plan.db")});
  };
  const Outcome refused = plan("postgresql://somewhere/db#two words");
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("plan.toml:2: store: "));

  const Outcome ran = plan(address());
  if (ran.exit_code == 4) TOPSPIN_SKIP("cannot capture here: " + ran.err);
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("2 runs pushed to "));
  EXPECT_EQ(count("run"), "2\n");

  server_->kill_it();
  const Outcome away = plan(address());
  EXPECT_EQ(away.exit_code, 0) << away.err;
  EXPECT_THAT(away.err, HasSubstr("push them later with `topspin push"));
  ASSERT_TRUE(server_->start_again());
  EXPECT_THAT(push(dir_.file("plan.db"), address()).out, HasSubstr("2 pushed, 2 already there"));
}

TEST_F(TeamStore, AServerThatDiesInAPushKeepsNothingOfTheRunAndTheNextPushGoesOn) {
  START_SERVER();
  ASSERT_EQ(topspin({"push", "n=0", "--db", db(), "--to", address()}).exit_code, 0);
  // The last rows of a run are its file's, so the push waits with all others stored.
  const auto lock = server_->session("BEGIN; LOCK TABLE topspin.file_chunk");
  ASSERT_TRUE(lock->wait_for("done"));
  Process push_process({topspin_binary(), "push", "--db", db(), "--to", address()});
  std::string waiting;
  for (int i = 0; i < 200 && waiting != "1\n"; ++i) {
    waiting =
        server_->sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").out;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ASSERT_EQ(waiting, "1\n");
  EXPECT_THAT(bytes_of("/proc/" + std::to_string(push_process.pid()) + "/status"),
              testing::AllOf(HasSubstr("Seccomp:\t2\n"), HasSubstr("CapEff:\t"),
                             HasSubstr("NoNewPrivs:\t1\n")));
  server_->kill_it();
  const Outcome killed = push_process.finish();
  EXPECT_EQ(killed.exit_code, 5) << killed.err;
  EXPECT_THAT(killed.err, HasSubstr("can be sent again"));
  ASSERT_TRUE(server_->start_again());
  EXPECT_EQ(count("run"), "1\n");
  EXPECT_EQ(count("total"), "2\n") << "those of the run that was pushed before";
  EXPECT_THAT(push(db(), address()).out, HasSubstr("2 pushed, 1 already there"));
  EXPECT_EQ(topspin({"list", "--db", address(), "--format", "json"}).out,
            topspin({"list", "--db", db(), "--format", "json"}).out);
}

TEST_F(TeamStore, AFullDiskIsAnErrorAndTheRunIsNotThere) {
  if (geteuid() != 0) TOPSPIN_SKIP("needs root, to mount a small disk");
  // The server's directory is a disk of 96 MB, of which a cluster takes some 40.
  PostgresServer probe;
  if (const std::string missing = probe.missing(); !missing.empty()) TOPSPIN_SKIP(missing);
  server_ = std::make_unique<PostgresServer>();
  const std::string directory = server_->directory().string();
  if (mount("topspin-test", directory.c_str(), "tmpfs", 0, "size=96m,mode=0777") != 0)
    TOPSPIN_SKIP("cannot mount here");
  struct Unmount {
    std::string path;
    ~Unmount() { umount2(path.c_str(), MNT_DETACH); }
  } const unmount{directory};
  std::string why;
  ASSERT_TRUE(server_->start(why)) << why;
  ASSERT_EQ(topspin({"store", "init", "--at", address()}).exit_code, 0);
  {
    std::ofstream filler(directory + "/filler", std::ios::binary);
    const std::string megabyte(1 << 20, 'x');
    for (int i = 0; i < 200 && filler; ++i) filler << megabyte << std::flush;
  }
  const Outcome full = push(db(), address());
  EXPECT_EQ(full.exit_code, 5) << full.out << full.err;
  std::filesystem::remove(directory + "/filler");
  if (!server_->sql("SELECT 1").out.starts_with("1")) {  // it may have ended for lack of space
    server_->kill_it();
    ASSERT_TRUE(server_->start_again());
  }
  EXPECT_EQ(count("run"), "0\n");
  EXPECT_THAT(push(db(), address()).out, HasSubstr("3 pushed"));
  server_->kill_it();
}

TEST_F(TeamStore, RolesMayDoWhatTheyNeedAndPasswordsAreNeverPrinted) {
  START_SERVER();
  ASSERT_EQ(push(db(), address()).exit_code, 0);
  ASSERT_EQ(server_
                ->sql("CREATE USER ci LOGIN; GRANT topspin_writer TO ci;"
                      "CREATE USER viewer LOGIN; GRANT topspin_reader TO viewer;"
                      "CREATE USER stranger LOGIN")
                .err,
            "");
  EXPECT_THAT(push(db(), address("fork", "ci")).out, HasSubstr("3 pushed"));
  for (const std::string what :
       {"DELETE FROM topspin.run", "UPDATE topspin.run SET number = 9",
        "DELETE FROM topspin.file_chunk", "DROP TABLE topspin.run", "TRUNCATE topspin.label",
        "UPDATE topspin.schema_version SET version = 9"}) {
    EXPECT_THAT(server_->sql("SET ROLE ci; " + what).err,
                testing::AnyOf(HasSubstr("must be owner"), HasSubstr("permission denied")))
        << what;
  }
}

TEST_F(TeamStore, OnlyThePasswordThatIsRightOpensIt) {
  START_SERVER();
  ASSERT_EQ(
      server_->sql("CREATE USER careful LOGIN PASSWORD 'right'; GRANT topspin_reader TO careful")
          .err,
      "");
  const std::string rules = server_->data() + "/pg_hba.conf";
  std::ofstream(rules) << "local all careful scram-sha-256\nlocal all owner trust\n";
  ASSERT_EQ(server_->sql("SELECT pg_reload_conf()").exit_code, 0);
  const std::string with_password =
      "postgresql://careful:wr0ng-secret@/postgres?host=" + server_->directory().string() + "#shop";
  const Outcome wrong = topspin({"list", "--db", with_password});
  EXPECT_EQ(wrong.exit_code, 4) << wrong.err;
  EXPECT_THAT(wrong.err, HasSubstr("authentication failed"));
  EXPECT_THAT(wrong.out + wrong.err, Not(HasSubstr("wr0ng-secret")));
  const Outcome none = topspin({"list", "--db", address("shop", "careful")});
  EXPECT_EQ(none.exit_code, 4) << none.err;
  const Outcome right = topspin({"list", "--db", address("shop", "careful")},
                                [] { setenv("PGPASSWORD", "right", 1); });
  EXPECT_EQ(right.exit_code, 0) << right.err;
  // Files only: the message names the store, without its password.
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"rm", "last", "--yes"}, {"label", "last", "a=b"}}) {
    std::vector<std::string> command = words;
    command.insert(command.end(), {"--db", with_password});
    const Outcome refused = topspin(command, [] { setenv("PGPASSWORD", "right", 1); });
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_THAT(refused.err, HasSubstr("is a team's store"));
    EXPECT_THAT(refused.out + refused.err, Not(HasSubstr("wr0ng-secret")));
  }
}

TEST_F(TeamStore, ANewerStoreIsRefusedAndAnOlderOneLacksColumnsOnly) {
  START_SERVER();
  ASSERT_EQ(
      server_->sql("ALTER TABLE topspin.total DROP COLUMN cpu_ns, DROP COLUMN reply_latency_ns")
          .err,
      "");
  const Outcome older = push(db(), address());
  EXPECT_EQ(older.exit_code, 0) << older.err;
  EXPECT_THAT(older.out, HasSubstr("3 pushed"));
  EXPECT_THAT(older.err, HasSubstr("topspin store init"));
  EXPECT_EQ(topspin({"list", "--db", address()}).exit_code, 0);
  ASSERT_EQ(topspin({"store", "init", "--at", address()}).exit_code, 0);
  EXPECT_THAT(push(db(), address("later")).err, Not(HasSubstr("older")));
  EXPECT_EQ(topspin({"list", "--db", address("later"), "--format", "json"}).out,
            topspin({"list", "--db", db(), "--format", "json"}).out);

  ASSERT_EQ(server_->sql("UPDATE topspin.schema_version SET version = 99").err, "");
  for (const std::vector<std::string>& words : {std::vector<std::string>{"list", "--db", address()},
                                                {"push", "--db", db(), "--to", address()},
                                                {"store", "init", "--at", address()}}) {
    const Outcome newer = topspin(words);
    EXPECT_EQ(newer.exit_code, 5) << words.front();
    EXPECT_THAT(newer.err, HasSubstr("made by a newer topspin")) << words.front();
  }
}

TEST_F(TeamStore, WhatStrangersPutThereHarmsNobody) {
  START_SERVER();
  // Text that PostgreSQL cannot hold as it is.
  const std::string odd = "odd=\x1b[31m\xff\xfe \xef\x9c\x80 \xc3\xa9 ' \" \\ $1";
  ASSERT_EQ(topspin({"read", dir_.file("a.pcap"), "--db", db(), "--label", odd}).exit_code, 0);
  ASSERT_EQ(push(db(), address()).exit_code, 0);
  EXPECT_EQ(topspin({"list", "--db", address(), "--format", "json"}).out,
            topspin({"list", "--db", db(), "--format", "json"}).out);
  EXPECT_EQ(topspin({"list", "--db", address(), "--label", odd, "--format", "json"}).out,
            topspin({"list", "--db", db(), "--label", odd, "--format", "json"}).out);

  const std::vector<std::string> damages = {
      "UPDATE topspin.run SET status = 'no such' WHERE number = 1",
      "UPDATE topspin.run SET window_ns = NULL WHERE number = 1",
      "UPDATE topspin.run SET window_ns = -5 WHERE number = 1",
      "UPDATE topspin.total SET packets = -1",
      "UPDATE topspin.total SET reply_latency_ns = '\\xffffffffffffffffffff'",
      "UPDATE topspin.total SET statistic = 'x' WHERE statistic = 'merged'",
      "UPDATE topspin.file_chunk SET data = '\\x00' || data",
      "UPDATE topspin.file_chunk SET data = '\\x1f8b0800'",
      "DELETE FROM topspin.file_chunk",
      "UPDATE topspin.run SET file_bytes = 9223372036854775807",
      "UPDATE topspin.run SET file_chunks = 9223372036854775807",
      "UPDATE topspin.run SET file_bytes = 3",
      "UPDATE topspin.run SET run = 'a\"},{\\', number = 77 WHERE number = 1",
      "UPDATE topspin.probe SET rung = 'x'"};
  make_runs(dir_.file("one.db"), 1);
  const std::vector<std::vector<std::string>> commands = {{"list"}, {"export", "last"}};
  for (const std::string& damage : damages) {
    ASSERT_EQ(server_
                  ->sql("DELETE FROM topspin.run; DELETE FROM topspin.total;"
                        "DELETE FROM topspin.label; DELETE FROM topspin.probe;"
                        "DELETE FROM topspin.metric_value; DELETE FROM topspin.total_cpu;"
                        "DELETE FROM topspin.argument; DELETE FROM topspin.file_chunk;"
                        "DELETE FROM topspin.invalid_reason; DELETE FROM topspin.doubt")
                  .err,
              "");
    ASSERT_EQ(push(dir_.file("one.db"), address()).exit_code, 0);
    ASSERT_EQ(server_->sql(damage).err, "") << damage;
    for (const std::vector<std::string>& words : commands) {
      std::vector<std::string> command = words;
      command.insert(command.end(), {"--db", address()});
      const Outcome outcome = topspin(command);
      EXPECT_LE(outcome.exit_code, 5) << damage << ": " << words.front() << outcome.err;
      EXPECT_THAT(outcome.err, Not(HasSubstr("please report"))) << damage << ": " << words.front();
    }
  }
}

TEST_F(TeamStore, AQuestionInSqlReadsTheProjectsRunsAndChangesNothing) {
  START_SERVER();
  ASSERT_EQ(push(db(), address()).exit_code, 0);
  ASSERT_EQ(push(db(), address("other")).exit_code, 0);
  ASSERT_EQ(server_->sql("CREATE USER viewer LOGIN; GRANT topspin_reader TO viewer").err, "");
  const auto ask = [&](const std::string& sql, std::vector<std::string> more = {},
                       const std::string& user = "viewer") {
    more.insert(more.begin(), {"sql", sql, "--db", address("shop", user)});
    return topspin(more);
  };
  // The same as psql says, of the project's runs only.
  for (const auto& [question, psql] : std::vector<std::pair<std::string, std::string>>{
           {"SELECT count(*) AS n FROM runs",
            "SELECT count(*) FROM topspin.runs WHERE project = 'shop'"},
           {"SELECT count(*) AS n FROM topspin.runs", "SELECT count(*) FROM topspin.runs"},
           {"SELECT count(*) AS n FROM metrics;",
            "SELECT count(*) FROM topspin.metrics WHERE project = 'shop'"},
           {"SELECT value AS n FROM labels WHERE key = 'n' ORDER BY value DESC LIMIT 1 -- last",
            "SELECT 2"},
           {"WITH a AS (SELECT number FROM runs) SELECT sum(number) AS n FROM a", "SELECT 6"},
           {"SELECT sum(reply_latency_ns_count) AS n FROM (VALUES (9223372036854775807)) v "
            "(reply_latency_ns_count)",
            "SELECT 9223372036854775807"},
           {"/* a */ with RECURSIVE a(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM a WHERE i < 4)"
            " SELECT i * (SELECT count(*) FROM runs) AS n FROM a ORDER BY i DESC LIMIT 1",
            "SELECT 12"},
           {"(SELECT 1 AS n) UNION (SELECT 1)", "SELECT 1"},
           {"SELECT round(1.5, 2) AS n", "SELECT 1.5"},
           {"SELECT true AS n", "SELECT 1"},
           {"SELECT encode(data, 'hex') = encode(data, 'hex') AS n FROM topspin.file_chunk LIMIT 1",
            "SELECT 1"}}) {
    const Outcome asked = ask(question, {"--format", "csv"});
    EXPECT_EQ(asked.exit_code, 0) << question << asked.err;
    EXPECT_EQ(std::regex_replace(asked.out, std::regex("[\r\"]"), ""),
              "n\n" + server_->sql(psql).out)
        << question;
  }
  // More rows than are fetched at once, in order, and values of each type.
  const Outcome many =
      ask("SELECT i FROM generate_series(1, 30000) AS i ORDER BY i", {"--format", "csv"});
  EXPECT_EQ(many.exit_code, 0) << many.err;
  EXPECT_EQ(std::count(many.out.begin(), many.out.end(), '\n'), 30001);
  EXPECT_TRUE(many.out.ends_with("\n29999\r\n30000\r\n"));
  const Outcome typed = ask(
      "SELECT NULL AS a, 1.25 AS b, '\\x00ff'::bytea AS c, 'x' AS d, 'NaN'::float8 AS e, 7 AS d",
      {"--format", "json"});
  EXPECT_THAT(typed.out, HasSubstr(R"({"a":null,"b":1.25,"c":"00ff","d":"x","e":null,"d_2":7})"))
      << typed.err;
  EXPECT_THAT(ask("SELECT number, status FROM runs").out, HasSubstr("complete"));
  EXPECT_THAT(ask("SELECT number FROM runs WHERE number < 0").err, HasSubstr("no such row"));

  // Nothing is changed, also by one who may.
  const std::string before = server_->sql("SELECT * FROM topspin.run ORDER BY 1, 2").out;
  for (const std::string& user : {"viewer", "owner"}) {
    for (const std::string sql :
         {"DELETE FROM topspin.run", "INSERT INTO topspin.label VALUES ('a')",
          "DROP TABLE topspin.run", "SELECT 1; DELETE FROM topspin.run",
          "SELECT 1); DELETE FROM topspin.run; SELECT (1", "COMMIT",
          "SET default_transaction_read_only = off", "COPY topspin.run TO '/tmp/x'",
          "WITH gone AS (DELETE FROM topspin.run RETURNING 1) SELECT * FROM gone",
          "SELECT * FROM topspin.run FOR UPDATE", "SELECT 1 INTO topspin.copied",
          "EXPLAIN SELECT 1", "", " ; ", "VACUUM"}) {
      const Outcome refused = ask(sql, {}, user);
      if (sql.empty()) continue;  // lists the views
      EXPECT_EQ(refused.exit_code, 2) << sql << refused.err;
      EXPECT_EQ(refused.out, "") << sql;
    }
    EXPECT_THAT(ask("SELECT set_config('transaction_read_only', 'off', false)", {}, user).err,
                HasSubstr("read-write"));
  }
  EXPECT_EQ(server_->sql("SELECT * FROM topspin.run ORDER BY 1, 2").out, before);

  // What a person gets wrong.
  const auto says = [&](const std::string& sql, const std::string& words) {
    const Outcome refused = ask(sql);
    EXPECT_EQ(refused.exit_code, 2) << sql;
    EXPECT_THAT(refused.err, HasSubstr(words)) << sql;
  };
  says("SELECT percentile(reply_latency_ns, 0.99) FROM topspin.total",
       "percentile() works in files only. The view metrics has percentiles");
  says("SELECT percentile(reply_latency_ns, 0.99) FROM totals", "The view metrics has percentiles");
  says("SELECT * FROM ticks", "topspin pull RUN -o FILE.db");
  says("SELECT * FROM rums", "lists the views");
  says("SELECT 1/0", "division by zero");
  const Outcome midway =
      ask("SELECT 100 / (i - 20000) FROM generate_series(1, 30000) AS i", {"--format", "csv"});
  EXPECT_EQ(midway.exit_code, 2);
  EXPECT_THAT(midway.err, HasSubstr("division by zero"));
  says("SELECT '\xc3\xa9', pakets FROM metrics",
       "\n  SELECT '\xc3\xa9', pakets FROM metrics\n              ^\n");
  says("WITH a AS (SELECT 1) SELECT pakets FROM a",
       "\n  WITH a AS (SELECT 1) SELECT pakets FROM a\n                              ^\n");
  const Outcome slow = ask("SELECT pg_sleep(60)", {"--timeout", "300ms"});
  EXPECT_EQ(slow.exit_code, 5);
  EXPECT_THAT(slow.err, HasSubstr("longer than 300ms"));
  ASSERT_EQ(server_->sql("CREATE USER nobody LOGIN").err, "");
  const Outcome unknown = ask("SELECT 1", {}, "nobody");
  EXPECT_EQ(unknown.exit_code, 4) << unknown.err;
  EXPECT_THAT(unknown.err, HasSubstr("topspin_reader"));

  // Texts are as hostile as those of a file, the names of columns and the server's errors as well.
  for (const std::string sql : {R"(SELECT E'\x1b[31mred' AS "a\x1bb")",
                                "SELECT * FROM \"\x1b[31m\"", "SELECT 1 AS \"\x1b[2J\""}) {
    const Outcome hostile = ask(sql);
    EXPECT_THAT(hostile.out + hostile.err, Not(HasSubstr("\x1b"))) << sql;
  }

  // What is listed is what there is.
  const Outcome listed = topspin({"sql", "--db", address()});
  EXPECT_EQ(listed.exit_code, 0);
  std::string columns;
  std::istringstream rows(
      server_
          ->sql("SELECT column_name FROM information_schema.columns WHERE table_schema = 'topspin'"
                " AND table_name IN ('runs', 'metrics', 'labels')")
          .out);
  for (std::string column; std::getline(rows, column);) EXPECT_THAT(listed.out, HasSubstr(column));
  const std::regex example("topspin sql --db ADDRESS \"([^\"]*)\"");
  size_t examples = 0;
  for (std::sregex_iterator it(listed.out.begin(), listed.out.end(), example), end; it != end;
       ++it) {
    ++examples;
    EXPECT_EQ(ask((*it)[1]).exit_code, 0) << (*it)[1];
  }
  EXPECT_EQ(examples, 3u);
}

// What PostgreSQL 13, Citus, CockroachDB and YugabyteDB do not all document is not used: only
// PostgreSQL is here to be tried.
TEST_F(TeamStore, OnlySqlThatItsKinUnderstandIsSent) {
  START_SERVER();
  ASSERT_EQ(push(db(), address()).exit_code, 0);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"list", "--label", "n=1", "--plan", "p", "--branch", "b",
                                 "--commit", "abc", "--since", "1h"},
        {"report", "branch=main"},
        {"report", "n=1"},
        {"gate", "--history"},
        {"explain", "last~1"},
        {"accept", "last", "--because", "x"},
        {"sql", "SELECT number FROM runs"},
        {"export", "--format", "junit"}}) {
    std::vector<std::string> command = words;
    command.insert(command.end(), {"--db", address()});
    (void)topspin(command);
  }
  server_->kill_it();
  std::istringstream lines(server_->log());
  const std::regex statement("LOG:  (?:statement|execute <unnamed>): (.*)");
  const std::regex refused(
      "\\b(SERIAL|BIGSERIAL|SEQUENCE|nextval|LISTEN|NOTIFY|EXTENSION|lo_[a-z]+|TRIGGER|FUNCTION|"
      "INHERITS|TABLESPACE|ADVISORY|pg_advisory\\w*|COPY|LATERAL|UNLOGGED|TEMP|"
      "TEMPORARY|REFERENCES|FOREIGN|CHECK|GENERATED|IDENTITY|DOMAIN|ENUM|MERGE|VACUUM|LOCK|RULE|"
      "MATERIALIZED|PARTITION|SAVEPOINT|jsonb?|regclass|ctid|pg_catalog)\\b",
      std::regex::icase);
  const std::regex known(
      "^(BEGIN|COMMIT|ROLLBACK|SELECT |SET |DECLARE topspin_question |FETCH FORWARD |"
      "INSERT INTO topspin(?:_workers)?\\.|"
      "UPDATE topspin(?:_workers)?\\.schema_version |"
      "CREATE (SCHEMA|TABLE|UNIQUE INDEX|INDEX) IF NOT EXISTS |CREATE OR REPLACE VIEW topspin\\.|"
      "CREATE ROLE |GRANT |REVOKE |ALTER TABLE topspin\\.)");
  size_t seen = 0;
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (!std::regex_search(line, match, statement)) continue;
    ++seen;
    const std::string text = match[1];
    std::string without_names = std::regex_replace(text, std::regex("\"[^\"]*\""), "x");
    EXPECT_TRUE(std::regex_search(text, known)) << text;
    EXPECT_FALSE(std::regex_search(without_names, refused)) << text;
    EXPECT_EQ(text.find("\xef"), std::string::npos) << text;
  }
  EXPECT_GT(seen, 100u);
}

// Every query of the dashboard, with Grafana's words replaced as Grafana does.
TEST_F(TeamStore, TheDashboardsQueriesFindTheRuns) {
  START_SERVER();
  ASSERT_EQ(push(db(), address()).exit_code, 0);
  const std::string dashboard =
      bytes_of(std::string(TOPSPIN_SOURCE_DIR) + "/docs/grafana/topspin.json");
  const std::regex query("\"(?:rawSql|query)\": \"(SELECT[^\"]*)\"");
  size_t queries = 0, with_rows = 0;
  for (std::sregex_iterator it(dashboard.begin(), dashboard.end(), query), end; it != end; ++it) {
    ++queries;
    std::string sql = (*it)[1];
    for (const auto& [word, value] : std::vector<std::pair<std::string, std::string>>{
             {"\\$\\{project:sqlstring\\}", "'shop'"},
             {"branch = \\$\\{branch:sqlstring\\}", "coalesce(branch, '') = ''"},
             {"\\$\\{metric:sqlstring\\}", "'packets_per_second'"},
             {"\\$__[a-zA-Z]*Filter\\(([^)]*)\\)", "$1 IS NOT NULL"}})
      sql = std::regex_replace(sql, std::regex(word), value);
    const Outcome rows = server_->sql(sql);
    EXPECT_EQ(rows.err, "") << sql;
    if (!rows.out.empty()) ++with_rows;
  }
  EXPECT_EQ(queries, 8u);
  EXPECT_GE(with_rows, 4u) << "projects, metrics, runs, a metric's history";
}

TEST_F(TeamStore, TwoWhoMakeItAtOnceMakeOne) {
  server_ = std::make_unique<PostgresServer>();
  if (const std::string missing = server_->missing(); !missing.empty()) TOPSPIN_SKIP(missing);
  std::string why;
  ASSERT_TRUE(server_->start(why)) << why;
  const Outcome early = push(db(), address());
  EXPECT_EQ(early.exit_code, 5);
  EXPECT_THAT(early.err, HasSubstr("topspin store init"));
  std::vector<std::unique_ptr<Process>> makers;
  for (int i = 0; i < 4; ++i)
    makers.push_back(std::make_unique<Process>(
        std::vector<std::string>{topspin_binary(), "store", "init", "--at", address()}));
  for (const auto& maker : makers) {
    const Outcome made = maker->finish();
    EXPECT_EQ(made.exit_code, 0) << made.err;
    EXPECT_EQ(made.err, "");
  }
  EXPECT_THAT(push(db(), address()).out, HasSubstr("3 pushed"));
}

TEST_F(TeamStore, TheStatementsThatArePrintedMakeOneToo) {
  server_ = std::make_unique<PostgresServer>();
  if (const std::string missing = server_->missing(); !missing.empty()) TOPSPIN_SKIP(missing);
  std::string why;
  ASSERT_TRUE(server_->start(why)) << why;
  const Outcome printed = topspin({"store", "init", "--print-sql"});
  ASSERT_EQ(printed.exit_code, 0) << printed.err;
  ASSERT_EQ(server_->sql(printed.out).err, "");
  EXPECT_THAT(push(db(), address()).out, HasSubstr("3 pushed"));
  EXPECT_EQ(server_->sql("SELECT count(*) FROM topspin.runs").out, "3\n");
  EXPECT_EQ(topspin({"store", "init", "--at", address()}).err, "") << "and init finds it made";
}

TEST_F(TeamStore, ItsAbsenceAndWrongAddressesAreSaid) {
  const auto says = [&](const std::vector<std::string>& words, int code, const std::string& text) {
    const Outcome outcome = topspin(words, [] { unsetenv("TOPSPIN_STORE"); });
    EXPECT_EQ(outcome.exit_code, code) << testing::PrintToString(words) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(text));
  };
  const std::string nowhere = "postgresql://me:hidden@/x?host=" + dir_.path().string() + "#shop";
  says({"list", "--db", nowhere}, 5, "cannot open the store postgresql://me@/x");
  says({"push", "--db", db(), "--to", nowhere}, 5, "is the server running");
  says({"push", "--db", db(), "--to", "db.example"}, 2, "is not the address of a store");
  says({"push", "--db", db(), "--to", "postgresql://me@/x#a b"}, 2, "name of a project");
  says({"push", "--db", db()}, 2, "TOPSPIN_STORE");
  says({"pull", "last", "-o", dir_.file("x.db")}, 2, "--from");
  says({"read", dir_.file("a.pcap"), "--db", nowhere}, 2, "topspin push");
  for (const std::string& text : {topspin({"list", "--db", nowhere}).err,
                                  topspin({"read", dir_.file("a.pcap"), "--db", nowhere}).err})
    EXPECT_THAT(text, Not(HasSubstr("hidden")));
}

TEST_F(TeamStore, APasswordThatIsWrittenWronglyIsNotPrintedEither) {
  const auto without = [&](const std::string& address, int code, const std::string& text) {
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"list", "--db", address},
          {"push", "--db", db(), "--to", address},
          {"load", "udp-pingpong", "--target", "127.0.0.1:9", "--db", address}}) {
      if (words[0] == "load" && address.starts_with("host=")) continue;  // that is a file's name
      const Outcome outcome = topspin(words);
      EXPECT_NE(outcome.exit_code, 0) << testing::PrintToString(words);
      EXPECT_THAT(outcome.out + outcome.err, Not(HasSubstr("hid"))) << outcome.err;
      EXPECT_THAT(outcome.out + outcome.err, Not(HasSubstr("den"))) << outcome.err;
      if (words[0] != "list") continue;
      EXPECT_EQ(outcome.exit_code, code) << outcome.err;
      EXPECT_THAT(outcome.err, HasSubstr(text));
    }
  };
  const std::string here = "127.0.0.1:1/x";
  for (const char* character : {"@", "/", "#", "?", ":/"})
    without("postgresql://me:hid" + std::string(character) + "den@" + here, 2, "PGPASSWORD");
  without("postgresql://me@" + here + "?pass%77ord=hidden&bogus=1", 5, "bogus");
  without("postgresql://me@" + here + "?password=hid#d en", 2, "name of a project");
  without("POSTGRESQL://me:hidden@" + here, 5, "there is no database");
  without("host=127.0.0.1 user=me password=hidden", 5, "there is no database");
  // None of these has a password.
  without("postgresql://" + here + "?user=me@corp", 5, "Connection refused");
  without("postgresql://me@" + here + "?application_name=a@b:c", 5, "Connection refused");
}

}  // namespace
}  // namespace topspin::test
