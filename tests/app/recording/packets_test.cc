// `record -c` and `-w`, compared with tcpdump at the same time and with `topspin read` of the file.
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <sys/stat.h>

#include "core/base/unique_fd.h"
#include "tests/app/recording/recording_fixture.h"
#include "tests/support/own_network.h"
#include "tests/support/pcap_writer.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/udp_swarm.h"

namespace topspin::test {
namespace {

/// A receiver that reads nothing, and a sender that sends any number of datagrams at once.
class Burst {
 public:
  Burst() {
    receiver_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sender_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const raw = reinterpret_cast<sockaddr*>(&address);
    socklen_t length = sizeof address;
    EXPECT_EQ(bind(receiver_, raw, sizeof address), 0);
    getsockname(receiver_, raw, &length);
    EXPECT_EQ(connect(sender_, raw, sizeof address), 0);
    port_ = std::to_string(ntohs(address.sin_port));
  }
  Burst(const Burst&) = delete;
  Burst& operator=(const Burst&) = delete;
  ~Burst() {
    close(receiver_);
    close(sender_);
  }
  const std::string& port() const { return port_; }
  void send(int datagrams, size_t bytes) const {
    const std::string payload(bytes, 'x');
    for (int i = 0; i < datagrams; ++i)
      EXPECT_EQ(::send(sender_, payload.data(), bytes, 0), static_cast<ssize_t>(bytes));
  }

 private:
  int receiver_ = -1, sender_ = -1;
  std::string port_;
};

/// The captured bytes of each packet, without its stamp. The file must end with a whole packet.
std::vector<std::string> packets_in(const std::string& file) {
  constexpr size_t kFileHeader = 24, kPacketHeader = 16;
  std::vector<std::string> packets;
  for (size_t at = kFileHeader; at < file.size();) {
    uint32_t captured = 0;
    EXPECT_LE(at + kPacketHeader, file.size()) << "a packet is cut";
    if (at + kPacketHeader > file.size()) break;
    std::memcpy(&captured, file.data() + at + 8, sizeof captured);
    at += kPacketHeader;
    EXPECT_LE(at + captured, file.size()) << "a packet is cut";
    if (at + captured > file.size()) break;
    packets.push_back(file.substr(at, captured));
    at += captured;
  }
  return packets;
}

std::string content_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

class PacketFiles : public RecordingFixture {
 protected:
  void SetUp() override {
    TOPSPIN_NEEDS_ROOT();
    if (!OwnNetwork::why_not().empty()) GTEST_SKIP() << OwnNetwork::why_not();
  }
  static Json read(const std::string& path) { return json_of({"read", path, "--format", "json"}); }
  std::string file() const { return dir_.file("t.pcap"); }
};

TEST_F(PacketFiles, HoldWhatTcpdumpWritesOfTheSameTraffic) {
  if (std::system("command -v tcpdump >/dev/null 2>&1") != 0) GTEST_SKIP() << "needs tcpdump";
  constexpr int kClients = 20;
  UdpSwarm swarm(kClients);
  ASSERT_TRUE(swarm.ok());
  const std::string port = std::to_string(swarm.port());
  const std::string theirs = dir_.file("tcpdump.pcap");
  Process tcpdump(
      {"tcpdump", "-i", "lo", "-Z", "root", "--nano", "-U", "-w", theirs, "udp", "port", port});
  ASSERT_TRUE(tcpdump.wait_for("listening"));
  Process recording(record({"-w", file(), "--interval", "100ms", "udp", "port", port}));
  ASSERT_TRUE(recording.wait_for("at most 262144 bytes of each"));
  ASSERT_TRUE(recording.wait_for("active"));
  swarm.ping_for(std::chrono::milliseconds(1000));
  const auto all = 2 * swarm.sent();
  for (const std::string& path : {theirs, file()}) {
    for (int tries = 0; tries < 400 && packets_in(content_of(path)).size() < all; ++tries)
      ::usleep(50'000);
  }
  recording.send(SIGINT);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 130) << end.err;
  tcpdump.send(SIGINT);
  tcpdump.finish();

  EXPECT_NE(end.err.find(std::to_string(all) + " packets were written to " + file()),
            std::string::npos)
      << end.err;
  EXPECT_EQ(packets_in(content_of(file())), packets_in(content_of(theirs)));
  EXPECT_EQ(content_of(file()).substr(0, 4), content_of(theirs).substr(0, 4)) << "stamps";
  const Json ours_read = read(file()), theirs_read = read(theirs);
  EXPECT_EQ(ours_read["packets"], all);
  EXPECT_EQ(ours_read["packets"], report()["summary"]["packets"]);
  EXPECT_EQ(ours_read["link_type"], theirs_read["link_type"]);
  EXPECT_EQ(ours_read["udp"]["flows"], kClients);
  EXPECT_EQ(ours_read["udp"]["flows"], theirs_read["udp"]["flows"]);
  EXPECT_EQ(ours_read["reply_latency_ns"]["count"], swarm.sent());
  EXPECT_EQ(ours_read["reply_latency_ns"]["count"], theirs_read["reply_latency_ns"]["count"]);
}

TEST_F(PacketFiles, OfAnyInterfaceHoldWhatCounts) {
  const Burst burst;
  Process recording({topspin_binary(), "record", "-i", "any", "--db", db(), "-c", "50", "-w",
                     file(), "udp", "port", burst.port()});
  ASSERT_TRUE(recording.wait_for("active"));
  burst.send(80, 100);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 0) << end.err;
  EXPECT_EQ(report()["summary"]["packets"], 50);
  EXPECT_EQ(read(file())["packets"], 50);
  EXPECT_EQ(read(file())["udp"]["flows"], 1);
}

TEST_F(PacketFiles, AndTheRunHoldExactlyTheCountOfABurst) {
  const Burst burst;
  Process recording(
      record({"-c", "1000", "-w", file(), "-s", "1500", "udp", "port", burst.port()}));
  ASSERT_TRUE(recording.wait_for("at most 1500 bytes"));
  ASSERT_TRUE(recording.wait_for("active"));
  burst.send(5'000, 100);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 0) << end.err;
  const Json json = report();
  EXPECT_EQ(json["run"]["status"], "complete");
  EXPECT_EQ(json["summary"]["packets"], 1000);
  EXPECT_EQ(json["losses"]["capture_kernel_drops"], 0);
  const auto packets = packets_in(content_of(file()));
  ASSERT_EQ(packets.size(), 1000u);
  EXPECT_EQ(packets[0].size(), 14u + 20 + 8 + 100);
}

TEST_F(PacketFiles, CanBeReadWhileTheyGrow) {
  const Burst burst;
  Process recording(record({"-q", "-w", file(), "udp", "port", burst.port()}));
  for (int tries = 0; tries < 400 && content_of(file()).size() < 24; ++tries) ::usleep(50'000);
  uint64_t seen = 0;
  for (int sent = 1; sent <= 3; ++sent) {
    burst.send(1, 10);
    for (int tries = 0; tries < 400 && seen < static_cast<uint64_t>(sent); ++tries) {
      seen = read(file())["packets"].get<uint64_t>();
      if (seen < static_cast<uint64_t>(sent)) ::usleep(50'000);
    }
    EXPECT_EQ(seen, static_cast<uint64_t>(sent));
  }
  recording.send(SIGINT);
  EXPECT_EQ(recording.finish().exit_code, 130);
}

TEST_F(PacketFiles, OnAFullDiskEndAndTheRecordingGoesOn) {
  const Burst burst;
  Process recording(record({"-c", "100", "-w", "/dev/full", "udp", "port", burst.port()}));
  ASSERT_TRUE(recording.wait_for("active"));
  burst.send(60, 100);
  ASSERT_TRUE(recording.wait_for("no more packets are written to /dev/full: No space left"));
  burst.send(40, 100);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 5) << end.err;
  EXPECT_NE(end.err.find("0 packets were written to /dev/full; 100 were not"), std::string::npos)
      << end.err;
  EXPECT_EQ(end.err.find("no more packets"), end.err.rfind("no more packets")) << end.err;
  EXPECT_EQ(report()["run"]["status"], "complete");
  EXPECT_EQ(report()["summary"]["packets"], 100);
}

TEST_F(PacketFiles, PastTheFileSizeLimitEndWithAWholePacket) {
  const Burst burst;
  const auto limit_files = [] {
    const rlimit limit{3 << 20, 3 << 20};
    setrlimit(RLIMIT_FSIZE, &limit);
  };
  Process recording(
      record({"-c", "100", "-w", file(), "-s", "262144", "udp", "port", burst.port()}),
      limit_files);
  ASSERT_TRUE(recording.wait_for("active"));
  burst.send(100, 60'000);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 5) << end.err;
  EXPECT_EQ(report()["summary"]["packets"], 100);
  const auto packets = packets_in(content_of(file()));
  EXPECT_GT(packets.size(), 0u);
  EXPECT_LT(packets.size(), 100u);
  EXPECT_NE(end.err.find(std::to_string(packets.size()) + " packets were written to " + file() +
                         "; " + std::to_string(100 - packets.size()) + " were not: File too large"),
            std::string::npos)
      << end.err;
}

TEST_F(PacketFiles, GoThroughAPipeAndAReaderThatLeavesEndsNothing) {
  const Burst burst;
  Process whole(record({"-c", "30", "-w", "-", "udp", "port", burst.port()}));
  ASSERT_TRUE(whole.wait_for("active"));
  burst.send(30, 100);
  const Outcome all = whole.finish();
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_EQ(packets_in(all.out).size(), 30u);

  const std::string first = dir_.file("first");
  std::string line;
  for (const std::string& word : record({"-c", "100", "-w", "-", "udp", "port", burst.port()}))
    line += word + " ";
  Process left({"sh", "-c", "(" + line + "; echo status $? >&2) | head -c 24 >" + first});
  ASSERT_TRUE(left.wait_for("active"));
  for (int tries = 0; tries < 400 && content_of(first).size() < 24; ++tries) ::usleep(50'000);
  burst.send(50, 100);
  ASSERT_TRUE(left.wait_for("no more packets are written to standard output: Broken pipe"));
  burst.send(50, 100);
  EXPECT_TRUE(left.wait_for("status 5"));
  left.finish();
  EXPECT_EQ(report()["summary"]["packets"], 100);
}

/// A sleeping reader holds its end of a FIFO open and reads nothing.
TEST_F(PacketFiles, OfASleepingReaderAreALossOfTheRunAndNothingElseIs) {
  const Burst burst;
  const std::string fifo = dir_.file("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const UniqueFd reader(::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(reader);
  constexpr uint64_t kPackets = 40, kBytes = 20'000;  // several times what a pipe holds
  Process recording(
      record({"-c", std::to_string(kPackets), "-w", fifo, "udp", "port", burst.port()}));
  ASSERT_TRUE(recording.wait_for("active"));
  burst.send(kPackets, kBytes);
  const Outcome end = recording.finish();
  EXPECT_EQ(end.exit_code, 5) << end.err;
  EXPECT_NE(end.err.find("were not: its reader takes nothing"), std::string::npos) << end.err;

  const Json run = report();
  EXPECT_EQ(run["summary"]["packets"], kPackets) << "each was counted";
  const uint64_t unwritten = run["losses"]["packets_unwritten"];
  EXPECT_NE(end.err.find(std::to_string(kPackets - unwritten) + " packets were written to " + fifo +
                         "; " + std::to_string(unwritten) + " were not"),
            std::string::npos)
      << end.err;
  EXPECT_GT(unwritten, kPackets / 2);
  EXPECT_LT(unwritten, kPackets);
  EXPECT_EQ(run["losses"]["capture_kernel_drops"], 0);
  EXPECT_EQ(run["run"]["valid"], true) << "its numbers miss nothing";
}

TEST_F(PacketFiles, BelongToWhoCalledSudoAndRootFollowsNoLink) {
  const std::string place = dir_.file("place");
  ASSERT_EQ(::mkdir(place.c_str(), 0700), 0);
  ASSERT_EQ(::chmod(dir_.file("").c_str(), 0755), 0);
  ASSERT_EQ(::chown(place.c_str(), 65534, 65534), 0);
  const auto as_sudo = [] {
    setenv("SUDO_UID", "65534", 1);
    setenv("SUDO_GID", "65534", 1);
  };
  const std::string path = place + "/t.pcap";
  const std::string theirs = place + "/t.db";
  const auto under_sudo = [&](const std::string& to) {
    return run({topspin_binary(), "record", "-i", "lo", "--db", theirs, "--duration", "100ms", "-w",
                to, "udp", "port", "9"},
               as_sudo);
  };
  const Outcome end = under_sudo(path);
  EXPECT_EQ(end.exit_code, 0) << end.err;
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 65534u);
  EXPECT_EQ(info.st_size, 24);

  // A file that the user may not write stays as it is, even behind a link.
  std::ofstream(dir_.file("roots")) << "kept";
  ASSERT_EQ(::symlink(dir_.file("roots").c_str(), (place + "/link").c_str()), 0);
  EXPECT_EQ(under_sudo(place + "/link").exit_code, 4);
  EXPECT_EQ(content_of(dir_.file("roots")), "kept");
  const Outcome linked = run(record({"--duration", "100ms", "-w", place + "/link"}));
  EXPECT_EQ(linked.exit_code, 4);
  EXPECT_NE(linked.err.find("symbolic link"), std::string::npos) << linked.err;
  EXPECT_EQ(content_of(dir_.file("roots")), "kept");
}

TEST_F(PacketFiles, AreNeitherADatabaseNorMixedWithOtherOutput) {
  ASSERT_EQ(run(record({"--duration", "100ms", "udp", "port", "9"})).exit_code, 0);
  const Outcome over = run(record({"--duration", "100ms", "-w", db()}));
  EXPECT_EQ(over.exit_code, 2);
  EXPECT_NE(over.err.find("it is a database"), std::string::npos) << over.err;
  EXPECT_EQ(report()["summary"]["packets"], 0);
  EXPECT_EQ(run(record({"-w", "-", "--", "true"})).exit_code, 2);
  EXPECT_EQ(topspin({"live", "-i", "lo", "--once", "-w", "-"}).exit_code, 2);
}

TEST_F(PacketFiles, AreWrittenBesideAScreenToo) {
  const Burst burst;
  Process live({topspin_binary(), "live", "-i", "lo", "--batch", "1000", "--interval", "100ms",
                "-c", "20", "-w", file(), "udp", "port", burst.port()});
  ASSERT_TRUE(live.wait_for("flows"));
  burst.send(40, 100);
  const Outcome end = live.finish();
  EXPECT_EQ(end.exit_code, 0) << end.err;
  EXPECT_NE(end.err.find("20 packets were written to "), std::string::npos) << end.err;
  EXPECT_EQ(packets_in(content_of(file())).size(), 20u);
}

TEST(PacketCount, EndsAFileOnTheScreenAndAFileIsNotWrittenAgain) {
  TempDir dir;
  PcapWriter writer;
  for (uint16_t client = 0; client < 30; ++client)
    writer.udp(1'000'000'000ll + client, static_cast<uint16_t>(40'000 + client), 8888, "PING");
  writer.save(dir.file("a.pcap"));
  const Outcome some = topspin({"live", "-r", dir.file("a.pcap"), "-c", "12", "--once"});
  EXPECT_EQ(some.exit_code, 0) << some.err;
  EXPECT_NE(some.out.find("12 flows"), std::string::npos) << some.out;
  const Outcome copy =
      topspin({"live", "-r", dir.file("a.pcap"), "--once", "-w", dir.file("b.pcap")});
  EXPECT_EQ(copy.exit_code, 2);
  EXPECT_NE(copy.err.find("tcpdump -r"), std::string::npos) << copy.err;
}

}  // namespace
}  // namespace topspin::test
