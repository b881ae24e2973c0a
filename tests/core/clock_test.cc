#include "core/base/clock.h"

#include <gtest/gtest.h>

namespace topspin {
namespace {

TEST(ClockAnchor, TiesTheTwoClocks) {
  const int64_t before = monotonic_now_ns();
  const ClockAnchor anchor = take_clock_anchor();
  const int64_t after = monotonic_now_ns();
  EXPECT_GE(anchor.monotonic_ns, before);
  EXPECT_LE(anchor.monotonic_ns, after);
  EXPECT_EQ(anchor.to_monotonic(anchor.to_wall(12345)), 12345);
  EXPECT_EQ(anchor.to_wall(anchor.monotonic_ns), anchor.wall_ns);
}

}  // namespace
}  // namespace topspin
