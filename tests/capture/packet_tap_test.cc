// Copies of one flow's packets: they are only of that flow and bounded, and the oldest are dropped
// and counted. The tap does not change any counts.
#include "capture/packet/packet_tap.h"

#include <gtest/gtest.h>

#include "capture/interval_cutter.h"
#include "capture/source/interface_counters.h"
#include "tests/capture/times.h"
#include "tests/support/pcap_writer.h"
#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

/// Two clients ping once a second; the server answers the first.
std::string write_pings(const test::TempDir& directory, int seconds) {
  test::PcapWriter pcap;
  for (int64_t second = 0; second < seconds; ++second) {
    pcap.udp(kStart + second * kS, 40'001, 8888, "ping");
    pcap.udp(kStart + second * kS + 1'000'000, 8888, 40'001, "pong!");
    pcap.udp(kStart + second * kS + 2'000'000, 40'002, 8888, "other");
  }
  const std::string path = directory.file("pings.pcap");
  pcap.save(path);
  return path;
}

struct Read {
  FlowInterval totals;
  std::vector<FlowRow> rows;
  PacketCopies copies;
};

Read read_all(const std::string& path, const std::optional<FlowKey>& watched) {
  Read out;
  auto tracker = FlowTracker::open_file({path, "", 0, 0}, {});
  EXPECT_TRUE(tracker.ok());
  (*tracker)->watch_packets(watched);
  const IntervalSink sink = [](ClosedInterval&&) {};
  while (*(*tracker)->step(sink) == StepOutcome::kMore) {
  }
  (*tracker)->step(sink).ok();
  out.totals = (*tracker)->totals();
  (*tracker)->for_each_flow([&](const FlowRow& row) { out.rows.push_back(row); });
  out.copies = (*tracker)->take_packets();
  return out;
}

TEST(PacketTap, CopiesTheSelectedFlowAloneAndCountsNothing) {
  const test::TempDir directory;
  const std::string path = write_pings(directory, 10);
  const Read without = read_all(path, std::nullopt);
  ASSERT_EQ(without.rows.size(), 2u);
  EXPECT_TRUE(without.copies.packets.empty());
  const Read with = read_all(path, without.rows[0].key);
  ASSERT_EQ(with.copies.packets.size(), 20u);
  EXPECT_EQ(with.copies.dropped, 0u);
  EXPECT_EQ(with.totals.packets, without.totals.packets);
  EXPECT_EQ(with.totals.bytes, without.totals.bytes);
  EXPECT_EQ(with.rows[0].packets, without.rows[0].packets);
  const PacketCopy& ping = with.copies.packets[0];
  EXPECT_EQ(ping.stamp_ns, kStart);
  EXPECT_EQ(ping.payload_bytes, 4u);
  EXPECT_EQ(ping.from_low, with.rows[0].initiator_is_low);
  EXPECT_EQ(std::string(ping.bytes.end() - 4, ping.bytes.end()), "ping");
  const PacketCopy& pong = with.copies.packets[1];
  EXPECT_NE(pong.from_low, ping.from_low);
  EXPECT_EQ(std::string(pong.bytes.end() - 5, pong.bytes.end()), "pong!");
}

TEST(PacketTap, AFileIsReadUpToTheMomentShown) {
  const test::TempDir directory;
  const std::string path = write_pings(directory, 600);
  const Read all = read_all(path, std::nullopt);
  const auto early =
      read_packets_of({path, "", 0, 0}, KeyMode::kOuter, all.rows[0].key, kStart + 3 * kS);
  ASSERT_TRUE(early.ok());
  EXPECT_EQ(early->packets.size(), 6u);
  const auto late = read_packets_of({path, "", 0, 0}, KeyMode::kOuter, all.rows[0].key, INT64_MAX);
  ASSERT_TRUE(late.ok());
  EXPECT_EQ(late->packets.size(), PacketTap::kPacketsMax);
  EXPECT_EQ(late->dropped, 1200 - PacketTap::kPacketsMax);
  EXPECT_EQ(late->packets.back().stamp_ns, kStart + 599 * kS + 1'000'000);
  EXPECT_FALSE(
      read_packets_of({"/nonexistent", "", 0, 0}, KeyMode::kOuter, all.rows[0].key, 0).ok());
}

TEST(PacketTap, AnotherFlowForgetsTheFirst) {
  PacketTap tap;
  EXPECT_FALSE(tap.exchange());
  FlowKey first, second;
  first.high.port = 1;
  second.high.port = 2;
  first.protocol = second.protocol = kProtocolUdp;
  ParsedPacket parsed;
  parsed.key.kind = kProtocolUdp;
  parsed.key.high_port = 1;
  parsed.skip = SkipReason::kCount;
  const std::vector<uint8_t> bytes(PacketTap::kBytesMax + 100, 7);
  const PacketView view{5, bytes.data(), static_cast<uint32_t>(bytes.size()), 9000};
  tap.select(first);
  ASSERT_TRUE(tap.exchange());
  for (size_t i = 0; i < PacketTap::kPacketsMax + 3; ++i) tap.offer(view, parsed);
  EXPECT_TRUE(tap.take().packets.empty());  // not handed over yet
  ASSERT_TRUE(tap.exchange());
  const PacketCopies copies = tap.take();
  EXPECT_EQ(copies.packets.size(), PacketTap::kPacketsMax);
  EXPECT_EQ(copies.dropped, 3u);
  EXPECT_EQ(copies.packets[0].bytes.size(), PacketTap::kBytesMax);
  tap.offer(view, parsed);
  tap.select(second);
  ASSERT_TRUE(tap.exchange());
  tap.offer(view, parsed);
  ASSERT_TRUE(tap.exchange());
  EXPECT_TRUE(tap.take().packets.empty());
  tap.select(std::nullopt);
  EXPECT_FALSE(tap.exchange());
}

TEST(InterfaceCounters, AreReadFromTheKernelsText) {
  const auto readings = parse_interface_counters(
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs "
      "drop fifo colls carrier compressed\n"
      "    lo: 100 2 0 3 0 0 0 0 400 5 0 6 0 0 0 0\n"
      "a:b\x1b[2J:18446744073709551615 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
      "broken: 1 2 3\n"
      "  eth0:1 2 x 4 5 6 7 8 9 10 11 12 13 14 15 16");
  ASSERT_EQ(readings.size(), 2u);
  EXPECT_EQ(readings[0].name, "lo");
  EXPECT_EQ(readings[0].received_bytes, 100u);
  EXPECT_EQ(readings[0].received_packets, 2u);
  EXPECT_EQ(readings[0].received_dropped, 3u);
  EXPECT_EQ(readings[0].sent_bytes, 400u);
  EXPECT_EQ(readings[0].sent_packets, 5u);
  EXPECT_EQ(readings[0].sent_dropped, 6u);
  EXPECT_EQ(readings[1].name, "a:b\x1b[2J");
  EXPECT_EQ(readings[1].received_bytes, UINT64_MAX);
  const auto here = read_interfaces();
  ASSERT_TRUE(here.ok());
  for (const InterfaceReading& reading : *here) {
    if (reading.name == "lo") {
      EXPECT_TRUE(reading.loopback);
    }
  }
}

}  // namespace
}  // namespace topspin
