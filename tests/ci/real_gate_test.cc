// The gate on the real thing: live capture, BPF, a subject and the same with 10% more work for each
// reply. A busy machine may leave it inconclusive; what never may be is the wrong verdict. Runs
// that may not be judged at all show nothing of it: a skip with the gate's reason. And the script
// that CI jobs use, on a toy repository with a slow commit.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>

#include "core/unique_fd.h"
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
  void SetUp() override {
    TOPSPIN_NEEDS_ROOT();
    if (std::getenv("TOPSPIN_SLOW_TESTS") == nullptr)
      GTEST_SKIP() << "takes four minutes of a quiet machine: set TOPSPIN_SLOW_TESTS=1";
  }

  /// Ten interleaved pairs of servers that do so many rounds for each reply; the gate's JSON.
  Json gate(int64_t rounds_a, int64_t rounds_b) {
    const std::string port = std::to_string(free_udp_port());
    const std::string plan = dir_.file("plan.toml");
    std::ofstream file(plan);
    file << "name = \"work\"\n[run]\nrepeat = 10\n";
    for (const auto& [name, rounds] : {std::pair("a", rounds_a), std::pair("b", rounds_b)}) {
      file << "[subject." << name << "]\ncommand = [\"" << TOPSPIN_BINARY_DIR
           << "/tests/ci/busy_udp_server\", \"" << port << "\", \"" << rounds
           << "\"]\nready = { line = \"listening\" }\n";
    }
    file << "[load]\nworkload = \"udp-pingpong\"\ntarget = \"127.0.0.1:" << port
         << "\"\nstages = \"0:20 over 100ms, hold 1500ms\"\nperiod = \"20ms\"\n"
            "timeout = \"500ms\"\n[capture]\ninterval = \"200ms\"\n";
    file.close();
    const std::string db = dir_.file("t.db");
    Process runs({topspin_binary(), "run", plan, "--db", db, "-q"});
    const Outcome run = runs.finish(std::chrono::seconds(240));
    // 3: no run of a subject may be judged, which the gate says too.
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

/// The gate refused to judge: the machine was busy with something else.
#define TOPSPIN_SKIP_IF_NOT_JUDGED(json) \
  if ((json)["verdict"] == "invalid")    \
  GTEST_SKIP() << "nothing was judged: " << (json)["reasons"].dump()

constexpr int64_t kRounds = 200'000;

TEST_F(RealGate, TenPercentMoreWorkNeverPasses) {
  const Json json = gate(kRounds, kRounds * 11 / 10);
  EXPECT_NE(json["verdict"], "pass") << json.dump(2);
  TOPSPIN_SKIP_IF_NOT_JUDGED(json);
}

TEST_F(RealGate, TheSubjectAgainstItselfNeverFails) {
  const Json json = gate(kRounds, kRounds);
  EXPECT_NE(json["verdict"], "fail") << json.dump(2);
  TOPSPIN_SKIP_IF_NOT_JUDGED(json);
}

TEST_F(RealGate, AToyRepositoryWithASlowCommit) {
  for (const char* program : {"git", "python3"}) {
    if (test::run({"sh", "-c", std::string("command -v ") + program}).exit_code != 0)
      GTEST_SKIP() << program << " is not installed";
  }
  const std::string artifacts = dir_.file("artifacts"), summary = dir_.file("summary.md");
  Process act({std::string(TOPSPIN_SOURCE_DIR) + "/ci/act-locally", "--out", artifacts}, [&] {
    setenv("TOPSPIN", topspin_binary().c_str(), 1);
    setenv("MOST_PAIRS", "10", 1);
    setenv("GITHUB_ACTIONS", "true", 1);
    setenv("GITHUB_STEP_SUMMARY", summary.c_str(), 1);
  });
  const Outcome run = act.finish(std::chrono::seconds(300));
  const auto contents = [](const std::string& path) {
    std::ostringstream bytes;
    bytes << std::ifstream(path, std::ios::binary).rdbuf();
    return bytes.str();
  };
  // The artifacts are there whatever the verdict.
  for (const char* name :
       {"topspin.db", "gate.json", "gate.txt", "gate.md", "gate.xml", "report.html"})
    EXPECT_FALSE(contents(artifacts + "/" + name).empty()) << name << "\n" << run.out << run.err;
  const std::string document = contents(artifacts + "/gate.json");
  const Json json = Json::parse(document, nullptr, false);
  ASSERT_TRUE(json.is_object()) << document << run.err;
  RecordProperty("verdict", json["verdict"].get<std::string>());
  EXPECT_EQ(run.exit_code, json["exit_code"]) << run.err;
  EXPECT_NE(json["verdict"], "pass") << document;
  EXPECT_FALSE(contents(summary).empty());
  EXPECT_TRUE(run.out.starts_with("::")) << "an annotation: " << run.out;
  // The baseline is the merge base: main's newest commit, which does nothing, is not in it.
  const Json list =
      Json::parse(topspin({"list", "--db", artifacts + "/topspin.db", "--format", "json"}).out);
  EXPECT_EQ(list["runs"].size(), 20u);
  TOPSPIN_SKIP_IF_NOT_JUDGED(json);
}

}  // namespace
}  // namespace topspin::test
