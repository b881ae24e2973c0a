// The flight recorder's ring, incidents made from it, and when one begins. Pure.
#include "app/watch/flight_ring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/watch/trigger.h"
#include "core/tick/numbers.h"
#include "tests/store/store_testing.h"

namespace topspin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kRingSecond = 1'000'000'000;

TEST(PackedTick, UnpacksToTheSameSample) {
  Sample sample;
  Filler().fill(sample);
  const PackedTick packed(sample);
  EXPECT_EQ(Listing::of(packed.unpack()), Listing::of(sample));
  EXPECT_TRUE(packed.plain().flows.reply_latency.empty());
  const Sample empty;
  EXPECT_EQ(Listing::of(PackedTick(empty).unpack()), Listing::of(empty));
}

TEST(PackedTick, IsSmallAndCountsTheRowsThatItLeavesOut) {
  Sample sample = make_tick(1, 100);
  for (int i = 1; i < 1000; ++i) sample.flows.reply_latency.record(static_cast<uint64_t>(i) * 1000);
  const PackedTick packed(sample, 10);
  EXPECT_EQ(packed.unpack().changed_flows.size(), 10u);
  EXPECT_EQ(packed.unpack().losses.flow_rows_unstored, 90u);
  EXPECT_LT(packed.bytes(), sizeof(Sample) + 10 * sizeof(FlowRow) + 2048);
  EXPECT_GT(packed.bytes(), sizeof(Sample) + 10 * sizeof(FlowRow));
}

TEST(FlightRing, KeepsTheLastTicksByTimeAndByBytes) {
  FlightRing ring(3 * kRingSecond, 64 << 20);
  for (uint64_t tick = 1; tick <= 10; ++tick) ring.add(make_tick(tick));
  EXPECT_EQ(ring.ticks(), 3u);
  const Incident incident =
      ring.freeze(make_run(), {"", "", 10 * kRingSecond, 10 * kRingSecond, 0});
  EXPECT_EQ(incident.ticks.front()->plain().tick, 8u);
  EXPECT_EQ(incident.shortened, "");
  EXPECT_EQ(incident.begin_ns(), 7 * kRingSecond);
  EXPECT_EQ(incident.end_ns(), 10 * kRingSecond);

  FlightRing small(3600 * kRingSecond, 20 * PackedTick(make_tick(1)).bytes());
  for (uint64_t tick = 1; tick <= 100; ++tick) {
    small.add(make_tick(tick));
    EXPECT_LE(small.bytes(), 20 * PackedTick(make_tick(1)).bytes());
  }
  EXPECT_EQ(small.ticks(), 20u);
  EXPECT_THAT(small.freeze(make_run(), {}).shortened, HasSubstr("held only 20.0s of the 60.0m"));
}

/// Ticks of a recorder that has run for long: rows count since its beginning.
Sample long_tick(uint64_t tick) {
  Sample sample = make_tick(tick, 2);
  for (FlowRow& flow : sample.changed_flows) flow.reply_latency_max_ns = 1000;
  sample.flows.begin_ns = sample.changed_flows[0].first_ns + (sample.elapsed_ns - kRingSecond);
  sample.flows.end_ns = sample.flows.begin_ns + kRingSecond;
  ThreadRow& thread = sample.changed_threads.emplace_back();
  thread.pid = thread.tid = 7;
  thread.cpu_ns = tick * 100;
  CalledRow& called = sample.changed_called.emplace_back();
  called.number = 1;
  called.requests = tick * 3;
  called.latency.record_n(50'000, tick * 3);
  if (tick == 1) sample.changed_owners.push_back({1, 42, 0, "server", OwnerQuality::kExact});
  SlowReply& slow = sample.slowest_replies.emplace_back();
  slow.tick = tick;
  slow.total_ns = tick;
  return sample;
}

TEST(Incident, ItsRowsCountSinceItsFirstTick) {
  FlightRing ring(5 * kRingSecond, 64 << 20);
  for (uint64_t tick = 1; tick <= 1000; ++tick) ring.add(long_tick(tick));
  const Incident incident =
      ring.freeze(make_run(), {"fds > 1", "2 against 1", 0, 1000 * kRingSecond, 0});
  IncidentRows rows(incident);
  std::vector<Sample> ticks;
  for (size_t i = 0; i < incident.ticks.size(); ++i) ticks.push_back(rows.tick(i));
  ASSERT_EQ(ticks.size(), 5u);
  EXPECT_EQ(ticks[0].tick, 1u);
  EXPECT_EQ(ticks[0].elapsed_ns, kRingSecond);
  EXPECT_EQ(ticks[4].elapsed_ns, 5 * kRingSecond);
  EXPECT_EQ(ticks[4].slowest_replies[0].tick, 5u);
  const FlowRow& flow = ticks[4].changed_flows[1];
  EXPECT_EQ(flow.packets[0], 5u);
  EXPECT_EQ(flow.bytes[1], 500u);
  EXPECT_EQ(flow.replies, 5u);
  EXPECT_EQ(flow.reply_latency_sum_ns, 5 * 54'321);
  EXPECT_EQ(flow.reply_latency_max_ns, std::nullopt) << "it was reached before";
  EXPECT_EQ(flow.first_ns, ticks[0].flows.begin_ns);
  EXPECT_EQ(ticks[4].changed_threads[0].cpu_ns, 500u);
  EXPECT_EQ(ticks[4].changed_called[0].requests, 15u);
  EXPECT_EQ(ticks[4].changed_called[0].latency.count(), 15u);
  ASSERT_EQ(ticks[0].changed_owners.size(), 1u) << "told before the ring";
  EXPECT_EQ(ticks[0].changed_owners[0].name, "server");
  EXPECT_TRUE(ticks[1].changed_owners.empty());
}

TEST(Incident, AFlowWhoseRowsCameTooLateNeverCountsTooMuch) {
  FlightRing ring(5 * kRingSecond, 64 << 20);
  for (uint64_t tick = 1; tick <= 100; ++tick) {
    Sample sample = long_tick(tick);
    if (tick < 97) sample.changed_flows.clear();
    ring.add(sample);
  }
  const Incident incident = ring.freeze(make_run(), {});
  IncidentRows rows(incident);
  Sample last;
  for (size_t i = 0; i < incident.ticks.size(); ++i) last = rows.tick(i);
  EXPECT_EQ(last.changed_flows[0].packets[0], 3u) << "since its first row, at tick 97";
}

TEST(Incident, CarriesWhyAndWhen) {
  FlightRing ring(5 * kRingSecond, 64 << 20);
  for (uint64_t tick = 1; tick <= 10; ++tick) {
    ring.add(make_tick(tick));
    if (tick == 2) ring.add_event("too old");
    if (tick == 8) ring.add_event("lo went down");
  }
  RunInfo recorder = make_run();
  recorder.labels["a"] = "b";
  recorder.settings.duration_ns = kRingSecond;
  const Incident incident = ring.freeze(recorder, {"fds > 1 for 3s", "2 against 1", 7 * kRingSecond,
                                                   10 * kRingSecond, 7 * kRingSecond});
  const RunInfo run = incident_run(incident, "id");
  EXPECT_EQ(run.id, "id");
  EXPECT_EQ(run.started_wall_ns, recorder.started_wall_ns + 5 * kRingSecond);
  EXPECT_EQ(run.labels.at("a"), "b");
  EXPECT_EQ(run.labels.at(kIncidentLabel), "fds > 1 for 3s");
  EXPECT_EQ(run.labels.at(kIncidentValueLabel), "2 against 1");
  EXPECT_EQ(run.labels.at(kIncidentTimeLabel), "2023-11-14T22:13:30.000Z");
  EXPECT_EQ(run.settings.duration_ns, std::nullopt);
  const auto stages = incident_stages(incident);
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[0].end_ns, 2 * kRingSecond);
  EXPECT_EQ(stages[1].start_ns, 2 * kRingSecond);
  EXPECT_EQ(measured_from_ns(stages), 2 * kRingSecond);
  const auto events = incident_events(incident);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].text, "lo went down");
  EXPECT_EQ(events[0].elapsed_ns, 3 * kRingSecond);
  EXPECT_THAT(events[1].text, HasSubstr("\"fds > 1 for 3s\" was met: 2 against 1, true for 3.00s"));
  EXPECT_EQ(events[1].elapsed_ns, 5 * kRingSecond);
}

using Met = std::vector<size_t>;

TEST(Trigger, WaitsForTheHoldOffAndForTheRuleToEnd) {
  Trigger trigger(2, 60);
  EXPECT_EQ(trigger.at_tick(0, Met{}, false), std::nullopt);
  EXPECT_EQ(trigger.at_tick(1, Met{1}, false), 1u);
  EXPECT_EQ(trigger.at_tick(2, Met{1}, false), std::nullopt) << "the same incident";
  EXPECT_EQ(trigger.at_tick(100, Met{1}, false), std::nullopt) << "still the same";
  EXPECT_EQ(trigger.at_tick(101, Met{}, false), std::nullopt);
  EXPECT_EQ(trigger.at_tick(102, Met{1}, false), 1u);
  EXPECT_EQ(trigger.held_off(), 0u);
  EXPECT_EQ(trigger.at_tick(110, Met{0, 1}, false), std::nullopt) << "held off";
  EXPECT_EQ(trigger.at_tick(111, Met{0, 1}, false), std::nullopt);
  EXPECT_EQ(trigger.held_off(), 1u) << "counted once";
  EXPECT_EQ(trigger.at_tick(162, Met{0, 1}, false), 0u) << "still met when the hold-off ends";
}

TEST(Trigger, AFlappingRuleTriggersOncePerHoldOff) {
  Trigger trigger(1, 60);
  std::vector<int64_t> at;
  for (int64_t now = 0; now < 300; ++now) {
    if (trigger.at_tick(now, now % 2 == 0 ? Met{0} : Met{}, false)) at.push_back(now);
  }
  EXPECT_THAT(at, ElementsAre(0, 60, 120, 180, 240));
  EXPECT_EQ(trigger.held_off(), 145u);
}

TEST(Trigger, NothingTriggersWhileAnIncidentIsRecorded) {
  Trigger trigger(1, 0);
  EXPECT_EQ(trigger.at_tick(1, Met{0}, true), std::nullopt);
  EXPECT_EQ(trigger.at_tick(2, Met{0}, false), 0u);
  trigger.hold_off_from(3);
  EXPECT_EQ(trigger.held_off(), 1u);
}

}  // namespace
}  // namespace topspin
