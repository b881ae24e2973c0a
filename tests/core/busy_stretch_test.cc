// Tests which busy stretches of a run are kept.
#include "core/tick/busy_stretch.h"

#include <gtest/gtest.h>

namespace topspin {
namespace {

TEST(KeptStretches, TheLongestTakeThePlaceOfTheShortest) {
  KeptStretches kept(3);
  EXPECT_EQ(kept.keep(1, 50), 0u);
  EXPECT_EQ(kept.keep(1, 30), 1u);
  EXPECT_EQ(kept.keep(1, 40), 2u);
  EXPECT_EQ(kept.keep(1, 20), std::nullopt);
  EXPECT_EQ(kept.keep(1, 30), std::nullopt) << "as long as one that is there";
  EXPECT_EQ(kept.keep(1, 60), 1u);
  EXPECT_EQ(kept.keep(1, 45), 2u);
  EXPECT_EQ(kept.keep(1, 44), std::nullopt);
}

TEST(KeptStretches, AThreadThatAlwaysComputesDoesNotPushOutTheOthers) {
  KeptStretches kept(4);
  EXPECT_EQ(kept.keep(1, 80), 0u);  // an event loop
  for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(kept.keep(2, 900 + i), i + 1);
  EXPECT_EQ(kept.keep(2, 9'000), 1u) << "its own shortest gives way";
  EXPECT_EQ(kept.keep(1, 70), 2u) << "so it does for a thread that has fewer";
  EXPECT_EQ(kept.keep(1, 60), std::nullopt) << "both have two now, and this would be a third";
  EXPECT_EQ(kept.keep(3, 10), 2u) << "a thread that has none yet gets a place";
}

}  // namespace
}  // namespace topspin
