// Rates of interfaces: they cover the last second, and are absent if there is nothing to compare
// with.
#include "tui/model/interface_table.h"

#include <gtest/gtest.h>

namespace topspin {
namespace {

constexpr int64_t kMs = 1'000'000;

InterfaceReading reading(const char* name, uint64_t bytes, uint64_t packets) {
  InterfaceReading r;
  r.name = name;
  r.up = true;
  r.received_bytes = bytes;
  r.received_packets = packets;
  return r;
}

TEST(InterfaceTable, RatesAreOfTheLastSecond) {
  InterfaceTable table;
  EXPECT_TRUE(table.entries().empty());
  table.update({reading("a", 0, 0), reading("b", 500, 5)}, 0);
  ASSERT_EQ(table.entries().size(), 3u);
  EXPECT_EQ(table.entries()[0].reading.name, "any");
  EXPECT_EQ(table.entries()[0].reading.received_bytes, 500u);
  EXPECT_FALSE(table.entries()[1].rates);
  for (int i = 1; i <= 8; ++i) {
    const auto n = static_cast<uint64_t>(i);
    // 100 bytes per 250 ms, then 1,000.
    const uint64_t bytes = i <= 4 ? 100 * n : 400 + 1000 * (n - 4);
    table.update({reading("a", bytes, n), reading("b", 500, 5)}, i * 250 * kMs);
    if (i == 4) {
      EXPECT_DOUBLE_EQ(table.entries()[1].rates->received_bytes, 400);
    }
  }
  EXPECT_DOUBLE_EQ(table.entries()[1].rates->received_bytes, 4000);
  EXPECT_DOUBLE_EQ(table.entries()[1].rates->received_packets, 4);
  EXPECT_DOUBLE_EQ(table.entries()[2].rates->received_bytes, 0);
  EXPECT_DOUBLE_EQ(table.entries()[0].rates->received_bytes, 4000);
}

TEST(InterfaceTable, InterfacesComeAndGoAndCountersBeginAnew) {
  InterfaceTable table;
  table.update({reading("a", 1000, 10), reading("b", 10, 1)}, 0);
  table.update({reading("b", 20, 2), reading("c", 5, 1)}, 1000 * kMs);
  EXPECT_DOUBLE_EQ(table.entries()[1].rates->received_bytes, 10);  // b, now at another index
  EXPECT_FALSE(table.entries()[2].rates);                          // c is new
  table.update({reading("b", 0, 0)}, 1500 * kMs);                  // a new interface called b
  EXPECT_FALSE(table.entries()[1].rates);
  // After a long pause the old readings are of no use.
  table.update({reading("b", 900, 9)}, 60'000 * kMs);
  EXPECT_FALSE(table.entries()[1].rates);
  table.update({}, 60'000 * kMs);
  EXPECT_EQ(table.entries().size(), 1u);
}

}  // namespace
}  // namespace topspin
