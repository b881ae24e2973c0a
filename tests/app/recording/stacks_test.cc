// --counters and --stacks, from the recording to the report and the folded stacks.
#include <csignal>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

class Stacks : public testing::Test {
 protected:
  void SetUp() override { TOPSPIN_NEEDS_ROOT(); }
  std::string db() const { return dir_.file("t.db"); }
  Outcome record(std::vector<std::string> options, const std::string& script) const {
    std::vector<std::string> all = {"record", "-q", "-i", "lo", "--db", db()};
    all.insert(all.end(), options.begin(), options.end());
    all.insert(all.end(), {"udp port 9", "--", "sh", "-c", script});
    return topspin(all);
  }
  Json report() const {
    const Outcome run = topspin({"report", "last", "--db", db(), "--format", "json"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return run.exit_code == 0 ? Json::parse(run.out) : Json();
  }
  static std::string rung(const Json& json, const std::string& name) {
    for (const Json& probe : json["probes"]) {
      if (probe["name"] == name) return probe["rung"];
    }
    return "not there";
  }
  TempDir dir_;
};

constexpr const char* kBusy = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done";

TEST_F(Stacks, AreFoldedAndAsManyAsTheCpuTimeSays) {
  const Outcome run = record({"--stacks", "200", "--counters"}, kBusy);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = report();
  EXPECT_EQ(json["settings"]["stack_samples_per_second"], 200);
  if (rung(json, "stacks") == "none") TOPSPIN_SKIP("no perf events here: " + json["probes"].dump());
  const Outcome folded = topspin({"export", "last", "--db", db(), "--format", "folded"});
  ASSERT_EQ(folded.exit_code, 0) << folded.err;
  std::istringstream lines(folded.out);
  double samples = 0;
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.rfind(' ');
    ASSERT_NE(space, std::string::npos) << line;
    EXPECT_NE(line.find(';'), std::string::npos) << line;
    samples += std::stod(line.substr(space + 1));
  }
  EXPECT_THAT(folded.out, HasSubstr("sh;"));
  // Each sample stands for 5 ms of CPU time. The scheduler probe and the counters give the same
  // time.
  const double clock_ns = json["summary"]["counters"]["task_clock_ns"]["count"].get<double>();
  ASSERT_GT(clock_ns, 1e8);
  const double cpu_ns = json["summary"]["cpu_ns"].get<double>();
  EXPECT_GT(samples, 0);
  // The task clock continues while a hypervisor has the CPU, but the kernel charges that time to no
  // thread. So the three agree only if little was stolen.
  double stolen_ns = 0;
  for (const Json& tick : json["ticks"]) {
    const Json& stolen = tick["host"]["steal_ns"];
    if (stolen.is_number()) stolen_ns += stolen.get<double>();
  }
  if (stolen_ns > 0.01 * clock_ns)
    TOPSPIN_SKIP("needs a quiet host: it took away " + std::to_string(stolen_ns) + " ns");
  EXPECT_NEAR(samples * 5e6, clock_ns, 0.15 * clock_ns);
  EXPECT_NEAR(cpu_ns, clock_ns, 0.1 * clock_ns);
  EXPECT_EQ(json["losses"]["stack_samples_lost"], 0);
  EXPECT_THAT(topspin({"report", "last", "--db", db()}).out, HasSubstr("perf counters"));
}

TEST_F(Stacks, AreNotThereUnlessAskedFor) {
  ASSERT_EQ(record({}, "true").exit_code, 0);
  const Json json = report();
  EXPECT_EQ(rung(json, "stacks"), "not there");
  EXPECT_EQ(json["summary"]["counters"]["task_clock_ns"], nullptr);
  const Outcome folded = topspin({"export", "last", "--db", db(), "--format", "folded"});
  EXPECT_EQ(folded.exit_code, 2);
  EXPECT_THAT(folded.err, HasSubstr("--stacks"));
}

TEST_F(Stacks, OfJavaScriptHaveItsFunctionsNames) {
  if (run({"sh", "-c", "command -v node"}).exit_code != 0) TOPSPIN_SKIP("Node is not installed");
  const std::string script =
      "exec node --perf-basic-prof --interpreted-frames-native-stack -e "
      "'function topspinHotFunction(n) { let s = 0; for (let i = 0; i < n; ++i) s += i % 7; return "
      "s; } const end = Date.now() + 1500; let t = 0; while (Date.now() < end) t += "
      "topspinHotFunction(100000);'";
  const Outcome recorded =
      record({"--stacks", "500"}, "cd " + dir_.path().string() + "; " + script);
  ASSERT_EQ(recorded.exit_code, 0) << recorded.err;
  if (rung(report(), "stacks") == "none") TOPSPIN_SKIP("no perf events here");
  EXPECT_THAT(topspin({"export", "last", "--db", db(), "--format", "folded"}).out,
              HasSubstr("topspinHotFunction"));
}

/// The event loop spends most of its CPU time in one function, and is blocked by another.
TEST_F(Stacks, OfTheLongestBusyStretchesNameWhatBlockedTheLoop) {
  const std::string port = std::to_string(30'000 + getpid() % 10'000);
  Process recording({topspin_binary(), "record", "-i", "lo", "--db", db(), "--stacks", "199", "udp",
                     "port", port, "--",
                     std::string(TOPSPIN_BINARY_DIR) + "/tests/app/loop_subject", port});
  ASSERT_TRUE(recording.wait_for("ready"));
  const Outcome load = topspin({"load", "udp-pingpong", "--target", "127.0.0.1:" + port,
                                "--clients", "50", "--period", "250ms", "--hold", "8s"});
  EXPECT_LE(load.exit_code, 3) << load.err;
  recording.send(SIGINT);
  const Outcome recorded = recording.finish();
  ASSERT_EQ(recorded.exit_code, 128 + SIGINT) << recorded.err;
  const Json json = report();
  for (const Json& probe : json["probes"]) {
    if (probe["name"] != "stacks") continue;
    if (probe["rung"] == "none" || probe.dump().find("no stacks of sleeps") != std::string::npos)
      TOPSPIN_SKIP("no stacks here: " + probe.dump());
  }
  // Over the whole run, the other function has more samples.
  const Outcome folded = topspin({"export", "last", "--db", db(), "--format", "folded"});
  std::istringstream lines(folded.out);
  double in_serve = 0, in_block = 0;
  for (std::string line; std::getline(lines, line);) {
    const double samples = std::stod(line.substr(line.rfind(' ') + 1));
    if (line.find("loop_subject_serve") != std::string::npos) in_serve += samples;
    if (line.find("loop_subject_block") != std::string::npos) in_block += samples;
  }
  EXPECT_GT(in_serve, in_block);

  const Json& stretches = json["busy_stretches"];
  ASSERT_GE(stretches.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    const Json& stretch = stretches[i];
    EXPECT_GE(stretch["length_ns"], 80'000'000) << stretch;
    EXPECT_GE(stretch["cpu_ns"], 80'000'000) << stretch;
    EXPECT_GE(stretch["length_ns"], stretch["cpu_ns"]) << stretch;
    EXPECT_EQ(stretch["thread"], "loop_subject");
    // On a busy host requests pile up, and a stretch may contain more of their work than of the
    // block.
    if (stretch["cpu_ns"] > 120'000'000) TOPSPIN_SKIP("needs a quiet host: " + stretch.dump());
    EXPECT_EQ(stretch["most"]["function"], "loop_subject_block") << stretch;
    // One sample per 5 ms of CPU time, as far as the timer that takes them allows.
    EXPECT_GE(stretch["samples"], 8) << stretch;
    EXPECT_LE(stretch["samples"].get<double>(), stretch["cpu_ns"].get<double>() / 5e6 + 2);
    EXPECT_EQ(stretch["samples_cut"], false);
  }
  EXPECT_EQ(json["losses"]["busy_stretches_lost"], 0);
  const std::string text = topspin({"report", "last", "--db", db()}).out;
  EXPECT_THAT(text, HasSubstr("Longest busy stretches"));
  EXPECT_THAT(text, HasSubstr("loop_subject_block ("));
  const std::string causes = topspin({"explain", "last", "--db", db()}).out;
  if (json["findings"][0]["finding"] != "event_loop_blocked")
    TOPSPIN_SKIP("needs a quiet host: " + causes);
  const std::string sentence = json["findings"][0]["sentence"];
  EXPECT_THAT(sentence, testing::ContainsRegex("of the [0-9]+ CPU samples in [0-9]+ stretches"));
  EXPECT_THAT(sentence, testing::EndsWith("are in loop_subject_block"));
}

}  // namespace
}  // namespace topspin::test
