// The workload http against servers that were not written here: nginx over HTTP/1.1 and HTTP/2,
// plain and inside TLS, whose access log must say the same; haproxy, whose counters must. And
// against hostile servers: the accounts balance, whatever the server sends.
#include <atomic>
#include <csignal>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "core/base/unique_fd.h"
#include "load/load.h"
#include "tests/support/privileges.h"
#include "tests/support/servers.h"
#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kMs = kNanosPerMilli;
const std::atomic<bool> kNeverStop{false};

LoadOptions http_load(const std::string& target, std::string_view stages = "10:10 over 500ms") {
  LoadOptions options;
  options.workload = WorkloadKind::kHttp;
  options.target = target;
  options.stages = *parse_stages(stages);
  options.period_ns = 50 * kMs;
  options.timeout_ns = 10 * kNanosPerSecond;  // the machine may be busy
  return options;
}

void expect_balanced(const LoadResult& result) {
  AccountsContext context;
  context.is_tcp = true;
  context.planned = result.planned;
  context.has_plan = result.has_plan;
  EXPECT_THAT(find_imbalances(result.total.accounts, *result.tcp, context), IsEmpty());
}

LoadResult run(const LoadOptions& options) {
  auto result = run_load(options, kNeverStop, {});
  EXPECT_TRUE(result.ok()) << result.error().message;
  if (!result.ok()) return {};
  expect_balanced(*result);
  return std::move(*result);
}

class Nginx : public testing::Test {
 protected:
  void SetUp() override {
    const std::string nginx = test::find_program("nginx");
    if (nginx.empty()) TOPSPIN_SKIP("nginx is not installed, nor fetched by cmake/setup test");
    const std::string openssl = test::find_program("openssl");
    if (openssl.empty()) TOPSPIN_SKIP("the program openssl is not installed");
    for (const char* name : {"own", "other"}) {
      test::Process made(
          {openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
           "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
           "subjectAltName=DNS:localhost,DNS:localhost.localdomain,IP:127.0.0.1", "-keyout",
           dir_.file(std::string(name) + ".key"), "-out", dir_.file(std::string(name) + ".pem")});
      ASSERT_EQ(made.finish().exit_code, 0);
    }
    for (int& port : {std::ref(plain_), std::ref(tls_), std::ref(h2_), std::ref(h2c_)})
      port = test::free_port(SOCK_STREAM);
    const std::string at = dir_.path();
    const std::string here = "127.0.0.1:";
    std::ofstream(dir_.file("nginx.conf"))
        << "user root; daemon off; worker_processes 1; pid " << at << "/pid; error_log " << at
        << "/error.log;\nevents { worker_connections 512; }\nhttp {\nlog_format t "
           "'$status|$request_method|$request_uri|$server_protocol|$ssl_session_reused|"
           "$http_cookie|$connection|$request_body|$http_x_one|$ssl_server_name';\naccess_log "
        << at << "/access.log t;\nclient_body_temp_path " << at << "/b; proxy_temp_path " << at
        << "/p; fastcgi_temp_path " << at << "/f; uwsgi_temp_path " << at << "/u; scgi_temp_path "
        << at << "/s;\nkeepalive_requests 20; ssl_certificate " << at
        << "/own.pem; ssl_certificate_key " << at
        << "/own.key; ssl_session_cache shared:c:1m; ssl_protocols TLSv1.2 TLSv1.3;\n"
        << "server { listen " << here << plain_ << "; listen " << here << tls_
        << " ssl; listen 127.0.0.2:" << tls_ << " ssl; listen " << here << h2_
        << " ssl http2; listen " << here << h2c_
        << " http2;\nlocation / { return 200 \"hello\\n\"; }\n"
           "location /json { default_type application/json; return 200 "
           "'{\"id\": 7, \"name\": \"Ann\"}'; }\n"
           "location /cookie { add_header Set-Cookie \"a=$connection\"; return 200 \"c\"; }\n"
           "location /missing { return 404 \"no\"; }\n"
           // Reads the body, so that it can be logged.
           "location /echo { proxy_pass http://127.0.0.1:"
        << plain_ << "/sink; }\nlocation /sink { access_log off; return 200 \"ok\"; } } }\n";
    server_ = std::make_unique<Server>(std::vector<std::string>{
        nginx, "-p", at, "-c", dir_.file("nginx.conf"), "-e", dir_.file("error.log")});
    ASSERT_TRUE(test::becomes_true([&] { return test::accepts_connections(h2c_); }))
        << read("error.log");
  }

  std::string plain(const std::string& path) const {
    return url("http", "127.0.0.1", plain_, path);
  }
  std::string h2c(const std::string& path) const { return url("http", "127.0.0.1", h2c_, path); }
  std::string tls(const std::string& path, const std::string& host = "127.0.0.1") const {
    return url("https", host, tls_, path);
  }
  std::string h2(const std::string& path) const { return url("https", "localhost", h2_, path); }
  std::string file(const std::string& name) const { return dir_.file(name); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_.file(name)) << text;
  }

  struct Request {
    std::string status, method, uri, protocol, reused, cookie, connection, body, x_one, name;
  };
  /// The access log, which has `count` lines at last.
  std::vector<Request> log(uint64_t count) const {
    std::vector<std::string> lines;
    test::becomes_true([&] {
      lines.clear();
      std::ifstream in(dir_.file("access.log"));
      for (std::string line; std::getline(in, line);) lines.push_back(line);
      return lines.size() >= count;
    });
    EXPECT_EQ(lines.size(), count);
    std::vector<Request> requests;
    for (const std::string& line : lines) {
      std::istringstream words(line);
      Request& r = requests.emplace_back();
      for (std::string* word : {&r.status, &r.method, &r.uri, &r.protocol, &r.reused, &r.cookie,
                                &r.connection, &r.body, &r.x_one, &r.name})
        std::getline(words, *word, '|');
    }
    return requests;
  }
  static std::set<std::string> connections(const std::vector<Request>& requests) {
    std::set<std::string> all;
    for (const Request& request : requests) all.insert(request.connection);
    return all;
  }
  std::string read(const std::string& name) const {
    std::ifstream in(dir_.file(name));
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  using Server = test::Server;
  static std::string url(const char* scheme, const std::string& host, int port,
                         const std::string& path) {
    return std::string(scheme) + "://" + host + ":" + std::to_string(port) + path;
  }

  test::TempDir dir_;
  int plain_ = 0, tls_ = 0, h2_ = 0, h2c_ = 0;
  std::unique_ptr<Server> server_;
};

TEST_F(Nginx, RowsOfDataReachTheServerInPathHeaderAndBody) {
  write("data.csv", "id,name\n1,Ann\n2,\"B\"\"o\"\n3,x/y z\n");
  for (const bool http2 : {false, true}) {
    LoadOptions options =
        http_load(http2 ? h2c("/echo/{id}/{name}") : plain("/echo/{id}/{name}"), "1:1 over 300ms");
    options.http.http2 = http2;
    options.http.method = "PUT";
    options.http.headers = {"X-One: <{id}>"};
    options.http.body = "{\"n\": \"{name}\"}";
    options.http.data_file = file("data.csv");
    const LoadResult result = run(options);
    const LoadAccounts& a = result.total.accounts;
    ASSERT_GT(a.sent, 3u);
    EXPECT_EQ(a.replied, a.sent);
    EXPECT_EQ(a.http_errors, 0u);
    const auto requests = log(a.sent);
    const std::vector<std::array<const char*, 3>> rows = {
        {"/echo/1/Ann", "<1>", R"({\x22n\x22: \x22Ann\x22})"},
        {"/echo/2/B%22o", "<2>", R"({\x22n\x22: \x22B\x22o\x22})"},
        {"/echo/3/x%2Fy%20z", "<3>", R"({\x22n\x22: \x22x/y z\x22})"}};
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(requests[i].method, "PUT");
      EXPECT_EQ(requests[i].uri, rows[i % 3][0]);
      EXPECT_EQ(requests[i].x_one, rows[i % 3][1]);
      EXPECT_EQ(requests[i].body, rows[i % 3][2]);
      EXPECT_EQ(requests[i].protocol, http2 ? "HTTP/2.0" : "HTTP/1.1");
    }
    std::ofstream(file("access.log"));  // empties it; nginx appends
  }
}

TEST_F(Nginx, ABodyFromAFileIsAPost) {
  write("body", "from a file");
  LoadOptions options = http_load(plain("/echo"), "2:2 over 200ms");
  options.http.body_file = file("body");
  const LoadResult result = run(options);
  EXPECT_EQ(result.total.accounts.http_errors, 0u);
  for (const Request& request : log(result.total.accounts.sent)) {
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.body, "from a file");
  }
  options.http.body_file = file("none");
  EXPECT_THAT(run_load(options, kNeverStop, {}).error().message, HasSubstr("cannot read"));
}

TEST_F(Nginx, EachClientKeepsItsCookies) {
  LoadOptions options = http_load(plain("/cookie"));
  options.http.cookies = true;
  options.http.requests_per_connection = 3;
  const LoadResult result = run(options);
  const auto requests = log(result.total.accounts.sent);
  // $connection of a client's first request is its cookie from then on, until the next answer.
  std::map<std::string, int> without;
  std::set<std::string> given;
  for (const Request& request : requests) {
    if (request.cookie == "-") {
      ++without[request.connection];
      given.insert("a=" + request.connection);
    } else {
      EXPECT_TRUE(given.contains(request.cookie)) << request.cookie;
      given.insert("a=" + request.connection);
    }
  }
  EXPECT_EQ(without.size(), 10u);
  for (const auto& [connection, count] : without) EXPECT_EQ(count, 1) << connection;
}

TEST_F(Nginx, RequestsPerConnectionAreCounted) {
  for (const auto& [most, http2] : {std::pair(1u, false), {4u, false}, {3u, true}}) {
    std::ofstream(file("access.log"));
    LoadOptions options = http_load(http2 ? h2c("/") : plain("/"));
    options.http.http2 = http2;
    options.http.requests_per_connection = most;
    const LoadResult result = run(options);
    const auto requests = log(result.total.accounts.sent);
    std::map<std::string, uint32_t> per_connection;
    for (const Request& request : requests) ++per_connection[request.connection];
    EXPECT_EQ(per_connection.size(), result.tcp->connected);
    size_t full = 0;
    for (const auto& [connection, count] : per_connection) {
      EXPECT_LE(count, most);
      full += count == most;
    }
    EXPECT_GE(full, per_connection.size() - 10);  // the last one of each client may not be
  }
}

TEST_F(Nginx, ExpectedStatusesAndChecksDecideWhatIsAnError) {
  LoadOptions options = http_load(plain("/missing"), "5:5 over 200ms");
  options.http.expect_status = "404";
  LoadResult result = run(options);
  EXPECT_EQ(result.http->statuses.at(404), result.total.accounts.replied);
  EXPECT_EQ(result.total.accounts.http_errors, 0u);
  EXPECT_EQ(result.http->checks.at("status"), 0u);

  options.target = plain("/json");
  options.http.expect_status = "2xx";
  options.http.checks = {"json /id = 7", "id: json /id = 8",
                         "header Content-Type = application/json", "ann: body contains Ann",
                         "bo: body contains Bo"};
  result = run(options);
  const uint64_t replied = result.total.accounts.replied;
  EXPECT_GT(replied, 0u);
  const std::map<std::string, uint64_t> checks = {
      {"status", 0},   {"json /id = 7", 0},
      {"id", replied}, {"header Content-Type = application/json", 0},
      {"ann", 0},      {"bo", replied}};
  EXPECT_EQ(result.http->checks, checks);
  EXPECT_EQ(result.total.accounts.http_errors, replied);  // once for each answer
}

TEST_F(Nginx, TlsIsVerifiedAndItsSessionsAreResumed) {
  for (const bool resumption : {true, false}) {
    std::ofstream(file("access.log"));
    LoadOptions options = http_load(tls("/", "localhost"));
    options.http.ca_file = file("own.pem");
    options.http.resumption = resumption;
    options.http.requests_per_connection = 2;
    const LoadResult result = run(options);
    const LoadAccounts& a = result.total.accounts;
    EXPECT_EQ(a.replied, a.sent);
    EXPECT_THAT(result.http->failures, IsEmpty());
    ASSERT_TRUE(result.tls.has_value());
    const auto requests = log(a.sent);
    std::set<std::string> all = connections(requests), resumed;
    for (const Request& request : requests) {
      EXPECT_EQ(request.name, "localhost");  // SNI
      if (request.reused == "r") resumed.insert(request.connection);
    }
    EXPECT_EQ(result.tls->handshakes, all.size());
    EXPECT_EQ(result.tls->resumed, resumed.size());
    EXPECT_EQ(result.tls->resumed,
              resumption ? all.size() - 10 : 0);  // all but each client's first
    EXPECT_EQ(result.tls->handshake_latency.count(), all.size());
    EXPECT_EQ(result.connect_latency.count(), all.size());
    EXPECT_GT(result.tls->handshake_latency.summary().min, 0);
  }
}

TEST_F(Nginx, ACertificateThatIsNotTrustedIsNoAnswer) {
  LoadOptions options = http_load(tls("/"), "3:3 over 150ms");
  const auto failures = [&] {
    const LoadResult result = run(options);
    EXPECT_EQ(result.total.accounts.replied, 0u);
    EXPECT_EQ(result.tcp->failed, result.total.accounts.sent);
    EXPECT_EQ(result.tls->failed, result.total.accounts.sent);
    EXPECT_FALSE(result.valid());
    return result.invalid_reasons.empty() ? std::string() : result.invalid_reasons.front();
  };
  EXPECT_THAT(failures(), HasSubstr("TLS: self-signed certificate"));
  options.http.ca_file = file("other.pem");
  EXPECT_THAT(failures(), HasSubstr("TLS: "));
  options.http.ca_file = file("own.pem");
  options.target = tls("/", "127.0.0.2");  // which is not in the certificate
  EXPECT_THAT(failures(), HasSubstr("TLS: IP address mismatch"));
  options.target = tls("/");
  EXPECT_EQ(run(options).total.accounts.lost, 0u);  // its address is in the certificate
  options.http.ca_file.clear();
  options.http.insecure = true;
  EXPECT_EQ(run(options).total.accounts.lost, 0u);
  options.http.insecure = false;
  options.http.ca_file = file("own.key");
  EXPECT_THAT(run_load(options, kNeverStop, {}).error().message,
              HasSubstr("cannot read certificates"));
}

TEST_F(Nginx, Http2OverTlsAndInTheClear) {
  for (const bool secure : {true, false}) {
    std::ofstream(file("access.log"));
    // 4 requests of a client are due while the connection is made. nginx ends each connection after
    // 20 requests with a GOAWAY.
    LoadOptions options = http_load(secure ? h2("/json") : h2c("/json"), "4:4 over 600ms");
    options.period_ns = 2 * kMs;
    options.http.http2 = true;
    options.http.streams = 8;
    options.http.ca_file = secure ? file("own.pem") : "";
    options.http.checks = {"json /id = 7", "header content-type = application/json"};
    const LoadResult result = run(options);
    const LoadAccounts& a = result.total.accounts;
    EXPECT_GT(a.sent, 100u);
    EXPECT_EQ(a.replied, a.sent);
    EXPECT_EQ(a.http_errors, 0u);
    EXPECT_THAT(result.http->failures, IsEmpty());
    const auto requests = log(a.sent);
    for (const Request& request : requests) EXPECT_EQ(request.protocol, "HTTP/2.0");
    const size_t used = connections(requests).size();
    EXPECT_GT(used, 4u);
    EXPECT_LE(used, result.tcp->connected);
    EXPECT_EQ(result.tls.has_value(), secure);
  }
}

TEST_F(Nginx, AServerWithoutHttp2IsNamed) {
  LoadOptions options = http_load(tls("/"), "2:2 over 100ms");
  options.http.ca_file = file("own.pem");
  options.http.http2 = true;
  EXPECT_THAT(run(options).http->failures,
              testing::ElementsAre(testing::Key("TLS: the server does not choose h2 by ALPN")));
  options.target = plain("/");
  options.http.ca_file.clear();
  const LoadResult result = run(options);
  EXPECT_EQ(result.total.accounts.replied, 0u);
  EXPECT_THAT(result.http->failures, Each(testing::Key(HasSubstr("HTTP/2: "))));
}

TEST_F(Nginx, ThreadsShareTheClientsAndTheirAccountsAddUp) {
  write("data.csv", "id\n1\n2\n3\n4\n5\n6\n7\n");
  LoadOptions options = http_load(tls("/{id}"), "0:60 over 300ms, hold 300ms, 60:0 over 200ms");
  options.http.insecure = true;
  options.http.data_file = file("data.csv");
  options.threads = 3;
  uint32_t lines = 0;
  options.progress_ns = 100 * kMs;
  LoadAccounts last;
  auto result = run_load(options, kNeverStop, [&](const LoadProgress& line) {
    ++lines;
    last = line.accounts;
  });
  ASSERT_TRUE(result.ok()) << result.error().message;
  expect_balanced(*result);
  const LoadAccounts& a = result->total.accounts;
  EXPECT_GT(lines, 2u);
  EXPECT_GT(last.sent, 0u);
  EXPECT_EQ(a.replied, a.sent);
  EXPECT_EQ(result->clients_joined, 60u);
  EXPECT_EQ(result->tls->handshakes, result->tcp->connected);
  EXPECT_TRUE(result->are_threads);
  ASSERT_EQ(result->workers.size(), 3u);
  LoadAccounts sum;
  Histogram lateness;
  uint64_t planned = 0;
  for (const WorkerPart& thread : result->workers) {
    EXPECT_GT(thread.accounts.sent, 0u);
    EXPECT_EQ(thread.own_lateness.count(), thread.accounts.sent);
    ASSERT_TRUE(thread.cpu_ns.has_value());
    EXPECT_GT(*thread.cpu_ns, 0);
    sum.merge(thread.accounts);
    lateness.merge(thread.own_lateness);
    planned += thread.planned;
  }
  EXPECT_EQ(sum, a);
  EXPECT_EQ(planned, result->planned);
  EXPECT_EQ(lateness, result->total.own_lateness);
  std::map<std::string, size_t> rows;
  for (const Request& request : log(a.sent)) ++rows[request.uri];
  EXPECT_EQ(rows.size(), 7u);
  // The same as with one thread, from the same schedule.
  options.threads = 1;
  EXPECT_EQ(run(options).planned, result->planned);
}

TEST_F(Nginx, AThreadThatCannotBeginEndsTheLoad) {
  LoadOptions options = http_load(tls("/"), "4:4 over 10s");
  options.http.ca_file = file("none");
  options.threads = 4;
  EXPECT_THAT(run_load(options, kNeverStop, {}).error().message,
              HasSubstr("cannot read certificates"));
}

/// haproxy, which answers by itself, and counts what each of its frontends did.
class Haproxy : public testing::Test {
 protected:
  void SetUp() override {
    const std::string haproxy = test::find_program("haproxy");
    if (haproxy.empty()) TOPSPIN_SKIP("haproxy is not installed, nor fetched by cmake/setup test");
    const std::string openssl = test::find_program("openssl");
    if (openssl.empty()) TOPSPIN_SKIP("the program openssl is not installed");
    test::Process made({openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", dir_.file("both.pem.key"), "-out", dir_.file("both.pem")});
    ASSERT_EQ(made.finish().exit_code, 0);
    std::ofstream conf(dir_.file("conf"));
    conf << "global\n  nbthread 1\n  stats socket " << dir_.file("stats")
         << " level admin\ndefaults\n  mode http\n  timeout client 30s\n  timeout server 30s\n"
            "  timeout connect 5s\n";
    for (const auto& [name, how] : std::vector<std::pair<std::string, std::string>>{
             {"plain", ""},
             {"h2c", "proto h2"},
             {"tls", "ssl crt " + dir_.file("both.pem")},
             {"h2", "ssl crt " + dir_.file("both.pem") + " alpn h2"}}) {
      ports_[name] = test::free_port(SOCK_STREAM);
      conf << "frontend " << name << "\n  bind 127.0.0.1:" << ports_[name] << " " << how << "\n"
           << "  http-request return status 404 content-type text/plain string no if { path "
              "/missing }\n"
              "  http-request return status 503 if { path /away }\n"
              "  http-request reject if { path /reject }\n"
              "  http-request return status 200 content-type text/plain string \"Hello\"\n";
    }
    conf.close();
    server_ = std::make_unique<test::Server>(
        std::vector<std::string>{haproxy, "-db", "-f", dir_.file("conf")});
    ASSERT_TRUE(test::becomes_true([&] { return !counters("plain").empty(); }))
        << server_->finish().err;
  }

  LoadOptions load(const std::string& frontend, const std::string& path = "/") const {
    const bool is_tls = frontend == "tls" || frontend == "h2";
    LoadOptions options = http_load(
        fmt::format("{}://127.0.0.1:{}{}", is_tls ? "https" : "http", ports_.at(frontend), path));
    options.http.http2 = frontend == "h2" || frontend == "h2c";
    if (is_tls) options.http.ca_file = dir_.file("both.pem");
    return options;
  }

  using Counters = std::map<std::string, uint64_t>;
  /// What haproxy says of a frontend: "show stat" is CSV with a line of names.
  Counters counters(const std::string& frontend) const {
    const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    dir_.file("stats").copy(static_cast<char*>(address.sun_path), sizeof address.sun_path - 1);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return {};
    const std::string_view question = "show stat\n";
    (void)!write(fd.get(), question.data(), question.size());
    std::string text;
    std::array<char, 4096> part{};
    for (ssize_t got = 0; (got = read(fd.get(), part.data(), part.size())) > 0;)
      text.append(part.data(), static_cast<size_t>(got));
    std::istringstream lines(text);
    std::vector<std::string> names;
    for (std::string line; std::getline(lines, line);) {
      std::vector<std::string> cells;
      std::istringstream row(line);
      for (std::string cell; std::getline(row, cell, ',');) cells.push_back(cell);
      if (names.empty()) {
        names = cells;
        continue;
      }
      if (cells.size() < 2 || cells[0] != frontend || cells[1] != "FRONTEND") continue;
      Counters found;
      for (size_t i = 0; i < std::min(names.size(), cells.size()); ++i) {
        if (!cells[i].empty() && cells[i].find_first_not_of("0123456789") == std::string::npos)
          found[names[i]] = std::stoull(cells[i]);
      }
      return found;
    }
    return {};
  }

 private:
  test::TempDir dir_;
  std::map<std::string, int> ports_;
  std::unique_ptr<test::Server> server_;
};

TEST_F(Haproxy, CountsWhatTheLoadCounts) {
  for (const std::string frontend : {"plain", "h2c", "tls", "h2"}) {
    for (const std::string path : {"/", "/missing", "/away"}) {
      SCOPED_TRACE(frontend + " " + path);
      const Counters before = counters(frontend);
      const LoadResult result = run(load(frontend, path));
      Counters grown = counters(frontend);
      for (auto& [name, value] : grown) value -= std::min(value, before.at(name));
      const LoadAccounts& a = result.total.accounts;
      EXPECT_EQ(a.lost, 0u);
      EXPECT_EQ(a.http_errors, path == "/" ? 0 : a.replied);
      EXPECT_EQ(grown["req_tot"], a.sent);
      EXPECT_EQ(grown[path == "/"          ? "hrsp_2xx"
                      : path == "/missing" ? "hrsp_4xx"
                                           : "hrsp_5xx"],
                a.replied);
      EXPECT_EQ(grown["conn_tot"], result.tcp->connected);
    }
  }
}

TEST_F(Haproxy, AConnectionPerRequestAndOneThatIsClosedWithoutAnAnswer) {
  for (const std::string frontend : {"plain", "tls"}) {
    SCOPED_TRACE(frontend);
    const Counters before = counters(frontend);
    LoadOptions options = load(frontend);
    options.http.requests_per_connection = 1;
    const LoadResult closing = run(options);
    const Counters between = counters(frontend);
    EXPECT_EQ(closing.total.accounts.lost, 0u);
    EXPECT_EQ(closing.tcp->connected, closing.total.accounts.sent);
    EXPECT_EQ(between.at("conn_tot") - before.at("conn_tot"), closing.tcp->connected);
    const LoadResult rejected = run(load(frontend, "/reject"));
    const Counters after = counters(frontend);
    EXPECT_EQ(rejected.total.accounts.lost, rejected.total.accounts.sent);
    EXPECT_EQ(after.at("dreq") - between.at("dreq"), rejected.total.accounts.sent);
  }
}

/// Sends to each connection a beginning, and then more and more, whatever it is asked.
class HostileServer {
 public:
  struct Behaviour {
    std::string beginning = {};
    std::string more = {};  // again and again; empty: nothing
    int every_ms = 0;       // 0: as fast as the client reads
    bool closes = false;  // after the beginning, as shutdown() does; reads on, so nothing is reset
    bool resets = false;
  };

  explicit HostileServer(Behaviour behaviour) : behaviour_(std::move(behaviour)) {
    fd_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t length = sizeof address;
    EXPECT_EQ(bind(fd_.get(), generic, length), 0);
    EXPECT_EQ(listen(fd_.get(), 100), 0);
    EXPECT_EQ(getsockname(fd_.get(), generic, &length), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~HostileServer() {
    is_over_.store(true);
    thread_.join();
  }
  std::string url(const char* scheme) const {
    return std::string(scheme) + "://127.0.0.1:" + std::to_string(port_) + "/";
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  uint64_t bytes_sent() const { return bytes_.load(); }

 private:
  struct Connection {
    UniqueFd fd;
    std::string_view left;
    std::chrono::steady_clock::time_point next{};
  };

  void serve() {
    std::vector<Connection> connections;
    while (!is_over_.load()) {
      while (true) {
        const int fd = accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) break;
        connections.push_back({UniqueFd(fd), behaviour_.beginning});
      }
      bool did_something = false;
      for (Connection& one : connections) did_something = move_on(one) || did_something;
      std::erase_if(connections, [](const Connection& one) { return !one.fd; });
      if (!did_something) {
        pollfd wait{fd_.get(), POLLIN, 0};
        // One that sends without end is there when a byte fits.
        poll(&wait, 1, behaviour_.every_ms == 0 && !behaviour_.more.empty() ? 0 : 5);
      }
    }
  }

  bool move_on(Connection& one) {
    std::array<char, 65536> unread{};
    while (recv(one.fd.get(), unread.data(), unread.size(), 0) > 0) {
    }
    if (one.left.empty()) {
      if (behaviour_.resets) {
        const linger abort{1, 0};
        setsockopt(one.fd.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
        one.fd.reset();
        return true;
      }
      if (behaviour_.closes) {
        shutdown(one.fd.get(), SHUT_WR);
        return false;
      }
      const auto now = std::chrono::steady_clock::now();
      if (behaviour_.more.empty() || now < one.next) return false;
      one.next = now + std::chrono::milliseconds(behaviour_.every_ms);
      one.left = behaviour_.more;
    }
    const ssize_t sent =
        send(one.fd.get(), one.left.data(), one.left.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno != EAGAIN) one.fd.reset();
      return false;
    }
    bytes_.fetch_add(static_cast<uint64_t>(sent));
    one.left.remove_prefix(static_cast<size_t>(sent));
    return true;
  }

  Behaviour behaviour_;
  UniqueFd fd_;
  int port_ = 0;
  std::atomic<bool> is_over_{false};
  std::atomic<uint64_t> bytes_{0};
  std::thread thread_;
};

/// A frame of HTTP/2.
std::string frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload) {
  const auto size = static_cast<uint32_t>(payload.size());
  std::string bytes = {static_cast<char>(size >> 16), static_cast<char>(size >> 8),
                       static_cast<char>(size), static_cast<char>(type), static_cast<char>(flags)};
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(stream >> shift);
  return bytes + payload;
}

TEST(HostileHttp, TheAccountsBalanceWhateverComes) {
  using Behaviour = HostileServer::Behaviour;
  const std::string ok = "HTTP/1.1 200 OK\r\n", chunked = "Transfer-Encoding: chunked\r\n\r\n";
  const std::string long_line = "X-Long: " + std::string(4000, 'x') + "\r\n";
  const std::string settings = frame(4, 0, 0, "");
  struct Case {
    const char* name;
    const char* scheme;
    bool http2;
    Behaviour behaviour;
    uint64_t TcpAccounts::*fate;
  };
  const std::vector<Case> cases = {
      {"silence", "http", false, {}, &TcpAccounts::timeouts},
      {"a byte now and then", "http", false, {ok, "x", 20}, &TcpAccounts::timeouts},
      {"an endless head", "http", false, {ok, long_line}, &TcpAccounts::failed},
      {"an endless body", "http", false, {ok + "\r\n", long_line}, &TcpAccounts::timeouts},
      {"endless chunks", "http", false, {ok + chunked, "5\r\nabcde\r\n"}, &TcpAccounts::timeouts},
      {"endless interim answers",
       "http",
       false,
       {"", "HTTP/1.1 100 Go\r\nA: b\r\n\r\n"},
       &TcpAccounts::timeouts},
      {"a bad chunk", "http", false, {ok + chunked + "zz\r\n"}, &TcpAccounts::failed},
      {"a huge chunk",
       "http",
       false,
       {ok + chunked + "fffffffffffffffff\r\n"},
       &TcpAccounts::failed},
      {"half a chunk",
       "http",
       false,
       {ok + chunked + "5\r\nab", "", 0, true},
       &TcpAccounts::truncated},
      {"not HTTP", "http", false, {"+OK\r\n"}, &TcpAccounts::failed},
      {"a TLS server that speaks HTTP", "https", false, {ok + "\r\n"}, &TcpAccounts::failed},
      {"TLS records that are too long",
       "https",
       false,
       {std::string("\x16\x03\x03\xff\xff", 5), "x"},
       &TcpAccounts::failed},
      {"silence in TLS", "https", false, {}, &TcpAccounts::timeouts},
      {"half a TLS record",
       "https",
       false,
       {std::string("\x16\x03\x03\x00\x40\x02", 6), "", 0, true},
       &TcpAccounts::failed},
      {"HTTP/2 that is none", "http", true, {ok + "\r\n"}, &TcpAccounts::failed},
      {"HTTP/2 without an answer", "http", true, {settings}, &TcpAccounts::timeouts},
      {"endless pings", "http", true, {settings, frame(6, 0, 0, "12345678")}, nullptr},
      {"endless settings", "http", true, {settings, settings}, nullptr},
      {"an endless head of HTTP/2",
       "http",
       true,
       {settings + frame(1, 0, 1, "\x88"), frame(9, 0, 1, std::string("\x40\x01x\x01y", 5))},
       nullptr},
      {"GOAWAY at once",
       "http",
       true,
       {settings + frame(7, 0, 0, std::string(8, '\0'))},
       &TcpAccounts::failed},
      {"GOAWAY, and the end",
       "http",
       true,
       {settings + frame(7, 0, 0, std::string(8, '\0')), "", 0, true},
       &TcpAccounts::failed},
      {"a stream that nobody opened",
       "http",
       true,
       {settings + frame(0, 0, 2, "x")},
       &TcpAccounts::failed},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    HostileServer server(one.behaviour);
    LoadOptions options = http_load(server.url(one.scheme), "3:3 over 100ms");
    options.period_ns = 40 * kMs;
    options.timeout_ns = 60 * kMs;
    options.http.http2 = one.http2;
    options.http.streams = one.http2 ? 3 : 1;
    options.http.cookies = true;
    options.http.checks = {"body contains y"};
    const LoadResult result = run(options);
    const LoadAccounts& a = result.total.accounts;
    EXPECT_GT(a.sent, 0u);
    EXPECT_EQ(a.replied + a.late_replies, 0u);
    if (one.fate == nullptr) continue;
    // On a busy machine the timeout may be first.
    EXPECT_EQ((*result.tcp).*one.fate + (one.fate == &TcpAccounts::timeouts
                                             ? result.tcp->reset_after_bytes
                                             : result.tcp->timeouts),
              a.lost)
        << "failed " << result.tcp->failed << ", timeouts " << result.tcp->timeouts
        << ", truncated " << result.tcp->truncated << ", reset " << result.tcp->reset_before_bytes
        << " " << result.tcp->reset_after_bytes;
  }
}

/// As fast as it is read, and faster than it can be looked at: a timeout comes all the same, and
/// a stop is heard.
TEST(HostileHttp, AnEndlessAnswerKeepsNoThread) {
  std::string interim;
  for (int i = 0; i < 10'000; ++i) interim += "HTTP/1.1 100 Go\r\n\r\n";
  HostileServer server({"", interim});
  for (const WorkloadKind workload : {WorkloadKind::kHttp, WorkloadKind::kTcpConnect}) {
    SCOPED_TRACE(static_cast<int>(workload));
    LoadOptions options = http_load(server.address(), "3:3 over 100ms");
    options.workload = workload;
    options.period_ns = 100 * kMs;
    options.timeout_ns = 60 * kMs;
    const LoadResult result = run(options);
    EXPECT_EQ(result.tcp->timeouts, result.total.accounts.sent);
    EXPECT_GT(result.total.accounts.sent, 0u);
  }
  LoadOptions options = http_load(server.url("http"), "3:3 over 100ms");
  options.workload = WorkloadKind::kScript;
  options.script_name = "of_wrk.lua";
  options.script_text = "request = function() return wrk.format('GET', '/') end";
  options.timeout_ns = 60 * kMs;
  const auto result = run_load(options, kNeverStop, {});
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_GT(result->total.accounts.sent, 0u);
  EXPECT_EQ(result->total.accounts.lost, result->total.accounts.sent);
}

/// The same over HTTP/2: frames of a type that nobody knows, which are read and ignored.
TEST(HostileHttp, EndlessFramesOfHttp2KeepNoThread) {
  const std::string settings("\0\0\0\4\0\0\0\0\0", 9), unknown("\0\0\0\xfa\0\0\0\0\0", 9);
  std::string frames;
  for (int i = 0; i < 20'000; ++i) frames += unknown;
  HostileServer server({settings, frames});
  LoadOptions options = http_load(server.url("http"), "3:3 over 100ms");
  options.http.http2 = true;
  options.period_ns = 100 * kMs;
  options.timeout_ns = 60 * kMs;
  const LoadResult result = run(options);
  EXPECT_EQ(result.tcp->timeouts, result.total.accounts.sent);
  EXPECT_GT(result.total.accounts.sent, 0u);
  // One turn at a time, and yet it is read: more than a few buffers.
  EXPECT_GT(server.bytes_sent(), 1'000'000u);
}

/// The same inside TLS, by a server of OpenSSL's own, which sends a file of 128 MB: a turn without
/// an end would read all of it.
TEST(HostileHttp, ALongAnswerInTlsKeepsNoThread) {
  const std::string openssl = test::find_program("openssl");
  if (openssl.empty()) TOPSPIN_SKIP("the program openssl is not installed");
  const test::TempDir dir;
  const int port = test::free_port(SOCK_STREAM);
  test::Process made({openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
                      dir.file("key.pem"), "-out", dir.file("own.pem"), "-subj", "/CN=x"});
  ASSERT_EQ(made.finish().exit_code, 0);
  std::string interim;
  while (interim.size() < 1'000'000) interim += "HTTP/1.1 100 Go\r\n\r\n";
  {
    std::ofstream page(dir.file("page"));
    for (int i = 0; i < 128; ++i) page << interim;
  }
  test::Server server(
      {"sh", "-c",
       fmt::format("cd {} && exec {} s_server -quiet -HTTP -accept {} -cert own.pem "
                   "-key key.pem",
                   dir.path().string(), openssl, port)});
  ASSERT_TRUE(test::becomes_true([&] { return test::accepts_connections(port); }));
  LoadOptions options = http_load(fmt::format("https://127.0.0.1:{}/page", port), "1:1 over 300ms");
  options.http.insecure = true;
  options.period_ns = 150 * kMs;
  options.timeout_ns = 100 * kMs;
  const LoadResult result = run(options);
  EXPECT_EQ(result.total.accounts.lost, result.total.accounts.sent);
  EXPECT_GT(result.tcp->timeouts, 0u);
  EXPECT_GT(result.bytes_received, 16'384u);
  EXPECT_LT(result.bytes_received, 64'000'000u);
}

TEST(HostileHttp, ResetsAreResets) {
  HostileServer server({"HTTP/1.1 200 OK\r\n", "", 0, false, true});
  LoadOptions options = http_load(server.url("http"), "5:5 over 200ms");
  const LoadResult result = run(options);
  EXPECT_EQ(result.tcp->reset_before_bytes + result.tcp->reset_after_bytes,
            result.total.accounts.sent);
}

/// The most memory that this process has had.
int64_t most_rss_bytes() {
  rusage usage{};
  EXPECT_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  return int64_t{usage.ru_maxrss} * 1024;
}

TEST(HostileHttp, WhatIsKeptOfAnAnswerHasALimit) {
  HostileServer server({"HTTP/1.1 200 OK\r\n\r\n", std::string(size_t{1} << 20, 'x')});
  LoadOptions options = http_load(server.url("http"), "4:4 over 100ms");
  options.period_ns = 100 * kMs;
  options.timeout_ns = kNanosPerSecond;
  options.http.checks = {"body contains y"};
  const int64_t before = most_rss_bytes();
  const LoadResult result = run(options);
  const int64_t grown = most_rss_bytes() - before;
  const auto sent = static_cast<int64_t>(server.bytes_sent());
  EXPECT_EQ(result.tcp->timeouts, result.total.accounts.sent);
  // A MiB of each client; the sanitizer keeps what was freed for a while.
  EXPECT_LT(grown, 64 << 20) << "the server sent " << sent;
  EXPECT_GT(sent, 64 << 20);
}

}  // namespace
}  // namespace topspin
