#include "core/tick/host_usage.h"

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
  EXPECT_FALSE(parse_host_cpu("", 100).has_value());
}

TEST(HostUsage, ReadsThisHost) {
  ASSERT_TRUE(read_host_cpu_time().has_value());
  EXPECT_GT(read_host_cpu_time()->busy_ns, 0);
  EXPECT_GT(own_rss_bytes(), 0);
}

}  // namespace
}  // namespace topspin
