// A flood of SYNs from millions of addresses.
#include <algorithm>
#include <array>
#include <cstring>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "tests/app/faults/fault_fixture.h"
#include "tests/support/every_night.h"
#include "tests/support/own_network.h"

namespace topspin::test {
namespace {

/// Frames into one end of a veth pair, that come out of the other. None is for that host, so it
/// answers none.
class SynFlood {
 public:
  explicit SynFlood(const char* interface) : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    setsockopt(fd_.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(if_nametoindex(interface));
    ok_ = bind(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    for (size_t i = 0; i < kBatch; ++i) {
      constexpr std::array<uint8_t, 48> kStart = {2, 0,    0, 0, 0,  1, 2, 0,    0, 0,  0, 2, 8,
                                                  0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0};
      std::copy(kStart.begin(), kStart.end(), frames_[i].begin());
      frames_[i][30] = 10;  // to 10.99.0.1, port 80
      frames_[i][31] = 99;
      frames_[i][33] = 1;
      frames_[i][34] = 0x9c;  // from port 40,000
      frames_[i][35] = 0x40;
      frames_[i][37] = 80;
      frames_[i][46] = 0x50;
      frames_[i][47] = 2;  // SYN
      parts_[i] = {frames_[i].data(), frames_[i].size()};
      messages_[i].msg_hdr.msg_iov = &parts_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }
  bool ok() const { return ok_; }
  /// Each comes from another address. REQUIRES: `count` is a multiple of 256.
  void send(uint32_t count) {
    for (uint32_t sent = 0; sent < count; sent += kBatch) {
      for (size_t i = 0; i < kBatch; ++i) {
        const uint32_t from = htonl(0x0b000000u + sent + static_cast<uint32_t>(i));
        std::memcpy(&frames_[i][26], &from, sizeof from);
      }
      for (size_t done = 0; done < kBatch;) {
        const int now =
            sendmmsg(fd_.get(), &messages_[done], static_cast<unsigned>(kBatch - done), 0);
        if (now > 0) done += static_cast<size_t>(now);
      }
    }
  }

 private:
  static constexpr uint32_t kBatch = 256;
  UniqueFd fd_;
  bool ok_ = false;
  std::array<std::array<uint8_t, 60>, kBatch> frames_{};
  std::array<iovec, kBatch> parts_{};
  std::array<mmsghdr, kBatch> messages_{};
};

class FloodFault : public FaultFixture {};

/// The most memory that a process has had so far, in KiB.
int64_t most_memory_kib(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmHWM:")) return std::atoll(line.c_str() + 6);
  }
  return -1;
}

TEST_F(FloodFault, OfSynsIsCountedToThePacketAndItsEndTakesLittleMemory) {
  TOPSPIN_ONLY_EVERY_NIGHT();
  if (!OwnNetwork::why_not().empty()) TOPSPIN_SKIP(OwnNetwork::why_not());
  if (std::system("ip link add tspin8 type veth peer name tspin9 2>/dev/null && "
                  "ip link set tspin8 up && ip link set tspin9 up") != 0)
    TOPSPIN_SKIP("cannot make a veth pair with ip(8)");
  SynFlood flood("tspin9");
  ASSERT_TRUE(flood.ok());
  Process recording({topspin_binary(), "record", "-i", "tspin8", "--db", db(), "tcp"}, [] {
    // What the sanitizer keeps of freed memory is not the program's.
    setenv("ASAN_OPTIONS", "quarantine_size_mb=1:detect_leaks=0", 1);
  });
  ASSERT_TRUE(recording.wait_for("active"));
  constexpr uint32_t kSyns = 20'000 * 256;
  flood.send(kSyns);
  ASSERT_TRUE(wait_until([&] { return number("SELECT max(evicted_flows) FROM tick") > 0; }));
  const int64_t ticks_then = ticks();
  ASSERT_TRUE(wait_until([&] { return ticks() >= ticks_then + 2; }));
  const int64_t most_before_kib = most_memory_kib(recording.pid());
  ASSERT_GT(most_before_kib, 0);
  recording.send(SIGINT);
  int64_t most_kib = most_before_kib;
  while (recording.wait_for_more(std::chrono::seconds(1)) || most_memory_kib(recording.pid()) > 0)
    most_kib = std::max(most_kib, most_memory_kib(recording.pid()));
  const Outcome end = recording.finish(std::chrono::seconds(300));
  EXPECT_EQ(end.exit_code, 130) << end.err;
  std::printf("%ld MiB of memory during the flood, %ld MiB at its end\n",
              static_cast<long>(most_before_kib >> 10), static_cast<long>(most_kib >> 10));
  EXPECT_LT(most_kib - most_before_kib, 100 << 10);
  const Json json = report();
  EXPECT_EQ(json["run"]["status"], "complete");
  EXPECT_EQ(json["run"]["usable"], false);
  EXPECT_GT(json["losses"]["evicted_flows"].get<int64_t>(), 0);
  EXPECT_EQ(json["summary"]["packets"].get<int64_t>() +
                json["losses"]["capture_kernel_drops"].get<int64_t>(),
            kSyns);
  expect_sound_database();
  (void)!std::system("ip link del tspin8");
}

}  // namespace
}  // namespace topspin::test
