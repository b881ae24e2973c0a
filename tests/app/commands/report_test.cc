// The names in the JSON of `list` and `report` that programs rely on.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/pcap_writer.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;

class Report : public testing::Test {
 protected:
  void SetUp() override {
    five_pings().save(dir_.file("a.pcap"));
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(topspin({"read", dir_.file("a.pcap"), "--db", dir_.file("t.db"), "--label",
                         "n=" + std::to_string(i)})
                    .exit_code,
                0);
    }
  }
  TempDir dir_;
};

TEST_F(Report, ListNamesEveryRun) {
  const Outcome list = topspin({"list", "--db", dir_.file("t.db"), "--format", "json"});
  ASSERT_EQ(list.exit_code, 0) << list.err;
  const Json json = Json::parse(list.out);
  ASSERT_EQ(json["runs"].size(), 2u);
  EXPECT_EQ(json["runs"][1]["labels"]["n"], "1");
  EXPECT_NE(json["runs"][0]["id"], json["runs"][1]["id"]);
  const Outcome text = topspin({"list", "--db", dir_.file("t.db")});
  EXPECT_NE(text.out.find(json["runs"][0]["id"].get<std::string>()), std::string::npos);
}

TEST_F(Report, FindsARunByPrefixAndByTheEnvironment) {
  const Json list =
      Json::parse(topspin({"list", "--db", dir_.file("t.db"), "--format", "json"}).out);
  const std::string id = list["runs"][0]["id"];
  setenv("TOPSPIN_DB", dir_.file("t.db").c_str(), 1);
  const Outcome whole = topspin({"report", id, "--format", "json"});
  unsetenv("TOPSPIN_DB");
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_EQ(Json::parse(whole.out)["run"]["id"], id);
  EXPECT_EQ(topspin({"report", "", "--db", dir_.file("t.db")}).exit_code,
            2);  // the empty prefix fits both
}

TEST_F(Report, JsonHasTheNamesThatProgramsRelyOn) {
  const Outcome run = topspin({"report", "last", "--db", dir_.file("t.db"), "--format", "json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = Json::parse(run.out);
  for (const char* name :
       {"schema_version", "run", "host", "probes", "summary", "losses", "busiest_flows", "ticks"}) {
    EXPECT_TRUE(json.contains(name)) << name;
  }
  for (const char* name : {"id", "started_at", "duration_ns", "status", "valid", "invalid_reasons",
                           "commit", "branch", "labels", "command", "exit_status"}) {
    EXPECT_TRUE(json["run"].contains(name)) << name;
  }
  for (const char* name :
       {"active_flows", "flows", "packets", "bytes", "reply_latency_ns", "lateness_ns",
        "missed_ticks", "unanswered", "run_queue_latency_ns", "cpu_ns", "context_switches",
        "rss_bytes", "pss_bytes", "vsz_bytes", "threads", "fds"}) {
    EXPECT_TRUE(json["summary"].contains(name)) << name;
  }
  for (const char* name : {"max", "last"}) {
    EXPECT_TRUE(json["summary"]["active_flows"].contains(name));
    EXPECT_TRUE(json["summary"]["rss_bytes"].contains(name));
  }
  for (const char* name : {"voluntary", "involuntary"}) {
    EXPECT_TRUE(json["summary"]["context_switches"].contains(name));
  }
  ASSERT_FALSE(json["ticks"].empty());
  for (const char* name :
       {"time_ns", "interval_ns", "active_flows", "new_flows", "ended_flows", "packets", "bytes"}) {
    EXPECT_TRUE(json["ticks"][0].contains(name)) << name;
  }
  EXPECT_TRUE(json["run"]["valid"]);
}

TEST_F(Report, ExplainSaysThatNothingStandsOutAndWhatItCouldNotSee) {
  const Outcome text = topspin({"explain", "--db", dir_.file("t.db")});
  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_TRUE(text.out.starts_with("FINDINGS\n 1 Nothing stands out")) << text.out;
  const Outcome data = topspin({"explain", "last", "--db", dir_.file("t.db"), "--format", "json"});
  ASSERT_EQ(data.exit_code, 0) << data.err;
  const Json json = Json::parse(data.out);
  ASSERT_EQ(json["findings"].size(), 1u);
  EXPECT_EQ(json["findings"][0]["finding"], "nothing");
  EXPECT_NE(json["findings"][0]["sentence"].get<std::string>().find("were not looked for"),
            std::string::npos);
  const Json report =
      Json::parse(topspin({"report", "--db", dir_.file("t.db"), "--format", "json"}).out);
  EXPECT_EQ(report["findings"], json["findings"]);
  EXPECT_EQ(report["run"]["id"], json["run"]);

  const Outcome both = topspin({"explain", "n", "--db", dir_.file("t.db")});
  EXPECT_EQ(both.exit_code, 2);
  const Outcome several = topspin({"explain", "", "--db", dir_.file("t.db")});
  EXPECT_EQ(several.exit_code, 2);
}

TEST_F(Report, TextIsForPeople) {
  const Outcome run = topspin({"report", "--db", dir_.file("t.db")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  for (const char* part : {"Reply latency", "Packets", "status", "lost"}) {
    EXPECT_NE(run.out.find(part), std::string::npos) << part;
  }
}

}  // namespace
}  // namespace topspin::test
