// The flight recorder with the real binary: a server that stalls at a random moment, rules that
// flap, a recorder that is killed while it stores, and the numbers that leave it.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/app/watch/journal_reader.h"
#include "tests/app/watch/watch_fixture.h"
#include "tests/support/every_night.h"

namespace topspin::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;

const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new OwnNetwork);

TEST_F(Watch, KeepsTheStallWithItsSlowRepliesAndItsFindingAndNothingElse) {
  const int times = repeats(2, 20);
  std::mt19937 random(std::random_device{}());
  int right = 0;
  for (int i = 0; i < times; ++i) {
    std::filesystem::remove(db());
    const int after_ms = 4000 + static_cast<int>(random() % 4000);
    StallingServer server(after_ms, 400);
    ASSERT_NE(server.port(), 0);
    Process recorder(watch({"--pid", std::to_string(server.pid()), "--keep", "3s", "--after", "1s",
                            "--when", "max(reply_latency) > 150ms", "--when", "fds > 1000",
                            "udp port " + std::to_string(server.port())}));
    ASSERT_TRUE(recorder.wait_for("watching lo"));
    Pinger pinger(server.port(), 10);
    EXPECT_FALSE(std::filesystem::exists(db())) << "nothing is written before";
    const bool kept = recorder.wait_for("incident kept in", std::chrono::seconds(30));
    recorder.send(SIGINT);
    const Outcome ended = recorder.finish();
    EXPECT_TRUE(kept) << ended.err;
    if (!kept) continue;
    EXPECT_EQ(ended.exit_code, 128 + SIGINT) << ended.err;
    EXPECT_THAT(ended.err, HasSubstr("1 incident was kept"));
    EXPECT_THAT(ended.err, HasSubstr("\"max(reply_latency) > 150ms\" was met: "));
    pinger.stop();
    const auto [begin_ns, end_ns] = server.stall();
    ASSERT_GT(begin_ns, 0);

    const auto all = runs();
    ASSERT_EQ(all.size(), 1u);
    const StoredRun& run = all.front();
    EXPECT_EQ(run.end.status, RunStatus::kIncident);
    EXPECT_EQ(run.info.labels.at(kIncidentLabel), "max(reply_latency) > 150ms");
    EXPECT_LT(run.info.started_monotonic_ns, begin_ns) << "the stall is in it";
    EXPECT_GT(run.info.started_monotonic_ns + run.end.duration_ns, end_ns);
    auto store = RunStore::open(db());
    ASSERT_TRUE(store.ok());
    const auto fold = (*store)->fold(run.info.id, RunPart::kWhole);
    ASSERT_TRUE(fold.ok());
    // The oldest request waited nearly as long as the server slept.
    EXPECT_GE(fold->merged.flows.reply_latency.max().value_or(0), 350'000'000u);
    uint64_t slowest_ns = 0;
    EXPECT_TRUE((*store)
                    ->for_each_slow_reply(run.info.id,
                                          [&](const SlowReply& reply) {
                                            slowest_ns = std::max(slowest_ns, reply.total_ns);
                                          })
                    .ok());
    EXPECT_GE(slowest_ns, 350'000'000u);
    const auto stages = (*store)->load_stages(run.info.id);
    ASSERT_TRUE(stages.ok() && stages->size() == 2);
    EXPECT_LT(run.info.started_monotonic_ns + stages->at(1).start_ns, end_ns);
    const std::string finding = topspin({"explain", "last", "--db", db()}).out;
    EXPECT_THAT(finding, HasSubstr("slept: in a sleep of its own"));
    const std::string report = topspin({"report", "last", "--db", db()}).out;
    EXPECT_THAT(report, testing::StartsWith("FINDINGS"));
    EXPECT_THAT(report, HasSubstr("INCIDENT\n"));
    for (const std::vector<std::string>& words :
         std::vector<std::vector<std::string>>{{"replay", "last", "--once"},
                                               {"export", "last", "--format", "perfetto"},
                                               {"export", "last", "--format", "openmetrics"},
                                               {"list", "--status", "incident"}}) {
      std::vector<std::string> with_db = words;
      with_db.insert(with_db.end(), {"--db", db()});
      const Outcome read = topspin(with_db);
      EXPECT_EQ(read.exit_code, 0) << read.err;
      EXPECT_FALSE(read.out.empty());
    }
    if (!HasFailure()) ++right;
  }
  std::printf("right %d of %d times\n", right, times);
  EXPECT_EQ(right, times);
}

TEST_F(Watch, WithoutAnIncidentNothingIsWritten) {
  StallingServer server(0, 0);
  Pinger pinger(server.port(), 3);
  Process recorder(watch({"--interval", "50ms", "--when", "fds > 1000", "--when",
                          "p99(reply_latency) > 5s for 1s", "--duration", "1500ms", "udp"}));
  const Outcome ended = recorder.finish();
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("0 incidents were kept"));
  EXPECT_THAT(ended.err, HasSubstr("\"fds > 1000\" could never be judged"));
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path())) << "not even its lock is left";
}

TEST_F(Watch, AFlappingRuleDoesNotFillTheDisk) {
  StallingServer server(0, 0);
  Pinger pinger(server.port(), 2);
  Process recorder(watch({"--interval", "20ms", "--over", "20ms", "--keep", "200ms", "--after",
                          "0s", "--hold-off", "300ms", "--max-incidents", "3", "--when",
                          "packets > 0", "udp port " + std::to_string(server.port())}));
  ASSERT_TRUE(recorder.wait_for("watching lo"));
  std::atomic<bool> ending = false;
  std::thread flapping([&] {
    for (bool paused = false; !ending; paused = !paused) {
      pinger.pause(paused);
      std::this_thread::sleep_for(std::chrono::milliseconds(70));
    }
  });
  // The fourth incident is the first that pushes one out.
  EXPECT_TRUE(recorder.wait_for("at most 3 incidents are kept", std::chrono::seconds(60)));
  std::this_thread::sleep_for(std::chrono::seconds(2));
  recorder.send(SIGTERM);
  const Outcome ended = recorder.finish();
  ending = true;
  flapping.join();
  EXPECT_EQ(ended.exit_code, 128 + SIGTERM);
  EXPECT_EQ(incidents(), 3u) << ended.err;
  EXPECT_EQ(runs().size(), 3u);
  EXPECT_THAT(ended.err, HasSubstr("during the hold-off")) << "what was held off is counted";
}

TEST_F(Watch, IsFrozenByHandAndByTheCommand) {
  StallingServer server(0, 0);
  Pinger pinger(server.port(), 2);
  const Outcome none = topspin({"watch", "freeze", "--db", db()});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("no watch writes to"));
  Process recorder(watch({"--after", "200ms", "--hold-off", "0s", "udp"}));
  ASSERT_TRUE(recorder.wait_for("watching lo"));
  recorder.send(SIGUSR1);
  ASSERT_TRUE(recorder.wait_for("incident kept in"));
  EXPECT_EQ(incidents(), 1u);
  const Outcome freeze = topspin({"watch", "freeze", "--db", db()});
  EXPECT_EQ(freeze.exit_code, 0) << freeze.err;
  EXPECT_THAT(freeze.err, HasSubstr(std::to_string(recorder.pid())));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (incidents() < 2 && std::chrono::steady_clock::now() < deadline)
    recorder.wait_for_more(std::chrono::seconds(1));
  EXPECT_EQ(incidents(), 2u);
  EXPECT_EQ(runs().back().info.labels.at(kIncidentLabel), "by hand");
  // Nothing else gets the signal, which would end it.
  const Outcome other = topspin({"watch", "freeze", std::to_string(server.pid())});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, HasSubstr("is no topspin watch; nothing was sent"));
  EXPECT_EQ(kill(server.pid(), 0), 0);
  const Outcome second = run(watch({}));
  EXPECT_EQ(second.exit_code, 2);
  EXPECT_THAT(second.err, HasSubstr("another watch (process "));
  recorder.send(SIGINT);
  EXPECT_EQ(recorder.finish().exit_code, 128 + SIGINT);
}

/// What systemd-journald would get: datagrams at its socket, in a /run of the recorder's own.
class FakeJournal {
 public:
  explicit FakeJournal(const TempDir& dir) : run_(dir.file("run")) {
    std::filesystem::create_directories(run_ + "/systemd/journal");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = run_ + "/systemd/journal/socket";
    EXPECT_LT(path.size(), sizeof address.sun_path);
    std::copy(path.begin(), path.end(), address.sun_path);
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  /// Of a recorder whose standard error is, as far as it knows, the journal.
  std::function<void()> environment() const {
    return [run = run_] {
      struct stat info {};
      ::fstat(STDERR_FILENO, &info);
      ::setenv("JOURNAL_STREAM", fmt::format("{}:{}", info.st_dev, info.st_ino).c_str(), 1);
      if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", "", MS_REC | MS_PRIVATE, nullptr) != 0 ||
          ::mount(run.c_str(), "/run", "", MS_BIND, nullptr) != 0)
        _exit(126);
    };
  }
  /// The next entry, within 20 s; empty if there is none or it is not well-formed.
  std::map<std::string, std::string> next() const {
    pollfd ready{socket_.get(), POLLIN, 0};
    char bytes[8192];
    if (::poll(&ready, 1, 20'000) != 1) return {};
    const ssize_t got = ::recv(socket_.get(), bytes, sizeof bytes, 0);
    return read_journal_entry({bytes, static_cast<size_t>(std::max<ssize_t>(got, 0))})
        .value_or(std::map<std::string, std::string>());
  }
  void remove() const { std::filesystem::remove(run_ + "/systemd/journal/socket"); }

 private:
  std::string run_;
  UniqueFd socket_{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
};

TEST_F(Watch, TellsTheJournalOfIncidentsWithTheirFields) {
  StallingServer server(0, 0);
  Pinger pinger(server.port(), 2);
  const FakeJournal journal(dir_);
  Process recorder(watch({"--after", "100ms", "--hold-off", "0s", "--when", "packets > 0", "udp"}),
                   journal.environment());
  ASSERT_TRUE(recorder.wait_for("watching lo")) << "other messages are as always";
  auto begun = journal.next();
  EXPECT_EQ(begun["TOPSPIN_EVENT"], "topspin.incident_begun");
  EXPECT_EQ(begun["TOPSPIN_INCIDENT_RULE"], "packets > 0");
  EXPECT_THAT(begun["TOPSPIN_INCIDENT_MEASURED"], HasSubstr(" against 0"));
  EXPECT_THAT(begun["MESSAGE"], HasSubstr("\"packets > 0\" was met: "));
  EXPECT_EQ(begun["SYSLOG_IDENTIFIER"], "topspin");
  auto kept = journal.next();
  EXPECT_EQ(kept["TOPSPIN_EVENT"], "topspin.incident");
  EXPECT_EQ(kept["PRIORITY"], "4");
  EXPECT_EQ(kept["TOPSPIN_INCIDENT_RULE"], "packets > 0");
  EXPECT_EQ(kept["TOPSPIN_INCIDENT_DATABASE"], db());
  ASSERT_GE(runs().size(), 1u);
  EXPECT_EQ(kept["TOPSPIN_INCIDENT_RUN"], runs().front().info.id);
  EXPECT_THAT(kept["MESSAGE"], HasSubstr("kept as run " + runs().front().info.id));
  // Without the journal's socket, it says the same as elsewhere.
  journal.remove();
  recorder.send(SIGUSR1);
  EXPECT_TRUE(recorder.wait_for("incident kept in"));
  recorder.send(SIGINT);
  const Outcome ended = recorder.finish();
  EXPECT_EQ(ended.exit_code, 128 + SIGINT) << ended.err;
  EXPECT_THAT(ended.err, Not(HasSubstr("packets > 0\" was met"))) << "that was for the journal";
  EXPECT_THAT(ended.err, Not(HasSubstr("not allowed"))) << "no system call was refused";
}

TEST_F(Watch, WatchesACommandOrACgroupAsRecordDoes) {
  const Outcome command = run(watch(
      {"--when", "processes > 1", "--after", "0s", "--", "sh", "-c", "sleep 1 & sleep 2; exit 3"}));
  EXPECT_EQ(command.exit_code, 3) << command.err;
  EXPECT_THAT(command.err, HasSubstr("1 incident was kept"));
  ASSERT_EQ(incidents(), 1u);
  EXPECT_EQ(runs().front().info.command.front(), "sh");
  EXPECT_THAT(topspin({"report", "last", "--db", db()}).out, HasSubstr("processes > 1"));
  if (slurp("/proc/self/mountinfo").find(" - cgroup2 ") == std::string::npos)
    GTEST_SKIP() << "SKIP REASON: cgroup2 is not mounted";
  const Outcome cgroup = run(
      watch({"--when", "threads > 0", "--after", "0s", "--cgroup", "/", "--duration", "1500ms"}));
  EXPECT_EQ(cgroup.exit_code, 0) << cgroup.err;
  EXPECT_EQ(incidents(), 2u) << cgroup.err;
}

TEST_F(Watch, ARecordingKeepsItsDatabaseBelowItsSize) {
  const auto record = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"record", "-q", "-i",         "lo",
                                      "--db",   db(), "--duration", "300ms"};
    words.insert(words.end(), more.begin(), more.end());
    return topspin(words);
  };
  for (int i = 0; i < 3; ++i) ASSERT_EQ(record({}).exit_code, 0);
  EXPECT_EQ(runs().size(), 3u);
  const std::string newest = runs().back().info.id;
  const Outcome limited = record({"--max-size", "1kB", "--keep-runs", "30d"});
  EXPECT_EQ(limited.exit_code, 0) << limited.err;
  EXPECT_THAT(limited.err, HasSubstr("no other run may be removed"));
  ASSERT_EQ(runs().size(), 1u) << "its own";
  EXPECT_NE(runs().front().info.id, newest);
}

TEST_F(Watch, KilledWhileItStoresItLosesNoEarlierIncident) {
  StallingServer server(0, 0);
  Pinger pinger(server.port(), 20);
  int cut = 0;
  for (int i = 0; i < repeats(4, 20); ++i) {
    std::filesystem::remove(db());
    Process recorder(watch(
        {"--pid", std::to_string(server.pid()), "--interval", "10ms", "--after", "0s", "udp"}));
    ASSERT_TRUE(recorder.wait_for("watching lo"));
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    recorder.send(SIGUSR1);
    ASSERT_TRUE(recorder.wait_for("incident kept in"));
    recorder.send(SIGUSR1);
    // In the middle: its run is there, and its end is not.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (runs().size() < 2 && std::chrono::steady_clock::now() < deadline) {
    }
    recorder.send(SIGKILL);
    recorder.finish();
    const auto left = runs();
    ASSERT_GE(left.size(), 1u);
    EXPECT_EQ(left.front().end.status, RunStatus::kIncident) << "the earlier one";
    EXPECT_GT(left.front().ticks, 0u);
    for (size_t k = 1; k < left.size(); ++k) {
      EXPECT_TRUE(left[k].end.status == RunStatus::kInterrupted ||
                  left[k].end.status == RunStatus::kIncident);
      cut += left[k].end.status == RunStatus::kInterrupted ? 1 : 0;
    }
    const Outcome report = topspin({"report", "1", "--db", db()});
    EXPECT_EQ(report.exit_code, 0) << report.err;
    EXPECT_EQ(topspin({"watch", "-i", "lo", "--db", db(), "--duration", "100ms"}).exit_code, 0)
        << "the lock ended with its process";
  }
  std::printf("%d incidents were cut by the kill\n", cut);
}

TEST_F(Watch, RefusesWhatCannotWorkBeforeItWatches) {
  for (const auto& [words, says] : std::vector<std::pair<std::vector<std::string>, const char*>>{
           {{"--when", "p99(reply_latency) > 5"}, "needs a unit"},
           {{"--when", "fdz > 5"}, "did you mean fds"},
           {{"--keep", "2h"}, "at most 1h"},
           {{"--after", "-1s"}, "is no duration"},
           {{"--ring-size", "many"}, "is no size"},
           {{"--ring-size", "1"}, "at least 1MiB"},
           {{"--max-size", "0"}, "is no size"},
           {{"--packets", "--packets-size", "1"}, "from 1MiB to 4GiB"},
           {{"--packets", "--packets-size", "many"}, "is no size"},
           {{"--over", "10ms"}, "at least as long as a tick"},
           {{"--listen", "localhost:9464"}, "names are not looked up"},
           {{"--listen", "127.0.0.1:70000"}, "ADDRESS:PORT"},
           {{"--textfile", "/tmp/x.txt"}, "must end with .prom"},
           {{"--textfile", "/nonexistent/x.prom"}, "cannot write"},
           {{"--db", "/nonexistent/x.db"}, "no file can be created"}}) {
    std::vector<std::string> all = {"watch", "-i", "lo", "--duration", "1s"};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome refused = topspin(all);
    EXPECT_NE(refused.exit_code, 0) << words[1];
    EXPECT_THAT(refused.err, HasSubstr(says)) << words[1];
  }
}

/// The value of a sample in a text of metrics; -1 if it is not there.
double value_of(const std::string& text, const std::string& name) {
  const size_t at = text.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
}

TEST_F(Watch, ServesItsNumbersAndWritesThemToAFile) {
  StallingServer server(0, 0);
  const std::string file = dir_.file("topspin.prom");
  Process recorder(watch({"--listen", "9464", "--textfile", file, "--label", "team=a\"b\\c",
                          "udp port " + std::to_string(server.port())}));
  ASSERT_TRUE(recorder.wait_for("http://127.0.0.1:9464/metrics"));
  const auto get = [](const std::string& path, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"curl", "-sS", "-m", "10", "-i"};
    words.insert(words.end(), more.begin(), more.end());
    words.push_back("http://127.0.0.1:9464" + path);
    return run(words).out;
  };
  Pinger pinger(server.port(), 5);
  double before = 0;
  for (int i = 0; i < 5; ++i) {
    const std::string page = get("/metrics");
    EXPECT_THAT(page, HasSubstr("HTTP/1.1 200"));
    EXPECT_THAT(page, HasSubstr("application/openmetrics-text; version=1.0.0"));
    EXPECT_TRUE(page.ends_with("\n# EOF\n"));
    const double now = value_of(page, "topspin_captured_packets_total");
    EXPECT_GE(now, before) << "a counter only grows";
    before = now;
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
  }
  EXPECT_GT(before, 0);
  pinger.stop();
  // Both ways of each datagram, as the client counted them.
  const auto expected = static_cast<double>(pinger.sent() + pinger.received());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::string page;
  do {
    page = get("/metrics");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  } while (value_of(page, "topspin_captured_packets_total") != expected &&
           std::chrono::steady_clock::now() < deadline);
  EXPECT_EQ(value_of(page, "topspin_captured_packets_total"), expected);
  EXPECT_EQ(value_of(page, "topspin_reply_latency_seconds_count"),
            static_cast<double>(pinger.received()));
  EXPECT_EQ(value_of(page, "topspin_reply_latency_seconds_bucket{le=\"+Inf\"}"),
            static_cast<double>(pinger.received()));
  EXPECT_THAT(page, HasSubstr("label_team=\"a\\\"b\\\\c\""));

  // Read only, and nothing but the numbers.
  EXPECT_THAT(get("/metrics", {"-X", "POST", "-d", "x"}), HasSubstr("HTTP/1.1 405"));
  EXPECT_THAT(get("/metrics", {"-X", "DELETE"}), HasSubstr("HTTP/1.1 405"));
  EXPECT_THAT(get("/"), HasSubstr("HTTP/1.1 404"));
  EXPECT_THAT(get("/../../etc/passwd", {"--path-as-is"}), HasSubstr("HTTP/1.1 404"));
  EXPECT_THAT(get("/metrics", {"-I"}), HasSubstr("HTTP/1.1 200"));
  EXPECT_THAT(get("/metrics", {"-H", "X: " + std::string(20'000, 'x')}), Not(HasSubstr("200 OK")));

  // Clients that say nothing take no place for ever, and no more than there are.
  std::vector<UniqueFd> idle;
  for (int i = 0; i < 40; ++i) {
    idle.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(9464);
    (void)::connect(idle.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  bool served_again = false;
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!served_again && std::chrono::steady_clock::now() < patience)
    served_again = get("/metrics").find("HTTP/1.1 200") != std::string::npos;
  EXPECT_TRUE(served_again) << "after their time";

  const std::string text = slurp(file);
  EXPECT_THAT(text, HasSubstr("# TYPE topspin_captured_packets_total counter\n"));
  EXPECT_THAT(text, Not(HasSubstr("# EOF")));
  recorder.send(SIGINT);
  const Outcome ended = recorder.finish();
  EXPECT_EQ(ended.exit_code, 128 + SIGINT) << ended.err;
  EXPECT_THAT(ended.err, Not(HasSubstr("not allowed"))) << "no system call was refused";
  EXPECT_FALSE(std::filesystem::exists(file)) << "a recorder that has ended has no numbers";
}

TEST_F(Watch, ItsPageAndFileAreWhatOthersRead) {
  StallingServer server(0, 0);
  const std::string file = dir_.file("topspin.prom");
  Process recorder(watch(
      {"--pid", std::to_string(server.pid()), "--listen", "9465", "--textfile", file, "udp"}));
  ASSERT_TRUE(recorder.wait_for("http://127.0.0.1:9465/metrics"));
  Pinger pinger(server.port(), 5);
  std::this_thread::sleep_for(std::chrono::seconds(6));  // the file's next version
  const std::string page = dir_.file("page");
  ASSERT_EQ(run({"curl", "-sS", "-o", page, "http://127.0.0.1:9465/metrics"}).exit_code, 0);
  std::string python;
  for (const char* one : {"python3", "/usr/bin/python3"}) {
    if (python.empty() && run({one, "-c", "import prometheus_client"}).exit_code == 0) python = one;
  }
  if (python.empty())
    GTEST_SKIP() << "SKIP REASON: no prometheus_client (package python3-prometheus-client)";
  const Outcome strict = run(
      {python, "-c",
       "import sys\n"
       "from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n"
       "families = list(read(open(sys.argv[1]).read()))\n"
       "assert len({f.name for f in families}) == len(families)\n"
       "print(len(families))\n",
       page});
  EXPECT_EQ(strict.exit_code, 0) << strict.err;
  if (run({"promtool", "--version"}).exit_code != 0)
    GTEST_SKIP() << "SKIP REASON: no promtool (package prometheus)";
  // 1 is a text that it cannot read; 3 are its opinions on names.
  const Outcome checked = run({"sh", "-c", "promtool check metrics < '" + file + "'"});
  EXPECT_TRUE(checked.exit_code == 0 || checked.exit_code == 3) << checked.err;
  EXPECT_THAT(checked.err, Not(HasSubstr("error while linting")));

  if (run({"prometheus", "--version"}).exit_code != 0)
    GTEST_SKIP() << "SKIP REASON: no prometheus (package prometheus)";
  std::ofstream(dir_.file("prometheus.yml"))
      << "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
         "rule_files: ['" TOPSPIN_SOURCE_DIR
         "/docs/prometheus/topspin-alerts.yml']\n"
         "scrape_configs:\n"
         "  - job_name: topspin\n"
         "    static_configs: [{targets: ['127.0.0.1:9465']}]\n";
  Process prometheus({"prometheus", "--config.file=" + dir_.file("prometheus.yml"),
                      "--storage.tsdb.path=" + dir_.file("data"),
                      "--web.listen-address=127.0.0.1:9466"});
  const auto ask = [](const std::string& query) {
    const Outcome answer = run({"curl", "-sS", "-m", "5", "-G", "--data-urlencode",
                                "query=" + query, "http://127.0.0.1:9466/api/v1/query"});
    const Json json = Json::parse(answer.out, nullptr, false);
    if (!json.is_object() || !json.contains("data") || json["data"]["result"].empty())
      return std::string();
    return json["data"]["result"][0]["value"][1].get<std::string>();
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (ask("count_over_time(up{job=\"topspin\"}[1m]) >= 5").empty() &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_EQ(ask("min_over_time(up{job=\"topspin\"}[1m])"), "1");
  pinger.stop();
  const std::string expected = std::to_string(pinger.sent() + pinger.received());
  while (ask("topspin_captured_packets_total") != expected &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_EQ(ask("topspin_captured_packets_total"), expected);
  EXPECT_EQ(ask("resets(topspin_captured_packets_total[1m])"), "0");
  const std::string p50 =
      ask("histogram_quantile(0.5, rate(topspin_reply_latency_seconds_bucket[1m]))");
  ASSERT_FALSE(p50.empty());
  EXPECT_GT(std::stod(p50), 0);
  EXPECT_LT(std::stod(p50), 1);
  EXPECT_NE(ask("process_cpu_time_seconds_total"), "");

  // The dashboard asks for what there is. Only what is lost or happens rarely may be absent.
  const Json dashboard = Json::parse(slurp(TOPSPIN_SOURCE_DIR "/docs/grafana/topspin-live.json"));
  EXPECT_EQ(dashboard["panels"].size(), 9u);
  for (const Json& panel : dashboard["panels"]) {
    for (const Json& target : panel["targets"]) {
      auto query = target["expr"].get<std::string>();
      for (const auto& [word, by] : {std::pair("$instance", ".*"), {"$__rate_interval", "1m"}}) {
        for (size_t at; (at = query.find(word)) != std::string::npos;)
          query.replace(at, std::string_view(word).size(), by);
      }
      if (query.find("topspin_losses_total") != std::string::npos)
        query = query.substr(0, query.rfind(" > 0"));
      EXPECT_NE(ask(query), "") << panel["title"] << ": " << query;
    }
  }
  const Outcome rules = run({"curl", "-sS", "-m", "5", "http://127.0.0.1:9466/api/v1/rules"});
  const Json groups = Json::parse(rules.out, nullptr, false)["data"]["groups"];
  ASSERT_EQ(groups.size(), 1u) << rules.out;
  for (const Json& rule : groups[0]["rules"]) {
    EXPECT_EQ(rule["health"], "ok") << rule;
    EXPECT_EQ(rule["state"], "inactive") << rule;  // the server is well
  }
}

TEST(WatchAlerts, FireWhenTheyShouldAndNotOtherwise) {
  if (run({"promtool", "--version"}).exit_code != 0)
    GTEST_SKIP() << "SKIP REASON: no promtool (package prometheus)";
  const TempDir dir;
  std::string text = slurp(TOPSPIN_SOURCE_DIR "/tests/app/watch/alerts_test.yml");
  text.replace(text.find("ALERTS"), 6, TOPSPIN_SOURCE_DIR "/docs/prometheus/topspin-alerts.yml");
  std::ofstream(dir.file("test.yml")) << text;
  const Outcome tested = run({"promtool", "test", "rules", dir.file("test.yml")});
  EXPECT_EQ(tested.exit_code, 0) << tested.out << tested.err;
}

}  // namespace
}  // namespace topspin::test
