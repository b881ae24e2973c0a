// Scripts against servers that were not written here: their own counters and logs must say the
// same. wrk's public examples (in words of our own, tests/load/wrk) run under wrk and under
// topspin.
//
// The programs are those of the system, or come from build/tools/servers (cmake/fetch-servers). A
// test whose programs are missing is skipped, with their names.
#include <fstream>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>

#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/servers.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

const std::string kTopspin = TOPSPIN_LOAD_PROGRAM;
const std::string kSource = TOPSPIN_SOURCE_DIR;

/// A connection, or for UDP a socket, to the port of 127.0.0.1; -1: nobody is there.
int connect_to(int port, int type = SOCK_STREAM) {
  const int fd = socket(AF_INET, type, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  const timeval timeout{5, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

bool is_served(int port) {
  return becomes_true([&] {
    const int fd = connect_to(port);
    if (fd >= 0) close(fd);
    return fd >= 0;
  });
}

std::string read_all(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

uint64_t lines_of(const std::string& path, const std::string& with = "") {
  uint64_t count = 0;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) count += line.find(with) != std::string::npos;
  return count;
}

/// Runs the script and returns the result. A busy machine may make it invalid.
Json load(const std::string& script, const std::string& target,
          const std::vector<std::string>& more, std::string* talk = nullptr) {
  std::vector<std::string> arguments = {kTopspin, "load",     "script", script, "--target",
                                        target,   "--format", "json",   "-q"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  Process process(arguments);
  const Outcome done = process.finish();
  if (talk != nullptr) *talk = done.err;
  EXPECT_THAT(done.exit_code, testing::AnyOf(0, 3)) << done.err;
  EXPECT_THAT(done.err, testing::Not(HasSubstr("balance")));
  return Json::parse(done.out.empty() ? "{}" : done.out);
}

uint64_t statuses(const Json& result) {
  uint64_t sum = 0;
  for (const auto& [status, count] : result["http"]["statuses"].items())
    sum += count.get<uint64_t>();
  return sum;
}

#define NEED_PROGRAM(variable, name)               \
  const std::string variable = find_program(name); \
  if ((variable).empty()) TOPSPIN_SKIP("there is no " name)

TEST(ScriptServers, RedisCountsTheCommandsThatAScriptSent) {
  NEED_PROGRAM(redis, "redis-server");
  const TempDir dir;
  const int port = free_port(SOCK_STREAM);
  Process server({redis, "--port", std::to_string(port), "--bind", "127.0.0.1", "--save", "",
                  "--dir", dir.path().string()},
                 use_fetched_libraries);
  ASSERT_TRUE(is_served(port));
  const int fd = connect_to(port);
  /// total_commands_processed; asking for it is one more command, which it does not count yet.
  const auto commands = [&]() -> int64_t {
    const std::string ask = "INFO stats\r\n";
    if (send(fd, ask.data(), ask.size(), 0) != static_cast<ssize_t>(ask.size())) return -1;
    std::string text;
    std::smatch found;
    const std::regex line("total_commands_processed:([0-9]+)\r\n");
    while (!std::regex_search(text, found, line)) {
      std::array<char, 16384> buffer{};
      const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
      if (got <= 0) return -1;
      text.append(buffer.data(), static_cast<size_t>(got));
    }
    return std::stoll(found[1]);
  };
  const int64_t before = commands();
  const Json result =
      load(kSource + "/docs/scenarios/redis.lua", "127.0.0.1:" + std::to_string(port),
           {"--clients", "100", "--hold", "500ms"});
  const int64_t after = commands();
  close(fd);
  const uint64_t turns = result["sent"];
  EXPECT_GT(turns, 100u);
  EXPECT_EQ(result["lost"], 0u);
  EXPECT_EQ(result["http_errors"], 0u);
  // Two commands in each turn, and the INFO of before.
  EXPECT_EQ(static_cast<uint64_t>(after - before), 2 * turns + 1);
  ASSERT_EQ(result["script"]["steps"].size(), 2u);
  for (const Json& step : result["script"]["steps"]) EXPECT_EQ(step["sent"], turns);
}

TEST(ScriptServers, UnboundLogsTheQuestionsThatAScriptAsked) {
  NEED_PROGRAM(unbound, "unbound");
  const TempDir dir;
  const int port = free_port(SOCK_DGRAM);
  const std::string log = dir.file("log");
  std::ofstream(dir.file("conf"))
      << "server:\n username: \"\"\n chroot: \"\"\n directory: \"" << dir.path().string()
      << "\"\n pidfile: \"" << dir.file("pid") << "\"\n interface: 127.0.0.1@" << port
      << "\n do-daemonize: no\n use-syslog: no\n logfile: \"" << log
      << "\"\n log-queries: yes\n access-control: 127.0.0.0/8 allow\n"
         " local-zone: \"test.\" static\n local-data: \"www.test. A 10.1.2.3\"\n"
         "remote-control:\n control-enable: no\n";
  Process server({unbound, "-c", dir.file("conf")}, use_fetched_libraries);
  ASSERT_TRUE(becomes_true([&] { return lines_of(log, "start of service") > 0; })) << read_all(log);
  const Json result = load(kSource + "/docs/scenarios/dns.lua", "127.0.0.1:" + std::to_string(port),
                           {"--clients", "200", "--hold", "500ms"});
  EXPECT_GT(result["sent"].get<uint64_t>(), 100u);
  EXPECT_EQ(result["lost"], 0u);
  EXPECT_EQ(result["script"]["checks"].at(0)["failed"], 0u);
  EXPECT_EQ(lines_of(log, "www.test. A IN"), result["sent"].get<uint64_t>());
}

/// nginx with an access log and the pages that the scripts of wrk ask for.
class Nginx {
 public:
  explicit Nginx(const std::string& program, const std::string& certificate = "",
                 const std::string& key = "")
      : port_(free_port(SOCK_STREAM)), is_tls_(!certificate.empty()) {
    const std::string tls =
        is_tls_ ? " ssl; ssl_certificate " + certificate + "; ssl_certificate_key " + key : "";
    std::ofstream(dir_.file("conf"))
        << "daemon off; master_process off; pid " << dir_.file("pid") << "; error_log "
        << dir_.file("error") << ";\nevents { worker_connections 1024; }\nhttp { access_log "
        << log() << "; keepalive_requests 10000000;\nclient_body_temp_path " << dir_.file("1")
        << "; proxy_temp_path " << dir_.file("2") << "; fastcgi_temp_path " << dir_.file("3")
        << "; uwsgi_temp_path " << dir_.file("4") << "; scgi_temp_path " << dir_.file("5")
        << ";\nserver { listen 127.0.0.1:" << port_ << tls
        << ";\nlocation = /login { add_header X-Token t7; return 200 hi; }\n"
           "location = /with-token { if ($http_x_token != t7) { return 403; } return 200 ok; }\n"
           "location / { return 200 hello; } } }\n";
    server_.emplace(std::vector<std::string>{program, "-p", dir_.path().string(), "-c",
                                             dir_.file("conf"), "-e", dir_.file("error")},
                    use_fetched_libraries);
    is_up_ = is_served(port_);
  }
  bool is_up() const { return is_up_; }
  std::string log() const { return dir_.file("log"); }
  std::string url() const {
    return (is_tls_ ? "https://127.0.0.1:" : "http://127.0.0.1:") + std::to_string(port_) + "/";
  }
  /// The requests of the log since the last call, once it has grown to `expected` of them.
  std::vector<std::string> take_log(uint64_t expected) {
    (void)becomes_true([&] { return lines_of(log()) >= taken_ + expected; });
    std::vector<std::string> lines;
    std::ifstream file(log());
    uint64_t number = 0;
    for (std::string line; std::getline(file, line); ++number) {
      if (number >= taken_) lines.push_back(line);
    }
    taken_ = number;
    return lines;
  }

 private:
  TempDir dir_;
  int port_;
  bool is_tls_;
  std::optional<Process> server_;
  bool is_up_ = false;
  uint64_t taken_ = 0;
};

uint64_t with(const std::vector<std::string>& lines, const std::string& words) {
  return static_cast<uint64_t>(std::count_if(lines.begin(), lines.end(), [&](const auto& line) {
    return line.find(words) != std::string::npos;
  }));
}

TEST(ScriptServers, TheAccessLogOfNginxHasTheRequestsOfAScenario) {
  NEED_PROGRAM(program, "nginx");
  Nginx nginx(program);
  ASSERT_TRUE(nginx.is_up());
  const TempDir dir;
  std::ofstream(dir.file("users.csv")) << "name,age\nann,30\nbob,40\n";
  const Json result = load(kSource + "/docs/scenarios/login.lua", nginx.url(),
                           {"--clients", "20", "--hold", "500ms", "--data", dir.file("users.csv")});
  const auto lines = nginx.take_log(statuses(result));
  EXPECT_GT(lines.size(), 20u);
  EXPECT_EQ(lines.size(), statuses(result));
  EXPECT_EQ(result["lost"], 0u);
  for (const Json& check : result["script"]["checks"]) EXPECT_EQ(check["failed"], 0u);
  EXPECT_EQ(with(lines, "\"POST /login "), result["script"]["steps"][0]["sent"].get<uint64_t>());
  EXPECT_EQ(with(lines, "\"GET /with-token "),
            result["script"]["steps"][1]["sent"].get<uint64_t>());
  EXPECT_EQ(with(lines, "\" 200 "), lines.size());
}

TEST(ScriptServers, OverTlsTheCertificateIsVerifiedAndTheLogHasTheRequests) {
  NEED_PROGRAM(program, "nginx");
  NEED_PROGRAM(openssl, "openssl");
  const TempDir dir;
  Process make({openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
                dir.file("key"), "-out", dir.file("certificate"), "-days", "2", "-subj",
                "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"});
  ASSERT_EQ(make.finish().exit_code, 0);
  Nginx nginx(program, dir.file("certificate"), dir.file("key"));
  ASSERT_TRUE(nginx.is_up());
  std::ofstream(dir.file("users.csv")) << "name,age\nann,30\n";
  const std::string script = kSource + "/docs/scenarios/login.lua";
  const std::vector<std::string> shape = {"--clients", "5",      "--hold",
                                          "300ms",     "--data", dir.file("users.csv")};
  auto trusting = shape;
  trusting.insert(trusting.end(), {"--ca-file", dir.file("certificate")});
  const Json result = load(script, nginx.url(), trusting);
  EXPECT_EQ(nginx.take_log(statuses(result)).size(), statuses(result));
  EXPECT_GT(statuses(result), 0u);
  EXPECT_EQ(result["lost"], 0u);
  EXPECT_EQ(result["tls"]["handshakes"], 5u);
  const Json refused = load(script, nginx.url(), shape);
  EXPECT_EQ(refused["replied"], 0u);
  EXPECT_EQ(refused["script"]["failures"]["TLS: self-signed certificate"], refused["sent"]);
  EXPECT_EQ(nginx.take_log(0).size(), 0u);
}

/// The number of requests in wrk's own report.
uint64_t requests_of_wrk(const std::string& text) {
  std::smatch found;
  return std::regex_search(text, found, std::regex("([0-9]+) requests in")) ? std::stoull(found[1])
                                                                            : 0;
}

/// What only one of the scripts does, in the result, in what it printed, and in the access log.
void check_wrk_script(const std::string& name, const Json& result, const std::string& talk,
                      const std::vector<std::string>& lines) {
  const std::string counted = std::to_string(lines.size());
  if (name == "report") {
    EXPECT_THAT(talk, HasSubstr("requests " + counted + "\n"));
    EXPECT_THAT(talk, HasSubstr("errors 0 0 0 0 0\n"));
  }
  if (name == "setup") {
    EXPECT_THAT(talk, HasSubstr("thread 1 begins with 0 arguments\n"));
    EXPECT_THAT(talk, HasSubstr("thread 1 asked " + counted + " answered " + counted + "\n"));
  }
  if (name == "pipeline") {
    EXPECT_EQ(lines.size(), 3 * result["sent"].get<uint64_t>());
    EXPECT_EQ(with(lines, "GET /part3 "), result["sent"].get<uint64_t>());
  }
  if (name == "auth") EXPECT_LE(with(lines, "GET /login "), 2u);
  if (name == "stop") {
    EXPECT_EQ(result["stopped_early"], true);
    EXPECT_GE(lines.size(), 100u);
    EXPECT_LE(lines.size(), 102u);
  }
  if (name == "counter") {
    std::set<std::string> paths;
    for (const std::string& line : lines) paths.insert(line.substr(line.find("GET ")));
    EXPECT_EQ(paths.size(), lines.size());
    EXPECT_EQ(with(lines, "GET /" + counted + " "), 1u);
  }
}

TEST(ScriptServers, TheScriptsOfWrkCountTheSameUnderWrkAndUnderTopspin) {
  NEED_PROGRAM(program, "nginx");
  NEED_PROGRAM(wrk, "wrk");
  struct Case {
    std::string name;
    std::string in_every_line;  // of the access log
    std::unique_ptr<Nginx> nginx;
    std::unique_ptr<Process> wrk;
  };
  std::vector<Case> cases;
  for (const auto& [name, words] :
       std::vector<std::pair<const char*, const char*>>{{"post", "\"POST / "},
                                                        {"counter", "\"GET /"},
                                                        {"auth", "\" 200 "},
                                                        {"report", "\"GET / "},
                                                        {"setup", "\"GET / "},
                                                        {"stop", "\"GET / "},
                                                        {"delay", "\"GET / "},
                                                        {"pipeline", "\"GET /part"},
                                                        {"addr", "\"GET / "}})
    cases.push_back({name, words, std::make_unique<Nginx>(program), nullptr});
  const auto file = [](const Case& one) {
    return kSource + "/tests/load/wrk/" + one.name + ".lua";
  };
  // All at once, because wrk runs for a second or more.
  for (Case& one : cases) {
    ASSERT_TRUE(one.nginx->is_up());
    one.wrk = std::make_unique<Process>(
        std::vector<std::string>{wrk, "-t1", "-c2", "-d1s", "-s", file(one), one.nginx->url()},
        use_fetched_libraries);
  }
  for (Case& one : cases) {
    const testing::ScopedTrace trace(__FILE__, __LINE__, one.name);
    const Outcome by_wrk = one.wrk->finish();
    ASSERT_EQ(by_wrk.exit_code, 0) << by_wrk.err;
    const uint64_t requests = requests_of_wrk(by_wrk.out);
    EXPECT_GT(requests, 0u);
    // wrk does not count what is on its way when its time ends: up to 3 requests of 2 connections.
    const auto lines = one.nginx->take_log(requests);
    EXPECT_GE(lines.size(), requests);
    EXPECT_LE(lines.size(), requests + 2 * 3);
    EXPECT_EQ(with(lines, one.in_every_line), lines.size());
    if (one.name == "report")
      EXPECT_THAT(by_wrk.out, HasSubstr("requests " + std::to_string(requests) + "\n"));
    if (one.name == "setup")
      EXPECT_THAT(by_wrk.out, HasSubstr("thread 1 begins with 0 arguments\n"));
  }
  for (Case& one : cases) {
    const testing::ScopedTrace trace(__FILE__, __LINE__, one.name);
    std::string talk;
    const Json result =
        load(file(one), one.nginx->url(), {"--clients", "2", "--hold", "250ms"}, &talk);
    const auto lines = one.nginx->take_log(statuses(result));
    EXPECT_GT(lines.size(), 0u);
    EXPECT_EQ(lines.size(), statuses(result));
    EXPECT_EQ(with(lines, one.in_every_line), lines.size());
    EXPECT_EQ(result["lost"], 0u);
    EXPECT_EQ(result["http"]["statuses"].size(), 1u);
    check_wrk_script(one.name, result, talk, lines);
  }
}

TEST(ScriptServers, AWrkScriptOnAScheduleKeepsIt) {
  NEED_PROGRAM(program, "nginx");
  Nginx nginx(program);
  ASSERT_TRUE(nginx.is_up());
  const Json result = load(kSource + "/tests/load/wrk/post.lua", nginx.url(),
                           {"--clients", "10", "--hold", "500ms", "--period", "100ms"});
  EXPECT_EQ(result["planned"], 50u);
  EXPECT_EQ(result["scheduled"], 50u);
  EXPECT_EQ(nginx.take_log(statuses(result)).size(), statuses(result));
}

}  // namespace
}  // namespace topspin::test
