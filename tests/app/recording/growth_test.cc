// What a flow costs, when a limit is reached and what leaks, from `topspin record` to its report.
// Real connections go to a server whose cost per client is known.
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/support/own_network.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new OwnNetwork);

using Json = nlohmann::json;
using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr int64_t kGiB = int64_t{1} << 30;

/// TCP clients of one server. They connect at an even pace, and each sends a byte every half
/// second.
class Clients {
 public:
  explicit Clients(uint16_t port) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    address_.sin_family = AF_INET;
    address_.sin_port = htons(port);
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;
  ~Clients() { leave(); }

  bool connect_all(int count, milliseconds ramp) {
    const auto start = std::chrono::steady_clock::now();
    const int first = static_cast<int>(fds_.size());
    while (static_cast<int>(fds_.size()) < first + count) {
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address_), sizeof address_) != 0)
        return false;
      fds_.push_back(fd);
      const auto due = start + ramp * (static_cast<int>(fds_.size()) - first) / count;
      send_until(due);
    }
    return true;
  }
  void send_for(milliseconds duration) { send_until(std::chrono::steady_clock::now() + duration); }
  void leave() {
    for (const int fd : fds_) close(fd);
    fds_.clear();
  }

 private:
  void send_until(std::chrono::steady_clock::time_point end) {
    for (auto now = std::chrono::steady_clock::now(); now < end;
         now = std::chrono::steady_clock::now()) {
      if (now < next_round_) {
        std::this_thread::sleep_until(std::min(end, next_round_));
        continue;
      }
      next_round_ = now + milliseconds(500);
      char echoed[64];
      for (const int fd : fds_) {
        while (recv(fd, echoed, sizeof echoed, MSG_DONTWAIT) > 0) {
        }
        (void)!send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
      }
    }
  }

  sockaddr_in address_{};
  std::vector<int> fds_;
  std::chrono::steady_clock::time_point next_round_{};
};

class Growth : public testing::Test {
 protected:
  void SetUp() override { TOPSPIN_NEEDS_ROOT(); }

  /// Ticks last a quarter second and flows stay active for one second, so every client is always
  /// active.
  Process record(int64_t bytes, const char* mode) const {
    return Process({topspin_binary(), "record", "-i", "lo", "--db", dir_.file("t.db"), "--interval",
                    "250ms", "tcp", "port", std::to_string(port()), "--",
                    std::string(TOPSPIN_BINARY_DIR) + "/tests/app/growth_subject",
                    std::to_string(port()), std::to_string(bytes), mode});
  }
  Json report() const {
    const Outcome run = topspin({"report", "last", "--db", dir_.file("t.db"), "--format", "json"});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return run.exit_code == 0 ? Json::parse(run.out) : Json();
  }
  std::string text() const { return topspin({"report", "last", "--db", dir_.file("t.db")}).out; }
  static uint16_t port() { return static_cast<uint16_t>(20'000 + getpid() % 10'000); }

  static Json metric(const Json& json, const std::string& name) {
    for (const Json& metric : json["summary"]["leak"]["metrics"]) {
      if (metric["name"] == name) return metric;
    }
    return {};
  }
  static Json headroom(const Json& json, const std::string& limit) {
    for (const Json& entry : json["summary"]["headroom"]) {
      if (entry["limit"] == limit) return entry;
    }
    return {};
  }
  /// The value is within a share of what is expected.
  static void expect_near(const Json& value, double expected, double share, const char* what) {
    ASSERT_TRUE(value.is_number()) << what;
    EXPECT_NEAR(value.get<double>(), expected, expected * share) << what;
  }

  TempDir dir_;
};

constexpr int kClients = 400;
constexpr int64_t kBytes = 256 << 10;

void come_and_go(Process& recording, uint16_t port, int waves) {
  ASSERT_TRUE(recording.wait_for("ready"));
  std::this_thread::sleep_for(milliseconds(1500));
  for (int wave = 0; wave < waves; ++wave) {
    Clients clients(port);
    ASSERT_TRUE(clients.connect_all(kClients, milliseconds(2500)));
    clients.send_for(milliseconds(1500));
    clients.leave();
    std::this_thread::sleep_for(milliseconds(4000));
  }
  recording.send(SIGINT);
}

TEST_F(Growth, ALeakOfKnownSizeIsFoundAndItsResidueIsRight) {
  Process recording = record(kBytes, "leak");
  come_and_go(recording, port(), 2);
  EXPECT_EQ(recording.finish().exit_code, 130);
  const Json json = report();
  const Json& summary = json["summary"];
  expect_near(summary["per_flow"]["rss_bytes"], kBytes, 0.05, "rss per flow");
  expect_near(summary["per_flow"]["vsz_bytes"], kBytes + 4096, 0.05, "vsz per flow");
  expect_near(summary["per_flow"]["mappings"], 2, 0.05, "mappings per flow");
  expect_near(summary["per_flow"]["fds"], 1, 0.02, "fds per flow");
  EXPECT_EQ(summary["leak"]["verdict"], "leak") << summary["leak"];
  EXPECT_EQ(summary["leak"]["waves"], 2);
  EXPECT_EQ(metric(json, "fds")["verdict"], "leak");
  EXPECT_EQ(metric(json, "fds")["residue"], 2 * kClients);
  EXPECT_EQ(metric(json, "fds")["slope_per_s"], 0);
  EXPECT_EQ(metric(json, "rss_bytes")["verdict"], "leak") << metric(json, "rss_bytes");
  expect_near(metric(json, "rss_bytes")["residue"], 2.0 * kClients * kBytes, 0.03, "rss residue");
  EXPECT_EQ(metric(json, "threads")["verdict"], "none");
  EXPECT_THAT(text(), HasSubstr("leak      leak: "));
}

TEST_F(Growth, ItsMendedTwinLeaksNothing) {
  Process recording = record(kBytes, "clean");
  come_and_go(recording, port(), 1);
  EXPECT_EQ(recording.finish().exit_code, 130);
  const Json json = report();
  EXPECT_EQ(json["summary"]["leak"]["verdict"], "none") << json["summary"]["leak"];
  EXPECT_EQ(metric(json, "fds")["residue"], 0);
  expect_near(json["summary"]["per_flow"]["rss_bytes"], kBytes, 0.05, "rss per flow");
  expect_near(json["summary"]["per_flow"]["fds"], 1, 0.02, "fds per flow");
  // Each client's descriptor and the listening one are sockets; epoll is not. In the last tick, the
  // subject may be dying, with its descriptors closed.
  Json last;
  for (const Json& tick : json["ticks"]) {
    const Json& kinds = tick["fds_by_kind"];
    if (kinds["socket"].is_number() && kinds["socket"] != 0) last = kinds;
  }
  ASSERT_TRUE(last.is_object());
  EXPECT_EQ(last["socket"], 1);
  EXPECT_EQ(last["anonymous"], 1);
  EXPECT_GE(json["summary"]["fds_by_kind"]["socket"]["max"], kClients);
}

TEST_F(Growth, EightGibAClientEndAtSixteenThousandAndTopspinSaysSoBefore) {
  constexpr int kMany = 4400;
  Process recording = record(8 * kGiB, "reserve");
  ASSERT_TRUE(recording.wait_for("ready"));
  std::this_thread::sleep_for(milliseconds(1000));
  {
    Clients clients(port());
    ASSERT_TRUE(clients.connect_all(kMany, milliseconds(8000)));
    EXPECT_TRUE(recording.wait_for("the address space ends at about"));
    clients.send_for(milliseconds(1000));
  }
  recording.send(SIGINT);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 130) << end.err;
  const Json json = report();
  const Json room = headroom(json, "address_space");
  ASSERT_TRUE(room.is_object()) << json["summary"]["headroom"];
  // The address space has 2^47 bytes, and a client takes 2^33.
  expect_near(room["flows"], 16'384, 0.02, "headroom");
  EXPECT_EQ(json["summary"]["headroom"][0]["limit"], "address_space");
  expect_near(json["summary"]["per_flow"]["vsz_bytes"], 8.0 * kGiB, 0.02, "vsz per flow");
  EXPECT_LT(json["summary"]["rss_bytes"]["max"], 120 << 20);
  EXPECT_LE(json["summary"]["active_flows"]["max"], kMany);
  bool stored = false;
  for (const Json& event : json["events"])
    stored |= event["text"].get<std::string>().find("the address space ends") == 0;
  EXPECT_TRUE(stored) << json["events"];
  EXPECT_THAT(text(), HasSubstr("headroom  the address space ends at about 16"));
}

}  // namespace
}  // namespace topspin::test
