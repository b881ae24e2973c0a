// Ticks of a recording: two halves are joined into one Sample.
#include <gtest/gtest.h>

#include "app/tick/judge_losses.h"
#include "app/tick/tick_builder.h"
#include "app/tick/tick_joiner.h"
#include "core/base/clock.h"

namespace topspin {
namespace {

ClosedInterval flows(int64_t begin_ns, int64_t end_ns, uint64_t packets, uint64_t number = 0) {
  ClosedInterval interval;
  interval.number = number;
  interval.flows.begin_ns = begin_ns;
  interval.flows.end_ns = end_ns;
  interval.flows.packets = packets;
  return interval;
}

/// Joiner and builder, connected as in a recording.
class Ticks {
 public:
  explicit Ticks(int64_t start_ns, TickSettings settings = {})
      : joiner_(start_ns, kNanosPerSecond), builder_([&] {
          settings.start_ns = start_ns;
          settings.reply_timeout_ns = kNanosPerSecond;
          return settings;
        }()) {}

  void add_flows(ClosedInterval flows) { joiner_.add_flows(std::move(flows)); }
  void add_probes(int64_t due_ns, int64_t now_ns, SelfReading self = {}) {
    joiner_.add_probes({{}, self, now_ns}, due_ns);
  }
  void add_end_losses(const LossInterval& losses) { joiner_.add_end_losses(losses); }
  void finish() { joiner_.finish(); }
  std::optional<Sample> next_sample() {
    auto tick = joiner_.next();
    if (!tick) return std::nullopt;
    return builder_.build(std::move(tick->flows), std::move(tick->reading), tick->last);
  }
  const FlowInterval& flow_totals() const { return builder_.fold().merged.flows; }
  const LossInterval& loss_totals() const { return builder_.fold().merged.losses; }

 private:
  TickJoiner joiner_;
  TickBuilder builder_;
};

TEST(Ticks, JoinsTheTwoHalvesOfATickInOrder) {
  Ticks ticks(1000 * kNanosPerSecond);
  const int64_t one = 1001 * kNanosPerSecond;
  EXPECT_FALSE(ticks.next_sample());
  ticks.add_flows(flows(0, one, 5));
  EXPECT_FALSE(ticks.next_sample());  // the probes' half is missing
  ticks.add_probes(one, one + 1000);
  ticks.add_probes(one + kNanosPerSecond, one + kNanosPerSecond);
  const auto first = ticks.next_sample();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->tick, 1u);
  EXPECT_EQ(first->flows.packets, 5u);
  EXPECT_EQ(first->interval_ns, kNanosPerSecond + 1000);  // the true length
  EXPECT_EQ(first->losses.late_ticks, 0u);
  EXPECT_FALSE(ticks.next_sample());  // now the flows' half is missing
  ticks.add_flows(flows(one, one + kNanosPerSecond, 7, 1));
  const auto second = ticks.next_sample();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->tick, 2u);
  EXPECT_EQ(second->interval_ns, kNanosPerSecond - 1000);
  EXPECT_EQ(ticks.flow_totals().packets, 12u);
}

TEST(Ticks, ALateTickSaysSo) {
  Ticks ticks(0);
  ticks.add_flows(flows(0, kNanosPerSecond, 0));
  ticks.add_probes(kNanosPerSecond, kNanosPerSecond + 150 * kNanosPerMilli);
  EXPECT_EQ(ticks.next_sample()->losses.late_ticks, 1u);
  EXPECT_EQ(ticks.loss_totals().late_ticks, 1u);
}

TEST(Ticks, TheHostsCpuTimeIsOfTheTicksOwnLength) {
  // Both CPUs are busy all the time. They are read in time at the start, but late at the end of
  // tick 1.
  const int64_t second = kNanosPerSecond;
  TickSettings settings;
  settings.first_self = {0, 0, HostCpuTime{0, 0}, 100 * second};
  Ticks ticks(100 * second, settings);
  ticks.add_flows(flows(100 * second, 101 * second, 0));
  ticks.add_probes(101 * second, 101 * second,
                   {0, 0, HostCpuTime{4 * second, 2 * second}, 102 * second});
  const auto sample = ticks.next_sample();
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->self.host_busy_ns, 2 * second);
  EXPECT_EQ(sample->self.host_steal_ns, second);
}

TEST(Ticks, CaptureLossesTravelWithTheTick) {
  Ticks ticks(0);
  ClosedInterval interval = flows(0, kNanosPerSecond, 10);
  interval.losses = {3, 4, 5};
  interval.flows.evicted_flows = 6;
  ticks.add_flows(std::move(interval));
  ticks.add_probes(kNanosPerSecond, kNanosPerSecond);
  const auto sample = ticks.next_sample();
  EXPECT_EQ(sample->losses.capture_kernel_drops, 3u);
  EXPECT_EQ(sample->losses.capture_interface_drops, 4u);
  EXPECT_EQ(sample->losses.capture_gap_ns, 5u);
  EXPECT_EQ(sample->losses.evicted_flows, 6u);
}

/// Adds a probes' half that is due `second` seconds after 0 and read `read_late_ns` later.
void add_probes_at(Ticks& ticks, int64_t second, int64_t read_late_ns = 0) {
  ticks.add_probes(second * kNanosPerSecond, second * kNanosPerSecond + read_late_ns);
}
ClosedInterval second_of_flows(uint64_t number, uint64_t packets) {
  const auto begin_ns = static_cast<int64_t>(number) * kNanosPerSecond;
  return flows(begin_ns, begin_ns + kNanosPerSecond, packets, number);
}

TEST(Ticks, AStandstillIsOneLongIntervalWithAllThatCameMeanwhile) {
  Ticks ticks(0);
  add_probes_at(ticks, 1);
  add_probes_at(ticks, 5, 200 * kNanosPerMilli);  // seconds 2 to 5 at once
  add_probes_at(ticks, 6);
  for (uint64_t number = 0; number < 6; ++number) {
    ClosedInterval interval = second_of_flows(number, 200);
    interval.losses.kernel_drops = 1;
    interval.changed.resize(2);
    ticks.add_flows(std::move(interval));
  }
  const auto first = ticks.next_sample();
  const auto longer = ticks.next_sample();
  const auto last = ticks.next_sample();
  ASSERT_TRUE(first && longer && last);
  EXPECT_EQ(first->flows.packets, 200u);
  EXPECT_EQ(longer->flows.packets, 800u);
  EXPECT_EQ(longer->flow_interval_ns(), 4 * kNanosPerSecond);  // 200 per second, as always
  EXPECT_EQ(longer->losses.capture_kernel_drops, 4u);
  EXPECT_EQ(longer->losses.late_ticks, 1u);
  EXPECT_EQ(longer->changed_flows.size(), 8u);
  EXPECT_EQ(last->flows.packets, 200u);
  EXPECT_EQ(last->interval_ns, 800 * kNanosPerMilli);
  EXPECT_EQ(last->flow_interval_ns(), kNanosPerSecond);
  EXPECT_FALSE(ticks.next_sample());
}

TEST(Ticks, ASilenceThatTheCaptureClosedAsOneKeepsLaterTicksInTheirPlace) {
  Ticks ticks(0);
  for (int64_t second = 1; second <= 4; ++second) add_probes_at(ticks, second);
  ClosedInterval silence = flows(0, 3 * kNanosPerSecond, 0, 2);
  silence.flows.live_flows = 7;
  ticks.add_flows(std::move(silence));
  ticks.add_flows(second_of_flows(3, 50));
  std::vector<uint64_t> packets;
  while (const auto sample = ticks.next_sample()) {
    packets.push_back(sample->flows.packets);
    if (packets.size() < 4) {
      EXPECT_EQ(sample->flows.live_flows, 7u);
    }
  }
  EXPECT_EQ(packets, (std::vector<uint64_t>{0, 0, 0, 50}));
}

TEST(Ticks, TheLastTickTakesWhatTheCaptureHandsOverAtTheVeryEnd) {
  Ticks ticks(0);
  ticks.add_flows(second_of_flows(0, 10));
  add_probes_at(ticks, 1);
  LossInterval cut_off;
  cut_off.scheduler_right_censored = 3;
  ticks.add_end_losses(cut_off);
  // The run ends at the end of the interval. What had no room in it comes in an interval of no
  // length.
  ClosedInterval rest = flows(kNanosPerSecond, kNanosPerSecond, 0, 0);
  rest.changed.resize(30);
  rest.rows_lost = 2;
  rest.changed_left = 5;
  ticks.add_flows(std::move(rest));
  ticks.finish();
  const auto sample = ticks.next_sample();
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->flows.packets, 10u);
  EXPECT_EQ(sample->changed_flows.size(), 30u);
  EXPECT_EQ(sample->losses.flow_rows_unstored, 7u);
  EXPECT_EQ(sample->losses.scheduler_right_censored, 3u);
  EXPECT_EQ(sample->flow_interval_ns(), kNanosPerSecond);
  EXPECT_FALSE(ticks.next_sample());
}

TEST(Ticks, WhatTheStoreLostIsAmongTheLossesThatAreShown) {
  TickSettings settings;
  uint64_t stored_rows = 0;
  settings.resolve_owners = [](Sample& sample) { sample.changed_flows.at(0).owners[0] = 7; };
  settings.stored_rows_per_tick = 2;
  settings.store = [&](const Sample& sample) {
    EXPECT_EQ(sample.changed_flows.at(0).owners[0], 7u);
    stored_rows = sample.changed_flows.size();
    LossInterval losses;
    losses.ticks_unstored = 3;
    return losses;
  };
  Ticks ticks(0, settings);
  ClosedInterval interval = second_of_flows(0, 10);
  interval.changed.resize(5);
  for (size_t i = 0; i < 5; ++i) interval.changed[i].id = i + 1;
  ticks.add_flows(std::move(interval));
  add_probes_at(ticks, 1);
  const auto sample = ticks.next_sample();
  ASSERT_TRUE(sample);
  EXPECT_EQ(stored_rows, 2u);
  EXPECT_EQ(sample->changed_flows.size(), 5u);
  EXPECT_EQ(sample->losses.ticks_unstored, 3u);
  EXPECT_EQ(ticks.loss_totals().ticks_unstored, 3u);
}

TEST(Ticks, OfAFileBeginWithItsFirstInterval) {
  TickBuilder builder{TickSettings()};
  const Sample first = builder.build_of_file(flows(5000, 6000, 3));
  EXPECT_EQ(first.tick, 1u);
  EXPECT_EQ(first.elapsed_ns, 1000);
  EXPECT_EQ(first.interval_ns, 1000);
  const Sample second = builder.build_of_file(flows(6000, 6500, 4));
  EXPECT_EQ(second.elapsed_ns, 1500);
  EXPECT_EQ(second.interval_ns, 500);
  EXPECT_EQ(builder.fold().merged.flows.packets, 7u);
}

TEST(Ticks, AClockThatWasSteppedIsADoubt) {
  FlowInterval flows;
  EXPECT_TRUE(doubts_of(flows).empty());
  flows.time_steps = 2;
  ASSERT_EQ(doubts_of(flows).size(), 1u);
  EXPECT_NE(doubts_of(flows)[0].find("stepped 2 times"), std::string::npos);
}

TEST(JudgeLosses, TicksThatWereNeverStoredMakeARunInvalid) {
  LossInterval losses;
  losses.ticks_unstored = 1;
  EXPECT_EQ(judge_losses(losses, {}, 100).size(), 1u);
}

TEST(JudgeLosses, LimitsAreThoseOfTheDocument) {
  FlowInterval f;
  f.packets = 1'000'000;
  LossInterval losses;
  EXPECT_TRUE(judge_losses(losses, f, 100).empty());
  losses.capture_kernel_drops = 1'000;  // just below a thousandth of all packets
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

TEST(JudgeLosses, KeepsToTheLimitThatTheRegistrySays) {
  constexpr uint64_t kTicks = 20;
  FlowInterval flows;
  flows.packets = 1000;
  LossInterval::for_each_number([&](const Number& number, auto member) {
    const auto is_unusable = [&](uint64_t loss) {
      LossInterval losses;
      losses.*member = loss;
      return !judge_losses(losses, flows, kTicks).empty();
    };
    EXPECT_EQ(is_unusable(1), number.limit == LossLimit::kAny) << number.name;
    EXPECT_EQ(is_unusable(100), number.limit != LossLimit::kNone) << number.name;
  });
}

}  // namespace
}  // namespace topspin
