// `topspin ci` as a user runs it, in small repositories of a toy server. Jobs that reach a verdict
// are in acted_job_test.cc.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string contents(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

constexpr const char* kServer = R"(
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", int(sys.argv[1])))
while True:
    data, peer = s.recvfrom(2048)
    s.sendto(b"PONG", peer)
)";

/// A repository with a plan and a server, on the branch main and, one commit further, on change.
class Ci : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* program : {"git", "python3"}) {
      if (test::run({"sh", "-c", std::string("command -v ") + program}).exit_code != 0)
        GTEST_SKIP() << program << " is not installed";
    }
    write("server.py", kServer);
    write("topspin.toml", plan());
    git({"init", "-q", "-b", "main"});
    git({"config", "user.name", "t"});
    git({"config", "user.email", "t@localhost"});
    commit("A server");
    base_ = git({"rev-parse", "HEAD"});
    git({"checkout", "-q", "-b", "change"});
    write("note", "a change");
    commit("A change");
    head_ = git({"rev-parse", "HEAD"});
    git({"checkout", "-q", "main"});
    write("note", "main goes on");
    commit("Later, on main");
  }
  static std::string port() { return std::to_string(30'000 + getpid() % 10'000); }
  static std::string plan(const std::string& of_subject = "", const std::string& more = "") {
    return fmt::format(
        "[subject.server]\ncommand = [\"python3\", \"server.py\", \"{0}\"]\n"
        "ready = {{ port = \"udp:{0}\" }}\n{1}\n"
        "[load]\nworkload = \"udp-pingpong\"\ntarget = \"127.0.0.1:{0}\"\nclients = 5\n"
        "period = \"50ms\"\nhold = \"600ms\"\nlate_after = \"30s\"\n"
        "[capture]\ninterval = \"200ms\"\nwindow = \"200ms\"\n{2}",
        port(), of_subject, more);
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
  }
  std::string path(const std::string& name) const { return dir_.file(name); }
  std::string git(std::vector<std::string> words) const {
    words.insert(words.begin(), {"git", "-C", dir_.path()});
    const Outcome done = test::run(words);
    EXPECT_EQ(done.exit_code, 0) << words[3] << done.err;
    return done.out.substr(0, done.out.find('\n'));
  }
  void commit(const std::string& message) const {
    git({"add", "."});
    git({"commit", "-q", "-m", message});
  }
  Outcome ci(std::vector<std::string> words, const std::function<void()>& before = {}) const {
    words.insert(words.begin(), {topspin_binary(), "ci"});
    Process process(words, [&] {
      if (chdir(dir_.path().c_str()) != 0) _exit(126);
      if (before) before();
    });
    return process.finish(std::chrono::seconds(250));
  }
  void expect_nothing_else_is_left() const {
    const Outcome trees = test::run({"git", "-C", dir_.path(), "worktree", "list"});
    EXPECT_EQ(std::count(trees.out.begin(), trees.out.end(), '\n'), 1) << trees.out;
  }

  TempDir dir_;
  std::string base_;
  std::string head_;
};

TEST_F(Ci, DrySaysWhatItWouldDoAndDoesNothing) {
  const Outcome dry = ci({"--base", "main", "--head", "change", "--dry"});
  EXPECT_EQ(dry.exit_code, 0) << dry.err;
  for (const std::string& part :
       {base_, head_, std::string("python3 server.py"), std::string("10, 14, 21, 30")})
    EXPECT_THAT(dry.out, HasSubstr(part));
  EXPECT_FALSE(std::filesystem::exists(path("topspin-gate")));
  expect_nothing_else_is_left();
}

TEST_F(Ci, WhatCannotWorkIsRefusedAtOnceWithExitCode2) {
  const auto refusal = [&](std::vector<std::string> words) {
    const Outcome outcome = ci(std::move(words));
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    return outcome.err;
  };
  EXPECT_THAT(refusal({}), HasSubstr("--base"));
  EXPECT_THAT(refusal({"--base", "nosuch"}), HasSubstr("there is no commit nosuch"));
  EXPECT_THAT(refusal({"--base", "--all"}), HasSubstr("there is no commit --all"));
  EXPECT_THAT(refusal({"--base", "main", "--head", "nosuch"}),
              HasSubstr("there is no commit nosuch"));
  EXPECT_THAT(refusal({"--base", "main", "--plan", "nosuch.toml"}),
              HasSubstr("cannot read the plan nosuch.toml"));
  EXPECT_THAT(refusal({"--base", "main", "--pairs", "20", "--most-pairs", "10"}),
              HasSubstr("--most-pairs 10 is less than --pairs 20"));
  write("gate.toml", "nosuch = 1\n");
  EXPECT_THAT(refusal({"--base", "main", "--even-if-busy"}), HasSubstr("gate.toml, line 1"));
  std::filesystem::remove(path("gate.toml"));
  git({"checkout", "-q", "--orphan", "other"});
  commit("Without an ancestor");
  EXPECT_THAT(refusal({"--base", "main"}), HasSubstr("no common ancestor"));
  write("topspin.toml", plan("commit = \"main\""));
  EXPECT_THAT(refusal({"--base", "HEAD"}), HasSubstr("commit = \"@BASE@\""));
}

TEST_F(Ci, ABusyHostEndsItBeforeAnythingIsBuilt) {
  write("topspin.toml", plan("build = \"touch " + path("built") + "\""));
  std::vector<std::unique_ptr<Process>> busy;  // half of the CPUs
  for (unsigned i = 0; i < (std::thread::hardware_concurrency() + 1) / 2; ++i)
    busy.push_back(
        std::make_unique<Process>(std::vector<std::string>{"sh", "-c", "while :; do :; done"}));
  const Outcome outcome = ci({"--base", "main", "--head", "change"}, [&] {
    setenv("GITHUB_ACTIONS", "true", 1);
    setenv("GITHUB_STEP_SUMMARY", path("summary").c_str(), 1);
    setenv("GITHUB_OUTPUT", path("output").c_str(), 1);
  });
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("other programs used"));
  EXPECT_THAT(outcome.err, HasSubstr("%  sh"));
  EXPECT_THAT(outcome.err, HasSubstr("--even-if-busy"));
  EXPECT_TRUE(outcome.out.starts_with("::error")) << outcome.out;
  EXPECT_THAT(contents(path("summary")), HasSubstr("other programs used"));
  EXPECT_EQ(contents(path("output")), "verdict=invalid\n");
  EXPECT_FALSE(std::filesystem::exists(path("built")));
}

TEST_F(Ci, ACommitThatCannotBeBuiltEndsItBeforeAnyRun) {
  TOPSPIN_NEEDS_ROOT();
  write("topspin.toml", plan("build = \"! grep -q change note || { echo no compiler; exit 7; }\""));
  const Outcome outcome = ci({"--base", "main", "--head", "change", "--even-if-busy"});
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("failed with status 7"));
  EXPECT_THAT(outcome.err, HasSubstr("no compiler"));
  EXPECT_THAT(outcome.err, Not(HasSubstr("pair 1")));
  expect_nothing_else_is_left();
}

TEST_F(Ci, UnderSudoGitBuildsAndFilesAreOfTheCaller) {
  TOPSPIN_NEEDS_ROOT();
  write("topspin.toml", plan("build = \"id -u >uid; cp uid " + path("") + "uid.$(id -u)\""));
  ASSERT_EQ(test::run({"chown", "-R", "65534:65534", dir_.path()}).exit_code, 0);
  const Outcome outcome =
      ci({"--base", "main", "--head", "change", "--pairs", "1", "--even-if-busy"}, [] {
        setenv("SUDO_UID", "65534", 1);
        setenv("SUDO_GID", "65534", 1);
      });
  EXPECT_TRUE(outcome.exit_code == 0 || outcome.exit_code == 3) << outcome.out << outcome.err;
  EXPECT_EQ(contents(path("uid.65534")), "65534\n") << outcome.err;
  for (const char* name :
       {"", "topspin.db", "gate.json", "gate.txt", "gate.md", "gate.xml", "report.html"}) {
    struct stat info {};
    ASSERT_EQ(stat(path(std::string("topspin-gate/") + name).c_str(), &info), 0)
        << name << outcome.err;
    EXPECT_EQ(info.st_uid, 65534u) << name;
  }
}

/// As in a container, where root works in a repository of another user.
TEST_F(Ci, RootWorksInARepositoryOfAnotherUser) {
  TOPSPIN_NEEDS_ROOT();
  ASSERT_EQ(test::run({"chown", "-R", "65534:65534", dir_.path()}).exit_code, 0);
  const Outcome outcome =
      ci({"--base", "main", "--head", "change", "--pairs", "1", "--even-if-busy"});
  EXPECT_TRUE(outcome.exit_code == 0 || outcome.exit_code == 3) << outcome.out << outcome.err;
  EXPECT_FALSE(contents(path("topspin-gate/gate.json")).empty()) << outcome.err;
}

TEST_F(Ci, ABrokenRuleIsCertainAfterThreePairs) {
  TOPSPIN_NEEDS_ROOT();
  write("topspin.toml", plan("", "[slo]\nrules = [\"requests == 0\"]\n"));
  const Outcome outcome = ci({"--base", "main", "--head", "change"});
  if (outcome.exit_code == 3) GTEST_SKIP() << "the machine is busy: " << outcome.err;
  EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("pair 2 of 10 to 30: "));
  EXPECT_THAT(outcome.err, HasSubstr("3 pairs are enough"));
  EXPECT_THAT(outcome.out, HasSubstr("SLO broken in 3 of 3 runs"));
  expect_nothing_else_is_left();
}

TEST_F(Ci, ASubjectThatNeverStartsEndsItAfterTwoPairs) {
  TOPSPIN_NEEDS_ROOT();
  std::string broken = plan("");
  broken.replace(broken.find("server.py"), 9, "nosuch.py");
  write("topspin.toml", broken);
  const Outcome outcome = ci({"--base", "main", "--head", "change", "--even-if-busy"});
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("failed in every run of both commits"));
}

}  // namespace
}  // namespace topspin::test
