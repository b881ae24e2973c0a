// Faults of the interface and of the capture ring, inflicted on a recording.
#include <cstdlib>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "tests/app/faults/fault_fixture.h"
#include "tests/support/own_network.h"

namespace topspin::test {
namespace {

const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new OwnNetwork);

bool shell(const std::string& command) {
  return std::system((command + " 2>/dev/null").c_str()) == 0;
}

/// A recording of one end of a veth pair, in this program's own network namespace.
class InterfaceFault : public FaultFixture {
 protected:
  void SetUp() override {
    FaultFixture::SetUp();
    if (IsSkipped()) return;
    if (!OwnNetwork::why_not().empty()) TOPSPIN_SKIP(OwnNetwork::why_not());
    if (!make_interface()) TOPSPIN_SKIP("cannot make a veth pair with ip(8)");
  }
  void TearDown() override { shell("ip link del tspin0"); }

  static bool make_interface() {
    return shell(
               "ip link add tspin0 type veth peer name tspin1 && ip link set tspin1 up && "
               "ip addr add 10.99.0.1/24 broadcast 10.99.0.255 dev tspin0 && "
               "ip link set tspin0 up") &&
           is_ready();
  }
  /// The kernel notices a carrier at most once a second, and drops what is sent before.
  static bool is_ready() {
    return wait_until([] { return shell("ip -o link show tspin0 | grep -q 'state UP'"); });
  }
  /// Broadcasts, which need no answer to find their way.
  static void send(int packets) {
    const UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(7777);
    inet_pton(AF_INET, "10.99.0.255", &to.sin_addr);
    for (int i = 0; i < packets; ++i) {
      ASSERT_EQ(sendto(fd.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof to), 1);
    }
  }
  /// A recording that ends once it has seen so many packets.
  std::vector<std::string> record_packets(int count) const {
    return {topspin_binary(),
            "record",
            "-i",
            "tspin0",
            "--interval",
            "100ms",
            "--db",
            db(),
            "-c",
            std::to_string(count),
            "udp",
            "port",
            "7777"};
  }
};

TEST_F(InterfaceFault, DownAndUpIsAGapAndTheRunIsNotUsable) {
  Process recording(record_packets(20));
  ASSERT_TRUE(recording.wait_for("active"));
  send(10);
  ASSERT_TRUE(shell("ip link set tspin0 down"));
  ASSERT_TRUE(recording.wait_for("tspin0 went down"));
  ASSERT_TRUE(shell("ip link set tspin0 up"));
  ASSERT_TRUE(is_ready());
  ASSERT_TRUE(recording.wait_for("tspin0 is back"));
  send(10);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 3) << end.err;
  const Json json = report();
  EXPECT_EQ(json["run"]["status"], "complete");
  EXPECT_EQ(json["run"]["usable"], false);
  EXPECT_GT(json["losses"]["capture_gap_ns"].get<int64_t>(), 0);
  EXPECT_EQ(json["summary"]["packets"], 20);
  expect_sound_database();
}

TEST_F(InterfaceFault, FlappingAndDeletionAreToldOnceEachAndWaitingCostsLittle) {
  constexpr int kFlaps = 10;
  Process recording(record_packets(100));
  ASSERT_TRUE(recording.wait_for("active"));
  for (int i = 0; i < kFlaps; ++i)
    ASSERT_TRUE(shell("ip link set tspin0 down; ip link set tspin0 up"));
  // The capture is open again once a packet is counted.
  ASSERT_TRUE(wait_until([&] {
    send(1);
    return number("SELECT sum(packets) FROM tick") > 0;
  }));
  ASSERT_TRUE(shell("ip link del tspin0"));
  ASSERT_TRUE(recording.wait_for("tspin0 is gone")) << recording.finish().err;
  // Without an interface there is nothing to do but to make ticks. A loop that spins takes a CPU.
  const auto cpu_ticks = [&] {
    std::istringstream stat(text_of("/proc/" + std::to_string(recording.pid()) + "/stat"));
    std::string word;
    int64_t user = 0, system = 0;
    for (int i = 0; i < 13; ++i) stat >> word;
    stat >> user >> system;
    return user + system;
  };
  const int64_t before = cpu_ticks();
  sleep(2);
  EXPECT_LT(cpu_ticks() - before, sysconf(_SC_CLK_TCK)) << "half of the two seconds";
  ASSERT_TRUE(make_interface());
  ASSERT_TRUE(recording.wait_for("tspin0 is back"));
  // The kernel shows a carrier a moment before it sends: what is sent meanwhile is dropped.
  const int64_t packets_before = number("SELECT sum(packets) FROM tick");
  ASSERT_TRUE(wait_until([&] {
    send(1);
    return number("SELECT sum(packets) FROM tick") > packets_before;
  }));
  send(100);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 3) << end.err;
  int events = 0;
  for (size_t at = 0; (at = end.err.find("tspin0 ", at)) != std::string::npos; ++at) ++events;
  EXPECT_LE(events, 2 * kFlaps + 8) << end.err;
  const Json json = report();
  EXPECT_GT(json["losses"]["capture_gap_ns"].get<int64_t>(), 0);
  EXPECT_EQ(json["summary"]["packets"], 100);
}

TEST_F(InterfaceFault, OfAFullRingCountedAndDroppedPacketsAddUpToThoseSent) {
  constexpr int64_t kPackets = 60'000;
  const std::vector<std::string> ring = {"-B", "1"};
  std::vector<std::string> words = record_packets(1 << 30);
  words.insert(words.begin() + 2, ring.begin(), ring.end());
  Process recording(words);
  ASSERT_TRUE(recording.wait_for("active"));
  recording.send(SIGSTOP);
  send(kPackets);  // nobody reads the ring, and most of this does not fit
  sleep(2);        // long enough to be told
  recording.send(SIGCONT);
  ASSERT_TRUE(recording.wait_for("topspin was stopped"));
  recording.send(SIGINT);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 130) << end.err;
  const Json json = report();
  const auto dropped = json["losses"]["capture_kernel_drops"].get<int64_t>();
  EXPECT_GT(dropped, 0);
  EXPECT_EQ(json["summary"]["packets"].get<int64_t>() + dropped, kPackets);
  EXPECT_EQ(json["run"]["usable"], false);
}

}  // namespace
}  // namespace topspin::test
