// `topspin run` as a user runs it: real subjects, real load, live capture on lo.
//
// Whether a run may be judged depends on how busy the machine is, so no test asserts it. Tests
// assert the verdicts of rules, and what was started and ended.
#include <algorithm>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "app/host/ports.h"
#include "store/run_store.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

constexpr const char* kEcho = R"(
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", int(sys.argv[1])))
print("listening as", os.getpid(), flush=True)
while True:
    data, peer = s.recvfrom(2048)
    s.sendto(b"PONG", peer)
)";

/// Answers and shuts down. With "leak" it does not close.
constexpr const char* kAccept = R"(
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen(128)
kept = []
while True:
    c, peer = s.accept()
    c.sendall(b"hello")
    c.shutdown(socket.SHUT_WR)
    if sys.argv[2] == "leak":
        kept.append(c)
    else:
        c.close()
)";

class Run : public testing::Test {
 protected:
  void SetUp() override {
    TOPSPIN_NEEDS_ROOT();
    if (test::run({"sh", "-c", "command -v python3"}).exit_code != 0)
      TOPSPIN_SKIP("python3 is not installed");
    write("echo.py", kEcho);
    write("accept.py", kAccept);
  }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_.file(name)) << text;
  }
  /// A load with these stages. `late_after` is so long that a busy machine does not invalidate it.
  std::string load(const std::string& workload, const std::string& stages,
                   const std::string& more = "") const {
    return fmt::format(
        "[load]\nworkload = \"{}\"\ntarget = \"127.0.0.1:{}\"\nstages = \"{}\"\n"
        "late_after = \"30s\"\n{}\n",
        workload, port(), stages, more);
  }
  std::string subject(const std::string& name, const std::string& command,
                      const std::string& more = "", bool udp = true) const {
    return fmt::format("[subject.{}]\ncommand = [{}]\nready = {{ port = \"{}:{}\" }}\n{}\n", name,
                       command, udp ? "udp" : "tcp", port(), more);
  }
  std::string echo(const std::string& more = "") const {
    return subject("echo", fmt::format("\"python3\", \"echo.py\", \"{}\"", port()), more);
  }
  std::vector<std::string> command(const std::string& plan, std::vector<std::string> more = {}) {
    write("plan.toml", plan);
    std::vector<std::string> all = {topspin_binary(), "run", dir_.file("plan.toml"), "--db", db(),
                                    "--format",       "json"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Json run_plan(const std::string& plan, std::vector<std::string> more = {}) {
    last_ = test::run(command(plan, std::move(more)));
    if (last_.out.empty()) ADD_FAILURE() << last_.exit_code << ": " << last_.err;
    return last_.out.empty() ? Json() : Json::parse(last_.out);
  }
  static std::string verdict(const Json& run, const std::string& rule) {
    for (const Json& one : run["rules"]) {
      if (one["rule"] == rule)
        return one["verdict"].get<std::string>() + ": " + one["explanation"].get<std::string>();
    }
    return "no such rule";
  }
  std::unique_ptr<RunStore> store() const {
    auto store = RunStore::open(db());
    CHECK(store.ok());
    return std::move(store).value();
  }
  void expect_nothing_is_left() const {
    EXPECT_FALSE(port_is_open(true, port_number()));
    EXPECT_FALSE(port_is_open(false, port_number()));
    EXPECT_EQ(test::run({"pgrep", "-f", dir_.path().string()}).out, "");
  }
  std::string db() const { return dir_.file("t.db"); }
  static uint16_t port_number() { return static_cast<uint16_t>(20'000 + getpid() % 10'000); }
  static std::string port() { return std::to_string(port_number()); }

  TempDir dir_;
  Outcome last_;
};

TEST_F(Run, ActiveFlowsAreExactDuringHoldAndZeroAfterRampDown) {
  const Json json = run_plan(
      "labels = { who = \"test\" }\n[run]\nseed = 7\n" + echo() +
      load("udp-pingpong", "0:40 over 1s, hold 4s, 40:0 over 1s", "period = \"500ms\"") +
      "[slo]\nrules = [\"active_flows == clients during hold\", \"active_flows == 0 after "
      "ramp_down\", \"max(active_flows) == 40\", \"fds after ramp_down <= before\", \"processes == "
      "1\"]\n");
  ASSERT_EQ(json["runs"].size(), 1u) << last_.err;
  const Json& one = json["runs"][0];
  EXPECT_EQ(one["status"], "complete") << one["reasons"];
  for (const Json& rule : one["rules"]) EXPECT_EQ(rule["verdict"], "kept") << rule;
  EXPECT_EQ(json["seed"], 7);
  EXPECT_EQ(one["labels"]["who"], "test");
  EXPECT_EQ(one["labels"]["subject"], "echo");
  EXPECT_FALSE(one["labels"].contains("side"));  // with one subject there are no sides
  expect_nothing_is_left();

  const auto runs = store();
  const auto stored = runs->last_run();
  ASSERT_TRUE(stored.ok());
  ASSERT_TRUE(stored->info.plan.has_value());
  EXPECT_EQ(stored->info.plan->seed, 7u);
  EXPECT_EQ(stored->info.plan->subject, "echo");
  EXPECT_THAT(stored->info.plan->text, HasSubstr("who = \"test\""));
  const auto stages = runs->load_stages(stored->info.id);
  ASSERT_TRUE(stages.ok());
  std::vector<std::string> names;
  for (const RunStage& stage : *stages) {
    names.push_back(stage.name);
    EXPECT_TRUE(stage.end_ns.has_value()) << stage.name;
    if (names.size() > 1) {
      const RunStage& previous = (*stages)[names.size() - 2];
      EXPECT_LE(previous.start_ns, stage.start_ns) << stage.name;
    }
  }
  EXPECT_THAT(names,
              testing::ElementsAre("start", "before", "ramp_up", "hold", "ramp_down", "after"));
  EXPECT_EQ((*stages)[3].clients_from, 40u);
  EXPECT_EQ(*(*stages)[3].end_ns - (*stages)[3].start_ns, 4'000'000'000);
  const auto result = runs->load_load(stored->info.id);
  ASSERT_TRUE(result.ok() && result->has_value());
  EXPECT_EQ((*result)->clients_max, 40u);
  EXPECT_EQ((*result)->total.accounts.scheduled, (*result)->planned);
  EXPECT_EQ((*result)->total.accounts.sent, (*result)->total.accounts.replied +
                                                (*result)->total.accounts.late_replies +
                                                (*result)->total.accounts.lost);
}

TEST_F(Run, ALeakIsCalledOneAndItsMendedTwinIsNot) {
  const auto server = [&](const char* name) {
    return subject(name, fmt::format("\"python3\", \"accept.py\", \"{}\", \"{}\"", port(), name),
                   "", false);
  };
  const std::string rule = "fds after ramp_down <= before + 2";
  const Json json = run_plan(
      "[run]\nrepeat = 2\norder = \"abba\"\n" + server("leak") + server("mended") +
      load("tcp-connect", "0:5 over 500ms, hold 1s, 5:0 over 500ms", "period = \"250ms\"") +
      "[slo]\nrules = [\"" + rule + "\", \"slope(fds) <= 0 during after\"]\n");
  ASSERT_EQ(json["runs"].size(), 4u) << last_.err;
  std::vector<std::string> order;
  std::map<std::string, std::string> pairs;
  for (const Json& one : json["runs"]) {
    const std::string name = one["subject"];
    order.push_back(name);
    EXPECT_EQ(one["status"], "complete") << one["reasons"];
    EXPECT_THAT(verdict(one, rule), testing::StartsWith(name == "leak" ? "broken" : "kept"));
    EXPECT_EQ(one["labels"]["side"], name == "leak" ? "a" : "b");
    const std::string key = fmt::format("{}", one["repeat"].get<int>());
    const std::string pair = one["labels"]["pair"];
    EXPECT_EQ(pairs.emplace(key, pair).first->second, pair);  // the same on both sides
  }
  EXPECT_THAT(order, testing::ElementsAre("leak", "mended", "mended", "leak"));
  EXPECT_NE(pairs["1"], pairs["2"]);
  if (json["runs"][0]["judged"]) {
    EXPECT_EQ(last_.exit_code, 1);
  }
  expect_nothing_is_left();
  // The gate accepts these runs. Two pairs are too few to test more than that.
  const Outcome gate = topspin({"gate", "--db", db()});
  EXPECT_TRUE(gate.exit_code == 0 || gate.exit_code == 3) << gate.exit_code << gate.err;
  EXPECT_THAT(gate.out, HasSubstr("pairs")) << gate.err;
}

TEST_F(Run, ASubjectThatNeverGetsReadyIsAFailedRun) {
  const Json json = run_plan(
      "[subject.idle]\ncommand = [\"sh\", \"-c\", \"echo no idea; exec sleep 60\"]\n"
      "ready = { port = \"udp:" +
      port() + "\", within = \"700ms\" }\n" + load("udp-pingpong", "3:3 over 1s"));
  const Json& one = json["runs"][0];
  EXPECT_EQ(one["status"], "failed");
  EXPECT_FALSE(one["judged"]);
  EXPECT_THAT(one["reasons"][0], HasSubstr("not ready within 700ms: nobody listens on UDP port"));
  EXPECT_THAT(one["reasons"][0], HasSubstr("no idea"));
  EXPECT_EQ(last_.exit_code, 3);
  expect_nothing_is_left();
}

TEST_F(Run, ASubjectThatDiesMidwayIsAFailedRunAndKeepsWhatWasSeen) {
  write("dying.py",
        "import threading, time, os\n"
        "def die():\n"
        "    time.sleep(4)\n"
        "    print('dying now', flush=True)\n"
        "    os._exit(3)\n"
        "threading.Thread(target=die, daemon=True).start()\n" +
            std::string(kEcho));
  const Json json =
      run_plan(subject("dying", fmt::format("\"python3\", \"dying.py\", \"{}\"", port())) +
               load("udp-pingpong", "0:3 over 100ms, hold 30s", "period = \"200ms\""));
  const Json& one = json["runs"][0];
  EXPECT_EQ(one["status"], "failed");
  EXPECT_THAT(one["reasons"][0], HasSubstr("the subject ended with status 3 during hold"));
  EXPECT_THAT(one["reasons"][0], HasSubstr("dying now"));
  EXPECT_EQ(last_.exit_code, 3);
  const auto runs = store();
  const auto load = runs->load_load(one["id"]);
  ASSERT_TRUE(load.ok() && load->has_value());
  EXPECT_TRUE((*load)->stopped_early);
  EXPECT_GT((*load)->total.accounts.replied, 0u);
  expect_nothing_is_left();
}

TEST_F(Run, ASubjectThatIgnoresSigtermIsKilledAndOneThatForksAwayIsFound) {
  // Both at once: it forks twice into its own session, and only SIGKILL ends it.
  write("daemon.py",
        "import os, signal\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" +
            std::string(kEcho));
  const Json json =
      run_plan(subject("daemon", fmt::format("\"python3\", \"daemon.py\", \"{}\"", port()),
                       "stop_within = \"500ms\"") +
               load("udp-pingpong", "3:3 over 2s", "period = \"200ms\"") +
               "[slo]\nrules = [\"replied > 5\", \"fds > 0 during hold\"]\n");
  const Json& one = json["runs"][0];
  EXPECT_EQ(one["status"], "complete") << one["reasons"];
  // It is still observed, because fork inherits the mark.
  for (const Json& rule : one["rules"]) EXPECT_EQ(rule["verdict"], "kept") << rule;
  expect_nothing_is_left();
}

TEST_F(Run, ABuildThatIgnoresSignalsIsEndedAllTheSame) {
  const std::string plan = echo("build = \"trap '' TERM INT; while :; do sleep 0.1; done\"") +
                           load("udp-pingpong", "0:5 over 100ms, hold 1s");
  for (const int signals : {1, 2}) {  // the second one does not wait
    Process topspin(command(plan));
    ASSERT_TRUE(topspin.wait_for("building")) << topspin.finish().err;
    for (int i = 0; i < signals; ++i) {
      topspin.send(SIGINT);
      usleep(200'000);
    }
    const Outcome end = topspin.finish();
    EXPECT_EQ(end.exit_code, 130) << end.err;
    expect_nothing_is_left();
  }
}

TEST_F(Run, InAHookOfGitTheCommitBeingMadeIsLeftAlone) {
  if (test::run({"git", "--version"}).exit_code != 0) TOPSPIN_SKIP("git is not installed");
  // A gate in the hook of a linked work tree. git passes the tree and the index in variables.
  write("setup.sh", R"(
set -e
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
cd "$1"
git init -q -b main repo
cd repo
git config user.email a@b.example
git config user.name n
printf '#!/bin/sh\nexec sleep 60\n' > server.sh
chmod +x server.sh
cp ../hook.toml plan.toml
for version in one two; do
  echo $version > VERSION
  git add -A
  git commit -q -m $version
done
git worktree add -q ../linked -b topic
printf '#!/bin/sh\n%s run plan.toml --db %s/t.db >%s/out 2>&1\necho $? > %s/code\n' \
  "$2" "$1" "$1" "$1" > .git/hooks/pre-commit
chmod +x .git/hooks/pre-commit
cd ../linked
echo three > VERSION
echo more > other
git add -A
git commit -q -m three
git show --name-only --format=%s HEAD > ../shown
git status --porcelain > ../status
)");
  std::string plan =
      "[run]\nbefore = \"100ms\"\nafter = \"100ms\"\nduration = \"300ms\"\n"
      "[capture]\ninterface = \"lo\"\nfilter = \"udp port 9\"\n";
  for (const char* subject : {"old", "new"}) {
    plan += fmt::format(
        "[subject.{}]\ncommand = [\"./server.sh\"]\ncommit = \"{}\"\n"
        "build = \"echo $(cat VERSION) $(git log -1 --format=%s) ${{GIT_DIR-unset}} >> {}\"\n",
        subject, subject == std::string("old") ? "HEAD~1" : "HEAD", dir_.file("built"));
  }
  write("hook.toml", plan);
  const Outcome setup =
      test::run({"sh", dir_.file("setup.sh"), dir_.path().string(), topspin_binary()});
  ASSERT_EQ(setup.exit_code, 0) << setup.err;
  const auto read = [&](const char* name) {
    std::ifstream file(dir_.file(name));
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  };
  EXPECT_EQ(read("code"), "0\n") << read("out");
  EXPECT_EQ(read("built"), "one one unset\ntwo two unset\n");
  EXPECT_EQ(read("shown"), "three\n\nVERSION\nother\n");
  EXPECT_EQ(read("status"), "");
}

TEST_F(Run, AnInterruptKeepsTheRunAsInterruptedAndLeavesNothing) {
  for (const int number : {SIGINT, SIGTERM}) {
    Process topspin(command(echo() + load("udp-pingpong", "0:5 over 100ms, hold 60s"),
                            {"--ticks", "--repeat", "3"}));
    ASSERT_TRUE(topspin.wait_for("active"));
    for (int i = 0; i < 200 && !port_is_open(true, port_number()); ++i) usleep(50'000);
    sleep(4);
    topspin.send(number);
    const Outcome end = topspin.finish(std::chrono::seconds(20));
    EXPECT_EQ(end.exit_code, 128 + number) << end.err;
    const Json json = Json::parse(end.out);
    EXPECT_TRUE(json["interrupted"]);
    ASSERT_EQ(json["runs"].size(), 1u);
    const Json& one = json["runs"][0];
    EXPECT_EQ(one["status"], "interrupted");
    EXPECT_THAT(one["reasons"][0],
                HasSubstr(fmt::format("interrupted by signal {} during", number)));
    const auto runs = store();
    const auto stages = runs->load_stages(one["id"]);
    ASSERT_TRUE(stages.ok() && !stages->empty());
    uint64_t ticks = 0;
    EXPECT_TRUE(runs->for_each_tick(one["id"], [&](const Sample&) { ++ticks; }).ok());
    EXPECT_GE(ticks, 3u);
    expect_nothing_is_left();
  }
}

TEST_F(Run, KillingTheSessionEndsTheRunAllTheSame) {
  Process topspin(command(echo() + load("udp-pingpong", "3:3 over 60s"), {"--ticks"}));
  ASSERT_TRUE(topspin.wait_for("active"));
  for (int i = 0; i < 200 && !port_is_open(true, port_number()); ++i) usleep(50'000);
  topspin.send(SIGKILL);
  (void)topspin.finish(std::chrono::seconds(20));
  for (int i = 0; i < 200 && port_is_open(true, port_number()); ++i) usleep(50'000);
  expect_nothing_is_left();
  EXPECT_EQ(store()->last_run()->end.status, RunStatus::kInterrupted);
}

TEST_F(Run, APortThatIsTakenIsRefusedBeforeAnythingStarts) {
  Process other({"python3", dir_.file("echo.py"), port()});
  ASSERT_TRUE(other.wait_for("listening"));
  const Outcome run = test::run(command(echo() + load("udp-pingpong", "3:3 over 1s")));
  EXPECT_EQ(run.exit_code, 4) << run.err;
  EXPECT_THAT(run.err, HasSubstr("is already in use"));
  EXPECT_FALSE(std::filesystem::exists(db()));
}

TEST_F(Run, WrongPlansAreExitCodeTwoAndStartNothing) {
  const Outcome misspelt =
      test::run(command(echo() + load("udp-pingpong", "3:3 over 1s", "perid = 1")));
  EXPECT_EQ(misspelt.exit_code, 2);
  EXPECT_THAT(misspelt.err,
              HasSubstr("load.perid: there is no such key; did you mean \"period\"?"));
  const Outcome absent = test::run(
      command("[subject.x]\ncommand = [\"no-such-program-anywhere\"]\n[run]\nduration = \"1s\"\n"));
  EXPECT_EQ(absent.exit_code, 2) << absent.err;
  EXPECT_THAT(absent.err, HasSubstr("command not found"));
  EXPECT_EQ(topspin({"run", dir_.file("none.toml")}).exit_code, 2);
  const Outcome subject =
      test::run(command(echo() + load("udp-pingpong", "3:3 over 1s"), {"--subject", "eco"}));
  EXPECT_EQ(subject.exit_code, 2);
  EXPECT_THAT(subject.err, HasSubstr("it has echo"));
  EXPECT_EQ(topspin({"run"}).exit_code, 2);
}

TEST_F(Run, TheExampleIsAPlan) {
  const Outcome example = topspin({"run", "--example"});
  ASSERT_EQ(example.exit_code, 0);
  write("example.toml", example.out);
  const Outcome check = topspin({"run", "--check", dir_.file("example.toml")});
  EXPECT_EQ(check.exit_code, 0) << check.err;
}

TEST_F(Run, ASubjectGetsItsEnvironmentDirectoryCpusUserAndReadyLine) {
  std::filesystem::create_directory(dir_.file("work"));
  chmod(dir_.path().c_str(), 0755);
  chmod(dir_.file("work").c_str(), 0777);
  write("show.sh",
        "echo \"$KEY $(pwd) $(id -un) $(taskset -cp $$ | sed 's/.*: //')\" > shown\n"
        "printf 'ready, no newline'\nsleep 60\n");
  const Json json = run_plan(
      "[run]\nduration = \"1s\"\n[subject.show]\ncommand = [\"/bin/sh\", \"../show.sh\"]\n"
      "environment = { KEY = \"a value\" }\ndirectory = \"work\"\nuser = \"nobody\"\ncpus = \"0\"\n"
      "output = \"show.log\"\nready = { line = \"ready\" }\n");
  ASSERT_EQ(json["runs"].size(), 1u) << last_.err;
  EXPECT_EQ(json["runs"][0]["status"], "complete") << json["runs"][0]["reasons"];
  std::string shown;
  std::getline(std::ifstream(dir_.file("work/shown")), shown);
  EXPECT_EQ(shown, "a value " + dir_.file("work") + " nobody 0");
  std::string log;
  std::getline(std::ifstream(dir_.file("show.log")), log);
  EXPECT_EQ(log, "ready, no newline");
  expect_nothing_is_left();
}

TEST_F(Run, TwoCommitsAreBuiltSideBySideAndTheirTreesAreRemoved) {
  if (test::run({"sh", "-c", "command -v git"}).exit_code != 0)
    TOPSPIN_SKIP("git is not installed");
  const std::string make =
      "cd " + dir_.path().string() +
      " && git init -q -b main . && git config user.email t@example.org && git config user.name t"
      " && echo one > version && git add version echo.py && git commit -qm one"
      " && echo two > version && git commit -qam two"
      " && printf '#!/bin/sh\\ntouch %s/hook-ran\\n' \"$PWD\" > .git/hooks/post-checkout"
      " && chmod +x .git/hooks/post-checkout";
  ASSERT_EQ(test::run({"sh", "-c", make}).exit_code, 0);
  const auto at = [&](const char* name, const char* commit) {
    return subject(name, fmt::format(R"("python3", "echo.py", "{}")", port()),
                   fmt::format("commit = \"{}\"\nbuild = \"cat version >> {}\"\n", commit,
                               dir_.file("built")));
  };
  const Json json = run_plan(at("old", "main~1") + at("new", "main") +
                             load("udp-pingpong", "3:3 over 1s", "period = \"200ms\""));
  ASSERT_EQ(json["runs"].size(), 2u) << last_.err;
  std::ifstream built(dir_.file("built"));
  std::string text((std::istreambuf_iterator<char>(built)), {});
  EXPECT_EQ(text, "one\ntwo\n");
  EXPECT_FALSE(std::filesystem::exists(dir_.file("hook-ran")));
  const Outcome trees = test::run({"git", "-C", dir_.path().string(), "worktree", "list"});
  EXPECT_EQ(std::count(trees.out.begin(), trees.out.end(), '\n'), 1) << trees.out;
  const auto commit_of = [&](const char* name) {
    return test::run({"git", "-C", dir_.path().string(), "rev-parse", name}).out.substr(0, 40);
  };
  const auto runs = store();
  for (const Json& one : json["runs"]) {
    const auto stored = runs->find_run(one["id"].get<std::string>());
    ASSERT_TRUE(stored.ok());
    EXPECT_EQ(stored->info.source.commit, commit_of(one["subject"] == "old" ? "main~1" : "main"));
  }
  // A failed build is reported with its output, and its tree is removed too.
  const Outcome failed = test::run(
      command(subject("bad", "\"true\"", "commit = \"main\"\nbuild = \"echo oh dear; exit 9\"") +
              load("udp-pingpong", "3:3 over 1s")));
  EXPECT_EQ(failed.exit_code, 2);
  EXPECT_THAT(failed.err, HasSubstr("oh dear"));
  EXPECT_THAT(failed.err, HasSubstr("status 9"));
  const Outcome after = test::run({"git", "-C", dir_.path().string(), "worktree", "list"});
  EXPECT_EQ(std::count(after.out.begin(), after.out.end(), '\n'), 1) << after.out;
}

TEST_F(Run, AWarmUpIsRecordedAndNotJudged) {
  const Json json = run_plan(echo() +
                             load("udp-pingpong", "hold=2:2 over 2s",
                                  "period = \"200ms\"\nwarm_up = \"1s\"\nwarm_up_clients = 3") +
                             "[slo]\nrules = [\"new_flows == 2\", \"sent == 20\"]\n");
  const Json& one = json["runs"][0];
  for (const Json& rule : one["rules"]) EXPECT_EQ(rule["verdict"], "kept") << rule;
  uint64_t flows = 0;
  const auto runs = store();
  EXPECT_TRUE(runs->for_each_flow(one["id"], [&](const FlowRow&) { ++flows; }).ok());
  EXPECT_EQ(flows, 5u);
}

TEST_F(Run, ARuleThatAbortsEndsTheRunOnceItIsBroken) {
  // Half an hour, if it were not ended. One rule is about ticks, the other about the load.
  for (const char* rule : {"max(reply_latency) < 1us", "replied <= 20"}) {
    const Json json =
        run_plan(echo() + load("udp-pingpong", "hold=4:4 over 1800s", "period = \"100ms\"") +
                 "[slo]\nrules = [\"lost == 0\", { rule = \"" + rule + "\", abort = true }]\n");
    const Json& one = json["runs"][0];
    EXPECT_EQ(one["status"], "complete");
    EXPECT_TRUE(one["judged"]) << one["reasons"];
    EXPECT_THAT(verdict(one, rule), HasSubstr("broken: "));
    EXPECT_THAT(verdict(one, "lost == 0"), HasSubstr("kept: "));
    EXPECT_EQ(last_.exit_code, 1) << last_.err;
    EXPECT_THAT(last_.err, HasSubstr("the run ends early, because it has broken a rule: "));
    const auto stored = store()->load_load(one["id"]);
    ASSERT_TRUE(stored.ok() && stored->has_value());
    EXPECT_TRUE((*stored)->stopped_early);
    expect_nothing_is_left();
  }
}

}  // namespace
}  // namespace topspin::test
