// `watch --packets` with the real binary: the file of an incident is compared with what was sent,
// with what the run counts, and with what tshark reads.
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "core/run/run_fold.h"
#include "tests/app/watch/watch_fixture.h"
#include "tests/support/datagram_sender.h"

namespace topspin::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using PacketJson = nlohmann::json;

class WatchPackets : public Watch {
 protected:
  std::vector<std::string> packet_files() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path()))
      if (entry.path().extension() == ".pcapng") found.push_back(entry.path().string());
    return found;
  }
  std::string file_of(const StoredRun& run) const { return db() + "-" + run.info.id + ".pcapng"; }
  std::string temporary() const { return db() + "-packets.tmp"; }
  uint64_t packets_of(const StoredRun& run) const {
    auto store = RunStore::open(db());
    EXPECT_TRUE(store.ok());
    const auto fold = (*store)->fold(run.info.id, RunPart::kWhole);
    EXPECT_TRUE(fold.ok());
    return fold->merged.flows.packets;
  }
  uint64_t packets_in(const std::string& path) const {
    const Outcome read = topspin({"read", path, "--format", "json"});
    EXPECT_EQ(read.exit_code, 0) << read.err;
    return PacketJson::parse(read.out)["packets"].get<uint64_t>();
  }
  /// Whether so many incidents are stored soon.
  bool wait_for_incidents(Process& recorder, size_t count) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (incidents() < count && std::chrono::steady_clock::now() < deadline)
      recorder.wait_for_more(std::chrono::seconds(1));
    return incidents() >= count;
  }
};

std::vector<std::vector<std::string>> fields_of(const std::string& text) {
  std::vector<std::vector<std::string>> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    std::istringstream parts(line);
    std::vector<std::string>& fields = lines.emplace_back();
    for (std::string field; std::getline(parts, field, '\t');) fields.push_back(field);
    fields.resize(5);
  }
  return lines;
}

TEST_F(WatchPackets, HasWhatTheIncidentCountsWithTheNamesOfItsProcesses) {
  std::ofstream(temporary()) << "half of a file, of a process that was killed";
  StallingServer server(0, 0);
  const std::string port = std::to_string(server.port());
  Process recorder(watch({"--pid", std::to_string(server.pid()), "--packets", "--keep", "2s",
                          "--after", "300ms", "udp port " + port}));
  ASSERT_TRUE(recorder.wait_for("with its packets from at most 16.0 MiB"));
  EXPECT_FALSE(std::filesystem::exists(temporary()));
  Pinger pinger(server.port(), 3);
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  recorder.send(SIGUSR1);
  ASSERT_TRUE(recorder.wait_for("incident kept in"));
  recorder.send(SIGINT);
  const Outcome ended = recorder.finish();
  pinger.stop();
  ASSERT_EQ(runs().size(), 1u) << ended.err;
  const StoredRun run = runs().front();
  const std::string path = file_of(run), name = path.substr(path.rfind('/') + 1);
  const uint64_t counted = packets_of(run);
  EXPECT_GT(counted, 300u);
  EXPECT_LT(counted, pinger.sent() + pinger.received()) << "not those from before the ring";
  EXPECT_THAT(ended.err, HasSubstr(std::to_string(counted) + " packets are in " + name));
  EXPECT_THAT(ended.err, Not(HasSubstr("is not allowed")));
  EXPECT_THAT(topspin({"report", "last", "--db", db()}).out,
              HasSubstr("Its packets are in " + name + ", beside the database."));
  EXPECT_THAT(topspin({"list", "--format", "json", "--db", db()}).out, HasSubstr(name));
  EXPECT_EQ(packet_files(), std::vector<std::string>{path});
  EXPECT_FALSE(std::filesystem::exists(temporary()));
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(packets_in(path), counted);

  if (std::system("command -v tshark capinfos >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "needs tshark and capinfos";
  const Outcome about = ::topspin::test::run({"capinfos", path});
  EXPECT_EQ(about.exit_code, 0) << about.err;
  EXPECT_THAT(about.out, AllOf(HasSubstr("application: topspin "), HasSubstr("Name = lo"),
                               HasSubstr("nanosecond"), HasSubstr("udp port " + port),
                               HasSubstr("incident " + run.info.id + ": by hand")));
  const Outcome read = ::topspin::test::run(
      {"tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.time_epoch", "-e", "udp.srcport",
       "-e", "udp.dstport", "-e", "udp.payload", "-e", "frame.comment"});
  ASSERT_EQ(read.exit_code, 0) << read.err;
  const auto packets = fields_of(read.out);
  EXPECT_EQ(packets.size(), counted);
  const std::string owner = "stalling_server (pid " + std::to_string(server.pid()) + ")";
  std::set<std::string> fractions;
  size_t named = 0;
  for (const auto& packet : packets) {
    EXPECT_EQ(packet[3], "70696e67") << "the payload is \"ping\", both ways";
    EXPECT_TRUE(packet[1] == port || packet[2] == port);
    const double stamp = std::stod(packet[0]);
    const double begin = static_cast<double>(run.info.started_wall_ns) / 1e9;
    // On lo the kernel stamps a packet before the softirq that delivers it, and a starved host runs
    // that one late: such a packet is of an earlier moment than the tick that counts it.
    EXPECT_GE(stamp, begin - 0.2);
    EXPECT_LE(stamp, begin + static_cast<double>(run.end.duration_ns) / 1e9 + 0.005);
    fractions.insert(packet[0].substr(packet[0].size() - 3));
    if (packet[4].empty()) {
      ADD_FAILURE() << "a packet without a name: " << testing::PrintToString(packet);
      continue;
    }
    ++named;
    EXPECT_THAT(packet[4], HasSubstr((packet[2] == port ? "to " : "from ") + owner));
  }
  EXPECT_EQ(named, counted) << "each packet is of a flow of the server";
  EXPECT_GT(fractions.size(), 100u) << "stamps to the nanosecond";
}

TEST_F(WatchPackets, SaysWhatFellOutOfASmallRing) {
  Process recorder(watch({"--packets", "--packets-size", "1MiB", "--after", "1s", "udp port 9"}));
  ASSERT_TRUE(recorder.wait_for("watching lo"));
  const DatagramSender sender(9);
  const std::string payload(1000, 'x');
  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(sender.send(payload), 1000);
    if (i % 100 == 99) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  recorder.send(SIGUSR1);
  ASSERT_TRUE(recorder.wait_for("incident kept in"));
  recorder.send(SIGINT);
  const Outcome ended = recorder.finish();
  ASSERT_EQ(runs().size(), 1u);
  const StoredRun run = runs().front();
  const uint64_t counted = packets_of(run), kept = packets_in(file_of(run));
  auto store = RunStore::open(db());
  ASSERT_TRUE(store.ok());
  const auto fold = (*store)->fold(run.info.id, RunPart::kWhole);
  ASSERT_TRUE(fold.ok());
  if (fold->merged.losses.capture_kernel_drops == 0) EXPECT_EQ(counted, 3000u);
  EXPECT_GT(kept, 500u);
  // What was there at the trigger, and what came since.
  EXPECT_LT(kept, 2 * 1'048'576u / 1000);
  EXPECT_LE(std::filesystem::file_size(file_of(run)), 2'200'000u);
  const std::string says = std::to_string(kept) + " packets are in w.db-" + run.info.id +
                           ".pcapng; " + std::to_string(counted - kept) +
                           " more are not: the ring of 1.00 MiB did not hold them any more";
  EXPECT_THAT(ended.err, HasSubstr(says));
  EXPECT_THAT(topspin({"report", "last", "--db", db()}).out,
              HasSubstr(std::to_string(counted - kept) + " more are"));
}

TEST_F(WatchPackets, ThatCannotBeWrittenLeaveTheRest) {
  StallingServer server(0, 0);
  Pinger pinger(server.port(), 2);
  Process recorder(watch({"--packets", "--after", "0s", "udp"}));
  ASSERT_TRUE(recorder.wait_for("watching lo"));
  std::filesystem::create_directory(temporary());
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  recorder.send(SIGUSR1);
  ASSERT_TRUE(recorder.wait_for("the packets of this incident are lost: cannot write the packets"));
  recorder.send(SIGINT);
  EXPECT_THAT(recorder.finish().err, HasSubstr("1 incident was kept"));
  EXPECT_EQ(incidents(), 1u);
  EXPECT_TRUE(packet_files().empty());
  const std::string report = topspin({"report", "last", "--db", db()}).out;
  EXPECT_THAT(report, HasSubstr("the packets of this incident are lost"));
  EXPECT_THAT(report, Not(HasSubstr("Its packets are in")));
}

TEST_F(WatchPackets, GoWithTheirIncident) {
  StallingServer server(0, 0);
  Pinger pinger(server.port(), 2);
  Process recorder(watch({"--packets", "--after", "0s", "--hold-off", "0s", "--max-incidents", "2",
                          "--keep", "1s", "udp"}));
  ASSERT_TRUE(recorder.wait_for("watching lo"));
  std::set<std::string> seen;
  for (size_t i = 1; i <= 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    recorder.send(SIGUSR1);
    if (i == 1) {
      ASSERT_TRUE(recorder.wait_for("incident kept in"));
    } else if (i == 2) {
      ASSERT_TRUE(wait_for_incidents(recorder, i));
    } else {
      ASSERT_TRUE(recorder.wait_for("at most 2 incidents are kept"));
    }
    for (const std::string& path : packet_files()) seen.insert(path);
  }
  recorder.send(SIGINT);
  recorder.finish();
  ASSERT_EQ(runs().size(), 2u);
  EXPECT_EQ(seen.size(), 3u);
  std::set<std::string> left;
  for (const StoredRun& run : runs()) {
    left.insert(file_of(run));
    EXPECT_EQ(packets_in(file_of(run)), packets_of(run));
  }
  const auto files = packet_files();
  EXPECT_EQ(std::set<std::string>(files.begin(), files.end()), left);

  const std::string bystander = db() + "-00000000-0000-7000-8000-000000000000.pcapng";
  std::ofstream(bystander) << "of no run";
  const std::string first = file_of(runs().front()), second = file_of(runs().back());
  const Outcome removed = topspin({"rm", "1", "2", "--yes", "--db", db()});
  EXPECT_NE(removed.exit_code, 0) << "run 1 is gone, so nothing is removed";
  EXPECT_EQ(packet_files().size(), 3u);
  EXPECT_EQ(topspin({"rm", "2", "--yes", "--db", db()}).exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(first));
  EXPECT_TRUE(std::filesystem::exists(second));
  EXPECT_TRUE(std::filesystem::exists(bystander));
}

TEST_F(WatchPackets, CountForTheSizeOfTheDatabase) {
  Process recorder(watch({"--packets", "--after", "0s", "--hold-off", "0s", "--keep", "1s",
                          "--max-size", "3MB", "udp port 9"}));
  ASSERT_TRUE(recorder.wait_for("watching lo"));
  const DatagramSender sender(9);
  const std::string payload(60'000, 'x');
  for (int incident = 1; incident <= 2; ++incident) {
    for (int i = 0; i < 33; ++i) (void)sender.send(payload);
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    recorder.send(SIGUSR1);
    ASSERT_TRUE(recorder.wait_for(incident == 1 ? "incident kept in" : "the database may take"));
    std::this_thread::sleep_for(std::chrono::milliseconds(1200));
  }
  recorder.send(SIGINT);
  const Outcome ended = recorder.finish();
  ASSERT_EQ(runs().size(), 1u) << ended.err;
  EXPECT_EQ(packet_files(), std::vector<std::string>{file_of(runs().front())});
  EXPECT_LT(std::filesystem::file_size(db()), 3'000'000u) << "the database alone is small enough";
}

TEST_F(WatchPackets, KilledAtAnyMomentNothingHalfWrittenHasAFilesName) {
  for (int i = 0; i < 2; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path()))
      std::filesystem::remove(entry.path());
    Process recorder(watch({"--packets", "--interval", "20ms", "--after", "0s", "udp port 9"}));
    ASSERT_TRUE(recorder.wait_for("watching lo"));
    const DatagramSender sender(9);
    const std::string payload(60'000, 'x');
    for (int k = 0; k < 200; ++k) (void)sender.send(payload);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    recorder.send(SIGUSR1);
    // While the file is being written, or soon after.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!std::filesystem::exists(temporary()) && packet_files().empty() &&
           std::chrono::steady_clock::now() < deadline) {
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(i));
    recorder.send(SIGKILL);
    recorder.finish();
    for (const std::string& path : packet_files()) {
      EXPECT_EQ(packets_in(path), 200u);
      ASSERT_EQ(runs().size(), 1u) << "the run by which it can be removed is there";
      EXPECT_EQ(path, file_of(runs().front()));
    }
  }
}

}  // namespace
}  // namespace topspin::test
