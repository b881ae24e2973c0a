// A packet on several interfaces counts once. A packet that was sent again counts again.
#include "capture/flows/seen_twice.h"

#include <string>

#include <gtest/gtest.h>

#include "capture/packet/packet_parser.h"
#include "tests/capture/times.h"

namespace topspin {
namespace {

constexpr char kToUs = 0, kToOthers = 3, kFromUs = 4;

std::string be(uint64_t value, size_t bytes) {
  std::string out;
  for (size_t i = bytes; i-- > 0;) out += static_cast<char>(value >> (8 * i));
  return out;
}

struct Ip {
  uint16_t id = 7;
  uint8_t ttl = 64;
  uint16_t checksum = 0;
  uint32_t sequence = 100;
  std::string payload = "data";

  std::string tcp() const {
    const std::string segment = be(1000, 2) + be(80, 2) + be(sequence, 4) + be(0, 4) +
                                be(0x5018, 2) + be(0, 2) + be(checksum, 2) + be(0, 2) + payload;
    return be(0x4500, 2) + be(20 + segment.size(), 2) + be(id, 2) + be(0, 2) + be(ttl, 1) +
           be(6, 1) + be(ttl, 2) + be(0x0a000001, 4) + be(0x0a000002, 4) + segment;
  }
};

class Sightings {
 public:
  explicit Sightings(KeyMode key = KeyMode::kOuter) : key_(key) {}

  bool cooked2(int64_t at_ns, uint32_t interface, char type, const std::string& ip,
               uint16_t protocol = 0x0800) {
    return look(
        LinkType::kLinuxCooked2, at_ns,
        be(protocol, 2) + be(0, 2) + be(interface, 4) + be(1, 2) + type + be(6, 1) + be(0, 8) + ip);
  }
  bool cooked1(int64_t at_ns, char type, const std::string& ip) {
    return look(
        LinkType::kLinuxCooked, at_ns,
        be(static_cast<uint64_t>(type), 2) + be(1, 2) + be(6, 2) + be(0, 8) + be(0x0800, 2) + ip);
  }

 private:
  bool look(LinkType link, int64_t at_ns, const std::string& bytes) {
    const PacketView view{at_ns, reinterpret_cast<const uint8_t*>(bytes.data()),
                          static_cast<uint32_t>(bytes.size()), static_cast<uint32_t>(bytes.size())};
    return seen_.is_repeated(link, view, parse_packet(link, key_, view));
  }

  KeyMode key_;
  SeenTwice seen_{HashSeed::fixed(1)};
};

TEST(SeenTwice, APacketOnVethBridgeAndVethIsOne) {
  Sightings seen;
  EXPECT_FALSE(seen.cooked2(0, 3, kToOthers, Ip{}.tcp()));
  EXPECT_TRUE(seen.cooked2(1000, 4, kToUs, Ip{}.tcp()));
  EXPECT_TRUE(seen.cooked2(2000, 5, kFromUs, Ip{}.tcp()));
  EXPECT_FALSE(seen.cooked2(3000, 3, kToOthers, Ip{.sequence = 104}.tcp()));
  EXPECT_FALSE(seen.cooked2(3000, 3, kToOthers, Ip{.payload = "more"}.tcp()));
}

TEST(SeenTwice, WhatIsSentAgainComesOnTheSameInterface) {
  Sightings seen;
  // The same bytes again and again, each time on two interfaces; also twice in one burst.
  for (int64_t at = 0; at < 40; ++at) {
    EXPECT_FALSE(seen.cooked2(at * 20 * kMs, 3, kToOthers, Ip{}.tcp())) << at;
    EXPECT_TRUE(seen.cooked2(at * 20 * kMs + 1000, 4, kFromUs, Ip{}.tcp())) << at;
  }
  const Ip burst{.id = 9};
  EXPECT_FALSE(seen.cooked2(0, 3, kToOthers, burst.tcp()));
  EXPECT_FALSE(seen.cooked2(0, 3, kToOthers, burst.tcp()));
  EXPECT_TRUE(seen.cooked2(0, 4, kFromUs, burst.tcp()));
  EXPECT_TRUE(seen.cooked2(0, 4, kFromUs, burst.tcp()));
  EXPECT_FALSE(seen.cooked2(0, 4, kFromUs, burst.tcp()));  // one more than interface 3 had
}

TEST(SeenTwice, ARepeatAfterExactlyTheWindowIsNoSighting) {
  Sightings seen;
  const int64_t period = SeenTwice::kApartMaxNs + 1;
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_FALSE(seen.cooked2(i * period, 3, kToOthers, Ip{}.tcp())) << i;
    EXPECT_TRUE(seen.cooked2(i * period + 1 + i % 2, 4, kFromUs, Ip{}.tcp())) << i;
  }
  EXPECT_FALSE(seen.cooked2(9 * period, 4, kFromUs, Ip{}.tcp()));
}

TEST(SeenTwice, AfterAChangeOfPathTheSamePacketsCountSoonAgain) {
  // 50 equal pings, 100 ms apart, on interface 2, then 50 on interface 3.
  Sightings seen;
  int counted = 0;
  for (int i = 0; i < 100; ++i) {
    const bool again = seen.cooked2(i * 100 * kMs, i < 50 ? 2 : 3, kToUs, Ip{}.tcp());
    counted += again ? 0 : 1;
  }
  EXPECT_GE(counted, 95) << "those of half a second at most may be taken for sightings";
}

TEST(SeenTwice, ARouterRewritesTtlAndChecksums) {
  Sightings seen;
  EXPECT_FALSE(seen.cooked2(0, 3, kToUs, Ip{.ttl = 64, .checksum = 1}.tcp()));
  EXPECT_TRUE(seen.cooked2(0, 4, kFromUs, Ip{.ttl = 63, .checksum = 2}.tcp()));
  EXPECT_TRUE(seen.cooked2(0, 3, kFromUs, Ip{.ttl = 62}.tcp()));  // and back on the same path
}

TEST(SeenTwice, ATagAndPaddingAreNotThePacket) {
  Sightings seen;
  EXPECT_FALSE(seen.cooked2(0, 3, kToUs, be(10, 2) + be(0x0800, 2) + Ip{}.tcp(), 0x8100));
  EXPECT_TRUE(seen.cooked2(0, 4, kToUs, Ip{}.tcp() + std::string(6, '\0')));
}

TEST(SeenTwice, WhatATunnelCarriesIsOneWhereItIsTheKey) {
  const std::string inner = Ip{}.tcp();
  const std::string outer = be(0x4500, 2) + be(20 + inner.size(), 2) + be(1, 2) + be(0, 2) +
                            be(64, 1) + be(4, 1) + be(0, 2) + be(0xc0000201, 4) +
                            be(0xc0000202, 4) + inner;
  Sightings by_inner(KeyMode::kInner), by_outer;
  EXPECT_FALSE(by_inner.cooked2(0, 3, kToUs, outer));
  EXPECT_TRUE(by_inner.cooked2(0, 9, kToUs, inner));
  EXPECT_FALSE(by_outer.cooked2(0, 3, kToUs, outer));
  EXPECT_FALSE(by_outer.cooked2(0, 9, kToUs, inner));
}

TEST(SeenTwice, WithoutAnInterfacesNumberTheDirectionTells) {
  Sightings seen;
  EXPECT_FALSE(seen.cooked1(0, kToOthers, Ip{}.tcp()));
  EXPECT_TRUE(seen.cooked1(0, kFromUs, Ip{}.tcp()));
  EXPECT_FALSE(seen.cooked1(kMs, kToOthers, Ip{}.tcp()));
}

TEST(SeenTwice, WhatIsNoIpIsCompared) {
  Sightings seen;
  const std::string arp = be(1, 2) + be(0x0800, 2) + std::string(24, '\1');
  EXPECT_FALSE(seen.cooked2(0, 3, kToOthers, arp, 0x0806));
  EXPECT_TRUE(seen.cooked2(0, 4, kFromUs, arp, 0x0806));
  for (size_t n = 0; n < 40; ++n) seen.cooked2(0, 5, kToUs, Ip{}.tcp().substr(0, n));
}

}  // namespace
}  // namespace topspin
