#include "core/tick/host_usage.h"

#include <vector>

#include <gtest/gtest.h>

#include "core/base/clock.h"

namespace topspin {
namespace {

TEST(HostUsage, ReadsCpuTimeFromProcStat) {
  const auto cpu = parse_host_cpu("cpu  1 2 3 400 5 6 7 8 0 0\ncpu0 1\n", 100);
  ASSERT_TRUE(cpu.has_value());
  EXPECT_EQ(cpu->busy_ns, 19 * 10 * kNanosPerMilli);
  EXPECT_EQ(cpu->steal_ns, 8 * 10 * kNanosPerMilli);
  EXPECT_FALSE(parse_host_cpu("cpu 1 2 3", 100).has_value());
  EXPECT_FALSE(parse_host_cpu("cpu 1 2 3\n4 5 6 7 8", 100).has_value());
  EXPECT_FALSE(parse_host_cpu("cpu0 1 2 3 400 5 6 7 8", 100).has_value());
  EXPECT_FALSE(parse_host_cpu("cpu", 100).has_value());
  EXPECT_FALSE(parse_host_cpu("", 100).has_value());
}

TEST(HostUsage, ReadsThisHost) {
  ASSERT_TRUE(read_host_cpu_time().has_value());
  EXPECT_GT(read_host_cpu_time()->busy_ns, 0);
}

/// The memory that a process has touched is resident, and a reader sees it by the same file.
TEST(HostUsage, SeesWhatThisProcessTouches) {
  const UsageReader reader;
  const int64_t before = reader.own_rss_bytes();
  EXPECT_GT(before, 0);
  constexpr size_t kBytes = 32 << 20;
  const std::vector<char> touched(kBytes, 'x');
  EXPECT_GE(reader.own_rss_bytes() - before, static_cast<int64_t>(kBytes / 2));
  EXPECT_GE(reader.host_cpu_time()->busy_ns, read_host_cpu_time()->busy_ns / 2);
}

}  // namespace
}  // namespace topspin
