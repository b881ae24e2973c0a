// `topspin read` on files made here, byte by byte.
#include <array>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/pcap_writer.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kStart = 1'700'000'000 * kSecond;

/// `clients` clients ping once per second for `seconds`. A reply takes 250 us. Client 0 misses its
/// third ping, client 1's fourth ping is 5 ms late, and client 2's third ping from the end is not
/// answered.
void write_pingpong(const std::string& path, int clients, int seconds) {
  PcapWriter writer;
  for (int s = 0; s < seconds; ++s) {
    for (int c = 0; c < clients; ++c) {
      if (c == 0 && s == 2) continue;
      const int64_t late = c == 1 && s == 3 ? 5'000'000 : 0;
      const int64_t at = kStart + s * kSecond + c * (kSecond / clients / 2) + late;
      const auto port = static_cast<uint16_t>(20'000 + c);
      writer.udp(at, port, 8888, "PING");
      if (c == 2 && s + 3 == seconds) continue;
      writer.udp(at + 250'000, 8888, port, "PONG");
    }
  }
  writer.save(path);
}

TEST(Read, StopsAfterSoManyPacketsOfTheFilter) {
  TempDir dir;
  write_pingpong(dir.file("a.pcap"), 10, 8);
  const auto packets = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"read", dir.file("a.pcap"), "--format", "json"});
    const Outcome run = topspin(more);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return Json::parse(run.out)["packets"].get<int>();
  };
  EXPECT_EQ(packets({"-c", "7"}), 7);
  EXPECT_EQ(packets({"-c", "7", "udp", "dst", "port", "8888"}), 7);
  EXPECT_EQ(packets({"-c", "100000"}), packets({}));
  // What is broken after these packets is not read.
  const auto size = std::filesystem::file_size(dir.file("a.pcap"));
  std::filesystem::resize_file(dir.file("a.pcap"), size - 3);
  EXPECT_EQ(packets({"-c", "1"}), 1);
  EXPECT_EQ(topspin({"read", dir.file("a.pcap"), "-c", "0"}).exit_code, 2);
}

TEST(Read, AnswersWithTheNamesThatProgramsRelyOn) {
  TempDir dir;
  write_pingpong(dir.file("a.pcap"), 10, 8);
  const Outcome run = topspin({"read", dir.file("a.pcap"), "--period", "1s", "--format", "json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json json = Json::parse(run.out);
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_EQ(json["link_type"], "EN10MB");
  EXPECT_EQ(json["complete"], true);
  EXPECT_EQ(json["error"], nullptr);
  EXPECT_EQ(json["packets"], 2 * (10 * 8 - 1) - 1);
  EXPECT_EQ(json["udp"]["flows"], 10);
  EXPECT_EQ(json["udp"]["packets"], json["packets"]);
  EXPECT_EQ(json["udp"]["bytes"], json["bytes"]);
  EXPECT_EQ(json["tcp"]["flows"], 0);
  EXPECT_EQ(json["ipv4_packets"], json["packets"]);
  EXPECT_EQ(json["ipv6_packets"], 0);
  EXPECT_EQ(json["fragments_first"], 0);
  EXPECT_EQ(json["fragments_later"], 0);
  EXPECT_TRUE(json["skipped"].is_object());
  EXPECT_EQ(json["active_flows_max"], 10);
  EXPECT_EQ(json["seen_flows_per_second_max"], 10);
  EXPECT_EQ(json["missed_ticks"], 1);
  EXPECT_EQ(json["requests"], 10 * 8 - 1);
  EXPECT_EQ(json["unanswered"], 1);
  // The request without a reply is included, with the timeout as its latency.
  EXPECT_EQ(json["reply_latency_ns"]["count"], 10 * 8 - 1);
  EXPECT_EQ(json["reply_latency_ns"]["min"], 250'000);
  EXPECT_EQ(json["reply_latency_ns"]["max"], 1'000'000'000);
  EXPECT_EQ(json["reply_latency_ns"]["sum"], (10 * 8 - 2) * 250'000 + 1'000'000'000);
  EXPECT_EQ(json["periodic_flows"], 10);
  for (const char* none :
       {"late_replies", "overlapping_requests", "handshake_turns", "multiplexed_turns",
        "silent_flows", "time_steps", "duplicate_packets"}) {
    EXPECT_EQ(json[none], 0) << none;
  }
  EXPECT_EQ(json["reply_latency_ns"]["p99"], nullptr);  // too few samples
  EXPECT_EQ(json["lateness_ns"]["count"], 10 * 7 - 1);
  EXPECT_EQ(json["lateness_ns"]["max"], 5'000'000);
  EXPECT_EQ(json["lateness_ns"]["min"], -5'000'000);  // the gap after the late one is short
  for (const char* field : {"count", "sum", "min", "p50", "p90", "p99", "p999", "max"}) {
    EXPECT_TRUE(json["lateness_ns"].contains(field)) << field;
  }
}

TEST(Read, FlowsAreOneObjectALine) {
  TempDir dir;
  write_pingpong(dir.file("a.pcap"), 3, 5);
  const Outcome run = topspin({"read", dir.file("a.pcap"), "--format", "ndjson"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  std::istringstream lines(run.out);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const Json flow = Json::parse(line);
    EXPECT_EQ(flow["responder"], "127.0.0.1:8888");
    EXPECT_EQ(flow["protocol"], "udp");
  }
  EXPECT_EQ(count, 3);
}

TEST(Read, TakesAFilterAsTrailingWords) {
  TempDir dir;
  write_pingpong(dir.file("a.pcap"), 10, 2);
  const Outcome run =
      topspin({"read", dir.file("a.pcap"), "--format", "json", "udp", "port", "20003"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(Json::parse(run.out)["udp"]["flows"], 1);
}

/// Clients over UDP and TCP that come and go. Replies are late or missing, segments are repeated or
/// come out of order, some bytes are no packet, and the clock goes back and is set. The same seed
/// gives the same bytes.
void write_mixed(const std::string& path, uint32_t seed, int packets) {
  std::mt19937 random(seed);
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  const auto one_in = [&](uint32_t n) { return below(n) == 0; };
  PcapWriter writer;
  int64_t now = kStart;
  std::array<uint32_t, 200> sequence{};
  for (int i = 0; i < packets; ++i) {
    now += below(2'000'000);
    if (one_in(40)) now -= 1'000'000;
    if (one_in(5'000)) now -= 3 * kSecond;
    if (one_in(5'000)) now += 30 * kSecond;
    const uint32_t client = below(sequence.size());
    const bool asks = !one_in(3);
    const auto port = static_cast<uint16_t>(40'000 + client);
    const uint16_t from = asks ? port : 8888, to = asks ? 8888 : port;
    const std::string payload(8 * below(3), static_cast<char>('a' + below(26)));
    if (one_in(100)) {
      writer.packet(now, std::vector<uint8_t>(below(60), static_cast<uint8_t>(below(256))));
    } else if (client % 2 == 0) {
      writer.udp(now, from, to, payload);
    } else {
      constexpr std::array<uint8_t, 8> kFlags = {0x02, 0x12, 0x10, 0x18, 0x18, 0x18, 0x11, 0x04};
      uint32_t& next = sequence.at(client);
      const uint32_t sent = one_in(10) ? next - 8 : one_in(10) ? next + 8 : next;
      next += static_cast<uint32_t>(payload.size());
      writer.tcp(now, from, to, sent, kFlags.at(below(kFlags.size())), payload);
    }
  }
  writer.save(path);
}

TEST(Read, SeveralThreadsGiveTheAnswersOfOne) {
  TempDir dir;
  write_pingpong(dir.file("pings.pcap"), 600, 12);
  write_mixed(dir.file("mixed.pcap"), 1, 12'000);
  write_mixed(dir.file("cut.pcap"), 2, 5'000);
  std::filesystem::resize_file(dir.file("cut.pcap"),
                               std::filesystem::file_size(dir.file("cut.pcap")) - 5);
  struct Answers {
    int exit_code = 0;
    std::vector<std::string> texts;
    bool operator==(const Answers&) const = default;
  };
  /// Each row of a table begins with the run's id, which no two runs share.
  const auto without_ids = [](const std::string& table) {
    std::istringstream lines(table);
    std::string rest;
    for (std::string line; std::getline(lines, line);) rest += line.substr(line.find(',')) + '\n';
    return rest;
  };
  const auto read = [&](const std::string& file, const std::string& threads) {
    const std::string db = dir.file(file + threads + ".db");
    const std::vector<std::string> command = {"read", dir.file(file), "--threads", threads};
    const auto with = [&](std::vector<std::string> more) {
      more.insert(more.begin(), command.begin(), command.end());
      return topspin(more);
    };
    Answers answers;
    for (const char* format : {"text", "ndjson"}) {
      const Outcome run = with({"--format", format});
      answers.exit_code = run.exit_code;
      answers.texts.push_back(run.out + run.err);
    }
    const Outcome stored = with({"--db", db, "--interval", "500ms"});
    EXPECT_EQ(stored.exit_code, answers.exit_code) << stored.err;
    for (const char* table : {"ticks", "flows", "late_messages"}) {
      const Outcome rows = topspin({"export", "--db", db, "--format", "csv", "--table", table});
      EXPECT_EQ(rows.exit_code, 0) << rows.err;
      answers.texts.push_back(without_ids(rows.out));
    }
    return answers;
  };
  for (const char* file : {"pings.pcap", "mixed.pcap", "cut.pcap"}) {
    const Answers one = read(file, "1");
    EXPECT_EQ(one.exit_code, file == std::string("cut.pcap") ? 5 : 0);
    for (const std::string& text : one.texts) EXPECT_GT(text.size(), 30u);
    EXPECT_TRUE(read(file, "2") == one) << file;
    if (file == std::string("mixed.pcap")) EXPECT_TRUE(read(file, "4") == one);
  }
}

TEST(Read, StandardInputIsADash) {
  TempDir dir;
  write_pingpong(dir.file("a.pcap"), 4, 2);
  const Outcome run =
      test::run({"sh", "-c", topspin_binary() + " read - --format json < " + dir.file("a.pcap")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(Json::parse(run.out)["udp"]["flows"], 4);
}

TEST(Read, ATruncatedFileReportsThePartReadAndTheError) {
  TempDir dir;
  write_pingpong(dir.file("a.pcap"), 4, 3);
  std::ifstream whole(dir.file("a.pcap"), std::ios::binary);
  std::stringstream bytes;
  bytes << whole.rdbuf();
  std::ofstream(dir.file("cut.pcap"), std::ios::binary)
      << bytes.str().substr(0, bytes.str().size() - 5);
  const Outcome run = topspin({"read", dir.file("cut.pcap"), "--format", "json"});
  EXPECT_EQ(run.exit_code, 5);
  const Json json = Json::parse(run.out);
  EXPECT_EQ(json["complete"], false);
  EXPECT_TRUE(json["error"].is_string());
  EXPECT_EQ(json["packets"],
            2 * (4 * 3 - 1) - 1 - 1);  // one ping missed, one not answered, one packet cut
  EXPECT_FALSE(run.err.empty());
}

TEST(Read, StoresARunThatReportsTheSameNumbers) {
  TempDir dir;
  write_pingpong(dir.file("a.pcap"), 10, 8);
  const Outcome read = topspin({"read", dir.file("a.pcap"), "--period", "1s", "--db",
                                dir.file("t.db"), "--format", "json", "--label", "a=b"});
  ASSERT_EQ(read.exit_code, 0) << read.err;
  const Outcome report = topspin({"report", "last", "--db", dir.file("t.db"), "--format", "json"});
  ASSERT_EQ(report.exit_code, 0) << report.err;
  const Json one = Json::parse(read.out), other = Json::parse(report.out);
  EXPECT_EQ(other["run"]["labels"]["a"], "b");
  EXPECT_EQ(other["run"]["status"], "complete");
  const Json& summary = other["summary"];
  EXPECT_EQ(summary["packets"], one["packets"]);
  EXPECT_EQ(summary["bytes"], one["bytes"]);
  EXPECT_EQ(summary["flows"], one["udp"]["flows"]);
  EXPECT_EQ(summary["active_flows"]["max"], one["active_flows_max"]);
  EXPECT_EQ(summary["missed_ticks"], one["missed_ticks"]);
  EXPECT_EQ(summary["unanswered"], one["unanswered"]);
  EXPECT_EQ(summary["lateness_ns"], one["lateness_ns"]);
  EXPECT_EQ(summary["reply_latency_ns"], one["reply_latency_ns"]);
  EXPECT_EQ(summary["run_queue_latency_ns"], nullptr);  // absent is not 0
  EXPECT_EQ(summary["rss_bytes"]["max"], nullptr);
  EXPECT_GE(other["ticks"].size(), 7u);
}

Json report_of(const std::string& database) {
  const Outcome report = topspin({"report", "last", "--db", database, "--format", "json"});
  EXPECT_EQ(report.exit_code, 0) << report.err;
  return Json::parse(report.out);
}

TEST(Read, StoresEveryPacketAlsoOfAFileWithoutLength) {
  TempDir dir;
  const std::vector<std::vector<int64_t>> files = {
      {0}, {0, 0, 0, 0, 0}, {0, kSecond / 2, kSecond}, {0, 3599 * kSecond, 7198 * kSecond}};
  for (size_t i = 0; i < files.size(); ++i) {
    PcapWriter writer;
    for (const int64_t at : files[i]) writer.udp(kStart + at, 20'000, 8888, "x");
    const std::string name = dir.file(std::to_string(i));
    writer.save(name + ".pcap");
    const Outcome read = topspin({"read", name + ".pcap", "--db", name + ".db"});
    ASSERT_EQ(read.exit_code, 0) << read.err;
    const Json report = report_of(name + ".db");
    EXPECT_EQ(report["summary"]["packets"], files[i].size()) << i;
    EXPECT_LE(report["ticks"].size(), 10u) << i;
    const Outcome live = topspin({"live", "-r", name + ".pcap", "--once"});
    EXPECT_EQ(live.exit_code, 0) << live.err;
  }
}

TEST(Read, ARunThatEvictedFlowsIsNotUsable) {
  TempDir dir;
  PcapWriter writer;
  for (int i = 0; i < 50; ++i) {
    writer.udp(kStart + i * 1'000'000, static_cast<uint16_t>(20'000 + i), 8888, "x");
  }
  writer.save(dir.file("a.pcap"));
  const Outcome read =
      topspin({"read", dir.file("a.pcap"), "--max-flows", "10", "--db", dir.file("t.db")});
  ASSERT_EQ(read.exit_code, 0) << read.err;
  EXPECT_NE(read.err.find("40 flows were evicted"), std::string::npos) << read.err;
  EXPECT_NE(report_of(dir.file("t.db")).dump().find("40 flows were evicted"), std::string::npos);
}

TEST(Read, AClockThatWentBackIsADoubt) {
  TempDir dir;
  PcapWriter writer;
  for (int i = 0; i < 50; ++i) {
    const int64_t back = i % 5 == 4 ? 40'000'000 : 0;
    writer.udp(kStart + i * 10'000'000 - back, 20'000, 8888, "x");
  }
  writer.save(dir.file("a.pcap"));
  const Outcome json = topspin({"read", dir.file("a.pcap"), "--format", "json"});
  EXPECT_EQ(Json::parse(json.out)["doubts"].size(), 1u) << json.out;
  const Outcome text = topspin({"read", dir.file("a.pcap")});
  EXPECT_NE(text.out.find("DOUBTFUL: 10 of 50 packets have an earlier timestamp"),
            std::string::npos)
      << text.out;
}

}  // namespace
}  // namespace topspin::test
