// Plans: what the parser accepts, and how it reports errors. Pure.
#include "app/plan/plan.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/host/ports.h"
#include "app/options/observe_options.h"
#include "app/plan/experiment.h"
#include "app/plan/plan_session.h"
#include "ci/gate_config.h"
#include "tests/support/every_night.h"
#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kSmallest = R"(
[subject.a]
command = ["true"]
[load]
workload = "udp-pingpong"
target = "127.0.0.1:8888"
)";

Plan must_parse(const std::string& text) {
  auto plan = parse_plan(text, "dir/p.toml");
  if (!plan.ok()) {
    ADD_FAILURE() << plan.error().message;
    return {};
  }
  return std::move(plan).value();
}

std::string message_of(const std::string& text) {
  const auto plan = parse_plan(text, "p.toml");
  return plan.ok() ? "accepted" : plan.error().message;
}

TEST(ObserveOptions, TheWindowFollowsThePeriodUnlessItIsGiven) {
  const auto window_of = [](const char* period, const char* window) {
    ObserveOptions options;
    options.period = period;
    options.window = window;
    const auto table = flow_table_options(options);
    return table.ok() ? table->window_ns : -1;
  };
  EXPECT_EQ(window_of("", ""), 1'000'000'000);
  EXPECT_EQ(window_of("100ms", ""), 1'000'000'000);
  EXPECT_EQ(window_of("4s", ""), 6'000'000'000);
  EXPECT_EQ(window_of("4s", "2s"), 2'000'000'000);
  EXPECT_EQ(window_of("3000s", ""), 3'600'000'000'000) << "no longer than one can ask for";
  EXPECT_EQ(window_of("1s", "2h"), -1);
}

TEST(Plan, TheExampleIsAPlanAndSaysTheDefaults) {
  const Plan plan = must_parse(std::string(example_plan()));
  EXPECT_EQ(plan.name, "ping-pong");
  ASSERT_EQ(plan.subjects.size(), 1u);
  EXPECT_EQ(plan.subjects[0].ready.port, 8888);
  EXPECT_TRUE(plan.subjects[0].ready.udp);
  EXPECT_EQ(plan.rules.size(), 6u);
  // Values in the example that are not commented out or marked as examples are the defaults.
  const Plan smallest = must_parse(kSmallest);
  EXPECT_EQ(plan.order, smallest.order);
  EXPECT_EQ(plan.pause_ns, smallest.pause_ns);
  EXPECT_EQ(plan.subjects[0].stop_within_ns, smallest.subjects[0].stop_within_ns);
  EXPECT_EQ(plan.subjects[0].ready.within_ns, smallest.subjects[0].ready.within_ns);
  EXPECT_EQ(plan.interface, smallest.interface);
  EXPECT_EQ(plan.load->timeout_ns, smallest.load->timeout_ns);
  EXPECT_EQ(plan.warm_up_ns, smallest.warm_up_ns);
  EXPECT_EQ(plan.max_stored_flows, smallest.max_stored_flows);
}

TEST(Plan, TheReadyPlansAreAccepted) {
  size_t plans = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(TOPSPIN_SOURCE_DIR) + "/bench/plans")) {
    if (entry.path().extension() != ".toml") continue;
    std::stringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    const auto plan = parse_plan(text.str(), entry.path().string());
    EXPECT_TRUE(plan.ok()) << plan.error().message;
    ++plans;
  }
  EXPECT_GE(plans, 14u);
}

TEST(Plan, ASearchTakesThePlaceOfStages) {
  const std::string subject = "[subject.s]\ncommand = [\"s\"]\n";
  const std::string load = "[load]\nworkload = \"http\"\ntarget = \"127.0.0.1:80\"\n";
  const std::string find = "find = [\"p99(reply_latency) < 5ms\", \"lost == 0\"]\n";
  const Plan plan = must_parse(subject + load + find + "find_from = 50\nfind_max = 900\n" +
                               "find_within = 10\nfind_hold = \"3s\"\nclients = 7\n");
  EXPECT_EQ(plan.load->find.rules.size(), 2u);
  EXPECT_EQ(plan.load->find.by, FindBy::kRate);
  EXPECT_EQ(plan.load->find.from, 50);
  EXPECT_EQ(plan.load->find.most, 900);
  EXPECT_EQ(plan.load->find.clients, 7u);
  EXPECT_EQ(plan.load->find.hold_ns, 3'000'000'000);
  EXPECT_THAT(stage_names(plan), ElementsAre("start", "before", "after"));
  EXPECT_EQ(must_parse(subject + load + find + "period = \"1s\"\n").load->find.by,
            FindBy::kClients);
  const auto refusal = [&](const std::string& text) {
    const auto parsed = parse_plan(subject + text, "p.toml");
    return parsed.ok() ? std::string("accepted") : parsed.error().message;
  };
  EXPECT_THAT(refusal(load + "find = [\"fds < 5\"]\n"),
              HasSubstr("load.find: the rule \"fds < 5\" cannot be searched by"));
  EXPECT_THAT(refusal(load + find + "stages = \"0:5 over 1s\"\n"),
              HasSubstr("makes its own stages"));
  EXPECT_THAT(refusal(load + find + "workers = \"postgresql://a@b/c#d\"\n"),
              HasSubstr("load.find: is for a load that this host sends"));
  EXPECT_THAT(refusal(load + find + "[slo]\nrules = [{ rule = \"lost == 0\", abort = true }]\n"),
              HasSubstr("abort = true cannot be with `find`"));
}

TEST(Plan, SubjectsStandInTheOrderOfTheFile) {
  const Plan plan = must_parse(R"(
[run]
duration = "1s"
[subject.zebra]
command = ["z"]
[subject.ant]
command = ["a", "b c"]
environment = { KEY = "value" }
cpus = "0,2-3"
[subject.ant.ready]
after = "5ms"
)");
  ASSERT_EQ(plan.subjects.size(), 2u);
  EXPECT_EQ(plan.subjects[0].name, "zebra");
  EXPECT_EQ(plan.subjects[1].name, "ant");
  EXPECT_THAT(plan.subjects[1].command, ElementsAre("a", "b c"));
  EXPECT_EQ(plan.subjects[1].environment.at("KEY"), "value");
  EXPECT_THAT(plan.subjects[1].cpus, ElementsAre(0, 2, 3));
  EXPECT_EQ(plan.subjects[1].ready.after_ns, 5'000'000);
  EXPECT_EQ(plan.name, "p");  // the file's
}

TEST(Plan, ErrorsNameLineAndKeyAndWhatWasMeant) {
  const std::string small = kSmallest;
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"name = 3\n" + small, "p.toml:1: name: must be a text"},
      {small + "perod = \"1s\"\n",
       "p.toml:7: load.perod: there is no such key; did you mean "
       "\"period\"?"},
      {small + "xyzzy = 1\n",
       "load.xyzzy: there is no such key; there are arrive, at_least, clients"},
      {small + "period = \"1 parsec\"\n", "p.toml:7: load.period: \"1 parsec\" is not a duration"},
      {small + "period = 1\n", "load.period: must be a text"},
      {small + "stages = \"0:5\"\n", "p.toml:7: load.stages: "},
      {small + "stages = \"hold 1s\"\nclients = 4\n", "give either stages, or clients"},
      {small + "stages = \"before=1:1 over 1s\"\n", "choose another"},
      {small + "wire = \"ping5\"\n", "did you mean \"ping4\"?"},
      {small + "connection = \"close\"\n", "load.connection: there is no such key"},  // of http
      {small + "cpus = \"3-1\"\n", "not a list of CPUs"},
      {small + "workers = \"db.example\"\n", "load.workers: db.example is not the address"},
      {small + "workers = \"postgresql://me:secret@/x\"\n", "load.workers: has a password"},
      {small + "workers = \"postgresql://me@/x\"\ncpus = \"0\"\n", "load.cpus: is for a load that"},
      {small + "at_least = 2\n", "load.at_least: is for a load with `workers`"},
      {"[subject.a]\ncommand = [\"true\"]\n[load]\nworkload = \"udp-flood\"\n"
       "target = \"127.0.0.1:1\"\nworkers = \"postgresql://me@/x\"\n",
       "load.workers: udp-flood cannot be sent by workers"},
      {small + "[slo]\nrules = [\"losses == 0\",\n \"p99(reply_latencies) < 1ms\"]\n",
       "p.toml:9: slo.rules: in the rule"},
      {small + "[slo]\nrules = \"losses == 0\"\n", "slo.rules: must be a list"},
      {small + "[labels]\nside = \"a\"\n", "labels: side is a label"},
      {small + "[probes]\nscheduler = \"best\"\n", "p.toml:8: probes.scheduler: must be one of"},
      {small + "[probes]\nsyscalls = \"yes\"\n", "p.toml:8: probes.syscalls: must be true"},
      {small + "[probes]\nstacks = 5000\n", "p.toml:8: probes.stacks: must be 1 to 1000"},
      {small + "[probes]\nruntime = \"perl\"\n", "p.toml:8: probes.runtime: --runtime perl"},
      {small + "[run]\nrepeat = 0\n", "p.toml:8: run.repeat: must be a whole number from 1"},
      {small + "[run]\nduration = \"1s\"\n", "the load's stages say how long"},
      {small + "[laod]\n", "laod: there is no such key; did you mean \"load\"?"},
      {small + "[slo]\nrules = [\"p99(reply_latency) < 50\"]\n", "needs a unit"},
      {small + "[slo]\nlenient = 1\n", "slo.lenient: must be true or false"},
      {small + "[slo]\nrules = [{ rule = \"lost == 0\", abort = 1 }]\n",
       "slo.rules.abort: must be true or false"},
      {small + "[slo]\nrules = [{ abort = true }]\n", "slo.rules.rule: a rule in a table is"},
      {small + "[slo]\nrules = [7]\n", "every rule must be a text in quotes, or a table"},
      {small + "[slo]\nrules = [{ rule = \"p99(reply_latency) < 5ms\", abort = true }]\n",
       "cannot abort a run: what comes later could still keep it"},
      {"[subject.a]\ncommand = [\"true\"]\n[load]\nworkload = \"udp-pingpong\"\n"
       "target = \"http://127.0.0.1:1/\"\n",
       "p.toml:5: load.target: only http takes a URL"},
      {"[subject.a]\ncommand = [\"true\"]\n[load]\nworkload = \"http\"\n"
       "target = \"ftp://127.0.0.1:1/\"\n",
       "does not know the scheme ftp"},
      {"[subject.a]\ncommand = [\"true\"]\n", "needs a [load]"},
      {"[load]\nworkload = \"http\"\ntarget = \"x:1\"\n", "needs a subject"},
      {"[subject.a]\ncomand = [\"true\"]\n",
       "p.toml:2: subject.a.comand: there is no such key; did you mean \"command\"?"},
      {"[subject.a]\ncommand = [\"true\"]\n[load]\nworklaod = \"http\"\ntarget = \"x:1\"\n",
       "p.toml:4: load.worklaod: there is no such key; did you mean \"workload\"?"},
      {"[subject.a]\ncommand = []\n", "p.toml:2: subject.a.command"},
      {"[subject.a]\ncommand = [\"x\", 3]\n", "every item"},
      {"[subject.a]\ncommand = [\"x\"]\nready = { port = \"sctp:1\" }\n", "is not a port"},
      {"[subject.a]\ncommand = [\"x\"]\ncommit = \"--upload-pack=x\"\n", "hyphen"},
      {"[subject.a]\ncommand = [\"x\"]\n[subject.a.ready]\nwithn = \"1s\"\n",
       "p.toml:4: subject.a.ready.withn: there is no such key; did you mean \"within\"?"},
      {"name = \"open\n", "p.toml:1: "},
      {"name = \"a\"\nname = \"b\"\n", "p.toml:2: "},
      {std::string("\0\xff", 2), "p.toml:1: "},
  };
  for (const auto& [text, expected] : wrong) {
    const auto plan = parse_plan(text, "p.toml");
    ASSERT_FALSE(plan.ok()) << text;
    EXPECT_EQ(plan.error().code, ErrorCode::kUsage);
    EXPECT_THAT(plan.error().message, StartsWith("p.toml:")) << text;
    EXPECT_THAT(plan.error().message, HasSubstr(expected)) << text;
  }
  EXPECT_EQ(message_of(small), "accepted");
}

TEST(Plan, AWorkersLoadTravelsAsItIsHere) {
  const Plan plan =
      must_parse(std::string(kSmallest) +
                 "period = \"250ms\"\nclients = 7\narrive = \"2/s\"\nhold = \"3s\"\nworkers = "
                 "\"postgresql://me@/x#p\"\nwhere = { zone = \"a\" }\nat_least = 3\n");
  ASSERT_TRUE(plan.workers);
  EXPECT_EQ(plan.workers->options.address, "postgresql://me@/x#p");
  EXPECT_EQ(plan.workers->options.at_least, 3u);
  EXPECT_EQ(plan.workers->options.where.at("zone"), "a");
  const auto there = job_options(plan.workers->job);
  ASSERT_TRUE(there.ok());
  EXPECT_EQ(there->stages, plan.load->stages);
  EXPECT_EQ(there->period_ns, 250 * kNanosPerMilli);
  EXPECT_EQ(there->target, plan.load->target);
}

TEST(Plan, AProbeOnRequestIsAskedForWithOn) {
  const Plan plan = must_parse(std::string(kSmallest) + "[probes]\ninterrupts = \"on\"\n");
  EXPECT_THAT(plan.probes, ElementsAre("interrupts=on"));
  EXPECT_EQ(must_parse(std::string(kSmallest) + "[probes]\nruntime = \"go\"\n").runtime, "go");
}

TEST(Plan, TextsThatTheTomlParserAssertsOnAreErrorsWithTheirLine) {
  for (const char* text : {"[[[", "[.", "[#", "[[\n", "[ .a]", "[[#]]", "[[\n]]"}) {
    EXPECT_THAT(message_of(text), StartsWith("p.toml:1: ")) << text;
    EXPECT_THAT(message_of(std::string("name = \"x\"\n# more\n") + text), StartsWith("p.toml:3: "))
        << text;
  }
}

TEST(Plan, ATextThatNestsWithoutEndIsRefused) {
  std::string keys;
  for (int i = 0; i < 300'000; ++i) keys += "a.";
  EXPECT_THAT(message_of(keys + "a = 1\n"), HasSubstr("dots"));
  EXPECT_THAT(message_of("[" + keys + "a]\n"), HasSubstr("dots"));
  std::string nested;
  for (int i = 0; i < 100'000; ++i) nested += "[";
  EXPECT_THAT(message_of("x = " + nested), StartsWith("p.toml:1: "));
  EXPECT_THAT(message_of(std::string(8u << 20, '#')), HasSubstr("MiB"));
  // A text just below the limit is read and taken apart.
  EXPECT_THAT(message_of(keys.substr(0, 2 * 4'000) + "a = 1\n"), HasSubstr("no such key"));
}

TEST(Plan, AnyTextIsAPlanOrOneError) {
  std::mt19937 random(3);
  const std::string example(example_plan());
  constexpr std::string_view kPieces[] = {
      "[",    "[[", "]",    "]]", ".",      "#",          "\n",      "=",    "\"", "'",
      "{",    "}",  ",",    " ",  "a",      "\\u",        "0x",      "1e",   "-",  "nan",
      "true", "\0", "\xff", "\r", "\"\"\"", "1979-05-27", "subject", "load", "_",  "+"};
  const auto piece = [&] { return kPieces[random() % std::size(kPieces)]; };
  const auto check = [](const std::string& text) {
    const auto plan = parse_plan(text, "p.toml");
    if (plan.ok()) return;
    EXPECT_EQ(plan.error().code, ErrorCode::kUsage);
    EXPECT_THAT(plan.error().message, StartsWith("p.toml:"));
    const auto config = parse_gate_config(text, "g.toml");
    if (!config.ok()) {
      EXPECT_THAT(config.error().message, StartsWith("g.toml, line "));
    }
  };
  for (int round = 0; round < test::repeats(4'000, 20'000); ++round) {
    std::string text;
    if (round % 10 != 0) {
      for (size_t i = 1 + random() % 12; i > 0; --i) text += piece();
    } else {
      text = example;
      for (size_t i = 1 + random() % 4; i > 0; --i) {
        const size_t at = random() % text.size();
        if (random() % 2 == 0)
          text.insert(at, piece());
        else
          text.erase(at, random() % 20);
      }
    }
    check(text);
  }
}

TEST(Plan, RulesNameStagesThatThereWillBe) {
  const std::string hold = std::string(kSmallest) + "stages = \"0:3 over 1s, hold 1s\"\n";
  EXPECT_THAT(stage_names(must_parse(hold)),
              ElementsAre("start", "before", "ramp_up", "hold", "after"));
  EXPECT_THAT(stage_names(must_parse(hold + "warm_up = \"1s\"\n")), testing::Contains("warm_up"));
  EXPECT_THAT(
      stage_names(must_parse("[subject.a]\ncommand = [\"true\"]\n[run]\nduration = \"1s\"\n")),
      testing::Contains("observe"));
  const auto rules = [&](const std::string& text) {
    const Plan plan = must_parse(hold + "[slo]\n" + text);
    const Status status = check_rules(plan, "p.toml");
    return status.ok() ? std::string("fine") : status.error().message;
  };
  EXPECT_EQ(rules("rules = [\"active_flows == clients during hold\", \"fds < 9\"]\n"), "fine");
  EXPECT_THAT(rules("rules = [\"active_flows == clients during holdd\"]\n"),
              HasSubstr("there is no stage holdd; did you mean hold?"));
  EXPECT_EQ(rules("lenient = true\nrules = [\"fds < 9 during holdd\"]\n"), "fine");
}

TEST(Plan, SurroundingsAreLookedAtBeforeAnythingIsStarted) {
  const auto looked_at = [](const std::string& text) {
    const Plan plan = must_parse(text);
    const Status status = check_surroundings(plan, "p.toml");
    return status.ok() ? std::string("fine") : status.error().message;
  };
  const std::string small = kSmallest;
  EXPECT_EQ(looked_at(small), "fine");
  EXPECT_THAT(looked_at(small + "[capture]\nfilter = \"udp prt 8888\"\n"),
              HasSubstr("p.toml: capture.filter"));
  EXPECT_THAT(looked_at(small + "[capture]\ninterface = \"nowhere9\"\n"),
              HasSubstr("capture.interface: there is no interface nowhere9"));
  const auto command = [&](const std::string& keys) {
    return looked_at("[subject.a]\n" + keys + "[run]\nduration = \"1s\"\n");
  };
  EXPECT_THAT(command("command = [\"pyton3-of-nobody\"]\n"),
              HasSubstr("subject.a.command: cannot execute pyton3-of-nobody: there is no such "
                        "program in PATH"));
  EXPECT_THAT(command("command = [\"./nothing-here\"]\n"), HasSubstr("there is no such file"));
  EXPECT_THAT(command("command = [\"/etc/passwd\"]\n"), HasSubstr("cannot be executed"));
  EXPECT_THAT(command("command = [\"true\"]\ndirectory = \"nowhere\"\n"),
              HasSubstr("subject.a.directory: there is no folder"));
  EXPECT_THAT(command("command = [\"true\"]\nuser = \"no-such-user-9\"\n"),
              HasSubstr("subject.a.user"));
  EXPECT_THAT(command("command = [\"true\"]\ncpus = \"0,4000\"\n"),
              HasSubstr("subject.a.cpus: there is no CPU 4000"));
  EXPECT_THAT(looked_at(small + "cpus = \"4000\"\n"), HasSubstr("load.cpus: there is no CPU 4000"));
  // A program that a build has yet to make is not looked for.
  EXPECT_EQ(command("command = [\"./built\"]\nbuild = \"make\"\n"), "fine");
}

TEST(Plan, EveryWorkloadIsReadWithItsKeys) {
  const auto load = [](const std::string& keys) {
    return *must_parse("[subject.a]\ncommand = [\"true\"]\n[load]\ntarget = \"127.0.0.1:1\"\n" +
                       keys)
                .load;
  };
  const LoadOptions flood =
      load("workload = \"udp-flood\"\nrate = \"1000/s\"\nduration = \"2s\"\nflows = 3\nsize = 9\n");
  EXPECT_EQ(flood.workload, WorkloadKind::kUdpFlood);
  EXPECT_EQ(flood.packets_per_s, 1000);
  EXPECT_EQ(flood.duration_ns, 2'000'000'000);
  EXPECT_EQ(flood.flows, 3u);
  EXPECT_EQ(flood.message_bytes, 9u);
  const LoadOptions http = load("workload = \"http\"\nconnection = \"close\"\npath = \"/x\"\n");
  EXPECT_EQ(http.workload, WorkloadKind::kHttp);
  EXPECT_EQ(http.http.requests_per_connection, 1u);
  EXPECT_EQ(load("workload = \"accept-queue\"\nclients = 5\n").stages.size(), 3u);
  EXPECT_EQ(load("workload = \"tcp-connect\"\nexpect_bytes = 7\n").expect_bytes, 7u);
  EXPECT_EQ(load("workload = \"udp-pingpong\"\nwire = \"numbered\"\n").wire,
            WireProfile::kNumbered);
  EXPECT_EQ(load("workload = \"udp-pingpong\"\nwire = \"fixed32\"\n").wire, WireProfile::kFixed32);
  EXPECT_EQ(load("workload = \"udp-pingpong\"\nwire = \"ping4\"\n").wire, WireProfile::kPing4);
  for (const auto& [word, mode] : {std::pair("auto", SocketMode::kAuto),
                                   {"own", SocketMode::kOwn},
                                   {"shared", SocketMode::kShared}}) {
    EXPECT_EQ(
        load(std::string("workload = \"udp-pingpong\"\nsockets = \"") + word + "\"\n").sockets,
        mode);
  }
  for (const WorkloadKind kind :
       {WorkloadKind::kUdpPingpong, WorkloadKind::kUdpFlood, WorkloadKind::kTcpConnect,
        WorkloadKind::kHttp, WorkloadKind::kAcceptQueue}) {
    EXPECT_EQ(load("workload = \"" + std::string(workload_name(kind)) + "\"\n").workload, kind);
  }
  for (const auto& [word, order] : {std::pair("interleaved", PlanOrder::kInterleaved),
                                    {"abba", PlanOrder::kAbba},
                                    {"in turn", PlanOrder::kInTurn},
                                    {"blocks", PlanOrder::kBlocks}}) {
    EXPECT_EQ(must_parse(std::string(kSmallest) + "[run]\norder = \"" + word + "\"\n").order,
              order);
  }
}

TEST(Plan, AScriptIsReadAndTriedWithThePlan) {
  const test::TempDir dir;
  std::ofstream(dir.file("good.lua")) << "return function(client) client:sleep(1) end\n";
  std::ofstream(dir.file("bad.lua")) << "\nreturn nothing.here\n";
  std::ofstream(dir.file("users.csv")) << "name\nann\n";
  const auto plan = [&](const std::string& script, const std::string& data) {
    return parse_plan(
        "[subject.a]\ncommand = [\"true\"]\n[load]\ntarget = \"127.0.0.1:1\"\n"
        "workload = \"script\"\nscript = \"" +
            dir.file(script) + "\"\ndata = \"" + dir.file(data) +
            "\"\nseed = 7\nallow = \"10.0.0.0/8\"\n",
        "p.toml");
  };
  const auto good = plan("good.lua", "users.csv");
  ASSERT_TRUE(good.ok()) << good.error().message;
  EXPECT_EQ(good->load->workload, WorkloadKind::kScript);
  EXPECT_EQ(good->load->script_name, "good.lua");
  EXPECT_EQ(good->load->script_data.at("users.csv").rows.size(), 1u);
  EXPECT_EQ(good->load->script_seed, 7u);
  EXPECT_EQ(good->load->script_allowed.size(), 1u);
  EXPECT_THAT(plan("bad.lua", "users.csv").error().message, HasSubstr("bad.lua:2: "));
  EXPECT_THAT(plan("none.lua", "users.csv").error().message, HasSubstr("p.toml:6: load.script: "));
  EXPECT_THAT(plan("good.lua", "good.lua").error().message, HasSubstr("p.toml:7: load.data: "));
}

TEST(Plan, FilesOfALoadAreFoundBesideThePlan) {
  const test::TempDir dir;
  std::ofstream(dir.file("good.lua")) << "return function(client) client:sleep(1) end\n";
  std::ofstream(dir.file("users.csv")) << "name\nann\n";
  const std::string subject = "[subject.a]\ncommand = [\"true\"]\n[load]\n";
  const auto script = parse_plan(subject +
                                     "target = \"127.0.0.1:1\"\nworkload = \"script\"\n"
                                     "script = \"good.lua\"\ndata = \"./users.csv\"\n",
                                 dir.file("p.toml"));
  ASSERT_TRUE(script.ok()) << script.error().message;
  EXPECT_EQ(script->load->script_name, "good.lua");
  // A script names its data as the plan does.
  EXPECT_EQ(script->load->script_data.at("./users.csv").rows.size(), 1u);
  const auto http = parse_plan(subject +
                                   "target = \"https://127.0.0.1:1/\"\nworkload = \"http\"\n"
                                   "body_file = \"users.csv\"\nca_file = \"/etc/ca.pem\"\n",
                               dir.file("p.toml"));
  ASSERT_TRUE(http.ok()) << http.error().message;
  EXPECT_EQ(http->load->http.body_file, dir.file("users.csv"));
  EXPECT_EQ(http->load->http.ca_file, "/etc/ca.pem");
}

TEST(PlanOrder, EverySubjectRunsOnceARepeatAndTheSeedDecides) {
  const auto runs = order_of_runs(3, 20, PlanOrder::kInterleaved, 7);
  ASSERT_EQ(runs.size(), 60u);
  std::set<std::vector<size_t>> orders;
  for (size_t repeat = 0; repeat < 20; ++repeat) {
    std::vector<size_t> round;
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(runs[3 * repeat + i].repeat, repeat + 1);
      round.push_back(runs[3 * repeat + i].subject);
    }
    orders.insert(round);
    std::sort(round.begin(), round.end());
    EXPECT_THAT(round, ElementsAre(0, 1, 2));
  }
  EXPECT_GT(orders.size(), 3u);
  EXPECT_EQ(runs, order_of_runs(3, 20, PlanOrder::kInterleaved, 7));
  EXPECT_NE(runs, order_of_runs(3, 20, PlanOrder::kInterleaved, 8));
}

TEST(PlanOrder, TheOthersAreFixed) {
  const auto subjects = [](PlanOrder order) {
    std::vector<size_t> all;
    for (const PlannedRun& run : order_of_runs(2, 2, order, 1)) all.push_back(run.subject);
    return all;
  };
  EXPECT_THAT(subjects(PlanOrder::kAbba), ElementsAre(0, 1, 1, 0));
  EXPECT_THAT(subjects(PlanOrder::kInTurn), ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(subjects(PlanOrder::kBlocks), ElementsAre(0, 0, 1, 1));
}

TEST(CpuList, IsReadOrRefused) {
  EXPECT_THAT(*parse_cpu_list("0"), ElementsAre(0));
  EXPECT_THAT(*parse_cpu_list("3,1-2,2"), ElementsAre(1, 2, 3));
  for (const char* wrong : {"", ",", "1,", "-1", "1-", "a", "1 2", "0-99999", "4096"})
    EXPECT_FALSE(parse_cpu_list(wrong)) << wrong;
}

TEST(OutputTail, FindsALineHoweverItIsCutAndKeepsTheLastOnes) {
  OutputTail tail("listening");
  EXPECT_FALSE(tail.seen());
  EXPECT_THAT(tail.last_lines(), HasSubstr("printed nothing"));
  tail.add("one\nlist");
  EXPECT_FALSE(tail.seen());
  tail.add("ening on 80");
  EXPECT_TRUE(tail.seen());
  for (int i = 0; i < 50; ++i) tail.add("\nline " + std::to_string(i));
  tail.add(std::string(100'000, 'x'));
  EXPECT_LT(tail.last_lines().size(), 6'000u);
  EXPECT_THAT(tail.last_lines(), HasSubstr("line 48"));
  EXPECT_TRUE(OutputTail("").seen());
}

TEST(Ports, AreFoundInTheKernelsTables) {
  const std::string tcp =
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
      "   0: 0100007F:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"
      "   1: 0100007F:1F90 0100007F:22B8 01 00000000:00000000 00:00000000 00000000     0\n"
      "  garbage\n";
  EXPECT_TRUE(lists_open_port(tcp, false, 8888));
  EXPECT_FALSE(lists_open_port(tcp, false, 8080));  // a connection; nobody listens
  EXPECT_FALSE(lists_open_port(tcp, true, 8888));
  EXPECT_FALSE(lists_open_port("", false, 8888));
  const std::string udp6 =
      "  64: 00000000000000000000000000000000:22B8 00000000000000000000000000000000:0000 07 0:0\n";
  EXPECT_TRUE(lists_open_port(udp6, true, 8888));
}

}  // namespace
}  // namespace topspin
