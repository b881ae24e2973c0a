// The ring of packets: it is bounded, the oldest go first, and what is frozen does not change. The
// pcapng text is read back by our reader; tests/app/watch has it read by others.
#include "capture/packet/packet_ring.h"

#include <fstream>
#include <numeric>
#include <thread>

#include <gtest/gtest.h>

#include "capture/packet/pcapng_text.h"
#include "tests/capture/times.h"
#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

/// Packet number `n`: its length, times and bytes tell which it is.
struct NumberedPacket {
  explicit NumberedPacket(uint32_t n) : bytes(60 + n % 1400, static_cast<char>('a' + n % 26)) {
    view.stamp_ns = 1'000'000 + n;
    view.bytes = reinterpret_cast<const uint8_t*>(bytes.data());
    view.captured = static_cast<uint32_t>(bytes.size());
    view.length = view.captured + n;
  }
  std::string bytes;
  PacketView view;
};

void put(PacketRing& ring, uint32_t n, int64_t interval_ns = 0) {
  const NumberedPacket packet(n);
  ring.add(packet.view, n, interval_ns);
}

/// The numbers of the packets. Everything else about them must be what was put.
std::vector<uint32_t> numbers_in(const FrozenPackets& frozen) {
  std::vector<uint32_t> numbers;
  for (const auto& chunk : frozen.chunks) {
    uint64_t packets = 0;
    chunk->for_each([&](const KeptPacket& kept, const uint8_t* bytes) {
      const auto n = static_cast<uint32_t>(kept.stamp_ns);
      const NumberedPacket was(n);
      EXPECT_EQ(kept.wall_ns, was.view.stamp_ns);
      EXPECT_EQ(kept.captured, was.view.captured);
      EXPECT_EQ(kept.length, was.view.length);
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes), kept.captured), was.bytes);
      numbers.push_back(n);
      ++packets;
    });
    EXPECT_EQ(chunk->packets(), packets);
  }
  return numbers;
}

std::vector<uint32_t> from_to(uint32_t first, uint32_t last) {
  std::vector<uint32_t> numbers(last - first + 1);
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

TEST(PacketRing, KeepsAllInOrderWhileThereIsRoom) {
  PacketRing ring(8 << 20, kS);
  ring.begin(LinkType::kEthernet, KeyMode::kInner, 1500);
  EXPECT_TRUE(ring.freeze().chunks.empty());
  for (uint32_t n = 1; n <= 5000; ++n) {
    put(ring, n);
    if (n % 3 == 0) ring.hand_over();
  }
  ring.hand_over();
  const FrozenPackets frozen = ring.freeze();
  EXPECT_EQ(numbers_in(frozen), from_to(1, 5000));
  EXPECT_EQ(frozen.key, KeyMode::kInner);
  EXPECT_EQ(frozen.snaplen, 1500);
  EXPECT_LT(frozen.chunks.size(), 200u) << "small hand-overs share a chunk";
}

TEST(PacketRing, IsBoundedAndTheOldestGoFirst) {
  constexpr uint64_t kRingBytes = 1 << 20;
  for (const uint32_t per_batch : {1u, 7u, 500u}) {
    PacketRing ring(kRingBytes, kS);
    ring.begin(LinkType::kEthernet, KeyMode::kOuter, 1500);
    for (uint32_t n = 1; n <= 20'000; ++n) {
      put(ring, n);
      if (n % per_batch == 0) ring.hand_over();
      ASSERT_LE(ring.bytes(), kRingBytes) << n;
    }
    ring.hand_over();
    const std::vector<uint32_t> kept = numbers_in(ring.freeze());
    ASSERT_FALSE(kept.empty());
    EXPECT_EQ(kept, from_to(kept.front(), 20'000)) << "the newest, without a gap";
    const uint64_t bytes =
        std::accumulate(kept.begin(), kept.end(), uint64_t{0},
                        [](uint64_t sum, uint32_t n) { return sum + 60 + n % 1400; });
    EXPECT_GT(bytes, kRingBytes / 2) << "most of the memory is packets";
  }
}

TEST(PacketRing, WhatIsTooOldGoes) {
  PacketRing ring(8 << 20, 2 * kS);
  ring.begin(LinkType::kEthernet, KeyMode::kOuter, 1500);
  for (uint32_t n = 1; n <= 10'000; ++n) {
    put(ring, n, n * (kS / 1000));  // a thousand in a second
    if (n % 10 == 0) ring.hand_over();
  }
  const std::vector<uint32_t> kept = numbers_in(ring.freeze());
  EXPECT_EQ(kept, from_to(kept.front(), 10'000));
  EXPECT_LE(kept.front(), 8'000u) << "two seconds are there";
  EXPECT_GT(kept.front(), 7'500u) << "and not much more";
}

TEST(PacketRing, WhatIsFrozenDoesNotChangeAndIsContinued) {
  PacketRing ring(1 << 20, kS);
  ring.begin(LinkType::kEthernet, KeyMode::kOuter, 1500);
  for (uint32_t n = 1; n <= 100; ++n) put(ring, n);
  ring.hand_over();
  FrozenPackets frozen = ring.freeze();
  for (uint32_t n = 101; n <= 150; ++n) put(ring, n);
  ring.hand_over();
  EXPECT_EQ(numbers_in(frozen), from_to(1, 100));
  ring.add_newer(frozen);
  EXPECT_EQ(numbers_in(frozen), from_to(1, 150));
  ring.add_newer(frozen);
  EXPECT_EQ(numbers_in(frozen), from_to(1, 150)) << "nothing twice";
  for (uint32_t n = 151; n <= 20'000; ++n) put(ring, n);
  ring.hand_over();
  ring.add_newer(frozen);
  const std::vector<uint32_t> kept = numbers_in(frozen);
  EXPECT_EQ(std::vector<uint32_t>(kept.begin(), kept.begin() + 150), from_to(1, 150))
      << "also when they left the ring";
  EXPECT_EQ(kept.back(), 20'000u);
  EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
}

TEST(PacketRing, IsFrozenWhileItIsFilled) {
  PacketRing ring(1 << 20, kS);
  ring.begin(LinkType::kEthernet, KeyMode::kOuter, 1500);
  std::thread capture([&] {
    for (uint32_t n = 1; n <= 30'000; ++n) {
      put(ring, n);
      if (n % 5 == 0) ring.hand_over();
    }
  });
  for (int i = 0; i < 20; ++i) {
    FrozenPackets frozen = ring.freeze();
    ring.add_newer(frozen);
    const std::vector<uint32_t> kept = numbers_in(frozen);
    EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
  }
  capture.join();
}

TEST(PacketRing, AChangeOfTheLinkTypeBeginsAChunk) {
  PacketRing ring(1 << 20, kS);
  ring.begin(LinkType::kEthernet, KeyMode::kOuter, 1500);
  put(ring, 1);
  ring.set_link_type(LinkType::kRaw);
  put(ring, 2);
  ring.hand_over();
  const FrozenPackets frozen = ring.freeze();
  ASSERT_EQ(frozen.chunks.size(), 2u);
  EXPECT_EQ(frozen.chunks[0]->link(), LinkType::kEthernet);
  EXPECT_EQ(frozen.chunks[1]->link(), LinkType::kRaw);
  EXPECT_EQ(numbers_in(frozen), from_to(1, 2));
}

TEST(PcapngText, IsReadBack) {
  std::string text;
  append_pcapng_section(text, {"topspin 1", "Linux", std::string(100'000, 'c')});
  append_pcapng_interface(text, {LinkType::kRaw, 1500, "eth0", "udp"});
  const std::string packet(
      "\x45\0\0\x21\0\0\0\0\x40\x11\0\0\x7f\0\0\x01\x7f\0\0\x01\x9c\x41\x22\xb8\0\x0d\0\0hello",
      33);
  for (int64_t n = 0; n < 3; ++n) {
    append_pcapng_packet(text,
                         {0, kStart + n * kS + 7, reinterpret_cast<const uint8_t*>(packet.data()),
                          static_cast<uint32_t>(packet.size()), 40},
                         n == 1 ? "from a to b" : "");
  }
  EXPECT_EQ(text.size() % 4, 0u);
  const test::TempDir directory;
  const std::string path = directory.file("t.pcapng");
  std::ofstream(path, std::ios::binary) << text;
  auto tracker = FlowTracker::open_file({path, "", 0, 0}, {});
  ASSERT_TRUE(tracker.ok()) << tracker.error().message;
  const IntervalSink sink = [](ClosedInterval&&) {};
  while (*(*tracker)->step(sink) == StepOutcome::kMore) {
  }
  std::vector<FlowRow> rows;
  (*tracker)->for_each_flow([&](const FlowRow& row) { rows.push_back(row); });
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].packets[0], 3u);
  EXPECT_EQ(rows[0].bytes[0], 120u);
  EXPECT_EQ(rows[0].first_ns, kStart + 7) << "nanoseconds";
  EXPECT_EQ(rows[0].last_ns, kStart + 2 * kS + 7);
  EXPECT_EQ(rows[0].key.high.port, 0x9c41);
}

}  // namespace
}  // namespace topspin
