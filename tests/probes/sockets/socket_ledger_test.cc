// Which sockets are the subject's and what grew in them, from synthetic dumps.
#include "probes/sockets/socket_ledger.h"

#include <gtest/gtest.h>

namespace topspin {
namespace {

constexpr const char* kNetstat =
    "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPHPHits\n"
    "TcpExt: 0 7 9 12345\n"
    "IpExt: InNoRoutes\n"
    "IpExt: 4\n";

DiagQueue queue(uint64_t cookie, uint8_t protocol, uint64_t drops, uint64_t depth = 0) {
  DiagQueue made;
  made.cookie = cookie;
  made.inode = cookie * 10;
  made.protocol = protocol;
  made.local.port = static_cast<uint16_t>(cookie);
  made.queue = depth;
  made.limit = 128;
  made.drops = drops;
  return made;
}

/// One walk, in which process 42 holds the sockets with these cookies.
void walk(SocketLedger& ledger, std::initializer_list<uint64_t> cookies) {
  ledger.walk_begins();
  for (const uint64_t cookie : cookies) ledger.holds(42, cookie * 10);
  ledger.walk_ends();
}

TEST(ListenCounts, AreFoundByName) {
  const auto counts = parse_listen_counts(kNetstat);
  ASSERT_TRUE(counts);
  EXPECT_EQ(counts->overflows, 7u);
  EXPECT_EQ(counts->drops, 9u);
}

TEST(ListenCounts, AreAbsentFromWhatIsCutOrOdd) {
  for (const char* text :
       {"", "TcpExt:", "TcpExt: ListenOverflows ListenDrops\n",
        "TcpExt: ListenOverflows ListenDrops\nTcpExt: 1\n",
        "TcpExt: ListenOverflows ListenDrops\nTcpExt: 1 2x\n",
        "TcpExt: ListenOverflows ListenDrops\nIpExt: 1 2\n", "IpExt: A\nIpExt: 1\n"}) {
    EXPECT_FALSE(parse_listen_counts(text)) << text;
  }
}

TEST(SocketLinks, HoldTheInode) {
  EXPECT_EQ(parse_socket_link("socket:[4026531840]"), 4026531840u);
  for (const char* link :
       {"", "socket:[]", "socket:[1", "socket:[1x]", "pipe:[1]", "/tmp/socket:[1]"})
    EXPECT_FALSE(parse_socket_link(link)) << link;
}

TEST(SocketLedger, CountsTheSubjectsDropsAndNobodyElses) {
  SocketLedger ledger(10);
  ledger.begin({queue(1, kProtocolUdp, 5), queue(2, kProtocolUdp, 5)}, std::nullopt);
  walk(ledger, {1});
  EXPECT_FALSE(ledger.wants_walk());
  ledger.update({queue(1, kProtocolUdp, 8), queue(2, kProtocolUdp, 100)});
  const auto reading = ledger.take(std::nullopt);
  EXPECT_EQ(reading.interval.udp_drops, 3u);
  EXPECT_FALSE(reading.interval.listen_overflows);  // not readable: absent
  EXPECT_FALSE(reading.interval.accept_queue_max);  // nobody listens
  ASSERT_EQ(reading.changed.size(), 1u);
  EXPECT_EQ(reading.changed[0].cookie, 1u);
  EXPECT_EQ(reading.changed[0].drops, 8u);
  EXPECT_EQ(reading.changed[0].pid, 42);
  EXPECT_FALSE(reading.changed[0].accept_queue);
  EXPECT_TRUE(ledger.take(std::nullopt).changed.empty());
}

TEST(SocketLedger, ASocketOfTheRunCountsFromItsBeginningEvenIfFoundLate) {
  SocketLedger ledger(10);
  ledger.begin({}, std::nullopt);
  ledger.update({queue(3, kProtocolUdp, 4)});
  EXPECT_TRUE(ledger.wants_walk());
  EXPECT_EQ(ledger.take(std::nullopt).interval.udp_drops, 0u);
  ledger.update({queue(3, kProtocolUdp, 6)});
  walk(ledger, {3});
  EXPECT_EQ(ledger.take(std::nullopt).interval.udp_drops, 6u);
}

TEST(SocketLedger, WhatAppearsDuringAWalkWaitsForTheNext) {
  SocketLedger ledger(10);
  ledger.begin({}, std::nullopt);
  ledger.walk_begins();
  ledger.update({queue(4, kProtocolUdp, 0)});
  ledger.walk_ends();
  EXPECT_TRUE(ledger.wants_walk());
  walk(ledger, {});
  EXPECT_FALSE(ledger.wants_walk());
  ledger.doubt();  // its descriptor may have been passed to the subject since
  EXPECT_TRUE(ledger.wants_walk());
}

TEST(SocketLedger, DropsWrapAsTheKernelsCounterDoes) {
  SocketLedger ledger(10);
  ledger.begin({queue(1, kProtocolUdp, UINT32_MAX - 1)}, std::nullopt);
  walk(ledger, {1});
  ledger.update({queue(1, kProtocolUdp, 3)});
  EXPECT_EQ(ledger.take(std::nullopt).interval.udp_drops, 5u);
}

TEST(SocketLedger, TheFullestQueueComesWithItsOwnLimit) {
  SocketLedger ledger(10);
  DiagQueue fullest = queue(2, kProtocolTcp, 0, 9);
  fullest.limit = 16;
  ledger.begin({queue(1, kProtocolTcp, 0, 4), fullest}, std::nullopt);
  walk(ledger, {1, 2});
  auto reading = ledger.take(std::nullopt);
  EXPECT_EQ(reading.interval.accept_queue_max, 9u);
  EXPECT_EQ(reading.interval.accept_queue_limit, 16u);
  fullest.queue = 0;
  ledger.update({queue(1, kProtocolTcp, 0, 0), fullest});
  reading = ledger.take(std::nullopt);
  EXPECT_EQ(reading.interval.accept_queue_max, 0u);
  for (const SocketRow& row : reading.changed) {
    EXPECT_EQ(row.accept_queue, 0u);
    EXPECT_EQ(row.accept_queue_max, row.cookie == 2 ? 9u : 4u);
  }
}

TEST(SocketLedger, RefusalsAreOverflowsAsFarAsTheNamespaceHadThem) {
  SocketLedger ledger(10);
  ledger.begin({queue(1, kProtocolTcp, 0)}, ListenCounts{100, 200});
  walk(ledger, {1});
  ledger.update({queue(1, kProtocolTcp, 10)});
  auto interval = ledger.take(ListenCounts{106, 212}).interval;
  EXPECT_EQ(interval.listen_overflows, 6u);
  EXPECT_EQ(interval.syn_drops, 4u);
  EXPECT_EQ(interval.host_listen_overflows, 6u);
  EXPECT_EQ(interval.host_listen_drops, 12u);
  // Another program's socket overflowed, not the subject's: nothing is reported again.
  interval = ledger.take(ListenCounts{150, 260}).interval;
  EXPECT_EQ(interval.listen_overflows, 0u);
  EXPECT_EQ(interval.syn_drops, 0u);
  EXPECT_EQ(interval.host_listen_overflows, 44u);
  // What the subject drops next is.
  ledger.update({queue(1, kProtocolTcp, 12)});
  interval = ledger.take(ListenCounts{152, 262}).interval;
  EXPECT_EQ(*interval.listen_overflows + *interval.syn_drops, 2u);
}

TEST(SocketLedger, PacketsThatASocketDropsAreNoRefusalsUnlessTheNamespaceCountsThem) {
  SocketLedger ledger(10);
  ledger.begin({queue(1, kProtocolTcp, 0)}, ListenCounts{100, 100});
  walk(ledger, {1});
  // An ACK that finds the queue full counts twice at its socket.
  ledger.update({queue(1, kProtocolTcp, 84)});
  auto interval = ledger.take(ListenCounts{114, 114}).interval;
  EXPECT_EQ(interval.listen_overflows, 14u);
  EXPECT_EQ(interval.syn_drops, 0u);
  interval = ledger.take(ListenCounts{114, 117}).interval;
  EXPECT_EQ(interval.listen_overflows, 0u);
  EXPECT_EQ(interval.syn_drops, 3u);
}

TEST(SocketLedger, AClosedSocketIsToldOnceAndForgotten) {
  SocketLedger ledger(10);
  ledger.begin({queue(1, kProtocolUdp, 0), queue(2, kProtocolUdp, 0)}, std::nullopt);
  walk(ledger, {1});
  (void)ledger.take(std::nullopt);
  ledger.update({});
  const auto reading = ledger.take(std::nullopt);
  ASSERT_EQ(reading.changed.size(), 1u);
  EXPECT_TRUE(reading.changed[0].closed);
  EXPECT_TRUE(ledger.take(std::nullopt).changed.empty());
  // Another socket gets the same inode.
  DiagQueue again = queue(7, kProtocolUdp, 2);
  again.inode = 10;
  ledger.update({again});
  EXPECT_TRUE(ledger.wants_walk());
  ledger.walk_begins();
  ledger.holds(43, 10);
  ledger.walk_ends();
  const auto next = ledger.take(std::nullopt);
  ASSERT_EQ(next.changed.size(), 1u);
  EXPECT_EQ(next.changed[0].cookie, 7u);
  EXPECT_EQ(next.changed[0].pid, 43);
}

TEST(SocketLedger, BeyondTheLimitOfRowsSumsStayWhole) {
  SocketLedger ledger(1);
  ledger.begin({}, std::nullopt);
  ledger.update({queue(1, kProtocolUdp, 2), queue(2, kProtocolUdp, 3)});
  walk(ledger, {1, 2});
  const auto reading = ledger.take(std::nullopt);
  EXPECT_EQ(reading.interval.udp_drops, 5u);
  EXPECT_EQ(reading.changed.size(), 1u);
  EXPECT_EQ(reading.rows_unstored, 1u);
}

}  // namespace
}  // namespace topspin
