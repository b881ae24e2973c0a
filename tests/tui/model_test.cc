// The model: what it keeps of Samples, and that its limits do not change what was counted.
#include "tui/model/model.h"

#include <gtest/gtest.h>

#include "tests/tui/synthetic.h"

namespace topspin {
namespace {

using test::kMilli;
using test::kSecond;
using test::Synthetic;

FlowRow row(uint64_t id, uint64_t packets = 1, int64_t last_ns = 0) {
  FlowRow flow;
  flow.id = id;
  flow.packets = {packets, 0};
  flow.bytes = {packets * 100, 0};
  flow.last_ns = last_ns;
  return flow;
}

Sample tick(uint64_t number, std::vector<FlowRow> rows) {
  Sample sample;
  sample.tick = number;
  sample.interval_ns = kSecond;
  sample.flows.begin_ns = static_cast<int64_t>(number - 1) * kSecond;
  sample.flows.end_ns = static_cast<int64_t>(number) * kSecond;
  sample.changed_flows = std::move(rows);
  return sample;
}

TEST(Model, ActiveFlowsAreTheSamplesWhateverRowsThereAre) {
  Model model(ModelLimits{.max_flow_rows = 3});
  Sample sample = tick(1, {row(1), row(2), row(3), row(4), row(5)});
  sample.flows.active_flows = 5;
  sample.flows.live_flows = 5;
  model.add(sample);
  EXPECT_EQ(model.flows().size(), 3u);
  EXPECT_EQ(model.history().back().active_flows, 5u);
  model.purge_flows();
  EXPECT_EQ(model.flows().size(), 0u);
  EXPECT_EQ(model.history().back().active_flows, 5u);
}

TEST(Model, ARowIsReplacedAndItsTickIsTheDifference) {
  Model model;
  model.add(tick(1, {row(7, 10)}));
  EXPECT_EQ(model.bytes_now(model.flows()[0]), 1000u);
  model.add(tick(2, {row(7, 13)}));
  ASSERT_EQ(model.flows().size(), 1u);
  EXPECT_EQ(model.packets_now(model.flows()[0]), 3u);
  EXPECT_EQ(model.bytes_now(model.flows()[0]), 300u);
  model.add(tick(3, {}));
  EXPECT_EQ(model.bytes_now(model.flows()[0]), 0u);
}

TEST(Model, AFlowOlderThanTheTickIsNotCountedIntoIt) {
  Model model;
  Sample sample = tick(5, {row(7, 1000)});
  sample.changed_flows[0].first_ns = sample.flows.begin_ns - 1;
  model.add(sample);
  EXPECT_EQ(model.packets_now(model.flows()[0]), 0u);
}

TEST(Model, FindsFlowsInAnyOrderAndWithHoles) {
  Model model;
  model.add(tick(1, {row(100), row(3), row(90'000'000'000), row(50)}));
  model.add(tick(2, {row(51), row(2), row(3, 5)}));
  const std::vector<uint64_t> ids = {2, 3, 50, 51, 100, 90'000'000'000};
  ASSERT_EQ(model.flows().size(), ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(model.flows()[i].row.id, ids[i]);
    EXPECT_EQ(model.find_flow(ids[i]), i);
  }
  for (const uint64_t absent : {0ull, 1ull, 4ull, 49ull, 52ull, 99ull, 101ull, 90'000'000'001ull}) {
    EXPECT_EQ(model.find_flow(absent), std::nullopt) << absent;
  }
  EXPECT_EQ(model.packets_now(model.flows()[1]), 4u);
}

TEST(Model, LivenessStaysWithItsFlowWhenOthersAreSortedIn) {
  Model model;
  FlowRow late = row(10, 1);
  late.period_ns = kSecond;
  model.add(tick(1, {late}));
  late.packets[0] = 2;
  late.lateness_last_ns = late.lateness_max_ns = 500 * kMilli;
  late.last_ns = 2 * kSecond;
  model.add(tick(2, {late}));
  model.add(tick(3, {row(5), row(1)}));
  const auto index = model.find_flow(10);
  ASSERT_TRUE(index);
  EXPECT_EQ(model.liveness(*index).at(1), Liveness::kLate);
  EXPECT_EQ(model.liveness(0).at(1), Liveness::kNone);
}

TEST(Model, PulsesAreThoseOfTheirRows) {
  Model model(ModelLimits{.ended_linger_ticks = 1});
  std::vector<FlowRow> rows;
  for (const uint64_t id : {9u, 4u, 7u, 1u, 12u}) {
    rows.push_back(row(id, id, static_cast<int64_t>(id) * kMilli));
    if (id > 4) rows.back().period_ns = kSecond + static_cast<int64_t>(id);
    if (id > 7) rows.back().lateness_max_ns = static_cast<int64_t>(id) * 1000;
    rows.back().bytes = {id * 100, id};
    rows.back().silent = id == 7;
    rows.back().ended = id == 1;
  }
  const auto check = [&](size_t flows) {
    ASSERT_EQ(model.pulses().size(), flows);
    ASSERT_EQ(model.flows().size(), flows);
    for (size_t i = 0; i < flows; ++i) {
      const FlowEntry& flow = model.flows()[i];
      const FlowPulse& pulse = model.pulses()[i];
      EXPECT_EQ(pulse.last_ns, flow.row.last_ns);
      EXPECT_EQ(pulse.period_ns, flow.row.period_ns.value_or(0));
      EXPECT_EQ(pulse.has_lateness, flow.row.lateness_max_ns.has_value());
      EXPECT_EQ(pulse.lateness_max_ns, flow.row.lateness_max_ns.value_or(0));
      EXPECT_EQ(pulse.bytes, flow.row.bytes[0] + flow.row.bytes[1]);
      EXPECT_EQ(pulse.changed_tick, flow.changed_tick);
      EXPECT_EQ(pulse.ended, flow.row.ended);
      EXPECT_EQ(pulse.silent, flow.row.silent);
    }
  };
  model.add(tick(1, rows));  // in no order
  check(5);
  rows[0].bytes[0] += 5;
  rows[1].silent = true;
  model.add(tick(2, {rows[1], row(2), rows[0]}));  // one more between them
  check(6);
  model.add(tick(3, {}));  // flow 1 has gone
  check(5);
  model.purge_flows();
  check(0);
}

TEST(Model, EndedFlowsLingerAndGo) {
  Model model(ModelLimits{.ended_linger_ticks = 2});
  FlowRow ended = row(1);
  ended.ended = true;
  model.add(tick(1, {ended, row(2, 1, kSecond)}));
  model.add(tick(2, {}));
  model.add(tick(3, {}));
  EXPECT_EQ(model.flows().size(), 2u);
  model.add(tick(4, {}));
  ASSERT_EQ(model.flows().size(), 1u);
  EXPECT_EQ(model.find_flow(2), 0u);
  EXPECT_EQ(model.find_flow(1), std::nullopt);
}

TEST(Model, SilentFlowsGoAfterTheirTime) {
  Model model(ModelLimits{.silent_drop_ns = 3 * kSecond});
  model.add(tick(1, {row(1, 1, kSecond)}));
  model.add(tick(4, {}));
  EXPECT_EQ(model.flows().size(), 1u);
  model.add(tick(5, {}));
  EXPECT_EQ(model.flows().size(), 0u);
}

TEST(Model, HistoryIsBounded) {
  Model model(ModelLimits{.max_ticks = 10});
  for (uint64_t i = 1; i <= 25; ++i) model.add(tick(i, {}));
  EXPECT_EQ(model.history().size(), 10u);
  EXPECT_EQ(model.history().at(0).tick, 16u);
  EXPECT_EQ(model.history().back().tick, 25u);
}

TEST(Model, ACopyIsAFrozenPicture) {
  const Synthetic synthetic{.flows = 5};
  Model model = synthetic.model(3);
  const Model frozen = model;
  model.add(synthetic.sample(4));
  EXPECT_EQ(frozen.tick(), 3u);
  EXPECT_EQ(model.tick(), 4u);
  EXPECT_EQ(frozen.flows()[0].row.packets[0], 3u);
}

TEST(Model, WhatIsDerivedFromRowsIsKeptUntilTheyChangeAndForItsKeyAlone) {
  Model model;
  model.add(tick(1, {row(1), row(2)}));
  int made = 0;
  const auto rows_times = [&](int key) {
    return model.derived("rows", key, [&] {
      ++made;
      return model.flows().size() * static_cast<size_t>(key);
    });
  };
  EXPECT_EQ(rows_times(10), 20u);
  EXPECT_EQ(rows_times(10), 20u);
  EXPECT_EQ(made, 1);
  EXPECT_EQ(rows_times(5), 10u);
  model.add(tick(2, {row(3)}));
  EXPECT_EQ(rows_times(5), 15u);
  const Model frozen = model;
  model.purge_flows();
  EXPECT_EQ(rows_times(5), 0u);
  EXPECT_EQ(frozen.derived("rows", 5, [] { return size_t{99}; }), 15u);
}

TEST(Model, ThreadsAreToldApartByTheirStart) {
  const Synthetic synthetic{.flows = 1};
  Model model;
  Sample first = synthetic.sample(1);
  model.add(first);
  ASSERT_EQ(model.threads().size(), 11u);
  EXPECT_EQ(model.threads()[0].tick_wait_ns, std::nullopt);  // not known in its first tick
  model.add(synthetic.sample(2));
  EXPECT_EQ(model.threads()[0].tick_wait_ns, 20u * 300'000u);
  Sample reused = synthetic.sample(3);
  reused.changed_threads.resize(1);
  reused.changed_threads[0].start_time_ns += 1;
  model.add(reused);
  EXPECT_EQ(model.threads().size(), 12u);
}

TEST(Liveness, JudgesByThePeriod) {
  const auto judge = [](LivenessFacts facts) { return judge_liveness(facts); };
  const std::optional<int64_t> period = kSecond;
  EXPECT_EQ(judge({.ended = true, .sent = true}), Liveness::kNone);
  EXPECT_EQ(judge({.sent = true}), Liveness::kOnTime);
  EXPECT_EQ(judge({.silent_ns = 100 * kSecond}), Liveness::kQuiet);
  EXPECT_EQ(judge({.sent = true, .late_ns = 100 * kMilli, .period_ns = period}), Liveness::kOnTime);
  EXPECT_EQ(judge({.sent = true, .late_ns = 101 * kMilli, .period_ns = period}), Liveness::kLate);
  EXPECT_EQ(judge({.sent = true, .missed = true, .period_ns = period}), Liveness::kMissed);
  EXPECT_EQ(judge({.period_ns = period, .silent_ns = kSecond}), Liveness::kQuiet);
  EXPECT_EQ(judge({.period_ns = period, .silent_ns = 1101 * kMilli}), Liveness::kLate);
  EXPECT_EQ(judge({.period_ns = period, .silent_ns = 1500 * kMilli}), Liveness::kMissed);
  EXPECT_EQ(judge({.period_ns = period, .silent_ns = 5 * kSecond}), Liveness::kDead);
}

TEST(Liveness, HistoryKeepsEachOf128Ticks) {
  LivenessHistory history;
  for (int i = 0; i < 300; ++i) history.push(static_cast<Liveness>((i * 7 / 3) % kLivenessStates));
  for (int ago = 0; ago < kLivenessTicks; ++ago) {
    const int i = 299 - ago;
    EXPECT_EQ(history.at(ago), static_cast<Liveness>((i * 7 / 3) % kLivenessStates)) << ago;
  }
}

TEST(TickHistory, HeatBinsMeetWithoutGap) {
  for (size_t bin = 1; bin < kHeatBins; ++bin) {
    const auto edge = static_cast<uint64_t>(heat_bin_min_ns(bin));
    EXPECT_EQ(heat_bin(edge), bin);
    EXPECT_EQ(heat_bin(edge - 1), bin - 1);
  }
  EXPECT_EQ(heat_bin(0), 0u);
  EXPECT_EQ(heat_bin(UINT64_MAX), kHeatBins - 1);
}

TEST(TickHistory, HeatHoldsEverySample) {
  const Sample sample = Synthetic{.flows = 50}.sample(3);
  const TickPoint point = make_tick_point(sample);
  uint64_t sum = 0;
  for (const uint32_t count : point.heat) sum += count;
  EXPECT_EQ(sum, sample.scheduler->run_queue_latency->count());
}

}  // namespace
}  // namespace topspin
