#include "app/session.h"

#include <gtest/gtest.h>

#include "core/clock.h"

namespace topspin {
namespace {

ClosedInterval flows(int64_t begin_ns, int64_t end_ns, uint64_t packets) {
  ClosedInterval interval;
  interval.flows.begin_ns = begin_ns;
  interval.flows.end_ns = end_ns;
  interval.flows.packets = packets;
  return interval;
}

TEST(Session, JoinsTheTwoHalvesOfATickInOrder) {
  Session session(1000 * kNanosPerSecond, kNanosPerSecond, {});
  const int64_t one = 1001 * kNanosPerSecond;
  EXPECT_FALSE(session.next_sample());
  session.add_flows(flows(0, one, 5));
  EXPECT_FALSE(session.next_sample());  // the probes' half is missing
  session.add_probes({}, {}, one, one + 1000);
  session.add_probes({}, {}, one + kNanosPerSecond, one + kNanosPerSecond);
  const auto first = session.next_sample();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->tick, 1u);
  EXPECT_EQ(first->flows.packets, 5u);
  EXPECT_EQ(first->interval_ns, kNanosPerSecond + 1000);  // the true length
  EXPECT_EQ(first->losses.late_ticks, 0u);
  EXPECT_FALSE(session.next_sample());  // now the flows' half is missing
  session.add_flows(flows(one, one + kNanosPerSecond, 7));
  const auto second = session.next_sample();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->tick, 2u);
  EXPECT_EQ(second->interval_ns, kNanosPerSecond - 1000);
  EXPECT_EQ(session.flow_totals().packets, 12u);
}

TEST(Session, ALateTickSaysSo) {
  Session session(0, kNanosPerSecond, {});
  session.add_flows(flows(0, kNanosPerSecond, 0));
  session.add_probes({}, {}, kNanosPerSecond, kNanosPerSecond + 150 * kNanosPerMilli);
  EXPECT_EQ(session.next_sample()->losses.late_ticks, 1u);
  EXPECT_EQ(session.loss_totals().late_ticks, 1u);
}

TEST(Session, CaptureLossesTravelWithTheTick) {
  Session session(0, kNanosPerSecond, {});
  ClosedInterval interval = flows(0, kNanosPerSecond, 10);
  interval.losses = {3, 4, 5};
  interval.flows.evicted_flows = 6;
  session.add_flows(std::move(interval));
  session.add_probes({}, {}, kNanosPerSecond, kNanosPerSecond);
  const auto sample = session.next_sample();
  EXPECT_EQ(sample->losses.capture_kernel_drops, 3u);
  EXPECT_EQ(sample->losses.capture_interface_drops, 4u);
  EXPECT_EQ(sample->losses.capture_gap_ns, 5u);
  EXPECT_EQ(sample->losses.evicted_flows, 6u);
}

TEST(JudgeLosses, LimitsAreThoseOfTheDocument) {
  FlowInterval f;
  f.packets = 1'000'000;
  LossInterval losses;
  EXPECT_TRUE(judge_losses(losses, f, 100).empty());
  losses.capture_kernel_drops = 1'000;  // just below one in a thousand of all
  EXPECT_TRUE(judge_losses(losses, f, 100).empty());
  losses.capture_kernel_drops = 1'100;
  EXPECT_EQ(judge_losses(losses, f, 100).size(), 1u);
  losses = {};
  losses.evicted_flows = 1;
  EXPECT_EQ(judge_losses(losses, f, 100).size(), 1u);
  losses = {};
  losses.late_ticks = 2;
  EXPECT_TRUE(judge_losses(losses, f, 3).empty());
  losses.late_ticks = 3;
  EXPECT_EQ(judge_losses(losses, f, 12).size(), 1u);
  EXPECT_TRUE(judge_losses(losses, f, 100).empty());
  losses = {};
  losses.scheduler_left_censored = 100;
  losses.flow_rows_unstored = 5;
  EXPECT_TRUE(judge_losses(losses, f, 100).empty());
}

}  // namespace
}  // namespace topspin
