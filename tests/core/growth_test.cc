// Tests slopes, headroom and leak verdicts on synthetic series whose answers are known by
// construction.
#include "core/run/growth.h"

#include <cmath>
#include <functional>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/run/headroom_watch.h"

namespace topspin {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kGiB = 1 << 30;
constexpr int64_t kAddressSpace = (int64_t{1} << 47) - 4096;

using Fill = std::function<void(int64_t tick, int64_t flows, ResourceReading&)>;

/// One reading per second. Each element of `flows` is the number of active flows in one reading.
std::vector<GrowthPoint> series_of(const std::vector<int64_t>& flows, const Fill& fill) {
  std::vector<GrowthPoint> series;
  for (size_t tick = 0; tick < flows.size(); ++tick) {
    GrowthPoint point;
    point.elapsed_ns = static_cast<int64_t>(tick + 1) * 1'000'000'000;
    point.active_flows = point.live_flows = flows[tick];
    fill(static_cast<int64_t>(tick), flows[tick], point.resources);
    series.push_back(point);
  }
  return series;
}

std::vector<int64_t> stretch(std::initializer_list<std::pair<int64_t, int>> parts) {
  std::vector<int64_t> flows;
  for (const auto& [value, ticks] : parts)
    flows.insert(flows.end(), static_cast<size_t>(ticks), value);
  return flows;
}

const LeakMetric& metric(const LeakReport& report, std::string_view name) {
  for (const LeakMetric& m : report.metrics) {
    if (m.name == name) return m;
  }
  ADD_FAILURE() << "no metric " << name;
  static const LeakMetric none;
  return none;
}

TEST(TheilSen, a_line_is_found_exactly_and_an_outlier_moves_it_not) {
  std::vector<XY> points;
  for (int i = 0; i < 20; ++i) points.push_back({static_cast<double>(i), 7.0 + 3.0 * i});
  points[4].y = 1e9;
  const auto slope = theil_sen(points);
  ASSERT_TRUE(slope);
  EXPECT_DOUBLE_EQ(slope->value, 3);
  EXPECT_DOUBLE_EQ(slope->intercept, 7);
  EXPECT_LE(slope->ci_low, 3);
  EXPECT_GE(slope->ci_high, 3);
  EXPECT_LT(slope->ci_high - slope->ci_low, 1);
}

TEST(TheilSen, the_interval_covers_the_truth_about_as_often_as_it_says) {
  std::mt19937 random(1);
  std::normal_distribution<double> noise(0, 10);
  int covered = 0;
  constexpr int kRounds = 400;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<XY> points;
    for (int i = 0; i < 30; ++i)
      points.push_back({static_cast<double>(i), 2.0 * i + noise(random)});
    const auto slope = theil_sen(points);
    covered += slope->ci_low <= 2 && slope->ci_high >= 2;
  }
  // 95% plus or minus three standard errors of 400 rounds.
  EXPECT_GE(covered, kRounds * 0.917);
  EXPECT_LE(covered, kRounds * 0.983);
}

/// 120 readings with 50 flows. `fds` gives the descriptors of each second; memory does not grow.
std::vector<GrowthPoint> loaded(const std::function<double(double second)>& fds) {
  return series_of(stretch({{50, 120}}), [&](int64_t tick, int64_t, ResourceReading& r) {
    r.fds = static_cast<int64_t>(fds(static_cast<double>(tick)));
    r.rss_bytes = 100 * kMiB + (tick % 7) * 65536;
  });
}

TEST(SteadyGrowth, a_leak_is_found_while_the_load_goes_on_with_its_pace) {
  const auto found = judge_steady_growth(loaded([](double s) { return 60 + 3 * s; }));
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].name, "fds");
  EXPECT_DOUBLE_EQ(found[0].slope_per_s.value, 3);
  EXPECT_DOUBLE_EQ(found[0].grown, 3 * 79);
}

TEST(SteadyGrowth, what_levels_off_or_goes_up_and_down_is_none) {
  for (const double fill_s : {10.0, 20.0, 30.0}) {
    EXPECT_THAT(
        judge_steady_growth(loaded([&](double s) { return 1000 * (1 - std::exp(-s / fill_s)); })),
        IsEmpty())
        << "a cache that fills within " << fill_s << " s";
  }
  EXPECT_THAT(judge_steady_growth(loaded([](double s) { return std::min(60 + 20 * s, 1500.0); })),
              IsEmpty())
      << "a cache with a limit";
  EXPECT_THAT(judge_steady_growth(loaded([](double s) { return 60 + 20 * std::fmod(s, 25); })),
              IsEmpty())
      << "a heap that is collected every 25 s";
  EXPECT_THAT(judge_steady_growth(loaded([](double s) { return 60 + s / 10; })), IsEmpty())
      << "eight descriptors";
}

TEST(SteadyGrowth, flows_that_grow_or_too_few_readings_are_no_answer) {
  const Fill three_a_flow = [](int64_t, int64_t flows, ResourceReading& r) { r.fds = 3 * flows; };
  std::vector<int64_t> ramp;
  for (int64_t i = 0; i < 200; ++i) ramp.push_back(10 + 5 * i);
  EXPECT_THAT(judge_steady_growth(series_of(ramp, three_a_flow)), IsEmpty());
  const Fill leaking = [](int64_t tick, int64_t, ResourceReading& r) { r.fds = 3 * tick; };
  EXPECT_THAT(judge_steady_growth(series_of(stretch({{50, 80}}), leaking)), IsEmpty());
  EXPECT_THAT(judge_steady_growth({}), IsEmpty());
}

TEST(Leak, flows_of_a_warm_up_that_are_active_for_a_window_more_are_no_load) {
  // The warm-up ends at 5.4 s, within the sixth reading, in which all its flows are still active.
  const auto series = series_of(stretch({{50, 6}, {0, 4}, {50, 10}, {0, 6}, {50, 10}, {0, 8}}),
                                [](int64_t tick, int64_t, ResourceReading& r) {
                                  r.fds = 10 + 5 * std::min<int64_t>(tick, 36);
                                });
  const LeakReport report = judge_growth(series, 5'400'000'000).leak;
  EXPECT_EQ(report.verdict, LeakVerdict::kLeak) << report.reason;
  EXPECT_EQ(report.waves, 2u);
  EXPECT_EQ(judge_growth(series, 0).leak.verdict, LeakVerdict::kUnclear) << "no stages";
}

TEST(TheilSen, too_little_is_no_answer) {
  EXPECT_FALSE(theil_sen({}));
  const std::vector<XY> two = {{0, 0}, {1, 1}};
  EXPECT_FALSE(theil_sen(two));
  const std::vector<XY> one_x = {{1, 0}, {1, 1}, {1, 2}, {1, 3}};
  EXPECT_FALSE(theil_sen(one_x));
}

TEST(TheilSen, a_day_of_readings_is_thinned_and_keeps_its_slope) {
  std::vector<XY> points;
  for (int i = 0; i < 86'400; ++i) points.push_back({static_cast<double>(i), 0.5 * i});
  EXPECT_DOUBLE_EQ(theil_sen(points)->value, 0.5);
}

TEST(Ramp, begins_shortly_before_the_rise_and_ends_shortly_after) {
  std::vector<int64_t> flows = stretch({{0, 60}});
  for (int i = 1; i <= 20; ++i) flows.push_back(i * 50);
  for (int i = 0; i < 100; ++i) flows.push_back(1000);
  const auto series = series_of(flows, [](auto, auto, auto&) {});
  const auto ramp = find_ramp(series);
  EXPECT_EQ(ramp.front().elapsed_ns, 52'000'000'000);  // 9 s before the foot: 50 flows, which is 5%
  EXPECT_EQ(ramp.back().elapsed_ns, 84'000'000'000);
  EXPECT_THAT(find_ramp(series_of(stretch({{5, 30}}), [](auto, auto, auto&) {})), IsEmpty());
  EXPECT_THAT(find_ramp({}), IsEmpty());
}

TEST(PerFlow, a_growth_with_time_at_full_load_is_no_cost_of_flows) {
  std::vector<int64_t> flows = stretch({{0, 5}});
  for (int i = 1; i <= 20; ++i) flows.push_back(i * 100);
  for (int i = 0; i < 200; ++i) flows.push_back(2000);
  const auto cost = per_flow_cost(series_of(flows, [](int64_t tick, int64_t n, ResourceReading& r) {
    r.rss_bytes = 50 * kMiB + n * 4096 + (tick > 30 ? (tick - 30) * 10 * kMiB : 0);
    r.fds = 10 + n;
    if (tick % 2 == 0) r.mappings = 100 + 2 * n;  // read at a lower rate
  }));
  ASSERT_TRUE(cost.rss_bytes && cost.fds && cost.mappings);
  EXPECT_NEAR(cost.rss_bytes->value, 4096, 1);
  EXPECT_DOUBLE_EQ(cost.fds->value, 1);
  EXPECT_DOUBLE_EQ(cost.mappings->value, 2);
  EXPECT_FALSE(cost.vsz_bytes);
}

TEST(PerFlow, fewer_than_four_numbers_of_flows_are_no_answer) {
  const Fill fill = [](auto, int64_t n, ResourceReading& r) {
    r.rss_bytes = 10 * kMiB + n * 100'000;
    r.process_fds = {10 + n, 1024};
  };
  for (const auto& flows : {stretch({{0, 4}, {1000, 8}}), stretch({{0, 4}, {500, 2}, {1000, 8}})}) {
    EXPECT_FALSE(per_flow_cost(series_of(flows, fill)).rss_bytes);
    EXPECT_THAT(headroom(series_of(flows, fill)), IsEmpty());
  }
  const auto four = series_of(stretch({{0, 4}, {300, 1}, {700, 1}, {1000, 8}}), fill);
  ASSERT_TRUE(per_flow_cost(four).rss_bytes);
  EXPECT_DOUBLE_EQ(per_flow_cost(four).rss_bytes->value, 100'000);
  EXPECT_THAT(headroom(four), SizeIs(1));
}

TEST(PerFlow, an_interval_that_spans_more_than_a_factor_of_four_or_has_zero_in_it_is_no_answer) {
  const auto slope = [](double low, double high) {
    return Slope{(low + high) / 2, low, high, 0, 6};
  };
  const std::vector<XY> four = {{0, 0}, {1, 0}, {2, 0}, {3, 0}, {3, 0}};
  EXPECT_TRUE(is_cost(slope(1, 4), four));
  EXPECT_FALSE(is_cost(slope(1, 4.1), four));
  EXPECT_FALSE(is_cost(slope(0, 0), four));
  EXPECT_FALSE(is_cost(slope(-1, 3), four));
  EXPECT_FALSE(is_cost(slope(-4, -3), four));  // a new flow cannot free anything
  EXPECT_FALSE(is_cost(slope(1, 1), std::span(four).first(3)));
}

/// Only half of the live flows send in each tick.
TEST(PerFlow, is_of_the_flows_that_live_and_not_of_those_that_happen_to_send) {
  std::vector<int64_t> flows = stretch({{0, 3}});
  for (int i = 1; i <= 10; ++i) flows.push_back(i * 100);
  auto series = series_of(flows, [](auto, int64_t n, ResourceReading& r) {
    r.fds = 20 + n;
    r.process_fds = {r.fds, 20'000};
  });
  for (GrowthPoint& point : series) point.active_flows /= 2;
  ASSERT_TRUE(per_flow_cost(series).fds);
  EXPECT_DOUBLE_EQ(per_flow_cost(series).fds->value, 1);
  ASSERT_THAT(headroom(series), SizeIs(1));
  EXPECT_EQ(headroom(series)[0].flows, 19'980);
}

TEST(PerFlow, several_processes_are_counted_by_their_shares) {
  std::vector<int64_t> flows = stretch({{0, 3}});
  for (int i = 1; i <= 10; ++i) flows.push_back(i);
  for (int i = 0; i < 5; ++i) flows.push_back(11);
  const auto cost = per_flow_cost(series_of(flows, [](auto, int64_t n, ResourceReading& r) {
    r.processes = 6 + n;
    r.rss_bytes = (6 + n) * 150 * kMiB;  // mostly one shared buffer
    r.pss_bytes = 150 * kMiB + n * 2 * kMiB;
  }));
  EXPECT_FALSE(cost.rss_bytes);
  ASSERT_TRUE(cost.pss_bytes);
  EXPECT_DOUBLE_EQ(cost.pss_bytes->value, 2.0 * kMiB);
}

void eight_gib_a_flow(int64_t, int64_t n, ResourceReading& r) {
  r.rss_bytes = 4 * kMiB + n * 8192;
  r.vsz_bytes = 3 * kMiB + n * 8 * kGiB;
  r.mappings = 30 + n;
  r.address_space_bytes = {r.vsz_bytes, kAddressSpace};
  r.process_mappings = {r.mappings, 65'530};
  r.memory_bytes = {r.rss_bytes, *r.rss_bytes + 16 * kGiB};
  r.ephemeral_ports = 28'232;
}

TEST(HeadroomOf, the_address_space_ends_first_at_8_gib_a_flow) {
  std::vector<int64_t> flows = stretch({{0, 3}});
  for (int i = 1; i <= 10; ++i) flows.push_back(i * 100);
  const auto rooms = headroom(series_of(flows, eight_gib_a_flow));
  ASSERT_THAT(rooms, SizeIs(4));
  EXPECT_EQ(rooms[0].limit, "address_space");
  EXPECT_NEAR(static_cast<double>(rooms[0].flows), 16'384, 2);
  EXPECT_LE(rooms[0].flows_low, rooms[0].flows);
  EXPECT_GE(rooms[0].flows_high, rooms[0].flows);
  EXPECT_EQ(rooms[1].limit, "ports");
  EXPECT_EQ(rooms[1].flows, 28'232);
  EXPECT_EQ(rooms[2].limit, "mappings");
  EXPECT_EQ(rooms[2].flows, 65'500);
  EXPECT_EQ(rooms[3].limit, "memory");
}

TEST(HeadroomOf, what_does_not_grow_with_flows_has_no_end) {
  std::mt19937 random(3);
  std::vector<int64_t> flows = stretch({{0, 3}});
  for (int i = 1; i <= 30; ++i) flows.push_back(i * 100);
  const auto rooms = headroom(series_of(flows, [&](auto, auto, ResourceReading& r) {
    r.process_fds = {10 + static_cast<int64_t>(random() % 5), 1024};
  }));
  EXPECT_THAT(rooms, IsEmpty());
}

Sample sample_of(const GrowthPoint& point) {
  Sample sample;
  sample.elapsed_ns = point.elapsed_ns;
  sample.flows.active_flows = static_cast<uint64_t>(point.active_flows);
  sample.flows.live_flows = static_cast<uint64_t>(point.live_flows);
  sample.resources = point.resources;
  return sample;
}

TEST(HeadroomWatch, warns_at_a_quarter_a_half_and_four_fifths_and_once_each) {
  std::vector<int64_t> flows = stretch({{0, 3}});
  for (int i = 1; i <= 15; ++i) flows.push_back(i * 1000);
  for (int i = 0; i < 20; ++i) flows.push_back(15'000);
  HeadroomWatch watch;
  std::vector<std::pair<int64_t, std::string>> said;
  for (const GrowthPoint& point : series_of(flows, eight_gib_a_flow)) {
    for (const std::string& sentence : watch.observe(sample_of(point)))
      said.emplace_back(point.active_flows, sentence);
  }
  ASSERT_THAT(said, SizeIs(3));
  EXPECT_EQ(said[0].first, 5000);  // 4,096 flows are a quarter
  EXPECT_EQ(said[1].first, 9000);
  EXPECT_EQ(said[2].first, 14'000);
  EXPECT_THAT(said[0].second, HasSubstr("the address space ends at about 1638"));
  EXPECT_THAT(said[0].second, HasSubstr("8.00 GiB a flow; 5000 flows are live and 31% is in use"));
}

TEST(HeadroomWatch, is_silent_about_what_flows_do_not_use_up) {
  HeadroomWatch watch;
  for (const GrowthPoint& point : series_of(stretch({{0, 3}, {1000, 30}}), [](auto, auto, auto& r) {
         r.process_fds = {1000, 1024};
       }))
    EXPECT_THAT(watch.observe(sample_of(point)), IsEmpty());
}

// Waves of 1000 clients, with rests before, between and after them.
const std::vector<int64_t> kOneWave = stretch({{0, 10}, {1000, 20}, {0, 15}});
const std::vector<int64_t> kThreeWaves =
    stretch({{0, 10}, {1000, 15}, {0, 8}, {1000, 15}, {0, 8}, {1000, 15}, {0, 8}});

int64_t waves_until(const std::vector<int64_t>& flows, int64_t tick) {
  int64_t waves = 0;
  for (int64_t i = 1; i <= tick; ++i) {
    const auto at = static_cast<size_t>(i);
    waves += flows[at] > 0 && flows[at - 1] == 0;
  }
  return waves;
}

TEST(Leak, descriptors_that_stay_are_a_leak_after_one_wave) {
  const auto report = judge_leak(series_of(kOneWave, [](int64_t tick, auto, ResourceReading& r) {
    r.fds = 10 + (tick >= 10 ? 1000 : 0);
    r.rss_bytes = 100 * kMiB;
  }));
  EXPECT_EQ(report.verdict, LeakVerdict::kLeak);
  EXPECT_EQ(report.waves, 1u);
  EXPECT_EQ(metric(report, "fds").residue, 1000);
  EXPECT_EQ(metric(report, "fds").slope_per_s->value, 0);
  EXPECT_EQ(metric(report, "rss_bytes").verdict, LeakVerdict::kNone);
}

TEST(Leak, memory_that_stays_after_one_wave_may_be_a_pool) {
  const auto report = judge_leak(series_of(kOneWave, [](int64_t tick, auto, ResourceReading& r) {
    r.rss_bytes = 100 * kMiB + (tick >= 10 ? 50 * kMiB : 0);
    r.fds = 10;
  }));
  EXPECT_EQ(report.verdict, LeakVerdict::kUnclear);
  EXPECT_THAT(report.reason, HasSubstr("second wave"));
  EXPECT_EQ(metric(report, "rss_bytes").residue, 50.0 * kMiB);
}

TEST(Leak, waves_tell_a_pool_from_a_leak) {
  const auto pool = judge_leak(series_of(kThreeWaves, [](int64_t tick, auto, ResourceReading& r) {
    r.rss_bytes = 100 * kMiB + (waves_until(kThreeWaves, tick) > 0 ? 50 * kMiB : 0);
  }));
  EXPECT_EQ(pool.verdict, LeakVerdict::kNone) << pool.reason;
  EXPECT_EQ(pool.waves, 3u);
  const auto leak = judge_leak(series_of(kThreeWaves, [](int64_t tick, auto, ResourceReading& r) {
    r.rss_bytes = 100 * kMiB + waves_until(kThreeWaves, tick) * 50 * kMiB;
  }));
  EXPECT_EQ(leak.verdict, LeakVerdict::kLeak);
  EXPECT_EQ(metric(leak, "rss_bytes").residue, 150.0 * kMiB);
}

TEST(Leak, one_descriptor_more_each_wave_is_found) {
  const auto report = judge_leak(series_of(kThreeWaves, [](int64_t tick, int64_t n, auto& r) {
    r.fds = 10 + n + waves_until(kThreeWaves, tick) * 4;
  }));
  EXPECT_EQ(report.verdict, LeakVerdict::kLeak) << report.reason;
}

TEST(Leak, growth_under_constant_load_that_stays_is_a_leak) {
  const auto flows = stretch({{0, 10}, {1000, 60}, {0, 15}});
  const auto report = judge_leak(series_of(flows, [](int64_t tick, auto, ResourceReading& r) {
    r.rss_bytes = 100 * kMiB + std::clamp<int64_t>(tick - 10, 0, 60) * kMiB;
  }));
  EXPECT_EQ(report.verdict, LeakVerdict::kLeak);
  EXPECT_THAT(report.reason, HasSubstr("constant load"));
}

TEST(Leak, growth_with_no_load_is_a_leak_and_its_slope_is_given) {
  const auto report = judge_leak(series_of(kOneWave, [](int64_t tick, auto, ResourceReading& r) {
    r.rss_bytes = 100 * kMiB + (tick > 30 ? (tick - 30) * kMiB : 0);
  }));
  EXPECT_EQ(report.verdict, LeakVerdict::kLeak);
  EXPECT_DOUBLE_EQ(metric(report, "rss_bytes").slope_per_s->value, kMiB);
}

TEST(Leak, what_still_comes_back_is_unclear) {
  const auto report = judge_leak(series_of(kOneWave, [](int64_t tick, auto, ResourceReading& r) {
    r.rss_bytes = 100 * kMiB + (tick >= 10 ? 100 * kMiB : 0) - (tick > 30 ? (tick - 30) * kMiB : 0);
  }));
  EXPECT_EQ(report.verdict, LeakVerdict::kUnclear);
  EXPECT_THAT(report.reason, HasSubstr("still coming back"));
}

TEST(Leak, what_came_back_is_none) {
  const auto report = judge_leak(series_of(kOneWave, [](auto, int64_t n, ResourceReading& r) {
    r.rss_bytes = 100 * kMiB + n * 4096;
    r.fds = 10 + n;
    r.mappings = 100;
    r.threads = 4;
  }));
  EXPECT_EQ(report.verdict, LeakVerdict::kNone);
}

/// A warm-up of 300 clients, then the stage `before`, then three waves.
TEST(Leak, is_judged_from_the_stage_before_on) {
  std::vector<int64_t> flows = stretch({{300, 2}});
  flows.insert(flows.end(), kThreeWaves.begin(), kThreeWaves.end());
  const auto series = series_of(flows, [&](int64_t tick, auto, ResourceReading& r) {
    r.fds = 31 + (tick < 2 ? 300 : waves_until(kThreeWaves, tick - 2) * 303);
  });
  std::vector<RunStage> stages(4);
  stages[0] = {"start", StageKind::kStart, 0, 500'000'000, {}, {}};
  stages[1] = {"warm_up", StageKind::kWarmUp, 500'000'000, 2'000'000'000, {}, {}};
  stages[2] = {"before", StageKind::kBefore, 2'000'000'000, 12'000'000'000, {}, {}};
  stages[3] = {"hold", StageKind::kLoad, 12'000'000'000, std::nullopt, {}, {}};
  EXPECT_EQ(judged_from(stages), 2'000'000'000);
  EXPECT_EQ(judged_from({}), 0);
  EXPECT_THAT(judge_growth(series).leak.reason, HasSubstr("from the start"));
  const LeakReport report = judge_growth(series, judged_from(stages)).leak;
  EXPECT_EQ(report.verdict, LeakVerdict::kLeak) << report.reason;
  EXPECT_EQ(report.waves, 3u);
  EXPECT_THAT(report.reason, HasSubstr("each wave of load left more behind"));
}

TEST(Leak, a_reason_names_as_many_waves_as_there_were) {
  // The second wave is twice as large as the first, so what the two left cannot be compared.
  const auto flows = stretch({{0, 10}, {500, 10}, {0, 8}, {1000, 10}, {0, 8}, {1000, 10}, {0, 8}});
  const auto report = judge_leak(series_of(flows, [&](int64_t tick, auto, ResourceReading& r) {
    r.rss_bytes = 100 * kMiB + (tick >= 10 ? 50 * kMiB : 0) + (tick >= 30 ? 50 * kMiB : 0);
  }));
  EXPECT_EQ(report.verdict, LeakVerdict::kUnclear);
  EXPECT_THAT(report.reason, HasSubstr("after 3 waves of load"));
}

TEST(Leak, without_a_rest_before_or_after_there_is_no_verdict) {
  const Fill fill = [](auto, auto, ResourceReading& r) { r.rss_bytes = 1; };
  EXPECT_THAT(judge_leak(series_of(stretch({{10, 20}, {0, 20}}), fill)).reason,
              HasSubstr("from the start"));
  EXPECT_THAT(judge_leak(series_of(stretch({{0, 20}, {10, 20}}), fill)).reason,
              HasSubstr("had not gone"));
  EXPECT_THAT(judge_leak(series_of(stretch({{0, 20}}), fill)).reason, HasSubstr("no load"));
  EXPECT_THAT(judge_leak({}).reason, HasSubstr("no load"));
  const auto few = judge_leak(series_of(stretch({{0, 1}, {10, 5}, {0, 3}}), fill));
  EXPECT_EQ(few.verdict, LeakVerdict::kUnclear);
}

}  // namespace
}  // namespace topspin
