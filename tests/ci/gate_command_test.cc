// `compare` and `gate` with the real binary: exit codes, JSON names, CSV files and stored runs.
#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "core/base/clock.h"
#include "store/run_store.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

/// Values within 1% of `centre`. Each phase has its own order.
double swinging(double centre, size_t i, size_t phase) {
  return centre * (0.99 + 0.02 * static_cast<double>((i * 7 + phase) % 11) / 10);
}

void write_csv(const std::string& path, double centre, size_t rows, size_t phase) {
  std::ofstream file(path);
  file << "time,cpu_us\n";
  for (size_t i = 0; i < rows; ++i)
    file << "2026-11-" << 10 + i << ',' << swinging(centre, i, phase) << '\n';
}

class GateSamples : public testing::Test {
 protected:
  void SetUp() override {
    write_csv(a(), 100, 20, 0);
    write_csv(same(), 100, 20, 5);
    write_csv(slow(), 110, 20, 5);
    write_csv(near(), 103, 20, 5);
  }
  std::string a() const { return dir_.file("a.csv"); }
  std::string same() const { return dir_.file("same.csv"); }
  std::string slow() const { return dir_.file("slow.csv"); }
  std::string near() const { return dir_.file("near.csv"); }

  Outcome compare(const std::string& b, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"compare", "--samples", a(), b, "--column", "cpu_us"});
    return topspin(more);
  }
  TempDir dir_;
};

TEST_F(GateSamples, ExitCodesSayTheVerdict) {
  for (const std::string layout : {"--paired", "--seed=1"}) {
    EXPECT_EQ(compare(same(), {layout}).exit_code, 0);
    EXPECT_EQ(compare(slow(), {layout}).exit_code, 1);
    EXPECT_EQ(compare(near(), {layout}).exit_code, 0);
    EXPECT_EQ(compare(near(), {layout, "--strict"}).exit_code, 3);
  }
  EXPECT_THAT(compare(same()).out, testing::StartsWith("PASS\n"));
  EXPECT_THAT(compare(slow()).out, testing::StartsWith("FAIL\n"));
  EXPECT_THAT(compare(near()).out, testing::StartsWith("INCONCLUSIVE\n"));
  EXPECT_EQ(compare(slow(), {"--margin", "20%"}).exit_code, 0);
  EXPECT_EQ(compare(slow(), {"--better", "higher"}).exit_code, 0);
}

TEST_F(GateSamples, FromZeroToSomethingFailsAndBackPasses) {
  const auto write = [&](const std::string& name, int value) {
    std::ofstream file(dir_.file(name));
    file << "errors\n";
    for (int i = 0; i < 12; ++i) file << value << '\n';
    return dir_.file(name);
  };
  const std::string zero = write("z0.csv", 0), five = write("z5.csv", 5);
  const auto verdict = [&](const std::string& x, const std::string& y) {
    return topspin({"compare", "--samples", x, y, "--column", "errors"});
  };
  EXPECT_EQ(verdict(zero, five).exit_code, 1) << verdict(zero, five).out;
  EXPECT_EQ(verdict(five, zero).exit_code, 0);
  EXPECT_THAT(verdict(five, zero).out, testing::StartsWith("PASS"));
  EXPECT_THAT(verdict(zero, zero).out, testing::StartsWith("PASS"));
}

TEST_F(GateSamples, JsonHasTheNamesThatProgramsRelyOn) {
  const Outcome run = compare(slow(), {"--paired", "--seed", "7", "--format", "json"});
  const Json json = Json::parse(run.out);
  for (const char* name :
       {"schema_version", "verdict", "exit_code", "mode", "seed", "reasons", "metrics"})
    EXPECT_TRUE(json.contains(name)) << name;
  EXPECT_EQ(json["verdict"], "fail");
  EXPECT_EQ(json["exit_code"], run.exit_code);
  EXPECT_EQ(json["seed"], 7);
  const Json& metric = json["metrics"].at(0);
  for (const char* name : {"name", "unit", "better", "a", "b", "change", "ci_low", "ci_high", "p",
                           "q", "n", "margin", "minimum_detectable", "gating", "verdict"})
    EXPECT_TRUE(metric.contains(name)) << name;
  EXPECT_EQ(metric["name"], "cpu_us");
  EXPECT_EQ(metric["n"], 20);
  EXPECT_EQ(metric["better"], "lower");
  EXPECT_NEAR(metric["change"].get<double>(), 0.10, 0.01);
  EXPECT_EQ(run.out, compare(slow(), {"--paired", "--seed", "7", "--format", "json"}).out);
}

TEST_F(GateSamples, WrongUsageIs2AndWrongFilesAre5) {
  const auto refused = [](const Outcome& run, int code, const std::string& part) {
    EXPECT_EQ(run.exit_code, code) << run.err;
    EXPECT_THAT(run.err, HasSubstr(part));
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
    EXPECT_EQ(run.out, "");
  };
  refused(topspin({"compare"}), 2, "two sides");
  refused(topspin({"compare", "one"}), 2, "two sides");
  refused(topspin({"gate", "one"}), 2, "two sides");
  refused(topspin({"gate", "--series", a()}), 2, "--history");
  refused(topspin({"gate", "--aa", "-5"}), 2, "--aa -5 must be from 1 to 1000000");
  refused(topspin({"gate", "--seed", "-1"}), 2, "--seed -1 must be from 0");
  for (const char* option : {"--of", "--column", "--margin"}) {
    refused(topspin({"accept", "last", "--because", "x", option, "3%"}), 2, "need --change");
  }
  refused(compare(slow(), {"--margin", "much"}), 2, "--margin");
  refused(compare(slow(), {"--margin", "-1%"}), 2, "--margin");
  refused(compare(slow(), {"--better", "green"}), 2, "--better");
  refused(compare(slow(), {"--format", "xml"}), 2, "--format");
  refused(topspin({"compare", "--samples", a(), slow()}), 2, "--column");
  refused(topspin({"compare", "--samples", a(), slow(), "--column", "no"}), 2, "time, cpu_us");
  refused(
      topspin({"gate", "--history", "--series", a(), "--column", "cpu_us", "--acknowledge", "x"}),
      2, "--acknowledge");
  refused(compare(dir_.file("missing.csv")), 5, "missing.csv");
  write_csv(dir_.file("short.csv"), 100, 19, 0);
  refused(compare(dir_.file("short.csv"), {"--paired"}), 5, "both need the same number");
  std::ofstream(dir_.file("bad.csv")) << "cpu_us\n1\n\x1b[31m\n";
  refused(compare(dir_.file("bad.csv")), 5, "line 3, column cpu_us");
  EXPECT_EQ(compare(dir_.file("bad.csv")).err.find('\x1b'), std::string::npos);
}

TEST_F(GateSamples, AHistoryFailsUntilItsChangeIsAcknowledged) {
  std::ofstream file(dir_.file("history.csv"));
  file << "time,cpu\n";
  for (size_t i = 0; i < 80; ++i)
    file << "t" << i << ',' << swinging(i < 40 ? 100 : 110, i, 0) << '\n';
  file.close();
  const std::vector<std::string> gate = {
      "gate", "--history", "--series", dir_.file("history.csv"), "--column", "cpu"};
  const auto with = [&](std::initializer_list<std::string> more) {
    std::vector<std::string> all = gate;
    all.insert(all.end(), more);
    return topspin(all);
  };
  EXPECT_EQ(with({}).exit_code, 1);
  EXPECT_EQ(with({"--acknowledge", "40"}).exit_code, 0);
  EXPECT_EQ(with({"--better", "higher"}).exit_code, 0);
  const Json json = Json::parse(with({"--format", "json"}).out);
  EXPECT_EQ(json["mode"], "history");
  const Json& change = json["changes"].at(0);
  for (const char* name : {"index", "time", "before", "after", "change", "p"})
    EXPECT_TRUE(change.contains(name)) << name;
  EXPECT_EQ(change["index"], 40);
  EXPECT_EQ(change["time"], "t40");
}

TEST_F(GateSamples, HostileNamesReachNeitherTerminalNorJsonRaw) {
  const std::string hostile = "cpu\x1b[31m\xe2\x80\xae\xff";
  for (const char* name : {"x.csv", "y.csv"}) {
    std::ofstream file(dir_.file(name));
    file << hostile << '\n';
    for (size_t i = 0; i < 20; ++i) file << swinging(name[0] == 'x' ? 100 : 110, i, 0) << '\n';
  }
  for (const char* format : {"text", "json"}) {
    const Outcome run = topspin(
        {"compare", "--samples", dir_.file("x.csv"), dir_.file("y.csv"), "--format", format});
    EXPECT_EQ(run.exit_code, 1) << run.err;
    for (const char* part : {"\x1b", "\xe2\x80\xae", "\xff"})
      EXPECT_EQ(run.out.find(part), std::string::npos) << format;
  }
}

/// A database of short runs with chosen numbers, written by the real store.
class GateRuns : public testing::Test {
 protected:
  struct Made {
    double cpu_ns_per_flow = 1000;
    std::map<std::string, std::string> labels;
    std::string fingerprint = "here";
    std::vector<std::string> invalid_reasons;
    std::string commit;
    std::optional<bool> dirty = false;
    int64_t steal_ns = 0;
    std::string session;           // of `topspin run`; empty: none
    std::string plan;              // its text; used only with a session
    double cpu_ns_of_warm_up = 0;  // of a first tick, before the load; 0: there is no such tick
    std::optional<LoadResult> load;
    std::vector<std::string> doubts;
    int64_t busy_ns = 0;  // of the host, per tick; 0: not known
    uint64_t unanswered = 0, requests = 0;
    RunStatus status = RunStatus::kComplete;
    double parse_samples = 0;  // in the function "parse", of 100 a second; 0: no stacks
    double write_ns = 0;       // inside a call, one per flow; 0: no system calls
  };

  /// Writes one run of `ticks` seconds, which starts a minute after the previous one.
  void make(const Made& made, uint64_t ticks = 4) {
    RunInfo info;
    info.started_wall_ns = 1'790'000'000 * kNanosPerSecond + 60 * kNanosPerSecond * runs_++;
    info.id = make_run_id(info.started_wall_ns);
    info.labels = made.labels;
    info.host.fingerprint = made.fingerprint;
    info.host.cpus_online = 2;
    info.source.commit = made.commit;
    info.source.dirty = made.dirty;
    info.probes = {{"scheduler", Rung::kProc, "chosen by the test"}};
    if (!made.session.empty()) {
      info.plan.emplace().session = made.session;
      info.plan->text = made.plan;
      info.plan->name = "a <b>plan</b>";
      info.plan->subject = made.labels.at("side");
    }
    if (made.parse_samples > 0) info.settings.stack_samples_per_second = 100;
    auto writer = RunWriter::create(db(), info, {});
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    if (made.cpu_ns_of_warm_up > 0) {
      RunStage stage{"start", StageKind::kStart, 0, kNanosPerSecond, {}, {}};
      ASSERT_TRUE((*writer)->put_stage(0, stage).ok());
      stage = {"hold", StageKind::kLoad, kNanosPerSecond, {}, 1, 1};
      ASSERT_TRUE((*writer)->put_stage(1, stage).ok());
    }
    for (uint64_t tick = 1; tick <= ticks; ++tick) {
      Sample sample;
      sample.tick = tick;
      sample.interval_ns = kNanosPerSecond;
      sample.elapsed_ns = static_cast<int64_t>(tick) * kNanosPerSecond;
      sample.flows.new_flows = 100;
      sample.flows.packets = 1000;
      sample.scheduler.emplace();
      const bool warm_up = tick == 1 && made.cpu_ns_of_warm_up > 0;
      sample.scheduler->cpu_ns =
          static_cast<uint64_t>(warm_up ? made.cpu_ns_of_warm_up : made.cpu_ns_per_flow * 100);
      sample.resources.emplace();
      sample.resources->rss_bytes = 10'000'000;
      sample.self.host_steal_ns = made.steal_ns;
      if (made.busy_ns > 0) sample.self.host_busy_ns = made.busy_ns;
      sample.flows.requests = made.requests;
      sample.flows.unanswered = made.unanswered;
      if (made.parse_samples > 0) {
        const auto samples = static_cast<uint64_t>(made.parse_samples * static_cast<double>(tick));
        sample.changed_stacks = {{1, "server", "main;loop;parse", samples},
                                 {2, "server", "main;loop;<b>copy\x1b[31m", 50 * tick},
                                 {3, "worker", "main;parse", samples / 2}};
        sample.changed_sleep_stacks = {{1, "server", "main;loop;epoll_wait_[k]", BlockedBy::kPoll,
                                        "[interrupt]", 100 * tick, 500'000'000 * tick}};
      }
      if (made.write_ns > 0) {
        SyscallRow call;
        call.number = 1;
        call.name = "write";
        call.count = 100 * tick;
        call.latency.record_n(static_cast<uint64_t>(made.write_ns), call.count);
        sample.changed_syscalls = {std::move(call)};
      }
      ASSERT_TRUE((*writer)->append(sample).ok());
    }
    if (made.load) {
      ASSERT_TRUE((*writer)->put_load(*made.load).ok());
    }
    RunEnd end;
    end.duration_ns = static_cast<int64_t>(ticks) * kNanosPerSecond;
    end.invalid_reasons = made.invalid_reasons;
    end.doubts = made.doubts;
    end.status = made.status;
    ASSERT_TRUE((*writer)->finish(end).ok());
  }

  /// Writes `count` interleaved pairs, in which B is `ratio` times as expensive.
  void make_pairs(double ratio, size_t count,
                  const std::function<void(size_t, Made&)>& change_b = {},
                  const std::function<void(size_t, Made&)>& change_a = {}) {
    for (size_t i = 0; i < count; ++i) {
      Made a, b;
      a.labels = {{"side", "a"}};
      a.cpu_ns_per_flow = swinging(10'000, i, 0);
      a.commit = std::string(40, 'a');
      b.labels = {{"side", "b"}};
      b.cpu_ns_per_flow = swinging(10'000 * ratio, i, 5);
      b.commit = std::string(40, 'b');
      if (change_a) change_a(i, a);
      if (change_b) change_b(i, b);
      if (i % 3 == 0) {  // sometimes A is first, sometimes B
        make(b);
        make(a);
      } else {
        make(a);
        make(b);
      }
    }
  }

  Outcome gate(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"gate", "--db", db()});
    return topspin(more);
  }
  std::string db() const { return dir_.file("t.db"); }

  TempDir dir_;
  int64_t runs_ = 0;
};

TEST_F(GateRuns, ACommitNamesTheRunsOfItsTreeWithoutChangesAlone) {
  for (size_t i = 0; i < 12; ++i) {
    Made old, tried, unknown;
    old.commit = std::string(40, 'a');
    old.cpu_ns_per_flow = swinging(10'000, i, 0);
    make(old);
    tried = old;
    tried.dirty = true;
    tried.cpu_ns_per_flow = swinging(20'000, i, 5);
    make(tried);
    unknown = old;
    unknown.commit = std::string(40, 'c');
    unknown.dirty.reset();
    make(unknown);
  }
  const Outcome worse = topspin({"compare", "aaaaaaa", "aaaaaaa+changes", "--db", db()});
  EXPECT_EQ(worse.exit_code, 1) << worse.out << worse.err;
  const Outcome none = topspin({"compare", "aaaaaaa", "ccccccc", "--db", db()});
  EXPECT_EQ(none.exit_code, 2) << none.out;
  EXPECT_NE(none.err.find("ccccccc+changes"), std::string::npos) << none.err;
  const Outcome list = topspin({"list", "--db", db()});
  EXPECT_NE(list.out.find(" aaaaaaaaaaaa\n"), std::string::npos) << list.out;
  EXPECT_NE(list.out.find(" aaaaaaaaaaaa+changes\n"), std::string::npos) << list.out;
  EXPECT_NE(list.out.find(" cccccccccccc+changes?\n"), std::string::npos) << list.out;
  const Outcome last = topspin({"report", "last", "--db", db()});
  EXPECT_NE(last.out.find("cccccccccccc (changes unknown)"), std::string::npos) << last.out;
  const Outcome json = topspin({"report", "last", "--db", db(), "--format", "json"});
  EXPECT_EQ(nlohmann::json::parse(json.out)["run"]["commit_state"], "unknown");
  const Outcome markdown = topspin({"report", "last", "--db", db(), "--format", "markdown"});
  EXPECT_NE(markdown.out.find("<code>cccccccccccc</code> (changes unknown)"), std::string::npos)
      << markdown.out;
}

TEST_F(GateRuns, InterleavedPairsOfTheSamePass) {
  make_pairs(1.0, 10);
  const Outcome run = gate({"--format", "json"});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  const Json json = Json::parse(run.out);
  EXPECT_EQ(json["verdict"], "pass") << run.out;
  EXPECT_EQ(json["mode"], "ab");
  EXPECT_EQ(json["metrics"].at(0)["name"], "cpu_ns_per_flow");
  EXPECT_EQ(json["metrics"].at(0)["n"], 10);
}

TEST_F(GateRuns, TenPercentMoreCpuAFlowFails) {
  make_pairs(1.10, 10);
  EXPECT_EQ(gate().exit_code, 1);
  EXPECT_EQ(gate({"side=b", "side=a"}).exit_code, 0) << "the other way round it is better";
  const Outcome compare = topspin({"compare", "aaaaaaa", "bbbbbbb", "--db", db()});
  EXPECT_EQ(compare.exit_code, 1) << compare.out << compare.err;
  EXPECT_THAT(compare.out, HasSubstr("cpu_ns_per_flow"));
}

TEST_F(GateRuns, NameTheSystemCallAndTheFunctionThatChanged) {
  const auto with_costs = [](double ratio, size_t phase) {
    return [=](size_t i, Made& made) {
      made.parse_samples = swinging(100 * ratio, i, phase);
      made.write_ns = swinging(20'000 * ratio, i, phase + 2);
    };
  };
  make_pairs(1.10, 12, with_costs(1.3, 5), with_costs(1, 0));
  const Json json = Json::parse(gate({"--format", "json"}).out);
  EXPECT_EQ(json["costs_per"], "second") << "these runs have no replies";
  std::map<std::string, Json> costs;
  for (const Json& cost : json["costs"]) costs[cost["name"]] = cost;
  ASSERT_EQ(costs.size(), 4u) << json["costs"].dump(2);
  EXPECT_EQ(costs["write"]["kind"], "system_call");
  EXPECT_EQ(costs["write"]["changed"], true);
  EXPECT_NEAR(costs["write"]["change_ns"].get<double>(), 6'000 * 100, 60'000);
  EXPECT_EQ(costs["write"]["a_times"], 100);
  EXPECT_EQ(costs["parse"]["kind"], "function");
  EXPECT_EQ(costs["parse"]["changed"], true);
  // 1.5 times 100 samples of 10 ms. B has 30% more of them.
  EXPECT_NEAR(costs["parse"]["a_ns"].get<double>(), 1.5e9, 0.03e9);
  EXPECT_NEAR(costs["parse"]["change_ns"].get<double>(), 0.45e9, 0.03e9);
  EXPECT_LT(costs["parse"]["ci_low_ns"], costs["parse"]["change_ns"]);
  EXPECT_EQ(costs["loop (poll)"]["changed"], false);
  EXPECT_EQ(costs["loop (poll)"]["kind"], "sleep");

  const Outcome text = gate();
  EXPECT_EQ(text.exit_code, 1);
  EXPECT_THAT(text.out, HasSubstr("why: Inside system calls, a second: write +"));
  EXPECT_THAT(text.out, HasSubstr("On a CPU, a second: parse +"));
  EXPECT_THAT(text.out, HasSubstr("1 system call, 2 functions, 1 place of sleep; 2 changed"));
  EXPECT_EQ(text.out.find('\x1b'), std::string::npos);
  for (const char* format : {"markdown", "html"}) {
    const Outcome report =
        topspin({"report", "side=a", "side=b", "--db", db(), "--format", format});
    EXPECT_EQ(report.exit_code, 0) << report.err;
    EXPECT_THAT(report.out, HasSubstr("parse"));
    EXPECT_THAT(report.out, HasSubstr("2 changed beyond chance"));
    EXPECT_EQ(report.out.find("<b>copy"), std::string::npos) << format;
    EXPECT_THAT(report.out, HasSubstr("copy")) << "what did not change stands there, too";
  }
}

TEST_F(GateRuns, SayOnceThatNoSystemCallAndNoFunctionChanged) {
  const auto with_costs = [](size_t phase) {
    return [=](size_t i, Made& made) {
      made.parse_samples = swinging(100, i, phase);
      made.write_ns = swinging(20'000, i, phase + 2);
    };
  };
  make_pairs(1.0, 12, with_costs(5), with_costs(0));
  const Outcome text = gate();
  EXPECT_EQ(text.exit_code, 0) << text.out;
  EXPECT_THAT(text.out, HasSubstr("none changed beyond chance"));
  EXPECT_THAT(text.out, testing::Not(HasSubstr("parse")));
  EXPECT_EQ(Json::parse(gate({"--format", "json"}).out)["why"], nullptr);
}

TEST_F(GateRuns, WithoutSidesTheLastSessionOfAPlanIsJudgedAlone) {
  const auto of_session = [](const char* session) {
    return [session](size_t, Made& made) { made.session = session; };
  };
  make_pairs(1.3, 12, of_session("first"), of_session("first"));
  make_pairs(1.0, 12, of_session("second"), of_session("second"));
  EXPECT_EQ(gate().exit_code, 0) << gate().out << gate().err;
  make_pairs(1.3, 12, of_session("third"), of_session("third"));
  EXPECT_EQ(gate().exit_code, 1) << gate().out << gate().err;
}

TEST_F(GateRuns, WhatASubjectDidBeforeItsLoadIsNotJudged) {
  make_pairs(1.0, 12, [](size_t, Made& made) { made.cpu_ns_of_warm_up = 50'000'000; });
  EXPECT_EQ(gate().exit_code, 0) << gate().out;
}

TEST_F(GateRuns, FewPairsDecideNothing) {
  make_pairs(1.10, 7);
  EXPECT_EQ(gate().exit_code, 0);
  EXPECT_EQ(gate({"--strict"}).exit_code, 3);
  EXPECT_THAT(gate().out, HasSubstr("7 pairs are too few"));
}

TEST_F(GateRuns, InvalidRunsAreNotJudged) {
  make_pairs(1.10, 10, [](size_t i, Made& b) {
    if (i == 4) b.invalid_reasons = {"the capture lost packets"};
    if (i == 5) b.steal_ns = kNanosPerSecond;
  });
  const Outcome run = gate({"--format", "json"});
  EXPECT_EQ(run.exit_code, 3) << run.out;
  const Json json = Json::parse(run.out);
  EXPECT_EQ(json["verdict"], "invalid");
  EXPECT_EQ(json["exit_code"], 3);
  EXPECT_THAT(run.out, HasSubstr("the capture lost packets"));
  EXPECT_THAT(run.out, HasSubstr("the hypervisor took 50.0%"));
}

TEST_F(GateRuns, EnoughValidPairsAreJudgedWithoutTheInvalid) {
  make_pairs(1.10, 11, [](size_t i, Made& b) {
    if (i == 4) b.invalid_reasons = {"the capture lost packets"};
  });
  EXPECT_EQ(gate().exit_code, 1);
}

/// Why a run failed, in the words that `topspin run` stores, and the status of the run.
struct Failing {
  const char* reason;
  RunStatus status;
};
constexpr Failing kCrash{"the subject ended with status 1 during hold; its last lines: | x",
                         RunStatus::kFailed};

TEST_F(GateRuns, ACandidateThatFailsInFourOfFourteenRunsFails) {
  for (const Failing& failing :
       {kCrash, Failing{"the subject ended with status 0 during hold", RunStatus::kFailed},
        Failing{"the subject was not ready within 2s: port tcp:1", RunStatus::kFailed},
        Failing{"the load: nothing was answered, of 20 messages: check what serves x",
                RunStatus::kComplete}}) {
    SCOPED_TRACE(failing.reason);
    std::filesystem::remove(db());
    make_pairs(1.0, 14, [&](size_t i, Made& b) {
      if (i % 4 != 1) return;  // 1, 5, 9 and 13
      b.invalid_reasons = {failing.reason};
      b.status = failing.status;
    });
    for (const auto& run :
         {gate({"--strict"}), gate(), topspin({"compare", "side=a", "side=b", "--db", db()})}) {
      EXPECT_EQ(run.exit_code, 1) << run.out << run.err;
      EXPECT_THAT(run.out, HasSubstr("FAIL"));
      EXPECT_THAT(run.out, HasSubstr("the candidate's subject failed in 4 of 14 runs, the "
                                     "baseline's in 0 of 14"));
      EXPECT_THAT(run.out, HasSubstr(std::string(failing.reason).substr(0, 20)));
    }
  }
}

TEST_F(GateRuns, OneFailedRunOnEachSidePassesAndOneMoreDecidesNothing) {
  const auto fail_in = [](size_t pair) {
    return [pair](size_t i, Made& made) {
      if (i != pair) return;
      made.invalid_reasons = {kCrash.reason};
      made.status = kCrash.status;
    };
  };
  make_pairs(1.0, 14, fail_in(3), fail_in(7));
  Outcome run = gate({"--strict"});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("failed_runs"));
  std::filesystem::remove(db());
  make_pairs(1.0, 14, fail_in(3));
  run = gate({"--strict"});
  EXPECT_EQ(run.exit_code, 3) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("INCONCLUSIVE"));
  EXPECT_THAT(run.out, HasSubstr("so many more could be chance"));
}

TEST_F(GateRuns, ACandidateThatFailsInEveryRunFailsAndNothingElseIsLeftToCompare) {
  make_pairs(1.0, 12, [](size_t, Made& b) {
    b.invalid_reasons = {kCrash.reason};
    b.status = kCrash.status;
  });
  for (const auto& run : {gate(), topspin({"compare", "side=a", "side=b", "--db", db()})})
    EXPECT_EQ(run.exit_code, 1) << run.out << run.err;
  // A baseline that failed in every run does not fail the gate: nothing was compared.
  EXPECT_EQ(gate({"side=b", "side=a"}).exit_code, 3);
}

TEST_F(GateRuns, WhatTopspinOrTheHostDidLeavesARunOutAndDoesNotCountAsFailed) {
  make_pairs(1.0, 14, [](size_t i, Made& b) {
    if (i % 4 != 1) return;
    b.invalid_reasons = {"the load: the generator or the host was too slow: sent late"};
    b.status = i == 5 ? RunStatus::kInterrupted : RunStatus::kComplete;
  });
  const Outcome run = gate({"--strict"});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("left out"));
  EXPECT_EQ(run.out.find("failed_runs"), std::string::npos) << run.out;
}

TEST_F(GateRuns, AnotherHostIs4) {
  make_pairs(1.0, 10, [](size_t, Made& b) { b.fingerprint = "elsewhere"; });
  const Outcome run = gate({"--format", "json"});
  EXPECT_EQ(run.exit_code, 4) << run.out;
  EXPECT_EQ(Json::parse(run.out)["exit_code"], 4);
  EXPECT_EQ(topspin({"compare", "side=a", "side=b", "--db", db()}).exit_code, 4);
  EXPECT_EQ(gate({"--history"}).exit_code, 4);
}

TEST_F(GateRuns, RunsThatWereNotRecordedInTurnNeedLabels) {
  for (const std::string side : {"a", "b"}) {
    for (size_t i = 0; i < 10; ++i) {
      Made made;
      made.labels = {{"side", side}, {"pair", std::to_string(i)}};
      if (side == "a") made.labels["unpaired"] = "a";
      make(made);
    }
  }
  EXPECT_EQ(gate().exit_code, 0) << "paired by their label";
  for (size_t i = 0; i < 10; ++i) {
    Made made;
    made.labels = {{"later", "b"}};
    make(made);
  }
  const Outcome run = gate({"side=a", "later=b"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("in turn"));
}

TEST_F(GateRuns, AHistoryOfRunsFindsItsStep) {
  for (size_t i = 0; i < 24; ++i) {
    Made made;
    made.cpu_ns_per_flow = swinging(i < 12 ? 10'000 : 11'500, i, 0);
    make(made);
  }
  const Outcome run = gate({"--history", "--format", "json"});
  EXPECT_EQ(run.exit_code, 1) << run.out << run.err;
  const Json json = Json::parse(run.out);
  ASSERT_EQ(json["changes"].size(), 1u);
  EXPECT_EQ(json["changes"][0]["index"], 12);
  EXPECT_EQ(json["changes"][0]["metric"], "cpu_ns_per_flow");
  const std::string time = json["changes"][0]["time"];
  const std::string id = time.substr(time.rfind(' ') + 1);
  EXPECT_EQ(gate({"--history", "--acknowledge", id}).exit_code, 0);
  Made incident;
  incident.status = RunStatus::kIncident;
  make(incident);
  const Outcome beside = gate({"--history"});
  EXPECT_EQ(beside.exit_code, 1) << "what a flight recorder kept is no run of the history";
  EXPECT_THAT(beside.err, HasSubstr("1 incident is left out"));
  Made last;
  last.invalid_reasons = {"too late"};
  make(last);
  EXPECT_EQ(gate({"--history"}).exit_code, 3) << "the newest run judges nothing";
}

TEST_F(GateRuns, AnAcceptedChangeStaysAccepted) {
  const auto step = [&](double from, double to, size_t runs) {
    for (size_t i = 0; i < runs; ++i) {
      Made made;
      made.cpu_ns_per_flow = swinging(i < runs / 2 ? from : to, i, 0);
      make(made);
    }
  };
  step(10'000, 11'500, 24);
  EXPECT_EQ(gate({"--history"}).exit_code, 1);
  const auto accept = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"accept", "--db", db()});
    return topspin(more);
  };
  EXPECT_EQ(accept({"--change", "12"}).exit_code, 2) << "a reason is wanted";
  EXPECT_EQ(accept({"--because", "x"}).exit_code, 2);
  EXPECT_EQ(accept({"last", "--change", "12", "--because", "x"}).exit_code, 2);
  EXPECT_EQ(accept({"--change", "12", "--metric", "pigs", "--because", "x"}).exit_code, 2);
  const Outcome none = accept({"--change", "3", "--because", "x"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("12 (cpu_ns_per_flow)"));
  EXPECT_EQ(gate({"--history"}).exit_code, 1) << "nothing was accepted so far";

  const std::string because = "checksums\x1b[31m\xff";
  ASSERT_EQ(accept({"--change", "12", "--because", because}).exit_code, 0);
  const Outcome passed = gate({"--history", "--format", "json"});
  EXPECT_EQ(passed.exit_code, 0) << passed.out;
  Json json = Json::parse(passed.out);
  EXPECT_EQ(json["changes"][0]["acknowledged"], true);
  EXPECT_EQ(json["changes"][0]["because"], "checksums\x1b[31m\xef\xbf\xbd");
  const Outcome text = gate({"--history"});
  EXPECT_THAT(text.out, HasSubstr("acknowledged (checksums"));
  EXPECT_EQ(text.out.find('\x1b'), std::string::npos);

  // A later change is judged anew. What was accepted stays accepted.
  step(11'500, 13'500, 24);
  const Outcome failed = gate({"--history", "--format", "json"});
  EXPECT_EQ(failed.exit_code, 1);
  json = Json::parse(failed.out);
  ASSERT_EQ(json["changes"].size(), 2u);
  EXPECT_EQ(json["changes"][0]["acknowledged"], true);
  EXPECT_EQ(json["changes"][1]["acknowledged"], false);
  EXPECT_EQ(json["changes"][1]["index"], 36);
  // Accepting the newest run as the baseline accepts everything before it.
  ASSERT_EQ(accept({"last", "--because", "the new baseline"}).exit_code, 0);
  const Outcome moved = gate({"--history", "--format", "json"});
  EXPECT_EQ(moved.exit_code, 0) << moved.out;
  EXPECT_EQ(Json::parse(moved.out)["changes"][1]["because"], "the new baseline");
  step(13'500, 15'500, 24);
  EXPECT_EQ(gate({"--history"}).exit_code, 1);
}

TEST_F(GateRuns, AnAcceptedChangeOfASeriesIsKeptInTheDatabase) {
  make({});
  const std::string csv = dir_.file("history.csv");
  std::ofstream file(csv);
  file << "cpu\n";
  for (size_t i = 0; i < 80; ++i) file << swinging(i < 40 ? 100 : 110, i, 0) << '\n';
  file.close();
  const std::vector<std::string> series = {"--series", csv, "--column", "cpu"};
  const auto with = [&](std::vector<std::string> command, bool log) {
    command.insert(command.end(), series.begin(), series.end());
    if (log) command.insert(command.end(), {"--db", db()});
    return topspin(command);
  };
  EXPECT_EQ(with({"gate", "--history"}, true).exit_code, 1);
  EXPECT_EQ(with({"accept", "--change", "40", "--because", "x"}, false).exit_code, 2);
  const Outcome accepted = with({"accept", "--change", "40", "--because", "x"}, true);
  EXPECT_EQ(accepted.exit_code, 0) << accepted.err;
  EXPECT_EQ(with({"gate", "--history"}, true).exit_code, 0);
  EXPECT_EQ(with({"gate", "--history"}, false).exit_code, 1) << "without the log";
}

TEST_F(GateRuns, TheVerdictIsKeptWhateverItIsAndExported) {
  make_pairs(1.10, 10);
  const Outcome run = gate({"--format", "json", "--seed", "9", "-o", dir_.file("gate.json")});
  EXPECT_EQ(run.exit_code, 1) << run.err;
  EXPECT_EQ(run.out, "");
  std::ifstream written(dir_.file("gate.json"));
  const Json json = Json::parse(written);
  EXPECT_EQ(json["verdict"], "fail");
  const auto export_as = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"export", "--db", db(), "--format"});
    return topspin(more);
  };
  const Outcome junit = export_as({"junit"});
  EXPECT_EQ(junit.exit_code, 0) << junit.err;
  EXPECT_THAT(junit.out, HasSubstr("failures=\"1\""));
  EXPECT_THAT(junit.out, HasSubstr("name=\"seed\" value=\"9\""));
  EXPECT_EQ(junit.out, export_as({"junit", "--judgement", dir_.file("gate.json")}).out);
  EXPECT_EQ(gate({"--seed", "9", "--format", "junit"}).out, junit.out);
  EXPECT_THAT(export_as({"github"}).out, testing::StartsWith("::error title="));
  // A judgement that judges nothing is exported as well.
  Made made;
  made.invalid_reasons = {"too late"};
  make(made);
  EXPECT_EQ(gate({"--history"}).exit_code, 3);
  EXPECT_THAT(export_as({"github"}).out, HasSubstr("newest run"));
  // A report that cannot be written is a separate error.
  EXPECT_EQ(gate({"-o", "/dev/full"}).exit_code, 5);
}

TEST_F(GateRuns, ADatabaseThatCannotBeWrittenTakesNothingFromTheVerdict) {
  make_pairs(1.10, 10);
  chmod(dir_.path().c_str(), 0555);
  chmod(db().c_str(), 0444);
  const auto as_nobody = [] {  // root writes anywhere
    constexpr uid_t kNobody = 65534;
    if (geteuid() == 0 && setgid(kNobody) + setuid(kNobody) != 0) _exit(126);
  };
  const Outcome run = topspin({"gate", "--db", db()}, as_nobody);
  chmod(dir_.path().c_str(), 0755);
  if (run.exit_code == 127) GTEST_SKIP() << "an ordinary user cannot reach the program here";
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("could not be stored"));
}

TEST_F(GateRuns, MorePairsAreAskedForUpToThirty) {
  const auto noisy = [](size_t i, Made& b) { b.cpu_ns_per_flow *= i % 4 == 0 ? 1.12 : 1.0; };
  make_pairs(1.02, 10, noisy);
  const Outcome run = gate({"--format", "json"});
  const Json json = Json::parse(run.out);
  ASSERT_EQ(json["verdict"], "inconclusive") << run.out;
  EXPECT_EQ(json["pairs"]["judged"], 10);
  EXPECT_GT(json["pairs"]["wanted"], 10);
  EXPECT_LE(json["pairs"]["wanted"], 30);
  EXPECT_EQ(json["pairs"]["most"], 30);
  EXPECT_THAT(run.out, HasSubstr("more pairs:"));
}

TEST_F(GateRuns, ThirtyPairsAreTheMost) {
  make_pairs(1.029, 30);
  const Outcome run = gate({"--format", "json"});
  const Json json = Json::parse(run.out);
  ASSERT_EQ(json["verdict"], "inconclusive") << run.out;
  EXPECT_EQ(json["pairs"]["wanted"], 30);
  EXPECT_THAT(run.out, HasSubstr("30 pairs did not decide"));
}

TEST_F(GateRuns, GateTomlChangesTheRules) {
  make_pairs(1.10, 10);
  const std::string config = dir_.file("rules.toml");
  const auto with = [&](const std::string& text) {
    std::ofstream(config) << text;
    return gate({"--config", config});
  };
  EXPECT_EQ(with("[metric.cpu_ns_per_flow]\nmargin = \"20%\"\n").exit_code, 0);
  EXPECT_EQ(with("[metric.cpu_ns_per_flow]\nbetter = \"higher\"\n").exit_code, 0);
  EXPECT_EQ(with("[metric.cpu_ns_per_flow]\ngating = false\n").exit_code, 0);
  EXPECT_EQ(with("[metric.cpu_ns_per_flow]\nmargin = 0.01\n").exit_code, 1);
  EXPECT_EQ(with("[metric.cpu_ns_per_packet]\ngating = true\n").exit_code, 1);
  const Outcome wrong = with("[metric.cpu_ns_per_flow]\n\nmargin = \"much\"\n");
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("line 3: metric.cpu_ns_per_flow.margin"));
  EXPECT_EQ(gate({"--config", dir_.file("none.toml")}).exit_code, 5);
  // A gate.toml in the working directory is used without being named.
  std::ofstream(dir_.file("gate.toml")) << "[metric.cpu_ns_per_flow]\nmargin = 0.2\n";
  const auto there = [&] { EXPECT_EQ(chdir(dir_.path().c_str()), 0); };
  EXPECT_EQ(topspin({"gate", "--db", db()}, there).exit_code, 0);
}

TEST_F(GateRuns, SloRulesComeAfterValidityAndBeforeTheComparison) {
  make_pairs(1.0, 10);
  const std::string config = dir_.file("rules.toml");
  const auto with = [&](const std::string& text, std::vector<std::string> more = {}) {
    std::ofstream(config) << text;
    more.insert(more.end(), {"--config", config});
    return gate(more);
  };
  EXPECT_EQ(with("slo = [\"losses == 0\", \"packets > 3000\"]").exit_code, 0);
  const Outcome broken = with("slo = [\"packets > 5000\", \"losses == 0\"]", {"--format", "json"});
  EXPECT_EQ(broken.exit_code, 1) << broken.err;
  const Json json = Json::parse(broken.out);
  EXPECT_EQ(json["verdict"], "fail");
  EXPECT_EQ(json["slos"][0]["broken"], 10);
  EXPECT_EQ(json["slos"][1]["kept"], 10);
  EXPECT_THAT(json["reasons"][0].get<std::string>(), HasSubstr("SLO broken in 10 of 10 runs"));
  const std::string junit = topspin({"export", "--db", db(), "--format", "junit"}).out;
  EXPECT_THAT(junit, HasSubstr("packets &gt; 5000"));
  EXPECT_THAT(junit, HasSubstr("failures=\"1\""));
  // A rule that cannot be judged is neither kept nor broken.
  const std::string unmeasured = "slo = [\"p99(run_queue_latency) < 5ms\"]";
  EXPECT_EQ(with(unmeasured).exit_code, 3);
  EXPECT_THAT(with(unmeasured).out, testing::StartsWith("INCONCLUSIVE"));
  EXPECT_EQ(with("lenient = true\n" + unmeasured).exit_code, 0);
  EXPECT_EQ(with(unmeasured, {"--strict"}).exit_code, 3);
  EXPECT_EQ(with("slo = [\"packets > 5000\"]", {"--history"}).exit_code, 1);
  const Outcome wrong = with("\nslo = [\"pigs > 5000\"]");
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("line 2: slo"));
  // A broken rule does not change an invalid judgement.
  for (size_t i = 0; i < 2; ++i) {
    Made made;
    made.labels = {{"side", i == 0 ? "a" : "b"}};
    made.fingerprint = "elsewhere";
    make(made);
  }
  EXPECT_EQ(with("slo = [\"packets > 5000\"]").exit_code, 4);
}

TEST_F(GateRuns, ReportsSayHowTheRulesOfAPlanWereKept) {
  const auto held_to = [](const std::string& rules) {
    return [rules](size_t, Made& made) {
      made.session = "one";
      made.plan =
          "[subject.a]\ncommand = [\"true\"]\n[load]\nworkload = \"udp-pingpong\"\n"
          "target = \"127.0.0.1:1\"\nclients = 1\nhold = \"1s\"\n[slo]\nrules = [" +
          rules + "]\n";
    };
  };
  make_pairs(1.0, 11,  // the last one is a run of side b
             held_to("\"packets > 5000\", \"losses == 0\""), held_to("\"packets > 3000\""));
  const auto report = [&](std::vector<std::string> runs, const std::string& format) {
    runs.insert(runs.begin(), "report");
    runs.insert(runs.end(), {"--db", db(), "--format", format});
    const Outcome made = topspin(runs);
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return made.out;
  };
  const Json rules = Json::parse(report({"last"}, "json"))["rules"];
  ASSERT_EQ(rules.size(), 2u);
  EXPECT_EQ(rules[0]["rule"], "packets > 5000");
  EXPECT_EQ(rules[0]["verdict"], "broken");
  EXPECT_EQ(rules[0]["value"], 4000);
  EXPECT_EQ(rules[1]["verdict"], "kept");
  EXPECT_THAT(report({"last"}, "text"), HasSubstr("broken: packets > 5000 (4000 against 5000)"));
  EXPECT_THAT(report({"last"}, "markdown"), HasSubstr("Rules broken"));
  const std::string page = report({"last"}, "html");
  EXPECT_THAT(page, HasSubstr("data-verdict=\"Rules broken\""));
  EXPECT_THAT(page, HasSubstr("<code>packets &gt; 5000</code>"));
  EXPECT_THAT(page, HasSubstr("<section id=\"rules\">"));
  // The report of A against B fails by the candidate's rules, as the gate does. The baseline's
  // rules are only shown.
  EXPECT_EQ(gate().exit_code, 1) << gate().out;
  EXPECT_THAT(gate().out, HasSubstr("A (a)")) << "the plan's subjects name the sides";
  const std::string both = report({"side=a", "side=b"}, "html");
  EXPECT_THAT(both, HasSubstr("data-verdict=\"Fail\""));
  EXPECT_THAT(both, HasSubstr("SLO broken in 11 of 11 runs: packets &gt; 5000"));
  EXPECT_THAT(both, HasSubstr("<code>packets &gt; 3000</code>"));
  EXPECT_THAT(both, HasSubstr("In all judged runs of the candidate"));
  EXPECT_THAT(both, HasSubstr("a &lt;b&gt;plan&lt;/b&gt;: a against b"));
  // A plan that cannot be read leaves the rest of the report as it is.
  make_pairs(1.0, 1, held_to("\"pigs > 1\""), held_to("\"pigs > 1\""));
  const Json unread = Json::parse(report({"last"}, "json"))["rules"];
  ASSERT_EQ(unread.size(), 1u);
  EXPECT_EQ(unread[0]["verdict"], "unknown");
  EXPECT_THAT(unread[0]["explanation"].get<std::string>(), HasSubstr("pigs"));
}

LoadResult http_load(uint64_t sent, uint64_t replied, uint64_t errors) {
  LoadResult load;
  load.workload = WorkloadKind::kHttp;
  load.target = "127.0.0.1:1";
  load.tcp.emplace();
  load.tcp->timeouts = sent - replied;
  load.http.emplace();
  load.http->statuses[200] = replied - errors;
  if (errors > 0) load.http->statuses[503] = errors;
  LoadAccounts& a = load.total.accounts;
  a.scheduled = a.sent = sent;
  a.replied = replied;
  a.lost = sent - replied;
  a.http_errors = errors;
  load.own.wall_ns = 4 * kNanosPerSecond;
  return load;
}

TEST_F(GateRuns, AServerThatDropsEverySecondRequestFailsHoweverCheapItIs) {
  const auto with = [](uint64_t replied, uint64_t errors) {
    return [=](size_t, Made& made) { made.load = http_load(1000, replied, errors); };
  };
  make_pairs(0.5, 10, with(500, 0), with(1000, 0));
  const Outcome dropped = gate({"--format", "json"});
  EXPECT_EQ(dropped.exit_code, 1) << dropped.out << dropped.err;
  EXPECT_THAT(Json::parse(dropped.out)["reasons"][0].get<std::string>(), HasSubstr("failed_share"));
  EXPECT_EQ(gate({"side=b", "side=a"}).exit_code, 1) << "by its CPU alone";
}

TEST_F(GateRuns, ErrorsInEveryAnswerAndFiveOfAThousandFail) {
  for (const uint64_t errors : {1000u, 5u}) {
    runs_ += 1000;
    const std::string session = std::to_string(errors);
    const auto with = [&](uint64_t count) {
      return [=](size_t, Made& made) {
        made.load = http_load(1000, 1000, count);
        made.session = session;
      };
    };
    make_pairs(1.0, 10, with(errors), with(0));
    const Outcome run = gate({"--format", "json"});  // judges only the newest session
    EXPECT_EQ(run.exit_code, 1) << run.out << run.err;
    EXPECT_THAT(Json::parse(run.out)["reasons"][0].get<std::string>(),
                HasSubstr("failed_share: the baseline has 0"));
  }
}

TEST_F(GateRuns, WithoutALoadTheWiresOwnFailuresGate) {
  const auto with = [](uint64_t unanswered) {
    return [=](size_t, Made& made) {
      made.requests = 1000;
      made.unanswered = unanswered;
    };
  };
  make_pairs(1.0, 10, with(5), with(0));
  EXPECT_EQ(gate().exit_code, 1) << gate().out;
}

std::map<std::string, std::string> numbers_of(const Json& judgement, const std::string& name) {
  std::map<std::string, std::string> numbers;
  for (const Json& metric : judgement["metrics"]) {
    if (metric["name"] != name) continue;
    for (const char* key : {"a", "b", "change", "ci_low", "ci_high", "n"})
      numbers[key] = metric[key].dump();
  }
  return numbers;
}

TEST_F(GateRuns, OneNameIsOneNumberInGateCompareAndThePage) {
  make_pairs(
      1.2, 12,
      [](size_t i, Made& b) {
        b.labels["pair"] = std::to_string(i);
        b.cpu_ns_per_flow *= 1 + 0.2 * static_cast<double>(i);  // a host that drifts
        b.cpu_ns_of_warm_up = 80'000'000;
      },
      [](size_t i, Made& a) {
        a.labels["pair"] = std::to_string(i);
        a.cpu_ns_per_flow *= 1 + 0.2 * static_cast<double>(i);
      });
  const Json by_gate = Json::parse(gate({"--format", "json"}).out);
  const Json by_compare =
      Json::parse(topspin({"compare", "side=a", "side=b", "--db", db(), "--format", "json"}).out);
  for (const char* name : {"cpu_ns_per_flow", "cpu_ns_per_packet", "rss_bytes_max"}) {
    const auto numbers = numbers_of(by_gate, name);
    ASSERT_EQ(numbers.size(), 6u) << name;
    EXPECT_EQ(numbers, numbers_of(by_compare, name)) << name;
  }
  EXPECT_TRUE(by_compare["paired"]);

  const std::string page =
      topspin({"report", "side=a", "side=b", "--db", db(), "--format", "html"}).out;
  // The tile and the row of the table have the same two medians.
  const auto between = [&](const std::string& text, const std::string& from,
                           const std::string& to) {
    const size_t begin = text.find(from);
    if (begin == std::string::npos) return std::string();
    const size_t end = text.find(to, begin + from.size());
    return text.substr(begin + from.size(), end - begin - from.size());
  };
  const auto without_tags = [](const std::string& html) {
    std::string text;
    bool inside = false;
    for (const char c : html) {
      if (c == '<') inside = true;
      if (!inside) text += c;
      if (c == '>') inside = false;
    }
    return text;
  };
  const std::string row = between(page, "<code>cpu_ns_per_flow</code>", "</tr>");
  const std::string a = without_tags(between(row, "</th><td", "</td>"));
  const std::string tile = between(page, "CPU per flow</p>", "</div>");
  ASSERT_FALSE(row.empty());
  ASSERT_FALSE(tile.empty());
  const std::string value_a = a.substr(a.find('>') + 1);
  EXPECT_THAT(without_tags(tile), HasSubstr(value_a)) << row << tile;
  for (const std::string format : {"html", "markdown"}) {
    const std::string shown =
        topspin({"report", "side=a", "side=b", "--db", db(), "--format", format}).out;
    const std::string by_gate_md = gate({"--format", "markdown"}).out;
    // The report shows the same change as the gate: in Markdown, with the same row.
    const std::string gate_row = between(by_gate_md, "cpu_ns_per_flow", "\n");
    ASSERT_FALSE(gate_row.empty());
    if (format == "markdown") {
      EXPECT_THAT(shown, HasSubstr(gate_row));
    } else {
      const double change = by_gate["metrics"][0]["change"];
      EXPECT_THAT(shown, HasSubstr(fmt::format("{:+.1f}%", 100 * change)));
    }
  }
}

TEST_F(GateRuns, ARunAgainstItselfIsRefused) {
  make_pairs(1.0, 1);
  for (const char* command : {"compare", "gate"}) {
    const Outcome run = topspin({command, "last", "last", "--db", db()});
    EXPECT_EQ(run.exit_code, 2) << command << run.out;
    EXPECT_THAT(run.err, HasSubstr("both sides"));
  }
}

TEST_F(GateRuns, RunsOfABusyHostAreShownAndNotJudged) {
  make_pairs(1.5, 10, [](size_t, Made& made) { made.busy_ns = 1'900'000'000; });
  const Outcome run = topspin({"compare", "side=a", "side=b", "--db", db(), "--format", "json"});
  EXPECT_EQ(run.exit_code, 3);
  const Json json = Json::parse(run.out);
  EXPECT_EQ(json["verdict"], "invalid");
  EXPECT_THAT(json["reasons"][0].get<std::string>(), HasSubstr("not judged:"));
  EXPECT_NEAR(json["metrics"][0]["change"].get<double>(), 0.5, 0.02);
  // The list and the report use the same words.
  const Json list = Json::parse(topspin({"list", "--db", db(), "--format", "json"}).out);
  size_t fit = 0;
  for (const Json& one : list["runs"]) {
    EXPECT_TRUE(one["complete"]);
    EXPECT_TRUE(one["usable"]);
    fit += one["may_be_judged"] ? 1 : 0;
  }
  EXPECT_EQ(fit, 10u);
  const Outcome text = topspin({"report", "last", "--db", db()});
  const bool last_is_busy = !list["runs"].back()["may_be_judged"];
  EXPECT_THAT(text.out, HasSubstr(last_is_busy ? "complete, usable, may not be judged"
                                               : "complete, usable, may be judged"));
}

TEST_F(GateRuns, ADoubtfulRunMayNotBeJudgedAndSaysItsDoubt) {
  make_pairs(1.0, 10, [](size_t, Made& made) { made.doubts = {"the clock was set back"}; });
  const Outcome run = gate();
  EXPECT_EQ(run.exit_code, 3) << run.out;
  EXPECT_THAT(run.out, HasSubstr("10 runs are left out"));
  EXPECT_THAT(run.out, HasSubstr("the clock was set back"));
}

TEST_F(GateRuns, AReportShowsTheVerdictThatTheGateGave) {
  make_pairs(1.10, 10);
  const std::string config = dir_.file("rules.toml"), verdict = dir_.file("gate.json");
  std::ofstream(config) << "[metric.cpu_ns_per_flow]\nmargin = \"20%\"\n";
  ASSERT_EQ(gate({"--config", config, "--format", "json", "-o", verdict}).exit_code, 0);
  const auto report = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"report", "--db", db()});
    return topspin(more);
  };
  const auto page = report({"side=a", "side=b", "--format", "html"});
  EXPECT_THAT(page.out, HasSubstr("data-verdict=\"Fail\"")) << "by the default margin";
  for (const std::string format : {"html", "markdown"}) {
    const auto judged = report({"side=a", "side=b", "--judgement", verdict, "--format", format});
    EXPECT_EQ(judged.exit_code, 0) << judged.err;
    EXPECT_THAT(judged.out, HasSubstr("Pass")) << format;
    EXPECT_THAT(judged.out, testing::Not(HasSubstr("Fail"))) << format;
  }
  EXPECT_EQ(report({"last", "--judgement", verdict, "--format", "html"}).exit_code, 2);
  EXPECT_EQ(report({"side=a", "side=b", "--judgement", verdict}).exit_code, 2) << "of text";
  EXPECT_EQ(
      report({"side=a", "side=b", "--judgement", config + ".no", "--format", "html"}).exit_code, 5);
}

TEST_F(GateRuns, TheGateIsHeldAgainstItself) {
  make_pairs(1.0, 12);
  const Outcome run = gate({"--aa", "50", "side=a"});
  EXPECT_EQ(run.exit_code, 3) << "12 runs are too few";
  for (size_t i = 0; i < 12; ++i) {
    Made made;
    made.labels = {{"side", "a"}};
    made.commit = std::string(40, 'a');
    made.cpu_ns_per_flow = swinging(10'000, i, 3);
    make(made);
  }
  const Outcome json_run = gate({"--aa", "50", "aaaaaaa", "--format", "json"});
  EXPECT_EQ(json_run.exit_code, 0) << json_run.out << json_run.err;
  const Json json = Json::parse(json_run.out);
  EXPECT_EQ(json["mode"], "aa");
  EXPECT_EQ(json["trials"], 50);
  EXPECT_EQ(json["pairs"], 12);
  EXPECT_EQ(json["alarms"], 0);
  EXPECT_EQ(json["false_alarm_rate"], 0);
  EXPECT_GT(json["metrics"][0]["minimum_detectable"], 0.03);
  EXPECT_THAT(gate({"--aa", "20", "side=a"}).out, HasSubstr("0 false alarms in 20"));
  EXPECT_EQ(gate({"--aa", "20"}).exit_code, 0) << "the newest run's commit";
  EXPECT_EQ(gate({"--aa", "0"}).exit_code, 2);
  EXPECT_EQ(gate({"--aa", "5", "--history"}).exit_code, 2);
}

TEST_F(GateRuns, CompareLaysHistogramsOverEachOtherAndSaysWhatDiffers) {
  for (const std::string side : {"a", "b"}) {
    RunInfo info;
    info.started_wall_ns = 1'790'000'000 * kNanosPerSecond + 60 * kNanosPerSecond * runs_++;
    info.id = make_run_id(info.started_wall_ns);
    info.labels = {{"side", side}, {"plan", side == "a" ? "small" : "large\x1b[31m"}};
    info.host.fingerprint = "here";
    info.settings.filter = "udp port 8888";
    info.settings.period_ns = side == "a" ? kNanosPerSecond : kNanosPerSecond / 4;
    info.probes = {{"scheduler", side == "a" ? Rung::kTpBtf : Rung::kProc, ""}};
    auto writer = RunWriter::create(db(), info, {});
    ASSERT_TRUE(writer.ok());
    for (uint64_t tick = 1; tick <= 4; ++tick) {
      Sample sample;
      sample.tick = tick;
      sample.interval_ns = kNanosPerSecond;
      sample.elapsed_ns = static_cast<int64_t>(tick) * kNanosPerSecond;
      for (uint64_t i = 1; i <= 500; ++i)
        sample.flows.reply_latency.record(i * (side == "a" ? 100 : 200));
      ASSERT_TRUE((*writer)->append(sample).ok());
    }
    ASSERT_TRUE((*writer)->finish({}).ok());
  }
  const Outcome text = topspin({"compare", "side=a", "side=b", "--db", db()});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("not comparable: the runs differ in plan: large"));
  EXPECT_THAT(text.out, HasSubstr("not comparable: the runs differ in declared period: "));
  EXPECT_THAT(text.out, HasSubstr("different rungs (proc, tp_btf)"));
  EXPECT_EQ(text.out.find("capture filter"), std::string::npos);
  EXPECT_EQ(text.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.out.find("█"), std::string::npos) << "bars stand where they are asked for";
  EXPECT_THAT(topspin({"compare", "side=a", "side=b", "--distributions", "--db", db()}).out,
              HasSubstr("█"));
  const Json json =
      Json::parse(topspin({"compare", "side=a", "side=b", "--db", db(), "--format", "json"}).out);
  EXPECT_EQ(json["not_comparable"].size(), 3u);
  ASSERT_EQ(json["distributions"].size(), 1u);
  const Json& d = json["distributions"][0];
  EXPECT_EQ(d["name"], "reply_latency_ns");
  EXPECT_EQ(d["a"]["count"], 2000);
  EXPECT_NEAR(d["a"]["p50"].get<double>(), 25'000, 1000);
  EXPECT_NEAR(d["b"]["p99"].get<double>(), 99'000, 4000);
  double a = 0, b = 0;
  for (const Json& bar : d["bars"]) {
    a += bar["a"].get<double>();
    b += bar["b"].get<double>();
  }
  EXPECT_NEAR(a, 1, 1e-9);
  EXPECT_NEAR(b, 1, 1e-9);
}

TEST_F(GateRuns, BadInputIsSaid) {
  make_pairs(1.0, 1);
  EXPECT_EQ(gate({"side=a", "side=c"}).exit_code, 2);
  EXPECT_EQ(gate({"side=a", "side=b", "--column", "x"}).exit_code, 2);
  EXPECT_EQ(topspin({"compare", "", "last", "--db", db()}).exit_code, 2);
  EXPECT_EQ(topspin({"compare", "last", "last", "--db", dir_.file("no.db")}).exit_code, 5);
  EXPECT_EQ(topspin({"compare", "side=a", "side=b", "--db", db()}).exit_code, 0);
  EXPECT_EQ(topspin({"compare", "side=a", "side=b", "--db", db(), "--strict"}).exit_code, 3);
}

}  // namespace
}  // namespace topspin::test
