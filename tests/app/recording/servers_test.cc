// Traffic that was not designed for topspin: nginx, redis, PostgreSQL, haproxy and unbound under
// their usual drivers. Each number of topspin is compared with two independent sources: what the
// driver says it did, and what tcpdump captured at the same time.
//
// The programs are those of the system, or come from build/tools/servers (cmake/fetch-servers). A
// test whose programs are missing is skipped and says which.
#include "tests/support/servers.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <glob.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>

#include "tests/support/ordinary_user.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;

/// The number right before (or after) the first `word`; nullopt: there is none.
std::optional<double> number_before(const std::string& text, const std::string& word) {
  const size_t end = text.find(word);
  if (end == std::string::npos) return std::nullopt;
  size_t begin = end;
  while (begin > 0 && (std::isdigit(static_cast<unsigned char>(text[begin - 1])) != 0)) --begin;
  if (begin == end) return std::nullopt;
  return std::stod(text.substr(begin, end - begin));
}
std::optional<double> number_after(const std::string& text, const std::string& word) {
  const size_t found = text.find(word);
  if (found == std::string::npos) return std::nullopt;
  const size_t begin = text.find_first_not_of(' ', found + word.size());
  if (begin == std::string::npos || std::isdigit(static_cast<unsigned char>(text[begin])) == 0)
    return std::nullopt;
  return std::stod(text.substr(begin));
}

class Servers : public testing::Test {
 protected:
  void SetUp() override { TOPSPIN_NEEDS_ROOT(); }

  std::string need(const std::string& name) {
    const std::string path = find_program(name);
    if (path.empty()) missing_ += " " + name;
    return path;
  }
  void write_file(const std::string& name, const std::string& text) const {
    std::ofstream(dir_.file(name)) << text;
  }

  /// Records the server's process while tcpdump captures the same packets, and runs the driver.
  void observe(pid_t server, const std::string& filter, std::vector<std::string> driver,
               const std::function<void()>& in_driver = use_fetched_libraries) {
    const std::string tcpdump = need("tcpdump");
    std::unique_ptr<Process> witness;
    if (!tcpdump.empty()) {
      witness = std::make_unique<Process>(
          std::vector<std::string>{tcpdump, "-i", "lo", "-n", "-Z", "root", "--immediate-mode",
                                   "-B", "32768", "-s", "96", "-w", dir_.file("witness.pcap"),
                                   filter},
          use_fetched_libraries);
      ASSERT_TRUE(witness->wait_for("listening on")) << "tcpdump does not start";
    }
    Process recording({topspin_binary(), "record", "-i", "lo", "--db", dir_.file("t.db"), "--pid",
                       std::to_string(server), filter});
    ASSERT_TRUE(recording.wait_for("active"));  // in the header, which comes with the first tick
    driver_ = Process(std::move(driver), in_driver).finish();
    // A load of topspin that sends late exits with 3. What is counted here is still right.
    const bool came_late =
        driver_.exit_code == 3 && driver_.out.find("too slow: sent late") != std::string::npos;
    ASSERT_TRUE(driver_.exit_code == 0 || came_late) << driver_.out << driver_.err;
    // A FIN that the kernel answers on its own may still be under way.
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    recording.send(SIGINT);
    const Outcome end = recording.finish();
    EXPECT_EQ(end.exit_code, 130) << end.err;
    if (witness) {
      witness->send(SIGINT);
      const Outcome said = witness->finish();
      witness_said_ = said.err;
      captured_ = number_before(said.err, " packets captured");
      witness_drops_ = number_before(said.err, " packets dropped by kernel").value_or(0);
    }
    const Outcome report =
        topspin({"report", "last", "--db", dir_.file("t.db"), "--format", "json"});
    ASSERT_EQ(report.exit_code, 0) << report.err;
    json_ = Json::parse(report.out);
  }

  const Json& summary() const { return json_["summary"]; }
  double replies() const { return summary()["reply_latency_ns"]["count"].get<double>(); }
  double mean_latency_ns() const {
    return summary()["reply_latency_ns"]["sum"].get<double>() / std::max(replies(), 1.0);
  }

  /// What must hold for any healthy server, with any driver.
  void expect_true_numbers(bool paced = false) const {
    EXPECT_EQ(json_["run"]["status"], "complete");
    if (captured_ && witness_drops_ == 0 && json_["losses"]["capture_kernel_drops"] == 0) {
      // The two begin at different times. An earlier connection may close in between.
      EXPECT_NEAR(summary()["packets"].get<double>(), *captured_, 8) << witness_said_;
    }
    if (!paced) {
      EXPECT_EQ(summary()["missed_ticks"], 0) << "nothing here has a period";
    }
    EXPECT_EQ(summary()["tcp_refused"], 0);
    EXPECT_EQ(json_["run"].value("doubts", Json::array()), Json::array());
  }

  /// The parts of the replies add up to no more than the wire saw, and to most of it. The rest is
  /// the path from the server's send to the wire.
  void expect_split_matches_wire(double replies_missing) const {
    const Json& split = summary()["reply_split_ns"];
    if (split.is_null() || split["runtime"].is_null()) return;  // no such probe on this host
    const auto count = split["runtime"]["count"].get<double>();
    EXPECT_GE(count, replies() - replies_missing);
    EXPECT_LE(count, replies() + replies_missing);
    const double parts = split["socket"]["sum"].get<double>() +
                         split["cpu_queue"]["sum"].get<double>() +
                         split["runtime"]["sum"].get<double>();
    // A request that never got a reply counts as the timeout in the sum, and is in no part.
    const double never_answered = std::max(
        summary()["unanswered"].get<double>() - summary()["late_replies"].get<double>(), 0.0);
    const double wire = summary()["reply_latency_ns"]["sum"].get<double>() - never_answered * 1e9;
    // The reply of a datagram ends when the send returns, which is after the wire sees it.
    EXPECT_LE(parts, 1.25 * wire + 50e3 * count);
    // A request that was sent again waited on the wire before it reached the socket.
    if (summary()["tcp_retransmissions"] != 0 || summary()["sockets"]["listen_overflows"] != 0)
      return;
    EXPECT_GE(parts + 50e3 * count, 0.75 * wire);
  }

  TempDir dir_;
  std::string missing_;
  Outcome driver_;
  std::optional<double> captured_;
  double witness_drops_ = 0;
  std::string witness_said_;
  Json json_;
};

#define TOPSPIN_NEEDS_PROGRAMS() \
  if (!missing_.empty()) TOPSPIN_SKIP("not installed, nor fetched by cmake/setup test:" + missing_)

std::string nginx_config(const std::string& dir, int port, int keepalive_requests) {
  return "user root; daemon off; worker_processes 1; pid " + dir + "/nginx.pid;\nerror_log " + dir +
         "/error.log;\nevents { worker_connections 512; }\nhttp { access_log " + dir +
         "/access.log;\nclient_body_temp_path " + dir + "/b; proxy_temp_path " + dir +
         "/p; fastcgi_temp_path " + dir + "/f; uwsgi_temp_path " + dir + "/u; scgi_temp_path " +
         dir + "/s;\nkeepalive_requests " + std::to_string(keepalive_requests) +
         ";\nserver { listen 127.0.0.1:" + std::to_string(port) +
         "; location / { return 200 \"hello\\n\"; } } }\n";
}

size_t lines_of(const std::string& path) {
  std::ifstream file(path);
  return static_cast<size_t>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
}

TEST_F(Servers, NginxUnderWrkHasNoLatenessAndItsOwnLogsReplies) {
  const std::string nginx = need("nginx"), wrk = need("wrk");
  TOPSPIN_NEEDS_PROGRAMS();
  const int port = free_port(SOCK_STREAM);
  write_file("nginx.conf", nginx_config(dir_.path(), port, 1'000'000));
  Server server({nginx, "-p", dir_.path(), "-c", dir_.file("nginx.conf"), "-e", dir_.file("e.log")},
                use_fetched_libraries);
  ASSERT_TRUE(becomes_true([&] { return accepts_connections(port); }));
  observe(server.pid(), "tcp port " + std::to_string(port),
          {wrk, "-t", "1", "-c", "5", "-d", "2s", "--latency",
           "http://127.0.0.1:" + std::to_string(port) + "/"});
  const auto requests = number_before(driver_.out, " requests in");
  ASSERT_TRUE(requests) << driver_.out;
  expect_true_numbers();
  // wrk counts what it has read. At the end, each connection may have a reply under way.
  EXPECT_GE(replies(), *requests);
  EXPECT_LE(replies(), *requests + 10);
  server.send(SIGTERM);
  server.finish();
  EXPECT_NEAR(static_cast<double>(lines_of(dir_.file("access.log"))), replies(), 10);
  expect_split_matches_wire(10 + 0.01 * replies());
  // The client's latency is at least that of the wire.
  const auto client_us = number_after(driver_.out, "Latency ");
  if (client_us && driver_.out.find("ms") == std::string::npos) {
    EXPECT_LE(mean_latency_ns(), *client_us * 1000);
  }
}

TEST_F(Servers, NginxWithAConnectionForEachRequestBalancesItsFlows) {
  const std::string nginx = need("nginx");
  TOPSPIN_NEEDS_PROGRAMS();
  const int port = free_port(SOCK_STREAM);
  write_file("nginx.conf", nginx_config(dir_.path(), port, 1));
  Server server({nginx, "-p", dir_.path(), "-c", dir_.file("nginx.conf"), "-e", dir_.file("e.log")},
                use_fetched_libraries);
  ASSERT_TRUE(becomes_true([&] { return accepts_connections(port); }));
  observe(server.pid(), "tcp port " + std::to_string(port),
          {topspin_binary(), "load", "http", "--target", "127.0.0.1:" + std::to_string(port),
           "--connection", "close", "--clients", "10", "--period", "50ms", "--hold", "2s"});
  const auto replied = number_after(driver_.out, "replied");
  ASSERT_TRUE(replied) << driver_.out;
  expect_true_numbers();
  EXPECT_EQ(replies(), *replied);
  EXPECT_EQ(summary()["unanswered"], 0);
  EXPECT_EQ(summary()["ended_flows"], summary()["flows"]);
  expect_split_matches_wire(0.02 * replies() + 2);
}

/// A proxy that asks `upstream` for each request, over a new connection or over kept ones.
std::string proxy_config(const std::string& dir, int port, int upstream, bool keeps) {
  const std::string kept = keeps ? " keepalive 8;" : "";
  return "user root; daemon off; worker_processes 1; pid " + dir + "/proxy.pid;\nerror_log " + dir +
         "/proxy_error.log;\nevents { worker_connections 512; }\nhttp { log_format t '"
         "$upstream_response_time $request_time'; access_log " +
         dir + "/proxy_access.log t;\nclient_body_temp_path " + dir + "/pb; proxy_temp_path " +
         dir + "/pp; fastcgi_temp_path " + dir + "/pf; uwsgi_temp_path " + dir +
         "/pu; scgi_temp_path " + dir +
         "/ps;\nkeepalive_requests 1000000; upstream u { server 127.0.0.1:" +
         std::to_string(upstream) + ";" + kept +
         " }\nserver { listen 127.0.0.1:" + std::to_string(port) +
         "; location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection "
         "\"\"; } } }\n";
}

/// How long the proxy says it waited for its upstream, in ns. It counts whole milliseconds.
double upstream_ns(const std::string& log) {
  std::ifstream file(log);
  double all = 0, upstream = 0;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    if (words >> upstream) all += upstream * 1e9;
  }
  return all;
}

/// topspin's own load. It may send late on a busy machine; that is no failure here.
std::vector<std::string> http_load(int port, const std::string& options) {
  return {"sh", "-c",
          topspin_binary() + " load http --target 127.0.0.1:" + std::to_string(port) + " " +
              options + "; status=$?; test $status -eq 0 -o $status -eq 3"};
}

/// Requests to a proxy are told from its own calls: the requests are in its access log, and the
/// calls in the access log of the server behind it.
class Proxies : public Servers, public testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Connections, Proxies, testing::Bool(), [](const auto& tested) {
  return std::string(tested.param ? "kept" : "anew");
});

TEST_P(Proxies, NginxBeforeNginxServesItsLogAndCallsTheOthers) {
  const std::string nginx = need("nginx");
  TOPSPIN_NEEDS_PROGRAMS();
  const int behind = free_port(SOCK_STREAM), port = free_port(SOCK_STREAM);
  write_file("nginx.conf", nginx_config(dir_.path(), behind, 1'000'000));
  write_file("proxy.conf", proxy_config(dir_.path(), port, behind, GetParam()));
  Server upstream(
      {nginx, "-p", dir_.path(), "-c", dir_.file("nginx.conf"), "-e", dir_.file("e.log")},
      use_fetched_libraries);
  Server proxy({nginx, "-p", dir_.path(), "-c", dir_.file("proxy.conf"), "-e", dir_.file("f.log")},
               use_fetched_libraries);
  ASSERT_TRUE(
      becomes_true([&] { return accepts_connections(port) && accepts_connections(behind); }));
  observe(proxy.pid(),
          "tcp port " + std::to_string(port) + " or tcp port " + std::to_string(behind),
          http_load(port, "--clients 8 --period 40ms --hold 3s"));
  const auto replied = number_after(driver_.out, "replied");
  ASSERT_TRUE(replied) << driver_.out;
  proxy.send(SIGTERM);
  proxy.finish();
  upstream.send(SIGTERM);
  upstream.finish();
  const auto served = static_cast<double>(lines_of(dir_.file("proxy_access.log")));
  const auto called = static_cast<double>(lines_of(dir_.file("access.log")));
  EXPECT_EQ(replies(), *replied);
  EXPECT_EQ(replies(), served);
  const Json& numbers = summary()["numbers"];
  EXPECT_EQ(numbers["called_requests"], called) << numbers.dump();
  EXPECT_EQ(numbers["call_failures"], 0);
  EXPECT_EQ(numbers["loss_requests_undecided"], 0);
  EXPECT_EQ(numbers["loss_calls_decided_late"], 0);
  ASSERT_EQ(json_["called"].size(), 1u) << json_["called"].dump();
  const Json& row = json_["called"][0];
  EXPECT_EQ(row["address"], "127.0.0.1:" + std::to_string(behind));
  EXPECT_EQ(row["requests"], called);
  EXPECT_EQ(row["latency_ns"]["count"], called);
  // nginx counts from before the connect to the end of the reply, in whole milliseconds.
  const auto waited = row["latency_ns"]["sum"].get<double>();
  EXPECT_LE(waited, upstream_ns(dir_.file("proxy_access.log")) + 1e6 * called);
  EXPECT_LE(waited, summary()["reply_latency_ns"]["sum"].get<double>());
  const auto serving = numbers["serving_ns"].get<double>();
  const auto calling = numbers["serving_and_calling_ns"].get<double>();
  EXPECT_GT(calling, 0);
  EXPECT_LE(calling, serving);
  EXPECT_LE(serving, summary()["reply_latency_ns"]["sum"].get<double>() * 1.001);
  expect_true_numbers(true);
}

TEST_F(Servers, AProxyWithNobodyBehindItIsToldByTheAddressThatRefuses) {
  const std::string nginx = need("nginx");
  TOPSPIN_NEEDS_PROGRAMS();
  const int behind = free_port(SOCK_STREAM), port = free_port(SOCK_STREAM);
  write_file("proxy.conf", proxy_config(dir_.path(), port, behind, false));
  Server proxy({nginx, "-p", dir_.path(), "-c", dir_.file("proxy.conf"), "-e", dir_.file("f.log")},
               use_fetched_libraries);
  ASSERT_TRUE(becomes_true([&] { return accepts_connections(port); }));
  observe(proxy.pid(),
          "tcp port " + std::to_string(port) + " or tcp port " + std::to_string(behind),
          http_load(port, "--clients 5 --period 100ms --hold 2s"));
  const Json& numbers = summary()["numbers"];
  EXPECT_EQ(summary()["tcp_refused"], 0) << "nobody was refused by the proxy";
  EXPECT_GT(numbers["calls_refused"], 20);
  EXPECT_EQ(numbers["calls_refused"], numbers["call_failures"]);
  const auto log = run({"grep", "-c", "connect() failed (111", dir_.file("proxy_error.log")}).out;
  EXPECT_EQ(numbers["calls_refused"], std::stod(log)) << "the proxy's own log";
  EXPECT_EQ(json_["findings"][0]["finding"], "downstream_fails") << json_["findings"].dump();
}

TEST_F(Servers, AFilterThatHidesTheServerBehindIsToldWithTheCountOfConnections) {
  const std::string nginx = need("nginx");
  TOPSPIN_NEEDS_PROGRAMS();
  const int behind = free_port(SOCK_STREAM), port = free_port(SOCK_STREAM);
  write_file("nginx.conf", nginx_config(dir_.path(), behind, 1'000'000));
  write_file("proxy.conf", proxy_config(dir_.path(), port, behind, false));
  Server upstream(
      {nginx, "-p", dir_.path(), "-c", dir_.file("nginx.conf"), "-e", dir_.file("e.log")},
      use_fetched_libraries);
  Server proxy({nginx, "-p", dir_.path(), "-c", dir_.file("proxy.conf"), "-e", dir_.file("f.log")},
               use_fetched_libraries);
  ASSERT_TRUE(
      becomes_true([&] { return accepts_connections(port) && accepts_connections(behind); }));
  observe(proxy.pid(), "tcp port " + std::to_string(port),
          http_load(port, "--clients 5 --period 100ms --hold 2s"));
  const std::string address = "127.0.0.1:" + std::to_string(behind);
  ASSERT_EQ(json_["called"].size(), 1u) << json_["called"].dump();
  EXPECT_EQ(json_["called"][0]["address"], address);
  EXPECT_EQ(json_["called"][0]["hidden_by"], "filter");
  // The proxy opens a connection for each request, so the access log of the server behind it counts
  // them.
  const auto owners = json_["probes"].back();
  if (owners["rung"] == "tp_btf") {
    EXPECT_EQ(json_["called"][0]["hidden_connections"], lines_of(dir_.file("access.log")));
  }
  EXPECT_EQ(summary()["numbers"]["hidden_connections"], json_["called"][0]["hidden_connections"]);
  const std::string told = "connections of the subject to " + address +
                           " are not captured: the filter hides them (`or port " +
                           std::to_string(behind) + "` behind it shows them)";
  const auto is_told = [&](const Json& event) { return event["text"] == told; };
  EXPECT_EQ(std::count_if(json_["events"].begin(), json_["events"].end(), is_told), 1)
      << json_["events"].dump();
  const Outcome text = topspin({"report", "last", "--db", dir_.file("t.db")});
  EXPECT_NE(text.out.find("the filter hides them"), std::string::npos) << text.out;
}

TEST_F(Servers, RedisUnderItsBenchmark) {
  const std::string redis = need("redis-server"), benchmark = need("redis-benchmark");
  TOPSPIN_NEEDS_PROGRAMS();
  const int port = free_port(SOCK_STREAM);
  Server server({redis, "--port", std::to_string(port), "--bind", "127.0.0.1", "--save", "",
                 "--appendonly", "no", "--dir", dir_.path()},
                use_fetched_libraries);
  ASSERT_TRUE(becomes_true([&] { return accepts_connections(port); }));
  observe(server.pid(), "tcp port " + std::to_string(port),
          {benchmark, "-h", "127.0.0.1", "-p", std::to_string(port), "-n", "10000", "-c", "8", "-t",
           "set,get", "--csv"});
  expect_true_numbers();
  EXPECT_GE(replies(), 20'000);
  EXPECT_LE(replies(), 20'010);  // the benchmark asks for some settings first
  expect_split_matches_wire(10 + 0.01 * replies());
}

TEST_F(Servers, PostgresUnderPgbench) {
  const std::string initdb = need("initdb"), postgres = need("postgres"), pgbench = need("pgbench");
  TOPSPIN_NEEDS_PROGRAMS();
  const int port = free_port(SOCK_STREAM);
  const std::string data = dir_.file("data");
  // PostgreSQL refuses to run as root.
  const auto as_nobody = [] {
    use_fetched_libraries();
    setenv("HOME", "/tmp", 1);
    if (!become_ordinary_user(std::string(TOPSPIN_SOURCE_DIR) + "/build/tools/servers")) _exit(126);
  };
  std::filesystem::permissions(dir_.path(), std::filesystem::perms::all);
  const Outcome made = run({initdb, "-D", data, "-A", "trust", "-U", "bench", "--no-sync", "-E",
                            "UTF8", "--locale", "C"},
                           as_nobody);
  if (made.exit_code == 126) TOPSPIN_SKIP("cannot become an ordinary user here");
  if (made.exit_code == 127) TOPSPIN_SKIP("an ordinary user cannot reach the program here");
  ASSERT_EQ(made.exit_code, 0) << made.err;
  Server server({postgres, "-D", data, "-p", std::to_string(port), "-c",
                 "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"},
                as_nobody);
  ASSERT_TRUE(server.wait_for("ready to accept connections"));
  const std::vector<std::string> where = {"-h", "127.0.0.1", "-p", std::to_string(port),
                                          "-U", "bench"};
  std::vector<std::string> fill = {pgbench, "-i", "-s", "1", "-q"};
  fill.insert(fill.end(), where.begin(), where.end());
  fill.emplace_back("postgres");
  const Outcome filled = run(fill, use_fetched_libraries);
  ASSERT_EQ(filled.exit_code, 0) << filled.err;

  std::vector<std::string> drive = {pgbench, "-S", "-n", "-c", "4", "-t", "500"};
  drive.insert(drive.end(), where.begin(), where.end());
  drive.emplace_back("postgres");
  observe(server.pid(), "tcp port " + std::to_string(port), drive, [] {
    use_fetched_libraries();
    setenv("PGSSLMODE", "disable", 1);
  });
  const auto transactions = number_after(driver_.out, "transactions actually processed:");
  ASSERT_TRUE(transactions) << driver_.out;
  expect_true_numbers();
  // Besides the transactions there are the start of each connection, and pgbench's first queries.
  EXPECT_GE(replies(), *transactions);
  EXPECT_LE(replies(), *transactions + 30);
  EXPECT_EQ(summary()["unanswered"], 0) << "a farewell asks for no reply";
  EXPECT_EQ(summary()["late_replies"], 0);
  expect_split_matches_wire(30 + 0.01 * replies());
}

TEST_F(Servers, HaproxyInFrontOfNginxIsSeenFromItsOwnSide) {
  const std::string nginx = need("nginx"), haproxy = need("haproxy"), wrk = need("wrk");
  TOPSPIN_NEEDS_PROGRAMS();
  const int back = free_port(SOCK_STREAM);
  write_file("nginx.conf", nginx_config(dir_.path(), back, 1'000'000));
  Server server({nginx, "-p", dir_.path(), "-c", dir_.file("nginx.conf"), "-e", dir_.file("e.log")},
                use_fetched_libraries);
  ASSERT_TRUE(becomes_true([&] { return accepts_connections(back); }));
  const int front = free_port(SOCK_STREAM);
  write_file("haproxy.cfg",
             "global\n  maxconn 100\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n"
             "  timeout client 30s\n  timeout server 30s\nfrontend f\n  bind 127.0.0.1:" +
                 std::to_string(front) + "\n  default_backend b\nbackend b\n  server n 127.0.0.1:" +
                 std::to_string(back) + "\n");
  Server proxy({haproxy, "-db", "-f", dir_.file("haproxy.cfg")}, use_fetched_libraries);
  ASSERT_TRUE(becomes_true([&] { return accepts_connections(front); }));
  observe(
      proxy.pid(), "tcp port " + std::to_string(front),
      {wrk, "-t", "1", "-c", "5", "-d", "2s", "http://127.0.0.1:" + std::to_string(front) + "/"});
  const auto requests = number_before(driver_.out, " requests in");
  ASSERT_TRUE(requests) << driver_.out;
  expect_true_numbers();
  EXPECT_GE(replies(), *requests);
  EXPECT_LE(replies(), *requests + 10);
}

TEST_F(Servers, UnboundAnswersOverlappingQueriesEachOfWhichIsMeasured) {
  const std::string unbound = need("unbound"), dnsperf = need("dnsperf");
  TOPSPIN_NEEDS_PROGRAMS();
  const int port = free_port(SOCK_DGRAM);
  write_file(
      "unbound.conf",
      "server:\n  interface: 127.0.0.1@" + std::to_string(port) +
          "\n  do-daemonize: no\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n"
          "  directory: \"" +
          dir_.path().string() +
          "\"\n  use-syslog: no\n  module-config: \"iterator\"\n  num-threads: 1\n"
          "  access-control: 127.0.0.0/8 allow\n  local-zone: \"test.\" static\n"
          "  local-data: \"a.test. A 192.0.2.1\"\n  local-data: \"a.test. AAAA 2001:db8::1\"\n"
          "remote-control:\n  control-enable: no\n");
  write_file("queries", "a.test A\na.test AAAA\n");
  Server server({unbound, "-d", "-c", dir_.file("unbound.conf")}, use_fetched_libraries);
  ASSERT_TRUE(server.wait_for("start of service"));
  observe(server.pid(), "udp port " + std::to_string(port),
          {dnsperf, "-s", "127.0.0.1", "-p", std::to_string(port), "-d", dir_.file("queries"), "-l",
           "2", "-Q", "3000", "-q", "20", "-c", "4"});
  const auto completed = number_after(driver_.out, "Queries completed:");
  const auto sent = number_after(driver_.out, "Queries sent:");
  ASSERT_TRUE(completed && sent) << driver_.out;
  if (*completed != *sent)
    TOPSPIN_SKIP("dnsperf lost queries: this machine is too busy for 3,000 of them a second");
  expect_true_numbers(true);  // a query every 1.3 ms on each socket is a period
  EXPECT_EQ(replies(), *completed);
  EXPECT_EQ(summary()["unanswered"], 0);
  EXPECT_EQ(summary().value("overlapping_requests", 0), 0);
  expect_split_matches_wire(0.02 * replies() + 2);
}

}  // namespace
}  // namespace topspin::test
