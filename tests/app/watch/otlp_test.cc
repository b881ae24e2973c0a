// --otlp with the real binary: what a collector gets, decoded by OpenTelemetry's own definitions
// and compared with OpenMetrics of the same process and with the stored run; and collectors that
// are away, slow, full, or not whom they should be.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/app/watch/watch_fixture.h"

namespace topspin::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;

const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new OwnNetwork);

const std::string kTools = TOPSPIN_SOURCE_DIR "/tests/app/watch/";
const std::string kDefinitions = TOPSPIN_SOURCE_DIR "/build/tools/otlp/node_modules";

/// A request, as the collector got it.
struct Request {
  std::string path, status, body_file;
  std::map<std::string, std::string> headers;
  double at = 0;  // seconds
};

class Collector {
 public:
  Collector(const TempDir& dir, int port, const std::string& answers = "",
            const std::vector<std::string>& tls = {})
      : directory_(dir.file("collector")), port_(port) {
    std::filesystem::create_directory(directory_);
    std::ofstream(directory_ + "/answers") << answers;
    std::vector<std::string> words = {"python3", kTools + "otlp_collector", directory_,
                                      std::to_string(port)};
    words.insert(words.end(), tls.begin(), tls.end());
    process_.emplace(words);
    EXPECT_TRUE(process_->wait_for("ready"));
  }
  std::string url(const std::string& host = "127.0.0.1", const std::string& scheme = "http") const {
    return fmt::format("{}://{}:{}", scheme, host, port_);
  }
  std::vector<Request> requests() const {
    std::vector<Request> all;
    for (int number = 1;; ++number) {
      const std::string name = fmt::format("{}/{}", directory_, number);
      std::ifstream file(name + ".json");
      if (!file) return all;
      const Json json = Json::parse(file);
      all.push_back({json["path"], json["status"], name + ".body", json["headers"], json["at"]});
    }
  }
  /// Waits until there are so many.
  std::vector<Request> wait_for(size_t count) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (requests().size() < count && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_GE(requests().size(), count);
    return requests();
  }
  void stop() { process_.reset(); }

 private:
  std::string directory_;
  int port_;
  std::optional<Process> process_;
};

/// What a request says, decoded by OpenTelemetry's definitions.
Json decoded(const std::string& kind, const std::string& file) {
  const Outcome run = test::run({"node", kTools + "otlp_decode.js", kind, file},
                                [] { ::setenv("NODE_PATH", kDefinitions.c_str(), 1); });
  EXPECT_EQ(run.exit_code, 0) << run.err << slurp(file);
  return run.exit_code == 0 ? Json::parse(run.out) : Json();
}

/// The samples of a text of OpenMetrics: {"name{labels}": value}, without the labels in `leave_out`
/// and without times.
std::map<std::string, double> samples_of(const std::string& text, bool is_export) {
  std::map<std::string, double> samples;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#' || line.find("_info{") != std::string::npos) continue;
    const size_t labels = line.find('{');
    const size_t end = labels == std::string::npos ? line.find(' ') : line.find('}') + 1;
    std::string name = line.substr(0, end);
    if (is_export) {  // every sample has the label run first
      const size_t run_end = name.find('"', labels + 6) + 1;
      const bool is_last = name[run_end] == '}';
      name.erase(is_last ? labels : labels + 1, run_end + 1 - (is_last ? labels : labels + 1));
    }
    samples[name] = std::stod(line.substr(end + 1));
  }
  return samples;
}

/// As a collector makes names of Prometheus, except that a unit that is there is not added again.
std::string prometheus_name(std::string name, const Json& metric) {
  std::replace(name.begin(), name.end(), '.', '_');
  const std::map<std::string, std::string> units = {{"s", "_seconds"}, {"By", "_bytes"}};
  if (const auto unit = units.find(metric["unit"]);
      unit != units.end() && !name.ends_with(unit->second))
    name += unit->second;
  if (metric["monotonic"] == true) name += "_total";
  return name;
}

std::string prometheus_labels(const Json& point) {
  std::string labels;
  for (const auto& [name, value] : point["attributes"].items()) {
    std::string key = name;
    if (key.starts_with("topspin.")) key.erase(0, 8);
    std::replace(key.begin(), key.end(), '.', '_');
    labels += fmt::format("{}{}=\"{}\"", labels.empty() ? "" : ",", key, value.get<std::string>());
  }
  return labels.empty() ? "" : "{" + labels + "}";
}

/// The cumulative buckets of OpenMetrics against the exponential ones: a bucket's end is off by at
/// most 1/64, and so is whether a value is below it.
void expect_same_distribution(const std::string& name, const Json& point,
                              const std::map<std::string, double>& samples) {
  EXPECT_EQ(samples.at(name + "_bucket{le=\"+Inf\"}"), point["count"].get<double>()) << name;
  if (point["negative"].empty() && !point["sum"].is_null()) {
    EXPECT_NEAR(samples.at(name + "_sum"), point["sum"].get<double>(),
                1e-8 * point["sum"].get<double>())
        << name;
    EXPECT_EQ(samples.at(name + "_count"), point["count"].get<double>()) << name;
  }
  for (const auto& [sample, count] : samples) {
    const std::string start = name + "_bucket{le=\"";
    if (!sample.starts_with(start) || sample.find("+Inf") != std::string::npos) continue;
    const double edge = std::stod(sample.substr(start.size()));
    double surely = 0, perhaps = 0;  // below the edge
    const auto add = [&](double low, double high, double here) {
      const auto off = [](double value) { return std::abs(value) / 60; };
      if (high + off(high) <= edge) surely += here;
      if (low - off(low) <= edge) perhaps += here;
    };
    for (const Json& bucket : point["positive"]) add(bucket[0], bucket[1], bucket[2]);
    for (const Json& bucket : point["negative"])
      add(-bucket[1].get<double>(), -bucket[0].get<double>(), bucket[2]);
    add(0, 0, point["zero"]);
    EXPECT_LE(surely, count) << sample;
    EXPECT_GE(perhaps, count) << sample;
  }
}

/// Every sample of OpenMetrics is in the request, and the other way round. `same` says of which
/// samples the values must be equal.
void expect_same(const Json& request, const std::map<std::string, double>& samples,
                 const std::function<bool(const std::string&)>& same) {
  std::map<std::string, double> left = samples;
  for (const auto& [name, metric] : request["metrics"].items()) {
    const std::string family = prometheus_name(name, metric);
    for (const Json& point : metric["points"]) {
      if (metric["kind"] == "exponentialHistogram") {
        EXPECT_EQ(metric["temporality"], 2) << name;
        if (same(family)) expect_same_distribution(family, point, samples);
        std::erase_if(left, [&](const auto& sample) {
          return sample.first.starts_with(family + "_bucket") || sample.first == family + "_sum" ||
                 sample.first == family + "_count";
        });
        continue;
      }
      const std::string sample = family + prometheus_labels(point);
      const auto found = samples.find(sample);
      if (found == samples.end()) {
        ADD_FAILURE() << sample << " is not in OpenMetrics";
        continue;
      }
      if (same(sample)) {
        EXPECT_EQ(found->second, point["value"].get<double>()) << sample;
      }
      left.erase(sample);
    }
  }
  for (const auto& [sample, value] : left) ADD_FAILURE() << sample << " is not sent";
}

class Otlp : public Watch {
 protected:
  void SetUp() override {
    Watch::SetUp();
    if (IsSkipped()) return;
    if (!std::filesystem::exists(kDefinitions) || run({"node", "--version"}).exit_code != 0)
      GTEST_SKIP() << "SKIP REASON: no node, or no definitions of OTLP (cmake/fetch-servers)";
  }
  /// The environment of a recorder.
  static std::function<void()> with(std::map<std::string, std::string> variables = {}) {
    variables.emplace("OTEL_METRIC_EXPORT_INTERVAL", "1000");
    return [variables] {
      for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
    };
  }
  std::vector<std::string> record(std::vector<std::string> more) const {
    std::vector<std::string> words = {topspin_binary(), "record", "-q", "-i", "lo", "--db", db()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

TEST_F(Otlp, TheCollectorHasTheNumbersOfThePageAndTheIncidents) {
  StallingServer server(0, 0);
  const Collector collector(dir_, 4318);
  std::vector<std::string> words = {"--pid",  std::to_string(server.pid()), "--listen", "9464",
                                    "--otlp", collector.url() + "/",        "--after",  "0s"};
  for (int i = 0; i < 20; ++i)
    words.insert(words.end(), {"--label", fmt::format("k{:02}=v\"\\{}", i, i)});
  words.push_back("udp port " + std::to_string(server.port()));
  Process recorder(watch(words), with());
  ASSERT_TRUE(recorder.wait_for("the numbers are sent to http://127.0.0.1:4318 every 1.00s"));
  Pinger pinger(server.port(), 5);
  collector.wait_for(4);
  pinger.stop();
  // Twice the same page: what does not change any more must be the same everywhere.
  const auto page = [] {
    return run({"curl", "-sS", "-m", "10", "http://127.0.0.1:9464/metrics"}).out;
  };
  const auto expected = static_cast<double>(pinger.sent() + pinger.received());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  std::map<std::string, double> before, after;
  while (before["topspin_captured_packets_total"] != expected &&
         std::chrono::steady_clock::now() < deadline)
    before = samples_of(page(), false);
  const size_t so_far = collector.requests().size();
  const std::vector<Request> requests = collector.wait_for(so_far + 2);
  after = samples_of(page(), false);
  const Json last = decoded("metrics", requests.back().body_file);
  EXPECT_EQ(last["metrics"]["topspin.captured_packets"]["points"][0]["value"], expected);
  expect_same(last, before, [&](const std::string& sample) {
    // Not what goes on: processor time, ticks, what topspin itself does.
    for (const char* of_traffic :
         {"captured", "packets", "traffic", "topspin_flows", "request", "repl", "lateness",
          "missed", "losses", "labels_cut", "incident", "otlp"}) {
      if (sample.find(of_traffic) == std::string::npos) continue;
      const auto one = before.find(sample), other = after.find(sample);
      return one == before.end() || other == after.end() || one->second == other->second;
    }
    return false;
  });
  const Json& replies = last["metrics"]["topspin.reply_latency"];
  EXPECT_EQ(replies["kind"], "exponentialHistogram");
  EXPECT_EQ(replies["unit"], "s");
  EXPECT_EQ(replies["points"][0]["count"], pinger.received());
  EXPECT_EQ(last["metrics"]["process.memory.usage"]["monotonic"], false) << "an UpDownCounter";
  EXPECT_EQ(last["metrics"]["process.memory.usage"]["unit"], "By");
  EXPECT_EQ(last["metrics"]["process.cpu.time"]["monotonic"], true);
  EXPECT_EQ(last["metrics"]["topspin.labels_cut"]["points"][0]["value"], 4);
  EXPECT_EQ(last["dropped"], 4);
  EXPECT_EQ(last["resource"]["service.name"], "topspin");
  EXPECT_EQ(last["resource"]["topspin.label.k01"], "v\"\\1");
  EXPECT_FALSE(last["resource"].contains("topspin.label.k16"));

  // Counters begin with the run and only grow; a gauge has no beginning.
  double packets = 0;
  std::string start;
  for (const Request& request : requests) {
    EXPECT_EQ(request.path, "/v1/metrics");
    EXPECT_EQ(request.headers.at("Content-Type"), "application/json");
    const Json one = decoded("metrics", request.body_file)["metrics"];
    const Json& point = one["topspin.captured_packets"]["points"][0];
    EXPECT_GE(point["value"].get<double>(), packets);
    packets = point["value"];
    if (start.empty()) start = point["start"];
    EXPECT_EQ(point["start"], start);
    EXPECT_GT(std::stoull(point["time"].get<std::string>()), std::stoull(start));
    EXPECT_EQ(one["topspin.live_flows"]["points"][0]["start"], "");
  }

  recorder.send(SIGUSR1);
  ASSERT_TRUE(recorder.wait_for("incident kept in"));
  const auto is_log = [](const Request& request) { return request.path == "/v1/logs"; };
  std::vector<Request> all;
  while (std::none_of(all.begin(), all.end(), is_log) &&
         std::chrono::steady_clock::now() < deadline)
    all = collector.wait_for(all.size() + 1);
  const auto log = std::find_if(all.begin(), all.end(), is_log);
  ASSERT_NE(log, all.end());
  const Json record = decoded("logs", log->body_file)["records"][0];
  const StoredRun incident = runs().back();
  EXPECT_EQ(record["event"], "topspin.incident");
  EXPECT_EQ(record["severity"], 13);
  EXPECT_EQ(record["attributes"]["topspin.incident.rule"], "by hand");
  EXPECT_EQ(record["attributes"]["topspin.incident.run"], incident.info.id);
  EXPECT_THAT(record["body"].get<std::string>(), HasSubstr("kept as run " + incident.info.id));
  const auto at_ns = std::stoll(record["time"].get<std::string>());
  EXPECT_EQ(at_ns / 1'000'000 * 1'000'000,
            incident.info.started_wall_ns + incident.end.duration_ns -
                (incident.info.started_wall_ns + incident.end.duration_ns) % 1'000'000)
      << "the moment of the last tick, as nothing is kept after it";

  // The process that sends has nothing that it does not need.
  const std::string children = slurp(fmt::format("/proc/{0}/task/{0}/children", recorder.pid()));
  const std::string status = slurp("/proc/" + children.substr(0, children.find(' ')) + "/status");
  EXPECT_THAT(status, HasSubstr("Name:\ttopspin-otlp"));
  EXPECT_THAT(status, HasSubstr("CapPrm:\t0000000000000000"));
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1"));
  EXPECT_THAT(status, HasSubstr("Seccomp:\t2"));
  recorder.send(SIGINT);
  const Outcome ended = recorder.finish();
  EXPECT_EQ(ended.exit_code, 128 + SIGINT) << ended.err;
  EXPECT_THAT(ended.err, Not(HasSubstr("not allowed"))) << "no system call was refused";
  EXPECT_THAT(ended.err, Not(HasSubstr("dropped")));
}

TEST_F(Otlp, TheLastRequestHasTheNumbersOfTheStoredRun) {
  StallingServer server(0, 0);
  const Collector collector(dir_, 4318);
  Pinger pinger(server.port(), 4);
  // By name, which is looked up; with a command, whose family is ended while the last is sent.
  Process recorder(record({"--otlp", collector.url("localhost"), "--period", "20ms",
                           "udp port " + std::to_string(server.port()), "--", "sh", "-c",
                           "(sleep 100 & sleep 100); sleep 100"}),
                   with());
  collector.wait_for(3);
  recorder.send(SIGTERM);
  const Outcome ended = recorder.finish();
  EXPECT_THAT(ended.err, Not(HasSubstr("dropped"))) << ended.err;
  const Outcome exported = topspin({"export", "last", "--db", db(), "--format", "openmetrics"});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  std::map<std::string, double> samples = samples_of(exported.out, true);
  Json last = decoded("metrics", collector.requests().back().body_file);
  for (const char* only_live :
       {"topspin.ticks", "topspin.labels_cut", "topspin.otlp_points_dropped",
        "topspin.otlp_logs_dropped", "topspin.otlp_retries"})
    EXPECT_EQ(last["metrics"].erase(only_live), 1u) << only_live;
  expect_same(last, samples, [](const std::string&) { return true; });
  EXPECT_GT(samples["topspin_captured_packets_total"], 0);
  EXPECT_GT(samples["topspin_lateness_seconds_bucket{le=\"+Inf\"}"], 0) << "of both signs";
  EXPECT_EQ(last["resource"]["service.instance.id"], runs().back().info.id);
}

TEST_F(Otlp, DoesWhatTheProtocolSaysAboutAnswers) {
  const Collector collector(dir_, 4318,
                            "503 2\n"
                            "429 date 3\n"
                            "502\n"
                            "close\n"
                            "200\n"
                            "400 {\"code\": 3, \"message\": \"no such tenant\\u001b[31m\"}\n"
                            "307 http://127.0.0.1:4318/elsewhere\n"
                            "200 {\"partialSuccess\": {\"rejectedDataPoints\": \"5\"}}\n");
  Process recorder(
      watch({"--otlp", collector.url(), "--listen", "9464", "udp"}),
      with({{"OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20hunter2,X-Scope-OrgID=7"}}));
  const std::vector<Request> requests = collector.wait_for(10);
  const auto body = [&](size_t number) { return slurp(requests.at(number - 1).body_file); };
  for (size_t number = 2; number <= 5; ++number) {
    EXPECT_EQ(body(number), body(1)) << "the same request, " << number;
    EXPECT_GT(requests[number - 1].at, requests[number - 2].at);
  }
  EXPECT_GE(requests[1].at - requests[0].at, 1.99) << "Retry-After: 2";
  EXPECT_GE(requests[2].at - requests[1].at, 1.9) << "Retry-After with a date, of whole seconds";
  for (size_t number = 6; number <= 9; ++number)
    EXPECT_NE(body(number), body(number - 1)) << "answered for good, " << number;
  for (const Request& request : requests) {
    EXPECT_EQ(request.path, "/v1/metrics") << "no redirect is followed";
    EXPECT_EQ(request.headers.at("Authorization"), "Bearer hunter2");
    EXPECT_EQ(request.headers.at("X-Scope-OrgID"), "7");
    EXPECT_EQ(request.headers.count("Expect"), 0u);
  }
  // Two requests were refused, and five points of a third.
  const size_t refused = decoded("metrics", requests[5].body_file)["metrics"].size();
  EXPECT_GT(refused, 50u);
  uint64_t points = 5;
  for (const size_t number : {6, 7}) {
    const Json one = decoded("metrics", requests[number - 1].body_file);
    for (const Json& metric : one["metrics"]) points += metric["points"].size();
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::string page;
  const std::string wanted = fmt::format("\ntopspin_otlp_points_dropped_total {}\n", points);
  while (page.find(wanted) == std::string::npos && std::chrono::steady_clock::now() < deadline)
    page = run({"curl", "-sS", "-m", "10", "http://127.0.0.1:9464/metrics"}).out;
  EXPECT_THAT(page, HasSubstr(wanted));
  // libcurl itself repeats what found a connection closed that it had used before.
  EXPECT_THAT(page, testing::ContainsRegex("\ntopspin_otlp_retries_total [34]\n"));
  recorder.send(SIGINT);
  const Outcome ended = recorder.finish();
  EXPECT_THAT(ended.err,
              HasSubstr("http://127.0.0.1:4318 did not take the numbers (HTTP 503); they "
                        "are sent again"));
  EXPECT_THAT(ended.err, HasSubstr("takes the numbers again"));
  EXPECT_THAT(ended.err, HasSubstr("data points (HTTP 400: no such tenant\\x1b[31m)"));
  EXPECT_THAT(ended.err,
              HasSubstr(fmt::format("{} data points and 0 log records were dropped", points)));
  EXPECT_THAT(ended.err, Not(HasSubstr("hunter2")));
}

TEST_F(Otlp, ACollectorThatHangsOrIsAwayHoldsNothingUp) {
  StallingServer server(0, 0);
  const Collector collector(dir_, 4318, "hang\nhang\nhang\n");
  Process hanging(record({"--otlp", collector.url(), "udp port " + std::to_string(server.port())}),
                  with());
  collector.wait_for(1);
  Pinger pinger(server.port(), 5);
  std::this_thread::sleep_for(std::chrono::seconds(3));
  pinger.stop();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  hanging.send(SIGINT);
  const Outcome ended = hanging.finish();
  EXPECT_EQ(ended.exit_code, 128 + SIGINT) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr(" data points and 0 log records were dropped"));
  auto store = RunStore::open(db());
  ASSERT_TRUE(store.ok());
  const auto fold = (*store)->fold(runs().back().info.id, RunPart::kWhole);
  ASSERT_TRUE(fold.ok());
  EXPECT_EQ(fold->merged.flows.packets, pinger.sent() + pinger.received());

  // Nobody listens there, and the process that sends is killed.
  Process alone(record({"--otlp", "http://127.0.0.1:4319", "udp"}), with());
  ASSERT_TRUE(alone.wait_for("") && collector.requests().size() == 1);
  std::string children;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (children.empty() && std::chrono::steady_clock::now() < deadline)
    children = slurp(fmt::format("/proc/{0}/task/{0}/children", alone.pid()));
  ASSERT_FALSE(children.empty());
  std::this_thread::sleep_for(std::chrono::seconds(4));
  ::kill(std::stoi(children), SIGKILL);
  std::this_thread::sleep_for(std::chrono::seconds(2));
  alone.send(SIGINT);
  const Outcome killed = alone.finish();
  EXPECT_EQ(killed.exit_code, 128 + SIGINT) << killed.err;
  EXPECT_THAT(killed.err, HasSubstr("data points and 0 log records were dropped"));
  EXPECT_EQ(runs().back().end.status, RunStatus::kComplete);
}

TEST_F(Otlp, SendsOnlyToWhomItsCertificateNames) {
  for (const char* name : {"right", "wrong"}) {
    const std::string host = std::string(name) == "right" ? "IP:127.0.0.1" : "DNS:other.example";
    const Outcome made =
        run({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             "/CN=test", "-addext", "subjectAltName=" + host, "-keyout",
             dir_.file(std::string(name) + ".key"), "-out", dir_.file(std::string(name) + ".pem")});
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  const std::string right = dir_.file("right.pem"), wrong = dir_.file("wrong.pem");
  const auto record_with = [&](const std::string& url, const std::string& certificates) {
    return topspin({"record", "-i", "lo", "--db", db(), "--otlp", url, "--duration", "3s", "udp"},
                   with({{"OTEL_EXPORTER_OTLP_CERTIFICATE", certificates}}));
  };
  {
    const Collector collector(dir_, 4320, "", {right, dir_.file("right.key")});
    const std::string url = collector.url("127.0.0.1", "https");
    const Outcome unknown = record_with(url, "");
    EXPECT_EQ(unknown.exit_code, 0) << "the recording goes on";
    EXPECT_THAT(unknown.err, HasSubstr("certificate"));
    EXPECT_EQ(collector.requests().size(), 0u);
    const Outcome trusted = record_with(url, right);
    EXPECT_THAT(trusted.err, Not(HasSubstr("dropped")));
    EXPECT_GE(collector.requests().size(), 2u);
    const Outcome missing = record_with(url, "/nonexistent.pem");
    EXPECT_EQ(missing.exit_code, 5);
    EXPECT_THAT(missing.err, HasSubstr("OTEL_EXPORTER_OTLP_CERTIFICATE"));
  }
  std::filesystem::remove_all(dir_.file("collector"));
  const Collector collector(dir_, 4321, "", {wrong, dir_.file("wrong.key")});
  const Outcome other = record_with(collector.url("127.0.0.1", "https"), wrong);
  EXPECT_THAT(other.err, HasSubstr("refused"));
  EXPECT_EQ(collector.requests().size(), 0u) << "a certificate of another host";
}

}  // namespace
}  // namespace topspin::test
