// Comparisons of one metric: verdicts, directions, and what cannot be judged.
#include "ci/judgement/compare.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ci/statistics/random.h"
#include "ci/statistics/statistics.h"
#include "gauss.h"

namespace topspin {
namespace {

using testing::HasSubstr;
using Values = std::vector<double>;

constexpr uint64_t kSeed = 1;

Metric metric(Better better = Better::kLower, double margin = 0.03) {
  return {"cpu_us", "us", better, margin, true};
}

/// n values with a noise of 1% about `centre`.
Values noisy(double centre, size_t n, uint64_t seed) {
  Random random(seed);
  Values values;
  for (size_t i = 0; i < n; ++i) values.push_back(centre * std::exp(0.01 * gauss(random)));
  return values;
}

Comparison compared(const Metric& m, const Values& a, const Values& b,
                    Layout layout = Layout::kPaired) {
  std::vector<Comparison> all{measure(m, a, b, layout, kSeed)};
  judge(all);
  return all[0];
}

TEST(Compare, FailsPassesAndKnowsWhatItDoesNotKnow) {
  for (const Layout layout : {Layout::kPaired, Layout::kUnpaired}) {
    const Values a = noisy(100, 20, 1);
    const Comparison worse = compared(metric(), a, noisy(110, 20, 2), layout);
    EXPECT_EQ(worse.verdict, Verdict::kFail);
    EXPECT_NEAR(*worse.change, 0.10, 0.015);
    EXPECT_GT(*worse.ci_low, 0.08);
    EXPECT_LT(*worse.ci_high, 0.12);
    EXPECT_LT(*worse.p, 1e-4);
    EXPECT_THAT(worse.reason, HasSubstr("worse by more than its margin"));

    const Comparison same = compared(metric(), a, noisy(100, 20, 3), layout);
    EXPECT_EQ(same.verdict, Verdict::kPass);
    EXPECT_EQ(same.reason, "");

    const Comparison better = compared(metric(), a, noisy(80, 20, 4), layout);
    EXPECT_EQ(better.verdict, Verdict::kPass);

    const Comparison near = compared(metric(), a, noisy(103, 20, 5), layout);
    EXPECT_EQ(near.verdict, Verdict::kInconclusive);
    EXPECT_THAT(near.reason, HasSubstr("either side of its margin"));
  }
}

TEST(Compare, TurnsRoundWhereMoreIsBetter) {
  const Values a = noisy(100, 20, 1);
  const Metric higher = metric(Better::kHigher);
  EXPECT_EQ(compared(higher, a, noisy(90, 20, 2)).verdict, Verdict::kFail);
  EXPECT_EQ(compared(higher, a, noisy(110, 20, 2)).verdict, Verdict::kPass);
  const Comparison c = compared(higher, a, noisy(90, 20, 2));
  EXPECT_NEAR(*c.change, -0.10, 0.01);
  EXPECT_LT(*c.ci_low, *c.ci_high);
}

TEST(Compare, ABAndBAAreEachOthersInverse) {
  const Values a = noisy(100, 15, 1), b = noisy(104, 15, 2);
  const Comparison ab = compared(metric(), a, b), ba = compared(metric(), b, a);
  EXPECT_NEAR((1 + *ab.change) * (1 + *ba.change), 1, 1e-12);
  EXPECT_NEAR((1 + *ab.ci_low) * (1 + *ba.ci_high), 1, 1e-3);
  EXPECT_DOUBLE_EQ(*ab.p, *ba.p);
}

TEST(Compare, TheUnitDoesNotMatter) {
  Values a = noisy(100, 15, 1), b = noisy(104, 15, 2);
  const Comparison micro = compared(metric(), a, b);
  for (double& v : a) v *= 1e-6;
  for (double& v : b) v *= 1e-6;
  const Comparison whole = compared(metric(), a, b);
  EXPECT_NEAR(*micro.change, *whole.change, 1e-12);
  EXPECT_NEAR(*micro.ci_low, *whole.ci_low, 1e-12);
  EXPECT_EQ(micro.verdict, whole.verdict);
}

TEST(Compare, TooFewAreDescribedAndNotJudged) {
  const Values a = noisy(100, kFewestValues - 1, 1), b = noisy(200, kFewestValues - 1, 2);
  const Comparison c = compared(metric(), a, b);
  EXPECT_EQ(c.verdict, Verdict::kInconclusive);
  EXPECT_TRUE(c.change.has_value());
  EXPECT_FALSE(c.ci_low.has_value());
  EXPECT_THAT(c.reason, HasSubstr("5 values per side; a verdict needs 6"));
  const Comparison one = compared(metric(), {100}, {120});
  EXPECT_NEAR(*one.change, 0.2, 1e-12);
  EXPECT_FALSE(one.p.has_value());
  EXPECT_THAT(compared(metric(), {}, {}).reason, HasSubstr("not measured on both sides"));
}

TEST(Compare, FromZeroToSomethingIsARegression) {
  const Values none(12, 0.0), five(12, 5.0);
  for (const Layout layout : {Layout::kPaired, Layout::kUnpaired}) {
    EXPECT_EQ(compared(metric(), none, none, layout).verdict, Verdict::kPass);
    EXPECT_EQ(*compared(metric(), none, none, layout).change, 0);
    const Comparison worse = compared(metric(), none, five, layout);
    EXPECT_EQ(worse.verdict, Verdict::kFail) << worse.reason;
    EXPECT_TRUE(worse.absolute);
    EXPECT_EQ(*worse.change, 5);
    EXPECT_THAT(worse.reason, HasSubstr("the baseline has 0"));
    const Comparison better = compared(metric(), five, none, layout);
    EXPECT_EQ(better.verdict, Verdict::kPass) << better.reason;
    EXPECT_EQ(*better.change, -5);
    // If more is better, a loss is the regression.
    EXPECT_EQ(compared(metric(Better::kHigher), five, none, layout).verdict, Verdict::kFail);
    EXPECT_EQ(compared(metric(Better::kHigher), none, five, layout).verdict, Verdict::kPass);
  }
}

TEST(Compare, AStrayValueIsNoRegressionFromZero) {
  Values none(12, 0.0), stray(12, 0.0);
  stray[4] = 7;
  EXPECT_NE(compared(metric(), none, stray).verdict, Verdict::kFail);
  EXPECT_NE(compared(metric(), stray, none).verdict, Verdict::kFail);
  // Nor does it hide a regression.
  EXPECT_EQ(compared(metric(), stray, Values(12, 5.0)).verdict, Verdict::kFail);
}

Metric failures() {
  return {
      "failed_share", std::string(kUnitOfShares), Better::kLower, kMarginOfFailures, true, true};
}

TEST(Compare, SharesAreComparedByTheirDifference) {
  const Values none(10, 0.0), half(10, 0.5);
  const Comparison broken = compared(failures(), none, half);
  EXPECT_EQ(broken.verdict, Verdict::kFail) << broken.reason;
  EXPECT_EQ(change_text(broken, broken.change), "+50 pp");
  // A share that was 1.00% and is 1.05% is within the margin of 0.1 percentage points.
  const Comparison near = compared(failures(), noisy(0.01, 10, 1), noisy(0.0105, 10, 2));
  EXPECT_EQ(near.verdict, Verdict::kPass) << near.reason;
  EXPECT_EQ(amount_text(near, near.margin), "0.1 pp");
  const Comparison far = compared(failures(), noisy(0.01, 10, 1), noisy(0.02, 10, 2));
  EXPECT_EQ(far.verdict, Verdict::kFail) << far.reason;
  // Five of 100,000 in every run, where there were none, are few, but certain.
  EXPECT_EQ(compared(failures(), none, Values(10, 0.00005)).verdict, Verdict::kFail);
}

/// The share of failures in each of `runs` runs. A run has `requests` requests, each of which fails
/// with probability `share`.
Values failed_shares(Random& random, size_t runs, size_t requests, double share) {
  Values shares;
  for (size_t i = 0; i < runs; ++i) {
    size_t failed = 0;
    for (size_t k = 0; k < requests; ++k)
      failed += static_cast<double>(random.below(1'000'000)) < share * 1e6 ? 1 : 0;
    shares.push_back(static_cast<double>(failed) / static_cast<double>(requests));
  }
  return shares;
}

TEST(Compare, FailuresByChanceRaiseFewAlarms) {
  // Both sides are the same server. Its requests fail by chance: rarely, sometimes or often.
  constexpr size_t kTrials = 100;
  Random random(3);
  for (const auto& [requests, share] :
       {std::pair<size_t, double>{500, 0.0005}, {500, 0.004}, {300, 0.05}, {100, 0.3}}) {
    size_t alarms = 0;
    for (size_t i = 0; i < kTrials; ++i) {
      const Values a = failed_shares(random, 10, requests, share);
      const Values b = failed_shares(random, 10, requests, share);
      alarms += compared(failures(), a, b).verdict == Verdict::kFail ? 1 : 0;
    }
    EXPECT_LE(alarms, kTrials / 100) << requests << " requests, " << share;
  }
}

TEST(Compare, ManyMetricsRaiseTheBar) {
  // Six pairs, all worse: p = 2/64. This is enough for one metric alone, but not among eight.
  const Values a = {100, 101, 99, 100.5, 98, 102}, b = {120, 121, 119, 122, 118, 123};
  EXPECT_EQ(compared(metric(), a, b).verdict, Verdict::kFail);
  std::vector<Comparison> eight{measure(metric(), a, b, Layout::kPaired, kSeed)};
  for (uint64_t i = 0; i < 7; ++i)
    eight.push_back(
        measure(metric(), noisy(100, 6, 10 + i), noisy(100, 6, 20 + i), Layout::kPaired, kSeed));
  judge(eight);
  EXPECT_EQ(eight[0].verdict, Verdict::kInconclusive);
  EXPECT_NEAR(*eight[0].p, 2.0 / 64, 1e-12);
  EXPECT_NEAR(*eight[0].q, 8 * 2.0 / 64, 1e-12);
  EXPECT_THAT(eight[0].reason, HasSubstr("by chance"));
  // Metrics that only inform do not count.
  for (size_t i = 1; i < eight.size(); ++i) eight[i].metric.gating = false;
  judge(eight);
  EXPECT_EQ(eight[0].verdict, Verdict::kFail);
}

TEST(Compare, TheMinimumDetectableEffectIsDetectedAsOftenAsItSays) {
  Random random(23);
  constexpr size_t kPairs = 20;
  constexpr int kTrials = 150;
  const auto trial = [&](double ratio) {
    Values a, b;
    for (size_t i = 0; i < kPairs; ++i) {
      a.push_back(100 * std::exp(0.03 * gauss(random)));
      b.push_back(100 * ratio * std::exp(0.03 * gauss(random)));
    }
    return compared(metric(), a, b);
  };
  double typical = 0;
  for (int i = 0; i < kTrials; ++i) typical += *trial(1).minimum_detectable / kTrials;
  int found = 0;
  for (int i = 0; i < kTrials; ++i) found += trial(1 + typical).verdict == Verdict::kFail ? 1 : 0;
  EXPECT_NEAR(found, kPower * kTrials, 0.1 * kTrials);
}

TEST(Compare, AsksForMoreWhereMoreWouldDecide) {
  const Comparison c = compared(metric(), noisy(100, 10, 1), noisy(103.8, 10, 2));
  ASSERT_EQ(c.verdict, Verdict::kInconclusive);
  const auto wanted = values_wanted(c);
  ASSERT_TRUE(wanted.has_value());
  EXPECT_GT(*wanted, 10u);
  EXPECT_THAT(c.reason, HasSubstr("should decide"));
  EXPECT_FALSE(values_wanted(compared(metric(), {1}, {2})).has_value());
}

TEST(Compare, ChangesReadWell) {
  EXPECT_EQ(format_change(0.0984), "+9.84%");
  EXPECT_EQ(format_change(-0.0031), "-0.31%");
  EXPECT_EQ(format_change(0.123), "+12.3%");
  EXPECT_EQ(format_change(2.5), "+250%");
}

}  // namespace
}  // namespace topspin
