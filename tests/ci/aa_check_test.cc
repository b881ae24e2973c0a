// The gate compared with itself, and overlaid histograms, on numbers with known answers.
#include "ci/judgement/aa_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ci/statistics/distribution.h"
#include "ci/statistics/random.h"
#include "ci/statistics/statistics.h"
#include "tests/support/every_night.h"

namespace topspin {
namespace {

using testing::HasSubstr;

/// Runs of one commit whose CPU per flow is 10 us, with noise of up to `noise` of that.
std::vector<MeasuredRun> make_runs(size_t count, double noise) {
  Random random(11);
  std::vector<MeasuredRun> runs(count);
  for (size_t i = 0; i < count; ++i) {
    MeasuredRun& run = runs[i];
    run.run.info.id = "run" + std::to_string(i);
    run.run.info.started_wall_ns = static_cast<int64_t>(i);
    run.run.info.host.fingerprint = "here";
    run.run.info.source.commit = "c";
    run.run.info.source.dirty = false;
    run.totals.ticks = 5;
    run.totals.interval_ns = 5'000'000'000;
    run.totals.flows.new_flows = 100;
    run.totals.flows.packets = 1000;
    const double share = 1 + noise * (static_cast<double>(random.below(2001)) / 1000 - 1);
    run.totals.cpu_ns = static_cast<uint64_t>(1'000'000 * share);
  }
  return runs;
}

TEST(AaCheck, QuietRunsRaiseNoAlarmAndShowSmallChanges) {
  const AaCheck check = check_aa(make_runs(24, 0.01), 100, 1, run_metrics());
  EXPECT_EQ(check.exit_code, 0);
  EXPECT_EQ(check.trials, 100u);
  EXPECT_EQ(check.pairs, 12u);
  EXPECT_EQ(check.alarms, 0u);
  EXPECT_EQ(check.passes, 100u);
  EXPECT_NEAR(check.alarm_rate_high, 1 - std::pow(0.05, 1.0 / 100), 1e-9);
  ASSERT_EQ(check.metrics.size(), 1u) << "only what was measured";
  EXPECT_EQ(check.metrics[0].metric.name, "cpu_ns_per_flow");
  EXPECT_GT(check.metrics[0].minimum_detectable.value_or(0), 0.03);
  EXPECT_LT(check.metrics[0].minimum_detectable.value_or(1), 0.06);
}

TEST(AaCheck, NoiseMakesOnlyLargeChangesDetectable) {
  const AaCheck quiet = check_aa(make_runs(40, 0.01), 30, 1, run_metrics());
  const AaCheck noisy = check_aa(make_runs(40, 0.3), 30, 1, run_metrics());
  EXPECT_GT(*noisy.metrics.at(0).minimum_detectable, 3 * *quiet.metrics.at(0).minimum_detectable);
  EXPECT_LT(noisy.passes, noisy.trials);
}

TEST(AaCheck, TheSameSeedGivesTheSameAnswer) {
  const auto runs = make_runs(30, 0.1);
  const AaCheck x = check_aa(runs, 20, 5, run_metrics()), y = check_aa(runs, 20, 5, run_metrics());
  EXPECT_EQ(x.passes, y.passes);
  EXPECT_EQ(x.metrics.at(0).minimum_detectable, y.metrics.at(0).minimum_detectable);
}

TEST(AaCheck, FailuresByChanceRaiseFewAlarms) {
  // A server that fails hardly any, a few or many of its requests.
  Random random(21);
  for (const uint64_t of_ten_thousand : {3u, 50u, 1000u}) {
    auto runs = make_runs(40, 0.01);
    for (MeasuredRun& run : runs) {
      LoadResult load;
      LoadAccounts& a = load.total.accounts;
      a.scheduled = a.sent = 500;
      for (int i = 0; i < 500; ++i) ++(random.below(10'000) < of_ten_thousand ? a.lost : a.replied);
      run.totals.set_load(load);
    }
    const auto splits = static_cast<size_t>(test::repeats(30, 100));
    const AaCheck check = check_aa(runs, splits, 1, run_metrics());
    EXPECT_LE(check.alarms, 1u) << of_ten_thousand;
    EXPECT_EQ(check.metrics.size(), 2u) << "its CPU and what failed";
  }
}

TEST(AaCheck, RefusesWhatItCannotAnswer) {
  auto runs = make_runs(19, 0.01);
  AaCheck check = check_aa(runs, 10, 1, run_metrics());
  EXPECT_EQ(check.exit_code, 3);
  EXPECT_THAT(check.reasons.at(0), HasSubstr("20 are needed"));
  runs = make_runs(24, 0.01);
  runs[3].run.info.host.fingerprint = "elsewhere";
  EXPECT_EQ(check_aa(runs, 10, 1, run_metrics()).exit_code, 4);
  runs = make_runs(24, 0.01);
  runs[3].run.info.source.commit = "d";
  EXPECT_EQ(check_aa(runs, 10, 1, run_metrics()).exit_code, 2);
  runs = make_runs(24, 0.01);
  runs[3].run.info.source.dirty = true;  // its code is no longer that of the others
  EXPECT_EQ(check_aa(runs, 10, 1, run_metrics()).exit_code, 2);
  for (MeasuredRun& run : runs) run.run.info.source.dirty.reset();
  check = check_aa(runs, 10, 1, run_metrics());
  EXPECT_EQ(check.exit_code, 0);
  EXPECT_THAT(check.reasons.at(0), HasSubstr("changes"));
  runs = make_runs(24, 0.01);
  for (size_t i = 0; i < 6; ++i) runs[i].run.end.invalid_reasons = {"it lost packets"};
  check = check_aa(runs, 10, 1, run_metrics());
  EXPECT_EQ(check.exit_code, 3);
  EXPECT_EQ(check.reasons.size(), 7u);
}

TEST(ProportionUpperBound, HasTheKnownValues) {
  // With no hits the bound is 1 - 0.05^(1/n). The others are from Clopper-Pearson tables.
  EXPECT_NEAR(proportion_upper_bound(0, 59), 1 - std::pow(0.05, 1.0 / 59), 1e-12);
  EXPECT_NEAR(proportion_upper_bound(1, 10), 0.3942, 5e-5);
  EXPECT_NEAR(proportion_upper_bound(5, 10), 0.7776, 5e-5);
  EXPECT_EQ(proportion_upper_bound(10, 10), 1);
}

double total(const Distribution& d, double DistributionBar::*side) {
  double sum = 0;
  for (const DistributionBar& bar : d.bars) sum += bar.*side;
  return sum;
}

TEST(Distribution, BarsAreOctavesAndSidesAreWhole) {
  Histogram a, b;
  a.record(0);
  a.record_n(1000, 3);   // 512 to 1023
  b.record_n(5000, 10);  // 4096 to 8191
  const Distribution d = overlay("reply_latency_ns", a, b);
  EXPECT_NEAR(total(d, &DistributionBar::a), 1, 1e-12);
  EXPECT_NEAR(total(d, &DistributionBar::b), 1, 1e-12);
  EXPECT_EQ(d.bars.front().from_ns, 0);
  EXPECT_EQ(d.bars.front().to_ns, 0);
  EXPECT_EQ(d.bars.front().a, 0.25);
  EXPECT_EQ(d.bars.back().from_ns, 4096);
  EXPECT_EQ(d.bars.back().to_ns, 8191);
  EXPECT_EQ(d.bars.back().b, 1);
  for (size_t i = 1; i < d.bars.size(); ++i)
    EXPECT_EQ(d.bars[i].from_ns, d.bars[i - 1].to_ns + 1) << "no octave is left out";
  for (const DistributionBar& bar : d.bars) {
    EXPECT_EQ(bar.a, bar.from_ns == 0 ? 0.25 : bar.from_ns == 512 ? 0.75 : 0);
  }
}

TEST(Distribution, EarlyIsOneBar) {
  SignedHistogram a, b;
  a.record(-50);
  a.record(-5'000'000);
  a.record(100);
  a.record(100);
  b.record(100);
  const Distribution d = overlay("lateness_ns", a, b);
  EXPECT_EQ(d.bars.front().from_ns, -5'000'000);
  EXPECT_EQ(d.bars.front().to_ns, -1);
  EXPECT_EQ(d.bars.front().a, 0.5);
  EXPECT_EQ(d.bars.front().b, 0);
  EXPECT_NEAR(total(d, &DistributionBar::a), 1, 1e-12);
}

TEST(Distribution, TheGreatestValuesHaveAPlace) {
  Histogram a, b;
  a.record(UINT64_MAX);
  b.record(1);
  const Distribution d = overlay("x", a, b);
  EXPECT_NEAR(total(d, &DistributionBar::a), 1, 1e-12);
}

}  // namespace
}  // namespace topspin
