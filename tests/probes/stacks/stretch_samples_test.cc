// Tests which samples belong to which busy stretch.
#include "probes/stacks/stretch_samples.h"

#include <gtest/gtest.h>

namespace topspin {
namespace {

BusyStretch stretch(int32_t tid, int64_t began_ns, int64_t end_ns) {
  BusyStretch of;
  of.tid = tid;
  of.began_ns = began_ns;
  of.length_ns = static_cast<uint64_t>(end_ns - began_ns);
  return of;
}

TEST(StretchSamples, BelongToTheStretchOfTheirThreadInWhichTheyWereTaken) {
  StretchSamples samples;
  for (const int64_t at_ns : {99, 100, 150, 199, 200, 250})
    samples.add(StackSample{7, at_ns == 150 ? 2u : 1u, at_ns});
  samples.add(StackSample{8, 3, 160});
  samples.add(stretch(7, 100, 200));
  samples.add(stretch(7, 201, 249));
  samples.add(stretch(9, 100, 200));
  const auto taken = samples.take(300);
  ASSERT_EQ(taken.size(), 3u);
  EXPECT_EQ(taken[0].samples, 3u) << "its first moment belongs to it, and its end does not";
  ASSERT_EQ(taken[0].stacks.size(), 2u);
  EXPECT_EQ(taken[0].stacks[0].stack, 1u);
  EXPECT_EQ(taken[0].stacks[0].samples, 2u);
  EXPECT_EQ(taken[0].stacks[1].stack, 2u);
  EXPECT_EQ(taken[1].samples, 0u) << "too short for one";
  EXPECT_EQ(taken[2].samples, 0u);
  for (const BusyStretch& one : taken) EXPECT_FALSE(one.samples_cut);
}

TEST(StretchSamples, MayComeInAnyOrderAndAfterTheirStretch) {
  StretchSamples samples;
  samples.add(StackSample{7, 1, 180});
  samples.add(StackSample{7, 1, 120});
  samples.add(stretch(7, 100, 300));
  EXPECT_TRUE(samples.take(299).empty()) << "its last samples may still come";
  samples.add(StackSample{7, 1, 290});
  samples.add(StackSample{7, 1, 110});
  samples.add(StackSample{7, 1, 310});
  const auto taken = samples.take(300);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].samples, 4u);
  EXPECT_TRUE(samples.take(1'000).empty()) << "once";

  for (const int64_t at_ns : {590, 480, 420}) samples.add(StackSample{7, 1, at_ns});
  samples.add(stretch(7, 450, 600));
  EXPECT_EQ(samples.take(600).at(0).samples, 2u);
}

TEST(StretchSamples, AreForgottenWhereThereIsNoRoomAndTheStretchSaysSo) {
  StretchSamples samples(4);
  for (int64_t at_ns = 100; at_ns < 110; ++at_ns) samples.add(StackSample{7, 1, at_ns});
  samples.add(stretch(7, 100, 200));
  samples.add(stretch(7, 105, 200));
  samples.add(stretch(7, 106, 200));
  const auto taken = samples.take(200);
  ASSERT_EQ(taken.size(), 3u);
  EXPECT_EQ(taken[0].samples, 4u);
  EXPECT_TRUE(taken[0].samples_cut);
  EXPECT_TRUE(taken[1].samples_cut) << "the sample at 105 was forgotten";
  EXPECT_EQ(taken[2].samples, 4u);
  EXPECT_FALSE(taken[2].samples_cut);
}

TEST(StretchSamples, OfManyStacksOnlyTheMostFrequentAreNamed) {
  StretchSamples samples;
  int64_t at_ns = 100;
  for (uint32_t stack = 1; stack <= 40; ++stack)
    for (uint32_t i = 0; i < stack; ++i) samples.add(StackSample{7, stack, at_ns++});
  samples.add(stretch(7, 100, at_ns));
  const auto taken = samples.take(at_ns);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].samples, 820u);
  ASSERT_EQ(taken[0].stacks.size(), kStacksAStretch);
  EXPECT_EQ(taken[0].stacks.front().stack, 40u);
  EXPECT_EQ(taken[0].stacks.back().stack, 25u);
}

}  // namespace
}  // namespace topspin
