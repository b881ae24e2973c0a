// `topspin ends` on recordings of real traffic between two network namespaces, whose line loses
// datagrams and takes 20 ms in one direction. Its numbers are compared with tshark's counts of both
// files, with what the line lost, with what the client counted and with the server's own times.
// Stamps of a file are then changed by known amounts, which must be found.
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/pcap_writer.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

constexpr int64_t kLineNs = 20'000'000;  // one way, in line.py
constexpr int64_t kSlowNs = 50'000'000;  // in server.py

std::string bytes_of(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

/// A copy of the capture file with other stamps. Of the format that `record -w` writes.
void change_stamps(const std::string& from, const std::string& to,
                   const std::function<int64_t(int64_t)>& change) {
  std::string bytes = bytes_of(from);
  for (size_t at = 24; at + 16 <= bytes.size();) {
    std::array<uint32_t, 4> header{};
    std::memcpy(header.data(), bytes.data() + at, sizeof header);
    const int64_t ns = change(header[0] * 1'000'000'000ll + header[1]);
    header[0] = static_cast<uint32_t>(ns / 1'000'000'000);
    header[1] = static_cast<uint32_t>(ns % 1'000'000'000);
    std::memcpy(bytes.data() + at, header.data(), sizeof header);
    at += 16 + header[2];
  }
  std::ofstream(to, std::ios::binary) << bytes;
}

class RealTwoEnds : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (geteuid() != 0) return;
    dir_ = std::make_unique<TempDir>();
    lab_ = run({std::string(TOPSPIN_SOURCE_DIR) + "/tests/app/ends/lab.sh", topspin_binary(),
                dir_->path(), "topspin-" + std::to_string(getpid())});
  }
  static void TearDownTestSuite() { dir_.reset(); }
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, for network namespaces";
    if (lab_.err.find("Cannot create namespace") != std::string::npos ||
        lab_.err.find("Operation not permitted") != std::string::npos)
      GTEST_SKIP() << "network namespaces cannot be made here";
    ASSERT_EQ(lab_.exit_code, 0) << lab_.out << lab_.err;
  }

  static std::string file(const std::string& name) { return dir_->file(name); }
  static Json ends(const std::string& client, const std::string& server) {
    const Outcome outcome = topspin({"ends", file(client), file(server), "--format", "json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out.empty() ? Json() : Json::parse(outcome.out);
  }
  static std::vector<int64_t> numbers(const std::string& name) {
    std::ifstream file(dir_->file(name));
    std::vector<int64_t> all;
    for (int64_t number = 0; file >> number;) all.push_back(number);
    return all;
  }

  /// The offset at any time by the only piece, and that it is the truth.
  static void expect_clock(const Json& ends, int64_t offset_ns, double drift,
                           int64_t drifts_from_ns) {
    ASSERT_EQ(ends["clock"]["pieces"].size(), 1u);
    const Json& piece = ends["clock"]["pieces"][0];
    const double truth =
        static_cast<double>(offset_ns) +
        drift * static_cast<double>(piece["middle_ns"].get<int64_t>() - drifts_from_ns);
    EXPECT_LE(std::abs(piece["offset_ns"].get<double>() - truth),
              piece["offset_error_ns"].get<double>());
    EXPECT_LE(std::abs(piece["drift_ppm"].get<double>() - drift * 1e6),
              piece["drift_error_ppm"].get<double>() + 0.001);
  }

  static inline std::unique_ptr<TempDir> dir_;
  static inline Outcome lab_;
};

TEST_F(RealTwoEnds, CountWhatTsharkTheLineAndTheClientCount) {
  const Json found = ends("c.pcap", "s.pcap");
  const int64_t lost = numbers("drops").at(0);
  EXPECT_EQ(found["flows"]["common"], 9);
  EXPECT_GT(lost, 0);
  EXPECT_EQ(found["out"]["sent"]["missing"], lost);
  EXPECT_EQ(found["out"]["arrived"]["missing"], 0);
  EXPECT_EQ(found["back"]["sent"]["missing"], 0);
  EXPECT_EQ(found["back"]["arrived"]["missing"], 0);
  const auto answers = numbers("client");
  EXPECT_EQ(found["replies"]["replies"], answers.at(0) + answers.at(1));
  EXPECT_EQ(found["replies"]["split"], answers.at(0) + answers.at(1));

  if (std::system("command -v tshark >/dev/null 2>&1") != 0) GTEST_SKIP() << "needs tshark";
  const auto packets = [&](const std::string& name, const std::string& from) {
    const Outcome outcome =
        run({"tshark", "-n", "-r", file(name), "-Y", "ip.src == " + from + " && (tcp || udp)", "-T",
             "fields", "-e", "frame.number"});
    return std::count(outcome.out.begin(), outcome.out.end(), '\n');
  };
  EXPECT_EQ(found["out"]["sent"]["packets"], packets("c.pcap", "10.77.0.1"));
  EXPECT_EQ(found["out"]["arrived"]["packets"], packets("s.pcap", "10.77.0.1"));
  EXPECT_EQ(found["back"]["sent"]["packets"], packets("s.pcap", "10.77.0.2"));
  EXPECT_EQ(found["back"]["arrived"]["packets"], packets("c.pcap", "10.77.0.2"));
}

TEST_F(RealTwoEnds, SplitReplies) {
  const Json found = ends("c.pcap", "s.pcap");
  // Both hosts have one clock here.
  expect_clock(found, 0, 0, 0);
  EXPECT_GE(found["clock"]["shortest_way_there_and_back_ns"], kLineNs);
  EXPECT_GE(found["clock"]["pieces"][0]["offset_error_ns"], kLineNs / 2 - 1'000'000);
  const auto slow = numbers("server");
  ASSERT_EQ(slow.size(), 12u);
  ASSERT_EQ(found["slowest"].size(), 10u);
  for (const Json& reply : found["slowest"]) {
    EXPECT_EQ(reply["whole_ns"].get<int64_t>(), reply["network_out_ns"].get<int64_t>() +
                                                    reply["in_server_ns"].get<int64_t>() +
                                                    reply["network_back_ns"].get<int64_t>());
    EXPECT_GE(reply["in_server_ns"], kSlowNs);
    EXPECT_GE(reply["in_server_ns"], *std::min_element(slow.begin(), slow.end()));
    // The truth: the way back takes what the line takes, the way out nearly nothing.
    EXPECT_GE(reply["network_back_ns"].get<int64_t>() + reply["network_error_ns"].get<int64_t>(),
              kLineNs);
    EXPECT_LE(reply["network_out_ns"].get<int64_t>() - reply["network_error_ns"].get<int64_t>(),
              reply["whole_ns"].get<int64_t>() - reply["in_server_ns"].get<int64_t>() - kLineNs);
  }
  EXPECT_GE(found["slow"]["in_server_ns"]["longer_by"], kSlowNs / 2);
  const Outcome text = topspin({"ends", file("c.pcap"), file("s.pcap")});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("Most of that\n   was in the server"));
}

TEST_F(RealTwoEnds, FindAKnownOffsetAndDrift) {
  constexpr int64_t kOffset = 200'000'000;
  constexpr double kDrift = 50e-6;
  const Json before = ends("c.pcap", "s.pcap");
  const int64_t from = before["client"]["begin_ns"];
  change_stamps(file("s.pcap"), file("shifted.pcap"), [&](int64_t ns) {
    return ns + kOffset +
           static_cast<int64_t>(std::llround(kDrift * static_cast<double>(ns - from)));
  });
  const Json after = ends("c.pcap", "shifted.pcap");
  expect_clock(after, kOffset, kDrift, from);
  for (const char* way : {"out", "back"}) {
    for (const char* of : {"sent", "arrived"}) EXPECT_EQ(after[way][of], before[way][of]);
  }
  ASSERT_EQ(after["slowest"].size(), before["slowest"].size());
  for (size_t i = 0; i < after["slowest"].size(); ++i) {
    const Json &a = after["slowest"][i], &b = before["slowest"][i];
    EXPECT_EQ(a["request_ns"], b["request_ns"]);
    EXPECT_EQ(a["whole_ns"], b["whole_ns"]);
    EXPECT_LE(std::abs(a["network_out_ns"].get<int64_t>() - b["network_out_ns"].get<int64_t>()),
              a["network_error_ns"].get<int64_t>() + b["network_error_ns"].get<int64_t>());
    // 50 ppm of 70 ms, and what the error of the drift leaves.
    EXPECT_NEAR(a["in_server_ns"].get<double>(), b["in_server_ns"].get<double>(), 200e3);
  }
}

TEST_F(RealTwoEnds, FindAClockThatWasSet) {
  const Json before = ends("c.pcap", "s.pcap");
  const int64_t middle =
      (before["server"]["begin_ns"].get<int64_t>() + before["server"]["end_ns"].get<int64_t>()) / 2;
  change_stamps(file("s.pcap"), file("set.pcap"),
                [&](int64_t ns) { return ns >= middle ? ns + 60'000'000'000 : ns; });
  const Json after = ends("c.pcap", "set.pcap");
  const Json& pieces = after["clock"]["pieces"];
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_LE(std::abs(pieces[0]["offset_ns"].get<int64_t>()), pieces[0]["offset_error_ns"]);
  EXPECT_LE(std::abs(pieces[1]["offset_ns"].get<int64_t>() - 60'000'000'000),
            pieces[1]["offset_error_ns"]);
  const Json& replies = after["replies"];
  EXPECT_GT(replies["clock_unknown"], 0);
  EXPECT_EQ(replies["split"].get<int>() + replies["clock_unknown"].get<int>(),
            replies["replies"].get<int>());
  EXPECT_LE(replies["whole_ns"]["max"], before["replies"]["whole_ns"]["max"]);
}

TEST_F(RealTwoEnds, SayWhichFileIsTheClients) {
  const Outcome text = topspin({"ends", file("s.pcap"), file("c.pcap")});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("EXCHANGED"));
}

TEST_F(RealTwoEnds, RefuseOneHostTwice) {
  const Outcome text = topspin({"ends", file("c.pcap"), file("c.pcap")});
  EXPECT_EQ(text.exit_code, 3);
  EXPECT_THAT(text.err, HasSubstr("two recordings of one host"));
  EXPECT_THAT(text.out, HasSubstr("9 in both files"));
}

TEST_F(RealTwoEnds, UseWhatThereIsOfACutFile) {
  std::string bytes = bytes_of(file("s.pcap"));
  bytes.resize(bytes.size() / 2);
  std::ofstream(file("cut.pcap"), std::ios::binary) << bytes;
  const Outcome text = topspin({"ends", file("c.pcap"), file("cut.pcap")});
  EXPECT_EQ(text.exit_code, 5);
  EXPECT_THAT(text.out, HasSubstr("INCOMPLETE"));
  const Outcome json = topspin({"ends", file("c.pcap"), file("cut.pcap"), "--format", "json"});
  EXPECT_EQ(json.exit_code, 5);
  const Json found = Json::parse(json.out);
  EXPECT_FALSE(found["server"]["complete"]);
  EXPECT_GT(found["replies"]["split"], 0);
  EXPECT_GT(found["back"]["arrived"]["outside"], 0);  // not lost: after the end of that file
  EXPECT_EQ(found["back"]["arrived"]["missing"], 0);
  EXPECT_LE(found["out"]["sent"]["missing"], numbers("drops").at(0));
}

TEST_F(RealTwoEnds, TakeAFilterALimitAndStandardInput) {
  const Outcome udp =
      topspin({"ends", file("c.pcap"), file("s.pcap"), "udp", "port", "8888", "--format", "json"});
  EXPECT_EQ(udp.exit_code, 0) << udp.err;
  const Json found = Json::parse(udp.out);
  EXPECT_EQ(found["flows"]["common"], 3);
  EXPECT_EQ(found["replies"]["split"], numbers("client").at(1));
  const Outcome few = topspin({"ends", file("c.pcap"), file("s.pcap"), "-c", "1000"});
  EXPECT_EQ(few.exit_code, 0) << few.err;
  EXPECT_THAT(few.out, HasSubstr("CUT OFF: only the first 1,000 packets"));
  const Outcome piped =
      run({"sh", "-c", topspin_binary() + " ends - " + file("s.pcap") + " <" + file("c.pcap")});
  EXPECT_EQ(piped.exit_code, 0) << piped.err;
  EXPECT_EQ(topspin({"ends", "-", "-"}).exit_code, 2);
}

TEST_F(RealTwoEnds, NameWhatToTryWithoutCommonFlows) {
  five_pings().save(file("other.pcap"));
  const Outcome outcome = topspin({"ends", file("c.pcap"), file("other.pcap")});
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.err, HasSubstr("no flow in common"));
  EXPECT_THAT(outcome.err, HasSubstr("NAT"));
  const Outcome run = topspin({"ends", file("c.pcap"), file("s.db")});
  EXPECT_EQ(run.exit_code, 5);
  EXPECT_THAT(run.err, HasSubstr("a database of runs, which holds no packets: record with -w"));
}

}  // namespace
}  // namespace topspin::test
