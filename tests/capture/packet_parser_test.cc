// The parser on packets made by hand, one layer at a time, and on every truncation of each.
#include "capture/packet/packet_parser.h"

#include <string>

#include <gtest/gtest.h>

namespace topspin {
namespace {

using Octets = std::string;

Octets be16(unsigned v) { return {static_cast<char>(v >> 8), static_cast<char>(v)}; }
Octets zeros(size_t n) { return Octets(n, '\0'); }
template <size_t N>
Octets raw(const char (&text)[N]) {
  return Octets(text, N - 1);
}

Octets udp(unsigned from, unsigned to, const Octets& payload = "data") {
  return be16(from) + be16(to) + be16(static_cast<unsigned>(8 + payload.size())) + be16(0) +
         payload;
}
Octets tcp(unsigned from, unsigned to, char flags, const Octets& payload = "") {
  return be16(from) + be16(to) + raw("\0\0\1\2") + raw("\0\0\0\0") + '\x50' + flags + zeros(6) +
         payload;
}
Octets ipv4(int protocol, const Octets& payload, const Octets& options = "", unsigned fragment = 0,
            int total = -1) {
  const size_t header = 20 + options.size();
  return Octets(1, static_cast<char>(0x40 + header / 4)) + '\0' +
         be16(total >= 0 ? static_cast<unsigned>(total)
                         : static_cast<unsigned>(header + payload.size())) +
         be16(77) + be16(fragment) + '\x40' + static_cast<char>(protocol) + be16(0) +
         raw("\x0a\0\0\1") + raw("\x0a\0\0\2") + options + payload;
}
Octets ipv6(int next, const Octets& payload, bool jumbo = false) {
  return raw("\x60\0\0\0") + be16(jumbo ? 0 : static_cast<unsigned>(payload.size())) +
         static_cast<char>(next) + '\x40' + raw("\xfd") + zeros(14) + '\1' + raw("\xfd") +
         zeros(14) + '\2' + payload;
}
Octets ethernet(unsigned type, const Octets& payload) { return zeros(12) + be16(type) + payload; }

ParsedPacket parse(LinkType link, const Octets& bytes, KeyMode mode = KeyMode::kOuter) {
  // The copy has exactly this size, so that ASan sees a read beyond it.
  const std::vector<uint8_t> copy(bytes.begin(), bytes.end());
  return parse_packet(
      link, mode,
      {0, copy.data(), static_cast<uint32_t>(copy.size()), static_cast<uint32_t>(copy.size())});
}

void expect_flow(const ParsedPacket& p, uint8_t protocol, uint16_t from, uint16_t to,
                 uint8_t version = 4) {
  ASSERT_TRUE(p.in_flow()) << skip_reason_name(p.skip);
  EXPECT_EQ(p.key.protocol(), protocol);
  EXPECT_EQ(p.key.ip_version(), version);
  EXPECT_EQ(p.from_low ? p.key.low_port : p.key.high_port, from);
  EXPECT_EQ(p.from_low ? p.key.high_port : p.key.low_port, to);
}

TEST(Parser, TheStatusOfAReplyOfHttpIsKnown) {
  const struct {
    Octets payload;
    uint16_t status;
  } cases[] = {{"HTTP/1.1 101 Switching Protocols\r\n", 101},
               {"HTTP/1.1 100 Continue\r\n\r\n", 100},
               {"HTTP/1.1 199", 199},
               {"HTTP/1.1 10", 0},
               {"HTTP/1.1 10x No\r\n", 0},
               {"HTTP/1.1 200 OK\r\n", 200},
               {"HTTP/1.1 503 No\r\n", 503},
               {"HTTP/1.1 099 No\r\n", 0},
               {"HTTP/1.0 101 No\r\n", 0},
               {"", 0}};
  for (const auto& c : cases) {
    const Octets segment = tcp(80, 40'000, '\x18', c.payload);
    for (const Octets& packet : {ipv4(6, segment), ipv6(6, segment), ipv4(6, segment, zeros(4))}) {
      const ParsedPacket p = parse(LinkType::kRaw, packet);
      ASSERT_TRUE(p.in_flow());
      EXPECT_EQ(p.http_status, c.status) << c.payload;
    }
    const Octets datagram = ipv4(17, udp(80, 40'000, c.payload + "."));
    EXPECT_EQ(parse(LinkType::kRaw, datagram).http_status, 0);
  }
}

TEST(Parser, CommandsOfMemcachedThatAskForNoReplyAreKnown) {
  const Octets set = "set k 0 0 1 noreply\r\nx\r\n";
  const struct {
    Octets payload;
    Noreply expected;
    size_t captured = SIZE_MAX;
  } cases[] = {{set, Noreply::kWhole},
               {set + set, Noreply::kWhole},
               {"cas k 0 0 1 77 noreply\r\nx\r\n", Noreply::kWhole},
               {"incr k 1 noreply\r\n", Noreply::kWhole},
               {"delete k noreply\r\n" + set, Noreply::kWhole},
               {"flush_all noreply\r\n", Noreply::kWhole},
               {"set k 0 0 900 noreply\r\nx", Noreply::kBegins},
               {"append k 0 0 400 noreply\r\n" + Octets(402, 'x'), Noreply::kWhole, 40},
               {"set k 0 0 300 noreply\r\n" + Octets(302, 'x') + set, Noreply::kBegins, 40},
               {set + "get k\r\n", Noreply::kNone},
               {"set k 0 0 1\r\nx\r\n", Noreply::kNone},
               {"set k 0 0 x noreply\r\nx\r\n", Noreply::kNone},
               {"set k noreply\r\n", Noreply::kNone},
               {"get noreply\r\n", Noreply::kNone},
               {"set k 0 0 4294967296 noreply\r\n", Noreply::kNone},
               {"set", Noreply::kNone},
               {"set k 0 0 1 nore", Noreply::kNone}};
  for (const auto& c : cases) {
    const Octets packet = ipv4(6, tcp(40'000, 11'211, '\x18', c.payload));
    const size_t headers = packet.size() - c.payload.size();
    const std::vector<uint8_t> captured(
        packet.begin(),
        packet.begin() + static_cast<ptrdiff_t>(headers + std::min(c.captured, c.payload.size())));
    const PacketView view{0, captured.data(), static_cast<uint32_t>(captured.size()),
                          static_cast<uint32_t>(packet.size())};
    EXPECT_EQ(parse_packet(LinkType::kRaw, KeyMode::kOuter, view).memcached_noreply, c.expected)
        << c.payload;
  }
  EXPECT_EQ(parse(LinkType::kRaw, ipv4(17, udp(40'000, 11'211, set))).memcached_noreply,
            Noreply::kNone);
}

TEST(Parser, EveryLinkTypeReachesTheSameFlow) {
  const Octets ip = ipv4(17, udp(5, 6));
  const Octets ip6 = ipv6(17, udp(5, 6));
  const Octets snap = raw("\xaa\xaa\x03\0\0\0\x08\0") + ip;
  const struct {
    LinkType link;
    Octets bytes;
    uint8_t version = 4;
  } cases[] = {
      {LinkType::kEthernet, ethernet(0x0800, ip)},
      {LinkType::kEthernet, ethernet(0x86dd, ip6), 6},
      {LinkType::kEthernet, ethernet(0x8100, be16(0x2005) + be16(0x0800) + ip)},
      {LinkType::kEthernet, ethernet(0x88a8, be16(7) + be16(0x8100) + be16(8) + be16(0x86dd) + ip6),
       6},
      {LinkType::kEthernet, ethernet(0x9100, be16(7) + be16(0x0800) + ip)},
      {LinkType::kEthernet, ethernet(0x8864, raw("\x11\0\0\1\0\x22\0\x21") + ip)},
      {LinkType::kEthernet, ethernet(0x8864, raw("\x11\0\0\1\0\x22\0\x57") + ip6), 6},
      {LinkType::kEthernet, ethernet(0x8847, raw("\0\1\0\x40\0\1\1\x40") + ip)},
      {LinkType::kEthernet, ethernet(0x88e7, zeros(4) + ethernet(0x0800, ip))},
      {LinkType::kEthernet, ethernet(40, snap)},
      {LinkType::kRaw, ip},
      {LinkType::kRaw, ip6, 6},
      {LinkType::kIpv4, ip},
      {LinkType::kIpv6, ip6, 6},
      {LinkType::kNull, raw("\2\0\0\0") + ip},
      {LinkType::kNull, raw("\0\0\0\2") + ip},
      {LinkType::kNull, raw("\x1e\0\0\0") + ip6, 6},
      {LinkType::kLoop, raw("\0\0\0\x18") + ip6, 6},
      {LinkType::kLinuxCooked, zeros(14) + be16(0x0800) + ip},
      {LinkType::kLinuxCooked2, be16(0x86dd) + zeros(18) + ip6, 6},
      {LinkType::kPpp, raw("\xff\x03\0\x21") + ip},
      {LinkType::kPpp, raw("\x21") + ip},
      {LinkType::kPppSerial, raw("\xff\x03\0\x57") + ip6, 6},
      {LinkType::kPppSerial, raw("\x0f\0\x08\0") + ip},
      {LinkType::kPppWithDirection, raw("\1\xff\x03\0\x21") + ip},
      {LinkType::kPppEther, raw("\x11\0\0\1\0\x22\0\x21") + ip},
      {LinkType::kCiscoHdlc, raw("\x0f\0\x08\0") + ip},
      {LinkType::kFrameRelay, raw("\x18\x41\x03\xcc") + ip},
      {LinkType::kFrameRelay, raw("\x18\x41\x03\0\x80\0\0\0\x08\0") + ip},
      {LinkType::kFrameRelay, raw("\x18\x41\x08\0") + ip},
      {LinkType::kMpls, raw("\0\1\1\x40") + ip},
      {LinkType::kIeee80211, raw("\x08\1") + zeros(22) + snap},
      {LinkType::kIeee80211, raw("\x88\3") + zeros(30) + snap},
      {LinkType::kRadiotap, raw("\0\0\x08\0\0\0\0\0") + raw("\x08\1") + zeros(22) + snap},
      {LinkType::kPrism,
       raw("\x44\0\0\0\x90\0\0\0") + zeros(136) + raw("\x08\1") + zeros(22) + snap},
      {LinkType::kAvs,
       raw("\x80\x21\x10\1\0\0\0\x40") + zeros(56) + raw("\x08\1") + zeros(22) + snap},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(testing::Message()
                 << "link type " << static_cast<int>(c.link) << ", " << c.bytes.size() << " bytes");
    EXPECT_TRUE(is_supported_link_type(static_cast<int>(c.link)));
    const ParsedPacket p = parse(c.link, c.bytes);
    expect_flow(p, kProtocolUdp, 5, 6, c.version);
    EXPECT_EQ(p.payload_bytes, 4u);
    // Wherever the packet is cut, nothing beyond is read. Without its ports it is in no flow.
    for (size_t n = 0; n < c.bytes.size(); ++n) {
      for (const KeyMode mode : {KeyMode::kOuter, KeyMode::kInner, KeyMode::kVlan}) {
        const ParsedPacket cut = parse(c.link, c.bytes.substr(0, n), mode);
        EXPECT_EQ(cut.in_flow(), n + 8 >= c.bytes.size()) << n;
      }
    }
  }
  EXPECT_FALSE(is_supported_link_type(189));
  EXPECT_FALSE(is_supported_link_type(-1));
}

TEST(Parser, BothDirectionsHaveOneKey) {
  const ParsedPacket there = parse(LinkType::kRaw, ipv4(17, udp(9, 8)));
  Octets back = ipv4(17, udp(8, 9));
  std::swap(back[15], back[19]);
  const ParsedPacket reply = parse(LinkType::kRaw, back);
  EXPECT_TRUE(there.key == reply.key);
  EXPECT_NE(there.from_low, reply.from_low);
  // With equal addresses, the ports alone give the order.
  Octets self = ipv4(17, udp(9, 8)), self_back = ipv4(17, udp(8, 9));
  self[19] = self[15];
  self_back[19] = self_back[15];
  EXPECT_TRUE(parse(LinkType::kRaw, self).key == parse(LinkType::kRaw, self_back).key);
  // An IPv6 flow whose address begins like an IPv4 one is another flow.
  EXPECT_FALSE(there.key == parse(LinkType::kRaw, ipv6(17, udp(9, 8))).key);
}

TEST(Parser, Ipv4Lengths) {
  // Options, padding after the total length, and the total length 0 of segmentation offload.
  expect_flow(parse(LinkType::kRaw, ipv4(17, udp(5, 6), zeros(8))), kProtocolUdp, 5, 6);
  const ParsedPacket padded = parse(LinkType::kRaw, ipv4(6, tcp(5, 6, 0x18)) + zeros(6));
  expect_flow(padded, kProtocolTcp, 5, 6);
  EXPECT_EQ(padded.payload_bytes, 0u);
  const ParsedPacket offloaded =
      parse(LinkType::kRaw, ipv4(6, tcp(5, 6, 0x18, zeros(3000)), "", 0, 0));
  expect_flow(offloaded, kProtocolTcp, 5, 6);
  EXPECT_EQ(offloaded.payload_bytes, 3000u);
  EXPECT_EQ(offloaded.tcp_sequence, 0x0102u);
  EXPECT_EQ(parse(LinkType::kRaw, ipv4(17, udp(5, 6), "", 0, 19)).skip, SkipReason::kMalformedIp);
  // Ports beyond the total length are not the packet's.
  EXPECT_EQ(parse(LinkType::kRaw, ipv4(17, udp(5, 6), "", 0, 23)).skip,
            SkipReason::kTruncatedTransport);
}

TEST(Parser, Ipv6Chains) {
  const Octets destination = raw("\x11\0\1\4\0\0\0\0");
  expect_flow(parse(LinkType::kRaw, ipv6(60, destination + udp(5, 6))), kProtocolUdp, 5, 6, 6);
  const Octets hop = raw("\x3c\0\1\4\0\0\0\0");
  expect_flow(parse(LinkType::kRaw, ipv6(0, hop + destination + udp(5, 6))), kProtocolUdp, 5, 6, 6);
  const Octets authentication = raw("\x11\4") + zeros(22);
  expect_flow(parse(LinkType::kRaw, ipv6(51, authentication + udp(5, 6))), kProtocolUdp, 5, 6, 6);
  expect_flow(parse(LinkType::kRaw, ipv6(6, tcp(5, 6, 2, zeros(100)), true)), kProtocolTcp, 5, 6,
              6);
  // A chain that never ends.
  Octets endless;
  for (int i = 0; i < 1000; ++i) endless += raw("\x3c\0\1\4\0\0\0\0");
  EXPECT_EQ(parse(LinkType::kRaw, ipv6(60, endless)).skip, SkipReason::kMalformedIp);
}

TEST(Parser, Fragments) {
  const ParsedPacket first = parse(LinkType::kRaw, ipv4(17, udp(5, 6), "", 0x2000));
  expect_flow(first, kProtocolUdp, 5, 6);
  EXPECT_TRUE(first.first_fragment);
  const ParsedPacket later = parse(LinkType::kRaw, ipv4(17, udp(5, 6), "", 0x0100));
  EXPECT_EQ(later.skip, SkipReason::kLaterFragment);
  EXPECT_TRUE(later.later_fragment);
  EXPECT_EQ(first.datagram_id, later.datagram_id);
  EXPECT_NE(first.datagram_id, 0u);
  const Octets header = raw("\x11\0\0\1\1\2\3\4"), rest = raw("\x11\0\1\0\1\2\3\4");
  const ParsedPacket first6 = parse(LinkType::kRaw, ipv6(44, header + udp(5, 6)));
  expect_flow(first6, kProtocolUdp, 5, 6, 6);
  EXPECT_TRUE(first6.first_fragment);
  const ParsedPacket later6 = parse(LinkType::kRaw, ipv6(44, rest + udp(5, 6)));
  EXPECT_EQ(later6.skip, SkipReason::kLaterFragment);
  EXPECT_EQ(first6.datagram_id, later6.datagram_id);
}

TEST(Parser, WhatIsNoFlowHasAReason) {
  const auto reason = [](const Octets& bytes) { return parse(LinkType::kEthernet, bytes).skip; };
  EXPECT_EQ(reason(ethernet(0x0806, zeros(28))), SkipReason::kArp);
  EXPECT_EQ(reason(ethernet(0x88cc, zeros(28))), SkipReason::kNotIp);
  EXPECT_EQ(reason(ethernet(0x0800, ipv4(1, zeros(8)))), SkipReason::kIcmp);
  EXPECT_EQ(reason(ethernet(0x0800, ipv4(2, zeros(8)))), SkipReason::kIgmp);
  EXPECT_EQ(reason(ethernet(0x0800, ipv4(47, zeros(8)))), SkipReason::kGre);
  EXPECT_EQ(reason(ethernet(0x0800, ipv4(50, zeros(8)))), SkipReason::kEsp);
  EXPECT_EQ(reason(ethernet(0x0800, ipv4(132, zeros(8)))), SkipReason::kSctp);
  EXPECT_EQ(reason(ethernet(0x0800, ipv4(4, ipv4(17, udp(5, 6))))), SkipReason::kIpInIp);
  EXPECT_EQ(reason(ethernet(0x0800, ipv4(89, zeros(8)))), SkipReason::kOtherIpProtocol);
  EXPECT_EQ(reason(ethernet(0x86dd, ipv6(58, zeros(8)))), SkipReason::kIcmpv6);
  EXPECT_EQ(reason(zeros(13)), SkipReason::kTruncatedLink);
  EXPECT_EQ(reason(ethernet(0x0800, zeros(19))), SkipReason::kTruncatedIp);
  EXPECT_EQ(reason(ethernet(0x0800, zeros(20))), SkipReason::kMalformedIp);
}

TEST(Parser, InnerKeysFollowTunnels) {
  const Octets inner = ipv4(17, udp(5, 6));
  const Octets inner6 = ipv6(17, udp(5, 6));
  const struct {
    const char* name;
    Octets bytes;
    uint8_t version = 4;
  } cases[] = {
      {"GRE", ipv4(47, raw("\0\0\x08\0") + inner)},
      {"GRE with key and sequence", ipv4(47, raw("\x30\0\x08\0") + zeros(8) + inner)},
      {"GRE bridging", ipv4(47, raw("\0\0\x65\x58") + ethernet(0x0800, inner))},
      {"IPIP", ipv4(4, inner)},
      {"6in4", ipv4(41, inner6), 6},
      {"IPIP twice", ipv4(4, ipv4(4, inner))},
      {"VXLAN", ipv4(17, udp(40'000, 4789, raw("\x08\0\0\0\0\0\1\0") + ethernet(0x0800, inner)))},
      {"VXLAN as Linux sends it by default",
       ipv4(17, udp(40'000, 8472, raw("\x08\0\0\0\0\0\7\0") + ethernet(0x0800, inner)))},
      {"GENEVE",
       ipv4(17,
            udp(40'000, 6081, raw("\1\0\x65\x58\0\0\1\0") + zeros(4) + ethernet(0x86dd, inner6))),
       6},
      {"GTP-U", ipv4(17, udp(2152, 2152, raw("\x30\xff\0\x20\0\0\0\1") + inner))},
      {"GTP-U with an extension",
       ipv4(17, udp(2152, 2152, raw("\x34\xff\0\x20\0\0\0\1\0\0\0\x85\1\0\0\0") + inner))},
      {"Teredo", ipv4(17, udp(40'000, 3544, raw("\0\0\1\2\3\4\5\6") + inner6)), 6},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    expect_flow(parse(LinkType::kRaw, c.bytes, KeyMode::kInner), kProtocolUdp, 5, 6, c.version);
    const ParsedPacket outer = parse(LinkType::kRaw, c.bytes);
    EXPECT_TRUE(!outer.in_flow() || outer.key.low_port > 1000 || outer.key.high_port > 1000);
    EXPECT_EQ(outer.ip_version, 4);
    for (size_t n = 0; n < c.bytes.size(); ++n) {
      parse(LinkType::kRaw, c.bytes.substr(0, n), KeyMode::kInner);
    }
  }
  // If the inside cannot be read, the outer flow counts.
  expect_flow(parse(LinkType::kRaw, ipv4(17, udp(40'000, 4789, zeros(40))), KeyMode::kInner),
              kProtocolUdp, 40'000, 4789);
  const Octets other = raw("\x08\0\0\1\0\0\7\0") + ethernet(0x0800, inner);
  expect_flow(parse(LinkType::kRaw, ipv4(17, udp(40'000, 8472, other)), KeyMode::kInner),
              kProtocolUdp, 40'000, 8472);
}

TEST(Parser, TheFirstFragmentOfATunnelIsFollowedAsWell) {
  const Octets inner = ipv4(17, udp(5, 6));
  const Octets gtp = udp(2152, 2152, raw("\x30\xff\0\x20\0\0\0\1") + inner);
  const ParsedPacket first = parse(LinkType::kRaw, ipv4(17, gtp, "", 0x2000), KeyMode::kInner);
  expect_flow(first, kProtocolUdp, 5, 6);
  EXPECT_TRUE(first.first_fragment);
  EXPECT_NE(first.datagram_id, 0u);
  const ParsedPacket later = parse(LinkType::kRaw, ipv4(17, gtp, "", 0x0010), KeyMode::kInner);
  EXPECT_EQ(later.skip, SkipReason::kLaterFragment);
  EXPECT_EQ(later.datagram_id, first.datagram_id);
}

TEST(Parser, VlanTagsAreInTheKeyOnRequest) {
  const Octets tagged = ethernet(
      0x88a8, be16(0x7abc) + be16(0x8100) + be16(0xd123) + be16(0x0800) + ipv4(17, udp(5, 6)));
  EXPECT_EQ(parse(LinkType::kEthernet, tagged).key.to_flow_key().vlan,
            (std::array<uint16_t, 2>{0, 0}));
  EXPECT_EQ(parse(LinkType::kEthernet, tagged, KeyMode::kVlan).key.to_flow_key().vlan,
            (std::array<uint16_t, 2>{0xabc, 0x123}));
}

/// Every byte of the headers is set to every value, and every length is captured. The shortcut must
/// read what it accepts as the parser does, and leave the rest to the parser.
TEST(Shortcut, SaysWhatTheParserSays) {
  const std::vector<Octets> packets = {
      ethernet(0x0800, ipv4(17, udp(53, 1000))),
      ethernet(0x0800, ipv4(17, udp(1000, 53, ""))),
      ethernet(0x0800, ipv4(6, tcp(80, 1000, 0x12, "payload"))),
      ethernet(0x86dd, ipv6(17, udp(53, 1000))),
      ethernet(0x86dd, ipv6(6, tcp(1000, 80, 0x10, "payload"))),
      ethernet(0x0800, ipv4(17, udp(53, 1000)) + zeros(20)),  // padding
  };
  uint64_t compared = 0;
  const auto compare = [&](const Octets& bytes, uint32_t length) {
    const std::vector<uint8_t> copy(bytes.begin(), bytes.end());
    const PacketView view{7, copy.data(), static_cast<uint32_t>(copy.size()), length};
    for (const KeyMode mode : {KeyMode::kOuter, KeyMode::kInner, KeyMode::kVlan}) {
      ParsedPacket fast, general;
      fast.datagram_id = 99;  // old contents must be overwritten
      fast.first_fragment = fast.later_fragment = true;
      fast.key.vlan = {1, 2, 3};
      parse_packet(LinkType::kEthernet, mode, view, fast);
      parse_any_packet(LinkType::kEthernet, mode, view, general);
      ASSERT_TRUE(fast == general) << testing::PrintToString(copy) << " of " << length;
      ++compared;
    }
  };
  for (const Octets& packet : packets) {
    for (size_t captured = 0; captured <= packet.size(); ++captured) {
      compare(packet.substr(0, captured), static_cast<uint32_t>(packet.size()));
    }
    compare(packet, 0);
    compare(packet, UINT32_MAX);
    for (size_t at = 12; at < packet.size(); ++at) {
      for (int value = 0; value < 256; ++value) {
        Octets changed = packet;
        changed[at] = static_cast<char>(value);
        compare(changed, static_cast<uint32_t>(changed.size()));
      }
    }
    // Ends that differ in one address or port only, in both orders.
    for (int value = 0; value < 256; ++value) {
      Octets changed = packet;
      changed[14 + 12] = changed[14 + 16] = static_cast<char>(value);
      changed[14 + 19] = '\1';
      compare(changed, static_cast<uint32_t>(changed.size()));
    }
  }
  EXPECT_GT(compared, 100'000u);
}

}  // namespace
}  // namespace topspin
