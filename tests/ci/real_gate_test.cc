// The gate with live capture and BPF, on a subject and on the same subject with 10% more work for
// each reply. On a busy machine the verdict may be inconclusive, but never wrong. If no run may be
// judged, the test is skipped with the gate's reason. The script that CI jobs use is tested on a
// toy repository with a slow commit.
//
// They take minutes of a quiet machine, and run every night.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>

#include "ci/judgement/cause_changes.h"
#include "ci/metrics/measured_run.h"
#include "ci/statistics/random.h"
#include "core/base/unique_fd.h"
#include "store/run_store.h"
#include "tests/ci/acted_job.h"
#include "tests/support/every_night.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;

uint16_t free_udp_port() {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd.get(), raw, length) != 0 || ::getsockname(fd.get(), raw, &length) != 0) return 0;
  return ntohs(address.sin_port);
}

class RealGate : public testing::Test {
 protected:
  void SetUp() override { TOPSPIN_NEEDS_ROOT(); }

  /// Runs twelve interleaved pairs (the gate needs ten, so the machine may spoil two) of servers
  /// that do the given number of rounds for each reply, each under load for `hold_ms`. Returns the
  /// gate's JSON.
  Json gate(int64_t rounds_a, int64_t rounds_b, int hold_ms) {
    const std::string port = std::to_string(free_udp_port());
    const std::string plan = dir_.file("plan.toml");
    std::ofstream file(plan);
    file << "name = \"work\"\n[run]\nrepeat = 12\n";
    for (const auto& [name, rounds] : {std::pair("a", rounds_a), std::pair("b", rounds_b)}) {
      file << "[subject." << name << "]\ncommand = [\"" << TOPSPIN_BINARY_DIR
           << "/tests/ci/busy_udp_server\", \"" << port << "\", \"" << rounds
           << "\"]\nready = { line = \"listening\" }\n";
    }
    file << "[load]\nworkload = \"udp-pingpong\"\ntarget = \"127.0.0.1:" << port
         << "\"\nstages = \"0:20 over 100ms, hold " << hold_ms
         << "ms\"\nperiod = \"20ms\"\n"
            "timeout = \"500ms\"\n[capture]\ninterval = \"200ms\"\n";
    file.close();
    const std::string db = dir_.file("t.db");
    Process runs({topspin_binary(), "run", plan, "--db", db, "-q"});
    const Outcome run = runs.finish(std::chrono::seconds(240));
    // 3: no run of a subject may be judged. The gate says so too.
    EXPECT_TRUE(run.exit_code == 0 || run.exit_code == 3) << run.out << run.err;
    const Outcome gate = topspin({"gate", "side=a", "side=b", "--db", db, "--format", "json"});
    EXPECT_TRUE(Json::accept(gate.out)) << gate.err;
    Json json = Json::parse(gate.out, nullptr, false);
    EXPECT_EQ(json["exit_code"], gate.exit_code);
    RecordProperty("verdict", json["verdict"].get<std::string>());
    return json;
  }
  TempDir dir_;
};

/// Skips the test if the gate refused to judge, because the machine was busy with something else.
#define TOPSPIN_SKIP_IF_NOT_JUDGED(json) \
  if ((json)["verdict"] == "invalid")    \
  GTEST_SKIP() << "nothing was judged: " << (json)["reasons"].dump()

constexpr int64_t kRounds = 200'000;

TEST_F(RealGate, TenPercentMoreWorkNeverPasses) {
  TOPSPIN_ONLY_EVERY_NIGHT();
  const Json json = gate(kRounds, kRounds * 11 / 10, 900);
  EXPECT_NE(json["verdict"], "pass") << json.dump(2);
  TOPSPIN_SKIP_IF_NOT_JUDGED(json);
}

TEST_F(RealGate, TenPercentMoreWorkNeverPassesInLongerRuns) {
  TOPSPIN_ONLY_EVERY_NIGHT();
  const Json json = gate(kRounds, kRounds * 11 / 10, 1500);
  EXPECT_NE(json["verdict"], "pass") << json.dump(2);
  TOPSPIN_SKIP_IF_NOT_JUDGED(json);
}

TEST_F(RealGate, TheSubjectAgainstItselfNeverFails) {
  TOPSPIN_ONLY_EVERY_NIGHT();
  const Json json = gate(kRounds, kRounds, 1500);
  EXPECT_NE(json["verdict"], "fail") << json.dump(2);
  TOPSPIN_SKIP_IF_NOT_JUDGED(json);
}

/// Runs of a server with stacks and system calls, twelve per side.
class RealCosts : public RealGate {
 protected:
  void record(int64_t rounds_a, int64_t rounds_b) {
    const std::string port = std::to_string(free_udp_port());
    const std::string plan = dir_.file("plan.toml");
    std::ofstream file(plan);
    file << "name = \"costs\"\n[run]\nrepeat = 12\n[probes]\nsyscalls = true\nstacks = 997\n";
    for (const auto& [name, rounds] : {std::pair("a", rounds_a), std::pair("b", rounds_b)}) {
      file << "[subject." << name << "]\ncommand = [\"" << TOPSPIN_BINARY_DIR
           << "/tests/ci/busy_udp_server\", \"" << port << "\", \"" << rounds
           << "\"]\nready = { line = \"listening\" }\n";
    }
    file << "[load]\nworkload = \"udp-pingpong\"\ntarget = \"127.0.0.1:" << port
         << "\"\nstages = \"0:20 over 100ms, hold 900ms\"\nperiod = \"20ms\"\n"
            "timeout = \"500ms\"\n[capture]\ninterval = \"200ms\"\n";
    file.close();
    Process runs({topspin_binary(), "run", plan, "--db", db(), "-q"});
    const Outcome run = runs.finish(std::chrono::seconds(240));
    EXPECT_TRUE(run.exit_code == 0 || run.exit_code == 3) << run.out << run.err;
  }
  std::string db() const { return dir_.file("costs.db"); }

  /// The runs of one side, with their costs.
  std::vector<MeasuredRun> measured(const std::string& side) const {
    auto store = RunStore::open(db());
    EXPECT_TRUE(store.ok()) << store.error().message;
    const auto stored = (*store)->list_runs();
    EXPECT_TRUE(stored.ok());
    std::vector<StoredRun> runs;
    for (const StoredRun& run : *stored)
      if (run.info.labels.at("side") == side) runs.push_back(run);
    auto all = measure_runs(**store, runs);
    EXPECT_TRUE(all.ok() && measure_costs(**store, *all).ok());
    return std::move(*all);
  }
};

TEST_F(RealCosts, NameTheFunctionThatTookLongerAndNothingInRunsOfTheSame) {
  TOPSPIN_ONLY_EVERY_NIGHT();
  record(kRounds, kRounds * 3 / 2);
  const Outcome compare =
      topspin({"compare", "side=a", "side=b", "--db", db(), "--format", "json"});
  const Json json = Json::parse(compare.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << compare.err;
  EXPECT_EQ(json["costs_per"], "reply");
  bool main_has_grown = false;
  for (const Json& cost : json["costs"]) {
    if (cost["kind"] != "function" || cost["name"] != "main") continue;
    main_has_grown = cost["changed"] == true && cost["change_ns"] > 0 && cost["ci_low_ns"] > 0;
  }
  EXPECT_TRUE(main_has_grown) << json["costs"].dump(2);

  // Random halves of one side are the same server, so every change is a false discovery.
  size_t splits = 0, alarms = 0;
  std::string found;
  Random random(1);
  for (const char* side : {"a", "b"}) {
    std::vector<MeasuredRun> runs = measured(side);
    ASSERT_EQ(runs.size(), 12u);
    for (int i = 0; i < 25; ++i, ++splits) {
      random.shuffle(std::span(runs));
      std::vector<const RunTotals*> x, y;
      for (size_t r = 0; r < runs.size(); ++r) (r < 6 ? x : y).push_back(&runs[r].totals);
      const CauseChanges changes = cause_changes(x, y, Layout::kUnpaired, 1);
      EXPECT_GE(changes.costs.size(), 3u);
      size_t changed = 0;
      for (const CostChange& cost : changes.costs) {
        if (!has_changed(cost.of)) continue;
        ++changed;
        found += cost.of.metric.name + " ";
      }
      alarms += changed > 0 ? 1 : 0;
    }
  }
  RecordProperty("false_discoveries", static_cast<int>(alarms));
  EXPECT_LE(alarms, splits / 10) << "of " << splits << ": " << found;
}

/// A pull request on each toy (ci/toys), with each kind of change. A busy machine may leave a
/// verdict open, but never makes it wrong.
class Toys : public ActedJob,
             public testing::WithParamInterface<std::tuple<const char*, const char*>> {
 protected:
  static std::string toy() { return std::get<0>(GetParam()); }
  static std::string commit() { return std::get<1>(GetParam()); }
};

TEST_P(Toys, HaveTheRightVerdict) {
  TOPSPIN_ONLY_EVERY_NIGHT();
  const std::string tool = toy() == "c" ? "cc" : toy() == "python" ? "python3" : toy();
  if (!has_program(tool)) TOPSPIN_SKIP(tool + " is not installed");
  act({}, {.toy = toy(), .commit = commit()});
  if (IsSkipped()) return;
  TOPSPIN_SKIP_IF_NOT_JUDGED(json_);
  RecordProperty("runs", static_cast<int>(runs()));
  EXPECT_NE(json_["verdict"], commit() == "harmless" ? "fail" : "pass") << json_.dump(2);
  if (commit() == "broken") EXPECT_EQ(json_["verdict"], "fail") << json_.dump(2);
}

INSTANTIATE_TEST_SUITE_P(All, Toys,
                         testing::Combine(testing::Values("python", "c", "go", "node"),
                                          testing::Values("slow", "broken", "harmless")),
                         [](const auto& tested) {
                           return std::string(std::get<0>(tested.param)) + "_" +
                                  std::get<1>(tested.param);
                         });

}  // namespace
}  // namespace topspin::test
