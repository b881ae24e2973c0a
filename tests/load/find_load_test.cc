// `topspin load --find` and a plan's `find`, with real servers whose capacity is known: one that
// answers no more than so many requests a second (tests/support/paced_server.c), and nginx with a
// limit of requests.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include "tests/load/misbehaving_udp_server.h"
#include "tests/support/every_night.h"
#include "tests/support/process.h"
#include "tests/support/servers.h"
#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

using nlohmann::json;
using test::Outcome;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

constexpr auto kSearchTakes = std::chrono::seconds(240);

/// A paced server on a port of its own.
struct PacedServer {
  int port = test::free_port(SOCK_STREAM);
  test::Process process;
  explicit PacedServer(int per_s, const std::string& how = "sleep")
      : process({std::string(TOPSPIN_BINARY_DIR) + "/tests/load/paced_server", std::to_string(port),
                 std::to_string(per_s), how}) {
    EXPECT_TRUE(process.wait_for("listening"));
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port) + "/"; }
  uint64_t answered() {
    process.send(SIGTERM);
    const Outcome end = process.finish();
    const size_t at = end.out.find("answered ");
    return at == std::string::npos ? 0 : std::stoull(end.out.substr(at + 9));
  }
};

Outcome load(std::vector<std::string> arguments, const std::function<void()>& before_exec = {}) {
  arguments.insert(arguments.begin(), {TOPSPIN_LOAD_PROGRAM, "load"});
  return test::Process(std::move(arguments), before_exec).finish(kSearchTakes);
}

json result_of(const Outcome& outcome) {
  json result = json::parse(outcome.out, nullptr, false);
  EXPECT_FALSE(result.is_discarded()) << outcome.out << outcome.err;
  return result.is_discarded() ? json::object() : result;
}

/// The equations of the whole load, and that it is the sum of its stages.
void expect_balance(const json& result) {
  const auto count = [](const json& part, const char* name) { return part[name].get<uint64_t>(); };
  EXPECT_EQ(result["invalid_reasons"], json::array());
  EXPECT_EQ(count(result, "scheduled"), count(result, "planned"));
  EXPECT_EQ(count(result, "scheduled"), count(result, "sent") + count(result, "send_errors") +
                                            count(result, "never_scheduled"));
  EXPECT_EQ(count(result, "sent"),
            count(result, "replied") + count(result, "late_replies") + count(result, "lost"));
  for (const char* name : {"scheduled", "sent", "replied", "lost", "never_scheduled"}) {
    uint64_t sum = 0;
    for (const json& stage : result["stages"]) sum += count(stage, name);
    EXPECT_EQ(sum, count(result, name)) << name;
  }
  // Each stage of the search is one of the load, with the same numbers.
  for (const json& stage : result["find"]["stages"]) {
    size_t found = 0;
    for (const json& part : result["stages"]) {
      if (part["name"] != stage["name"]) continue;
      ++found;
      EXPECT_EQ(part["sent"], stage["sent"]);
      EXPECT_EQ(part["replied"], stage["replied"]);
    }
    EXPECT_EQ(found, 1u) << stage["name"];
  }
}

TEST(Find, TheCapacityOfAServerIsWithinTheInterval) {
  PacedServer server(800);
  // As fast as it answers, whatever a schedule says.
  const json closed =
      result_of(load({"http", "--target", server.url(), "--closed", "--period", "1us", "--clients",
                      "10", "--hold", "3s", "--format", "json", "-q"}));
  const double measured = closed["replied"].get<double>() / 3;
  EXPECT_LE(measured, 820);
  const Outcome outcome =
      load({"http", "--target", server.url(), "--find", "p90(reply_latency) < 50ms", "--find-hold",
            "1s", "--find-from", "500", "--format", "json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json result = result_of(outcome);
  const json& find = result["find"];
  // On a busy host the generator may be the limit, and the search says so.
  const bool is_border = find["end"] == "border";
  EXPECT_TRUE(is_border || find["end"] == "generator") << find["answer"];
  // Above its capacity by a little, the queue does not reach the rule's bound in a stage.
  EXPECT_LE(find["kept"].get<double>(), measured * 1.04) << find["answer"];
  EXPECT_GT(find["failed"].get<double>(), measured * 0.96) << find["answer"];
  if (is_border) {
    EXPECT_LT(find["failed"].get<double>() / find["kept"].get<double>(), 1.5);
  }
  expect_balance(result);
  EXPECT_THAT(outcome.err, HasSubstr("kept"));
  EXPECT_THAT(outcome.err, HasSubstr("broken (p90(reply_latency) < 50ms: "));
  // What it answered after its client had given up is lost, so it may have answered more.
  const uint64_t answered = server.answered() - closed["replied"].get<uint64_t>();
  EXPECT_GE(answered, result["replied"].get<uint64_t>());
  EXPECT_LE(answered, result["sent"].get<uint64_t>() + 10);
}

TEST(Find, ByClientsWithTwoThreadsAndTheServersCpuAsTheLimit) {
  TOPSPIN_ONLY_EVERY_NIGHT();
  PacedServer server(500, "burn");
  const Outcome outcome =
      load({"http", "--target", server.url(), "--period", "100ms", "--threads", "2", "--find",
            "p90(reply_latency) < 60ms", "--find-from", "20", "--find-within", "20", "--find-hold",
            "1s", "--find-pid", std::to_string(server.process.pid()), "--format", "json"});
  const json result = result_of(outcome);
  const json& find = result["find"];
  EXPECT_EQ(find["by"], "clients");
  expect_balance(result);
  EXPECT_EQ(result["threads"].size(), 2u);
  // It burns a CPU, which other programs may take from it; so it may be slower, never faster.
  EXPECT_LE(find["kept"].get<double>(), 52) << find["answer"];
  if (find["end"] == "border") {
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_THAT(find["limits"].dump(), HasSubstr("the subject's CPU: its thread paced_server"));
  }
}

TEST(Find, ALimitOfRequestsOfNginx) {
  TOPSPIN_ONLY_EVERY_NIGHT();
  const std::string nginx = test::find_program("nginx");
  if (nginx.empty()) GTEST_SKIP() << "nginx is neither installed nor fetched";
  const test::TempDir dir;
  const int port = test::free_port(SOCK_STREAM);
  std::ofstream(dir.path() / "nginx.conf") << fmt::format(
      "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log crit;\n"
      "events {{ worker_connections 4096; }}\n"
      "http {{ access_log {0}/access.log; client_body_temp_path {0}; proxy_temp_path {0};\n"
      "  fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};\n"
      "  limit_req_zone $request_uri zone=all:1m rate=400r/s;\n"
      "  server {{ listen 127.0.0.1:{1}; keepalive_requests 1000000;\n"
      "    location / {{ limit_req zone=all burst=20 nodelay; root {0}; }} }} }}\n",
      dir.path().string(), port);
  std::ofstream(dir.path() / "ok") << "ok";
  using std::filesystem::perms;
  std::filesystem::permissions(dir.path(), perms::others_exec | perms::others_read,
                               std::filesystem::perm_options::add);
  const test::Server server(
      {nginx, "-c", (dir.path() / "nginx.conf").string(), "-p", dir.path().string() + "/"});
  ASSERT_TRUE(test::becomes_true([&] { return test::accepts_connections(port); }));
  // What is an error at any level is not searched.
  const Outcome missing =
      load({"http", "--target", fmt::format("http://127.0.0.1:{}/no", port), "--find",
            "p50(reply_latency) < 1s", "--find-hold", "300ms", "--find-from", "100"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_THAT(missing.out, HasSubstr("most answers were errors"));
  std::filesystem::resize_file(dir.path() / "access.log", 0);
  const Outcome outcome = load({"http", "--target", fmt::format("http://127.0.0.1:{}/ok", port),
                                "--find", "p90(reply_latency) < 100ms", "--find-hold", "1s",
                                "--find-from", "300", "--format", "json"});
  const json result = result_of(outcome);
  const json& find = result["find"];
  expect_balance(result);
  // 1% of the answers may be errors, and 20 may be over the limit at once.
  EXPECT_GE(find["failed"].get<double>(), 398) << find["answer"];
  EXPECT_LE(find["kept"].get<double>(), 425) << find["answer"];
  EXPECT_THAT(outcome.err, HasSubstr("had no reply in time, or an error"));
  // Its own log has each request, with the status that the load counted.
  std::ifstream log(dir.path() / "access.log");
  uint64_t served = 0, refused = 0;
  for (std::string line; std::getline(log, line);) {
    if (line.find("\" 200 ") != std::string::npos) ++served;
    if (line.find("\" 503 ") != std::string::npos) ++refused;
  }
  EXPECT_EQ(served, result["http"]["http_2xx"].get<uint64_t>());
  EXPECT_EQ(refused, result["http"]["http_5xx"].get<uint64_t>());
}

TEST(Find, MoreClientsThanTheHostAllowsIsTheGeneratorsLimit) {
  MisbehavingUdpServer server({});
  const Outcome outcome =
      load({"udp-pingpong", "--target", server.target(), "--sockets", "own", "--period", "50ms",
            "--find", "p50(reply_latency) < 500ms", "--find-hold", "200ms", "--find-within", "40",
            "--find-from", "20", "--format", "json"},
           [] {
             const rlimit few{100, 100};
             setrlimit(RLIMIT_NOFILE, &few);
           });
  const json result = result_of(outcome);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const json& find = result["find"];
  EXPECT_EQ(find["end"], "generator");
  EXPECT_LT(find["kept"].get<double>(), 100);
  EXPECT_THAT(find["answer"].get<std::string>(), HasSubstr("at least"));
  EXPECT_THAT(find["limits"].dump(), HasSubstr("the generator: "));
  EXPECT_EQ(server.stop().received, result["sent"].get<uint64_t>());
}

TEST(Find, StopsAtItsMaximumAndAtASignal) {
  PacedServer server(2000);
  const test::TempDir dir;
  const Outcome all =
      load({"http", "--target", server.url(), "--find", "p50(reply_latency) < 1s", "--find-from",
            "100", "--find-max", "150", "--find-hold", "300ms", "--format", "json", "--db",
            dir.file("find.db"), "--label", "find_by=me"});
  const json most = result_of(all);
  EXPECT_EQ(all.exit_code, 0);
  EXPECT_EQ(most["find"]["end"], "most");
  EXPECT_EQ(most["find"]["kept"], 150.0);
  // A run keeps the answer in its labels, except in those that the user gave.
  const Outcome kept =
      test::Process({TOPSPIN_LOAD_PROGRAM, "sql", "--db", dir.file("find.db"),
                     "SELECT key, value FROM labels ORDER BY key", "--format", "csv"})
          .finish();
  EXPECT_THAT(kept.out, HasSubstr("\"find\",\"p50(reply_latency) < 1s\"\r\n"));
  EXPECT_THAT(kept.out, HasSubstr("\"find_by\",\"me\"\r\n\"find_end\",\"most\"\r\n"
                                  "\"find_kept\",\"150\"\r\n"));

  test::Process stopped({TOPSPIN_LOAD_PROGRAM, "load", "http", "--target", server.url(), "--find",
                         "p99(reply_latency) < 1s", "--format", "json"});
  ASSERT_TRUE(stopped.wait_for("kept", std::chrono::seconds(60)));
  stopped.send(SIGINT);
  const Outcome outcome = stopped.finish();
  EXPECT_EQ(outcome.exit_code, 130);
  const json result = result_of(outcome);
  EXPECT_EQ(result["find"]["end"], "stopped");
  EXPECT_EQ(result["stopped_early"], true);
  EXPECT_EQ(result["find"]["kept"], 200.0);
  expect_balance(result);
}

TEST(Find, NobodyThereIsNoAnswer) {
  const int port = test::free_port(SOCK_STREAM);
  const Outcome outcome = load({"http", "--target", fmt::format("127.0.0.1:{}", port), "--find",
                                "p50(reply_latency) < 5ms", "--find-hold", "200ms"});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.out, HasSubstr("nobody listens on"));
  // The first stage is not played to its end: 2,000 messages for a p99, 20,000 for a p99.9.
  for (const std::vector<std::string>& words : {std::vector<std::string>{"http"},
                                                {"tcp-connect"},
                                                {"http", "--threads", "2"},
                                                {"udp-pingpong", "--timeout", "200ms"}}) {
    std::vector<std::string> all = words;
    all.insert(all.end(), {"--target", fmt::format("127.0.0.1:{}", port), "--find",
                           "p99(reply_latency) < 5ms", "--find-hold", "100s", "--format", "json"});
    const Outcome soon = load(all);
    EXPECT_EQ(soon.exit_code, 3) << soon.err;
    const json result = result_of(soon);
    EXPECT_LT(result["sent"].get<uint64_t>(), 2000u) << words.back();
    EXPECT_EQ(result["lost"], result["sent"]) << words.back();
    EXPECT_THAT(result["invalid_reasons"].dump(), HasSubstr("nobody listens on"));
  }
}

TEST(Find, ALevelThatTakesMoreThanAMinuteForItsPercentileIsNotTried) {
  // Nothing is sent, so nobody needs to listen.
  for (const std::vector<std::string>& words : {std::vector<std::string>{"http", "--find-max", "5"},
                                                {"http", "--find-from", "17"},
                                                {"http", "--period", "1s", "--find-max", "10"},
                                                {"udp-pingpong", "--find-from", "17"}}) {
    std::vector<std::string> all = words;
    all.insert(all.end(), {"--target", "127.0.0.1:9", "--find", "p99(reply_latency) < 5ms"});
    const Outcome refused = load(all);
    EXPECT_EQ(refused.exit_code, 2) << words.back();
    EXPECT_THAT(refused.err, HasSubstr("p99 needs 1050 messages")) << words.back();
  }
}

TEST(Find, RefusesWhatCannotBe) {
  const auto refused = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"http", "--target", "127.0.0.1:9"});
    const Outcome outcome = load(std::move(more));
    EXPECT_EQ(outcome.exit_code, 2);
    return outcome.err;
  };
  const std::string rule = "p99(reply_latency) < 5ms";
  EXPECT_THAT(refused({"--find", "fds < 5"}), HasSubstr("fds is not measured by a load"));
  EXPECT_THAT(refused({"--find", rule, "--hold", "5s"}), HasSubstr("makes its own stages"));
  EXPECT_THAT(refused({"--find", rule, "--closed", "--find-by", "rate"}),
              HasSubstr("a closed loop has no rate"));
  EXPECT_THAT(refused({"--find", rule, "--period", "1s", "--find-by", "rate"}),
              HasSubstr("sets the period itself"));
  EXPECT_THAT(refused({"--find", rule, "--period", "1s", "--clients", "5"}),
              HasSubstr("leave --clients out"));
  EXPECT_THAT(refused({"--find", rule, "--find-from", "9", "--find-max", "8"}),
              HasSubstr("begins above its maximum"));
  EXPECT_THAT(refused({"--find-max", "8"}), HasSubstr("need a rule"));
  EXPECT_THAT(refused({"--find", rule, "--workers", "postgresql://a@b/c#d"}),
              HasSubstr("leave --workers out"));
  EXPECT_THAT(refused({"--find", rule, "--find-pid", "2147483000"}),
              HasSubstr("there is no process"));
}

TEST(Find, APlanSearchesAndKeepsTheStages) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to capture";
  const test::TempDir dir;
  const int port = test::free_port(SOCK_STREAM);
  const std::string plan = (dir.path() / "find.toml").string();
  std::ofstream(plan) << fmt::format(
      "[subject.paced]\ncommand = [\"{0}/tests/load/paced_server\", \"{1}\", \"300\", \"burn\"]\n"
      "ready = {{ port = \"tcp:{1}\" }}\n"
      "[load]\nworkload = \"http\"\ntarget = \"127.0.0.1:{1}\"\n"
      "find = [\"p90(reply_latency) < 60ms\"]\nfind_from = 200\nfind_within = 30\n"
      "find_hold = \"1s\"\n",
      TOPSPIN_BINARY_DIR, port);
  const std::string db = (dir.path() / "find.db").string();
  const Outcome outcome =
      test::Process({TOPSPIN_LOAD_PROGRAM, "run", plan, "--db", db}).finish(kSearchTakes);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("find: The rules hold up to "));
  EXPECT_THAT(outcome.err, ContainsRegex("subject [0-9.]+ CPUs"));
  const Outcome explained =
      test::Process({TOPSPIN_LOAD_PROGRAM, "explain", "last", "--db", db, "--format", "json"})
          .finish();
  const json findings = result_of(explained);
  if (findings["findings"][0]["finding"] != "nothing") {
    EXPECT_THAT(outcome.err, HasSubstr("what stands out in the run: " +
                                       findings["findings"][0]["sentence"].get<std::string>()));
  }
  const Outcome shown =
      test::Process({TOPSPIN_LOAD_PROGRAM, "load", "show", "last", "--db", db, "--format", "json"})
          .finish();
  const json stored = result_of(shown);
  EXPECT_THAT(stored["stages"].dump(), HasSubstr("\"rate_200\""));
  const Outcome report =
      test::Process({TOPSPIN_LOAD_PROGRAM, "report", "last", "--db", db}).finish();
  EXPECT_THAT(report.out, HasSubstr("find: The rules hold up to "));
}

}  // namespace
}  // namespace topspin
