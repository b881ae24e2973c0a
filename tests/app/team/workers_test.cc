// A load that workers share: the real binary, a real PostgreSQL, real servers that count. What the
// load says is compared with what the server counted, to the last packet.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include "tests/support/postgres_server.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;

constexpr auto kLong = std::chrono::seconds(180);

/// Hosts with addresses of their own behind one switch: 10.77.0.1 is the server, 10.77.0.10 and on
/// are workers.
class Net {
 public:
  explicit Net(int workers) : workers_(workers) {
    if (geteuid() != 0) return;
    ok_ = true;
    ip("netns add " + host("server"));
    ip(fmt::format("-n {} link set lo up", host("server")));
    ip(fmt::format("-n {} link add sw type bridge", host("server")));
    ip(fmt::format("-n {} addr add 10.77.0.1/24 dev sw", host("server")));
    ip(fmt::format("-n {} link set sw up", host("server")));
    for (int i = 0; i < workers; ++i) {
      ip("netns add " + host(i));
      ip(fmt::format("link add p{0} netns {1} type veth peer name eth0 netns {2}", i,
                     host("server"), host(i)));
      ip(fmt::format("-n {} link set p{} master sw up", host("server"), i));
      ip(fmt::format("-n {} addr add 10.77.0.{}/24 dev eth0", host(i), 10 + i));
      ip(fmt::format("-n {} link set eth0 up", host(i)));
      ip(fmt::format("-n {} link set lo up", host(i)));
    }
  }
  Net(const Net&) = delete;
  Net& operator=(const Net&) = delete;
  ~Net() {
    if (geteuid() != 0) return;
    for (int i = 0; i < workers_; ++i) ip("netns del " + host(i));
    ip("netns del " + host("server"));
  }
  bool ok() const { return ok_; }
  static std::string host(const std::string& name) {
    return fmt::format("topspin-{}-{}", getpid(), name);
  }
  static std::string host(int worker) { return host(fmt::format("w{}", worker)); }
  template <typename Name>
  static std::vector<std::string> in(Name name, std::vector<std::string> words) {
    std::vector<std::string> all = {"ip", "netns", "exec", host(name)};
    all.insert(all.end(), words.begin(), words.end());
    return all;
  }

 private:
  void ip(const std::string& words) {
    ok_ = test::run({"sh", "-c", "ip " + words}).exit_code == 0 && ok_;
  }
  int workers_;
  bool ok_ = false;
};

/// 20,000 sockets of their own are more than some hosts allow.
void raise_descriptors() {
  const rlimit limit{65536, 65536};
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/// 20,000, or what one worker may have here.
uint64_t many_clients() {
  raise_descriptors();
  rlimit limit{};
  (void)getrlimit(RLIMIT_NOFILE, &limit);
  return std::min<uint64_t>(20'000, limit.rlim_max - 100);
}

struct Counted {
  uint64_t received = 0, dropped = 0;
  std::map<std::string, std::pair<uint64_t, int64_t>> sources;  // packets, earliest
};

class Workers : public testing::Test {
 protected:
  void start(int hosts) {
    net_ = std::make_unique<Net>(hosts);
    if (geteuid() != 0) TOPSPIN_SKIP("needs root, for network namespaces");
    if (!net_->ok()) TOPSPIN_SKIP("network namespaces cannot be made here");
    server_ = std::make_unique<PostgresServer>();
    if (const std::string missing = server_->missing(); !missing.empty()) TOPSPIN_SKIP(missing);
    std::string why;
    ASSERT_TRUE(server_->start(why)) << why;
    ASSERT_EQ(topspin({"store", "init", "--at", address()}).err, "");
  }
  std::string address(const std::string& project = "shop",
                      const std::string& user = "owner") const {
    return server_->address(project, user);
  }
  void start_echo(int64_t period_us = 1'000'000) {
    echo_ = std::make_unique<Process>(
        Net::in("server", {std::string(TOPSPIN_BINARY_DIR) + "/tests/app/counting_echo", "9000",
                           std::to_string(period_us)}));
    ASSERT_TRUE(echo_->wait_for("listening"));
  }
  Counted stop_echo() {
    // ip netns exec replaces itself by the program.
    echo_->send(SIGTERM);
    const Outcome said = echo_->finish();
    Counted counted;
    std::istringstream lines(said.out.substr(said.out.find('\n') + 1));
    for (std::string name; lines >> name;) {
      uint64_t packets = 0;
      int64_t second = 0;
      lines >> packets >> second;
      if (name == "total") {
        counted.received = packets;
        counted.dropped = static_cast<uint64_t>(second);
      } else {
        counted.sources[name] = {packets, second};
      }
    }
    return counted;
  }
  Process& join(int host, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {topspin_binary(), "worker", "--join", address()};
    words.insert(words.end(), more.begin(), more.end());
    workers_.push_back(std::make_unique<Process>(Net::in(host, words), raise_descriptors));
    EXPECT_TRUE(workers_.back()->wait_for("waits for loads", kLong));
    return *workers_.back();
  }
  std::unique_ptr<Process> load(std::vector<std::string> words) {
    std::vector<std::string> all = {topspin_binary(), "load"};
    all.insert(all.end(), words.begin(), words.end());
    all.insert(all.end(), {"--workers", address(), "--format", "json", "--late-after", "1h"});
    return std::make_unique<Process>(Net::in("server", all));
  }
  std::unique_ptr<Process> udp_load(const std::string& stages, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"udp-pingpong", "--target", "10.77.0.1:9000", "--stages",
                                      stages};
    words.insert(words.end(), more.begin(), more.end());
    return load(words);
  }

  std::unique_ptr<Net> net_;
  std::unique_ptr<PostgresServer> server_;
  std::unique_ptr<Process> echo_;
  std::vector<std::unique_ptr<Process>> workers_;
};
#define START_WORKERS(hosts)                 \
  do {                                       \
    start(hosts);                            \
    if (IsSkipped() || HasFailure()) return; \
  } while (false)

uint64_t number(const Json& json, const char* name) { return json[name].get<uint64_t>(); }

/// The equations of docs/load.md, also of each worker and of their sum.
void check_accounts(const Json& load) {
  EXPECT_EQ(number(load, "scheduled"), number(load, "planned"));
  std::map<std::string, uint64_t> sums;
  std::vector<Json> parts = load["workers"].get<std::vector<Json>>();
  parts.push_back(load);
  for (const Json& part : parts) {
    EXPECT_EQ(number(part, "scheduled"), number(part, "planned")) << part.value("id", "all");
    EXPECT_EQ(number(part, "scheduled"),
              number(part, "sent") + number(part, "send_errors") + number(part, "never_scheduled"));
    EXPECT_EQ(number(part, "sent"),
              number(part, "replied") + number(part, "late_replies") + number(part, "lost"));
    if (!part.contains("id")) continue;
    for (const char* name : {"sent", "replied", "lost", "planned", "perhaps_sent"})
      sums[name] += number(part, name);
  }
  for (const char* name : {"sent", "replied", "lost"}) EXPECT_EQ(sums[name], number(load, name));
  EXPECT_EQ(load["latency_intended_ns"]["count"].get<uint64_t>(), number(load, "sent"));
  for (const Json& reason : load["invalid_reasons"])
    EXPECT_THAT(reason.get<std::string>(), Not(HasSubstr("do not balance")));
}

uint64_t perhaps_sent(const Json& load) {
  uint64_t sum = 0;
  for (const Json& worker : load["workers"]) sum += number(worker, "perhaps_sent");
  return sum;
}

/// What the server got is what was said to be sent, and at most what those did not say who died.
void check_received(const Json& load, const Counted& counted) {
  const uint64_t got = counted.received + counted.dropped;
  EXPECT_GE(got, number(load, "sent"));
  EXPECT_LE(got, number(load, "sent") + perhaps_sent(load));
}

std::map<std::string, int> ends(const Json& load) {
  std::map<std::string, int> count;
  for (const Json& worker : load["workers"]) ++count[worker["end"].get<std::string>()];
  return count;
}

TEST_F(Workers, OneThenThreeThenFiveJoinAndTwoAreKilledInALoadOfTwentyThousandClients) {
  START_WORKERS(5);
  start_echo();
  join(0, {"--label", "zone=a"});
  const uint64_t clients = many_clients();
  const auto load = udp_load(fmt::format("0:{0} over 5s, hold 25s, {0}:0 over 5s", clients),
                             {"--period", "2s", "--where", "zone=a", "--by", "worker"});
  ASSERT_TRUE(load->wait_for("ramp_up", kLong)) << load->finish().err;
  for (const int host : {1, 2}) join(host, {"--label", "zone=a"});
  ASSERT_TRUE(load->wait_for("3 workers from", kLong));
  for (const int host : {3, 4}) join(host, {"--label", "zone=a"});
  ASSERT_TRUE(load->wait_for("5 workers from", kLong));
  // Both have sent something when they die.
  ASSERT_TRUE(load->wait_for(" hold ", kLong));
  sleep(4);
  workers_[1]->send(SIGKILL);
  workers_[3]->send(SIGKILL);
  ASSERT_TRUE(load->wait_for("was not heard of", kLong));
  const Outcome done = load->finish(std::chrono::seconds(120));
  const Counted counted = stop_echo();
  ASSERT_THAT(done.out, HasSubstr("{")) << done.err;
  const Json json = Json::parse(done.out);
  check_accounts(json);
  EXPECT_EQ(done.exit_code, 3) << "a load of which workers died is invalid";
  EXPECT_EQ(ends(json), (std::map<std::string, int>{{"died", 2}, {"done", 3}}));
  EXPECT_GT(json["never_scheduled_reasons"]["a worker had died or failed"].get<uint64_t>(), 0u);
  EXPECT_EQ(number(json, "clients_max"), clients);
  check_received(json, counted);
  EXPECT_EQ(counted.sources.size(), 5u);
  // That of each worker that lived, exactly.
  for (const Json& worker : json["workers"]) {
    const auto& [packets, earliest] = counted.sources.at(worker["addresses"].get<std::string>());
    if (worker["end"] == "done" && counted.dropped == 0) {
      EXPECT_EQ(packets, number(worker, "sent")) << worker["addresses"];
    }
    EXPECT_GE(packets, number(worker, "sent") - counted.dropped) << worker["addresses"];
  }
  fmt::print("sent {}, received {}, dropped {}, perhaps sent {}, never scheduled {}\n",
             number(json, "sent"), counted.received, counted.dropped, perhaps_sent(json),
             number(json, "never_scheduled"));
}

TEST_F(Workers, WhoLeavesHandsOverAndWhoIsStoppedForFiveSecondsSendsNothingTwice) {
  START_WORKERS(3);
  start_echo();
  for (const int host : {0, 1, 2}) join(host);
  const auto load = udp_load("600:600 over 22s", {"--at-least", "3"});
  ASSERT_TRUE(load->wait_for("2.0s hold", kLong)) << load->finish().err;
  workers_[0]->send(SIGTERM);
  ASSERT_TRUE(load->wait_for("leaves", kLong));
  const Outcome left = workers_[0]->finish(kLong);
  EXPECT_EQ(left.exit_code, 143) << left.err;
  workers_[1]->send(SIGSTOP);
  ASSERT_TRUE(load->wait_for("was not heard of", kLong));
  ASSERT_TRUE(load->wait_for("1 workers from", kLong));
  sleep(2);  // the other one has its clients; five seconds in all
  workers_[1]->send(SIGCONT);
  ASSERT_TRUE(load->wait_for("joins at", kLong));
  const Outcome done = load->finish(kLong);
  const Counted counted = stop_echo();
  ASSERT_THAT(done.out, HasSubstr("{")) << done.err;
  const Json json = Json::parse(done.out);
  check_accounts(json);
  EXPECT_EQ(ends(json), (std::map<std::string, int>{{"left", 1}, {"done", 2}}));
  EXPECT_EQ(perhaps_sent(json), 0u) << "nobody died, so every packet is in the accounts";
  check_received(json, counted);
  EXPECT_GT(number(json, "never_scheduled"), 0u);
  for (const Json& worker : json["workers"]) {
    if (worker["end"] == "left") {
      EXPECT_EQ(number(worker, "never_scheduled"), 0u) << worker;
    }
  }
}

TEST_F(Workers, AStoreThatDiesAndComesBackAndAnEndBeforeTheTimeLoseNoAccount) {
  START_WORKERS(2);
  start_echo();
  for (const int host : {0, 1}) join(host);
  auto load = udp_load("400:400 over 60s", {"--at-least", "2"});
  ASSERT_TRUE(load->wait_for("2.0s hold", kLong)) << load->finish().err;
  server_->kill_it();
  ASSERT_TRUE(load->wait_for("the server ended", kLong));
  sleep(3);  // longer than claims reach
  ASSERT_TRUE(server_->start_again());
  ASSERT_TRUE(load->wait_for("the store is back", kLong));
  ASSERT_TRUE(load->wait_for("9.0s hold", kLong));
  load->send(SIGINT);
  const Outcome done = load->finish(kLong);
  EXPECT_EQ(done.exit_code, 130) << done.err;
  ASSERT_THAT(done.out, HasSubstr("{")) << done.err;
  Json json = Json::parse(done.out);
  check_accounts(json);
  EXPECT_EQ(json["stopped_early"], true);
  EXPECT_LT(number(json, "planned"), 400u * 60);
  EXPECT_GT(number(json, "never_scheduled"), 0u);
  const uint64_t sent = number(json, "sent");

  // A coordinator that dies ends the load, too; and the workers wait for the next one.
  load = udp_load("100:100 over 60s", {"--at-least", "2"});
  ASSERT_TRUE(load->wait_for("1.0s hold", kLong));
  load->send(SIGKILL);
  for (const auto& worker : workers_) ASSERT_TRUE(worker->wait_for("nobody waits for it", kLong));
  for (const auto& worker : workers_) ASSERT_TRUE(worker->wait_for("is free again", kLong));
  const Counted before = stop_echo();
  EXPECT_GE(before.received + before.dropped, sent);
  start_echo();
  load = udp_load("100:100 over 3s", {"--at-least", "2"});
  const Outcome next = load->finish(kLong);
  const Counted counted = stop_echo();
  ASSERT_THAT(next.out, HasSubstr("{")) << next.err;
  json = Json::parse(next.out);
  check_accounts(json);
  EXPECT_EQ(number(json, "planned"), 300u);
  check_received(json, counted);
  EXPECT_EQ(ends(json), (std::map<std::string, int>{{"done", 2}}));
}

TEST_F(Workers, AClockThatIsOffByTwoHundredMillisecondsKeepsTheSchedule) {
  START_WORKERS(2);
  constexpr int64_t kPeriodUs = 1'000'000;
  start_echo(kPeriodUs);
  join(0);
  join(1, {"--clock-off", "200ms"});
  // All clients are due at the same moment of the period.
  const auto load = udp_load("40:40 over 12s", {"--at-least", "2", "--grid", "1s"});
  const Outcome done = load->finish(kLong);
  const Counted counted = stop_echo();
  ASSERT_THAT(done.out, HasSubstr("{")) << done.err;
  const Json json = Json::parse(done.out);
  check_accounts(json);
  std::map<std::string, int64_t> offset_ms;
  for (const Json& worker : json["workers"]) {
    offset_ms[worker["addresses"].get<std::string>()] =
        worker["clock_offset_ns"].get<int64_t>() / 1'000'000;
    EXPECT_GT(worker["clock_error_ns"].get<int64_t>(), 0);
  }
  EXPECT_NEAR(static_cast<double>(offset_ms["10.77.0.11"] - offset_ms["10.77.0.10"]), 200, 90);
  ASSERT_EQ(counted.sources.size(), 2u);
  // The least of twelve arrivals of each; around the period's end they wrap.
  int64_t apart = counted.sources.at("10.77.0.10").second - counted.sources.at("10.77.0.11").second;
  apart = (apart % kPeriodUs + kPeriodUs) % kPeriodUs;
  apart = std::min(apart, kPeriodUs - apart);
  EXPECT_LT(apart, 100'000) << "microseconds";
}

/// In the build's tools, or on PATH.
std::string nginx_program() {
  const std::string fetched =
      std::string(TOPSPIN_SOURCE_DIR) + "/build/tools/servers/usr/sbin/nginx";
  if (::access(fetched.c_str(), X_OK) == 0) return fetched;
  return test::run({"sh", "-c", "command -v nginx"}).exit_code == 0 ? "nginx" : "";
}

TEST_F(Workers, OverHttpTheAccessLogOfNginxHasEveryRequest) {
  START_WORKERS(5);
  const std::string program = nginx_program();
  if (program.empty()) TOPSPIN_SKIP("nginx is not there");
  const TempDir dir;
  std::ofstream(dir.file("nginx.conf"))
      << "user root; daemon off; worker_processes 1; pid " << dir.file("pid") << ";\nerror_log "
      << dir.file("error.log") << ";\nevents { worker_connections 8192; }\nhttp {\n"
      << "log_format short '$remote_addr $status';\naccess_log " << dir.file("access.log")
      << " short;\nkeepalive_requests 1000000;\nclient_body_temp_path " << dir.file("b")
      << "; proxy_temp_path " << dir.file("p") << "; fastcgi_temp_path " << dir.file("f")
      << "; uwsgi_temp_path " << dir.file("u") << "; scgi_temp_path " << dir.file("s")
      << ";\nserver { listen 10.77.0.1:8080; location / { return 200 ok; } }\n}\n";
  Process nginx(Net::in("server", {program, "-p", dir.path().string(), "-c", dir.file("nginx.conf"),
                                   "-e", dir.file("error.log")}),
                [] {
                  raise_descriptors();
                  const std::string lib = std::string(TOPSPIN_SOURCE_DIR) +
                                          "/build/tools/servers/usr/lib/x86_64-linux-gnu";
                  setenv("LD_LIBRARY_PATH", lib.c_str(), 1);
                });
  for (int i = 0; i < 200 && !std::filesystem::exists(dir.file("pid")); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  for (const int host : {0, 1, 2}) join(host);
  const auto load = this->load({"http", "--target", "10.77.0.1:8080", "--stages",
                                "0:600 over 3s, hold 17s", "--at-least", "3"});
  ASSERT_TRUE(load->wait_for("3.0s", kLong)) << load->finish().err;
  for (const int host : {3, 4}) join(host);
  ASSERT_TRUE(load->wait_for("5 workers from", kLong));
  ASSERT_TRUE(load->wait_for("9.0s", kLong));
  for (const size_t victim : {0, 4}) workers_[victim]->send(SIGKILL);
  ASSERT_TRUE(load->wait_for("was not heard of", kLong));
  const Outcome done = load->finish(kLong);
  nginx.send(SIGTERM);
  (void)nginx.finish();
  ASSERT_THAT(done.out, HasSubstr("{")) << done.err;
  const Json json = Json::parse(done.out);
  check_accounts(json);
  EXPECT_EQ(ends(json), (std::map<std::string, int>{{"died", 2}, {"done", 3}}));
  std::map<std::string, uint64_t> logged;
  std::ifstream log(dir.file("access.log"));
  uint64_t lines = 0;
  for (std::string from, status; log >> from >> status; ++lines) ++logged[from];
  // A request of the dead may be in the log though they did not say that it was answered.
  EXPECT_GE(lines, number(json, "replied") + number(json, "late_replies"));
  EXPECT_LE(lines, number(json, "sent") + perhaps_sent(json));
  for (const Json& worker : json["workers"]) {
    if (worker["end"] != "done") continue;
    EXPECT_EQ(logged[worker["addresses"].get<std::string>()], number(worker, "replied"));
  }
  EXPECT_EQ(json["http"]["statuses"].size(), 1u);
}

TEST_F(Workers, MayBeLimitedAndRolesMayDoOnlyTheirPart) {
  START_WORKERS(2);
  start_echo();
  join(0, {"--allow", "192.0.2.0/24", "--label", "zone=b"});
  Process& free = join(1, {"--allow", "10.77.0.0/16", "--label", "zone=a"});
  auto load = udp_load("20:20 over 2s", {"--at-least", "1"});
  const Outcome done = load->finish(kLong);
  ASSERT_THAT(done.out, HasSubstr("{")) << done.err;
  EXPECT_EQ(Json::parse(done.out)["workers"].size(), 1u);
  EXPECT_THAT(done.err, HasSubstr("none of the addresses that --allow"));
  EXPECT_EQ(stop_echo().sources.begin()->first, "10.77.0.11");
  // If all refuse, it says why, before somebody else comes.
  load = udp_load("20:20 over 2s", {"--where", "zone=b"});
  EXPECT_TRUE(load->wait_for("a worker takes no part: ", kLong));
  EXPECT_TRUE(load->wait_for("none of the addresses that --allow", kLong));
  load->send(SIGINT);
  (void)load->finish(kLong);
  // By a label.
  load = udp_load("20:20 over 2s", {"--where", "zone=c"});
  ASSERT_TRUE(load->wait_for("0 of at least 1 workers", kLong));
  load->send(SIGINT);
  const Outcome stopped = load->finish(kLong);
  EXPECT_EQ(stopped.exit_code, 130);
  EXPECT_THAT(stopped.err, HasSubstr("stopped before the load began"));

  ASSERT_EQ(server_
                ->sql("CREATE USER w LOGIN; GRANT topspin_worker TO w;"
                      "CREATE USER c LOGIN; GRANT topspin_coordinator TO c;"
                      "CREATE USER ci LOGIN; GRANT topspin_writer TO ci")
                .err,
            "");
  for (const std::string what :
       {"SET ROLE w; INSERT INTO topspin_workers.job VALUES ('p', 'j', '', 0, 0, 0, 0)",
        "SET ROLE w; DELETE FROM topspin_workers.report",
        "SET ROLE w; INSERT INTO topspin_workers.member VALUES ('p', 'j', 'w', 'invited', '', 0, "
        "0, 0)",
        "SET ROLE w; SELECT * FROM topspin.run", "SET ROLE ci; SELECT * FROM topspin_workers.job",
        "SET ROLE c; INSERT INTO topspin_workers.report VALUES ('p', 'j', 1, 'w', '')"}) {
    EXPECT_THAT(server_->sql(what).err, HasSubstr("permission denied")) << what;
  }
  // The roles suffice for a load.
  free.send(SIGTERM);
  EXPECT_EQ(free.finish(kLong).exit_code, 143);
  EXPECT_EQ(server_->sql("SELECT count(*) FROM topspin_workers.worker").out, "1\n")
      << "one that ends removes itself";
  start_echo();
  Process limited(Net::in(1, {topspin_binary(), "worker", "--join", address("p2", "w")}));
  ASSERT_TRUE(limited.wait_for("waits for loads", kLong));
  Process by_role(Net::in("server", {topspin_binary(), "load", "udp-pingpong", "--target",
                                     "10.77.0.1:9000", "--clients", "10", "--hold", "2s",
                                     "--workers", address("p2", "c"), "--format", "json"}));
  const Outcome whole = by_role.finish(kLong);
  ASSERT_THAT(whole.out, HasSubstr("{")) << whole.err;
  check_accounts(Json::parse(whole.out));
  EXPECT_EQ(stop_echo().received, 20u);
}

// The subject and its observation are on the server's host, the load comes from the workers.
TEST_F(Workers, APlanHasItsLoadSentByWorkers) {
  START_WORKERS(2);
  const TempDir dir;
  const std::string plan = dir.file("plan.toml"), db = dir.file("t.db");
  std::ofstream(plan) << fmt::format(
      "[capture]\ninterface = \"sw\"\n[subject.echo]\ncommand = [\"{}\", \"9000\", \"1000000\"]\n"
      "ready = {{ port = \"udp:9000\" }}\n[load]\nworkload = \"udp-pingpong\"\n"
      "target = \"10.77.0.1:9000\"\nclients = 50\nhold = \"4s\"\nperiod = \"500ms\"\n"
      "late_after = \"1h\"\nworkers = \"{}\"\nat_least = 2\nwhere = {{ zone = \"a\" }}\n",
      std::string(TOPSPIN_BINARY_DIR) + "/tests/app/counting_echo", address());
  for (const int host : {0, 1}) join(host, {"--label", "zone=a"});
  Process run(Net::in("server", {topspin_binary(), "run", plan, "--db", db, "--format", "json"}));
  const Outcome done = run.finish(std::chrono::seconds(120));
  ASSERT_THAT(done.out, HasSubstr("{")) << done.err;
  const Json json = Json::parse(done.out);
  ASSERT_EQ(json["runs"].size(), 1u) << done.err;
  EXPECT_EQ(json["runs"][0]["status"], "complete") << json.dump(2) << done.err;
  // What workers sent is what the capture saw: 50 clients, eight times.
  const Outcome shown = topspin({"load", "show", "last", "--db", db, "--format", "json"});
  const Json load = Json::parse(shown.out);
  EXPECT_EQ(number(load, "planned"), 400u);
  EXPECT_EQ(number(load, "scheduled"), 400u);
  const Json page = Json::parse(topspin({"report", "last", "--db", db, "--format", "json"}).out);
  EXPECT_EQ(page["summary"]["flows"], 50) << page["summary"];
  EXPECT_EQ(page["summary"]["numbers"]["requests"], number(load, "sent"))
      << page["summary"]["numbers"];

  std::ofstream(plan, std::ios::app) << "at_most = 3\n";
  EXPECT_EQ(topspin({"run", plan, "--check"}).exit_code, 2);
}

TEST_F(Workers, WrongUseIsSaid) {
  const auto says = [&](const std::vector<std::string>& words, int code, const std::string& text) {
    const Outcome outcome = topspin(words, [] { unsetenv("TOPSPIN_STORE"); });
    EXPECT_EQ(outcome.exit_code, code) << testing::PrintToString(words) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(text));
  };
  const TempDir dir;
  const std::string nowhere = "postgresql://me:hidden@/x?host=" + dir.path().string() + "#shop";
  says({"worker"}, 2, "--join");
  says({"worker", "--join", "db.example"}, 2, "is not the address of a store");
  says({"worker", "--join", nowhere}, 5, "cannot open the store postgresql://me@/x");
  says({"worker", "--join", nowhere, "--allow", "10.0.0.1/8"}, 2, "bits behind its length");
  says({"worker", "--join", nowhere, "--allow", "host"}, 2, "is not an address");
  says({"worker", "--join", nowhere, "--label", "x"}, 2, "KEY");
  says({"load", "http", "--target", "h:1", "--at-least", "2"}, 2, "--workers");
  says({"load", "udp-flood", "--target", "h:1", "--workers", nowhere}, 2, "no option --workers");
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"worker", "--join", nowhere},
        {"load", "http", "--target", "h:1", "--workers", nowhere}})
    EXPECT_THAT(topspin(words).err, Not(HasSubstr("hidden")));
}

// What PostgreSQL 13, Citus, CockroachDB and YugabyteDB do not all document is not used.
TEST_F(Workers, OnlySqlThatItsKinUnderstandIsSent) {
  START_WORKERS(2);
  start_echo();
  for (const int host : {0, 1}) join(host);
  auto load = udp_load("20:20 over 8s", {"--at-least", "2"});
  ASSERT_TRUE(load->wait_for("1.0s", kLong));
  workers_[0]->send(SIGTERM);
  (void)load->finish(kLong);
  workers_[1]->send(SIGTERM);
  (void)workers_[1]->finish(kLong);
  server_->kill_it();
  std::istringstream lines(server_->log());
  const std::regex statement("LOG:  (?:statement|execute <unnamed>): (.*)");
  const std::regex refused(
      "\\b(SERIAL|BIGSERIAL|SEQUENCE|nextval|LISTEN|NOTIFY|EXTENSION|lo_[a-z]+|TRIGGER|FUNCTION|"
      "INHERITS|TABLESPACE|ADVISORY|pg_advisory\\w*|COPY|CURSOR|DECLARE|LATERAL|UNLOGGED|TEMP|"
      "TEMPORARY|REFERENCES|FOREIGN|CHECK|GENERATED|IDENTITY|DOMAIN|ENUM|MERGE|VACUUM|LOCK|RULE|"
      "MATERIALIZED|PARTITION|SAVEPOINT|jsonb?|regclass|ctid|pg_catalog|SKIP|RECURSIVE)\\b",
      std::regex::icase);
  const std::regex known(
      "^(BEGIN|COMMIT|ROLLBACK|SELECT |INSERT INTO topspin_workers\\.|UPDATE topspin_workers\\.|"
      "DELETE FROM topspin_workers\\.|WITH claimed AS \\(SELECT |"
      "CREATE (SCHEMA|TABLE|UNIQUE INDEX|INDEX) IF NOT EXISTS |CREATE ROLE |GRANT )");
  size_t seen = 0, epochs = 0;
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (!std::regex_search(line, match, statement)) continue;
    const std::string text = match[1];
    if (text.find("topspin_workers") == std::string::npos) continue;
    ++seen;
    epochs += text.starts_with("WITH claimed");
    EXPECT_TRUE(std::regex_search(text, known)) << text;
    EXPECT_FALSE(std::regex_search(text, refused)) << text;
  }
  EXPECT_GT(seen, 100u);
  EXPECT_GE(epochs, 1u);
}

}  // namespace
}  // namespace topspin::test
