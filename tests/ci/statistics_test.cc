// Estimators compared with published values, with Boost.Math, and with slow but plain computation.
#include "ci/statistics/statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <random>

#include <boost/math/statistics/t_test.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ci/statistics/random.h"
#include "gauss.h"
#include "tests/support/every_night.h"

namespace topspin {
namespace {

using Values = std::vector<double>;

// Student's sleep data (Student 1908), as in R's dataset `sleep`.
const Values kSleep1 = {0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0};
const Values kSleep2 = {1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4};

// Permeability of the placenta (Hollander and Wolfe 1973, p. 69), as in R's ?wilcox.test.
const Values kPermeabilityTerm = {0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46};
const Values kPermeabilityEarly = {1.15, 0.88, 0.90, 0.74, 1.21};

double plain_shift(const Values& a, const Values& b) {
  Values differences;
  for (const double x : a) {
    for (const double y : b) differences.push_back(y - x);
  }
  return median(differences);
}

TEST(Random, IsFixedByTheStandardAndByUs) {
  std::mt19937_64 standard;  // [rand.predef]: the 10,000th value of the default engine
  standard.discard(9999);
  EXPECT_EQ(standard(), 9981545732273789042u);
  Random random(1);
  Values drawn;
  for (int i = 0; i < 8; ++i) drawn.push_back(static_cast<double>(random.below(100)));
  std::mt19937_64 engine(1);
  Values expected;
  while (expected.size() < 8) {
    if (const auto bits = engine() & 127; bits < 100) expected.push_back(static_cast<double>(bits));
  }
  EXPECT_EQ(drawn, expected);
  EXPECT_EQ(random.below(1), 0u);
}

TEST(Random, IsUniform) {
  Random random(7);
  std::array<int, 6> count{};
  for (int i = 0; i < 60'000; ++i) ++count[random.below(6)];
  for (const int c : count) EXPECT_NEAR(c, 10'000, 400);  // more than four standard deviations
}

TEST(Quantiles, AgreeWithTypeSeven) {
  const Values one_to_ten = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  EXPECT_DOUBLE_EQ(quantile_of_sorted(one_to_ten, 0.25), 3.25);  // R: quantile(1:10, .25)
  EXPECT_DOUBLE_EQ(quantile_of_sorted(one_to_ten, 0.0), 1);
  EXPECT_DOUBLE_EQ(quantile_of_sorted(one_to_ten, 1.0), 10);
  EXPECT_DOUBLE_EQ(median({3, 1, 2}), 2);
  EXPECT_DOUBLE_EQ(median({4, 1, 2, 3}), 2.5);
}

TEST(HodgesLehmann, AgreesWithThePublishedEstimate) {
  // Hollander and Wolfe give 0.305 for this example.
  EXPECT_NEAR(hodges_lehmann_shift(kPermeabilityEarly, kPermeabilityTerm), 0.305, 1e-12);
}

TEST(HodgesLehmann, AgreesWithAllDifferencesSorted) {
  Random random(3);
  for (int round = 0; round < 500; ++round) {
    Values a(1 + random.below(12)), b(1 + random.below(12));
    const bool ties = random.coin();
    for (Values* side : {&a, &b}) {
      for (double& v : *side)
        v = ties ? static_cast<double>(random.below(5)) - 2 : 1e3 * gauss(random);
    }
    EXPECT_DOUBLE_EQ(hodges_lehmann_shift(a, b), plain_shift(a, b));
  }
}

TEST(HodgesLehmann, IsTheShiftOfAShiftedCopyAndIgnoresAFewOutliers) {
  Values a, b;
  for (int i = 0; i < 21; ++i) {
    a.push_back(i);
    b.push_back(i + 5);
  }
  EXPECT_DOUBLE_EQ(hodges_lehmann_shift(a, b), 5);
  b[3] = 1e9;
  b[9] = 1e9;
  EXPECT_NEAR(hodges_lehmann_shift(a, b), 5, 2);  // the means are 1e8 apart
}

TEST(Welch, AgreesWithPublishedValues) {
  // R: t.test(extra ~ group, data = sleep)
  const WelchTest sleep = welch_test(kSleep2, kSleep1);
  EXPECT_NEAR(sleep.t, -1.8608, 5e-5);
  EXPECT_NEAR(sleep.degrees_of_freedom, 17.776, 5e-4);
  EXPECT_NEAR(sleep.p, 0.07939, 5e-6);
  // R: t.test(mpg ~ am, data = mtcars); Motor Trend 1974 (Henderson and Velleman 1981).
  const Values automatic = {21.4, 18.7, 18.1, 14.3, 24.4, 22.8, 19.2, 17.8, 16.4, 17.3,
                            15.2, 10.4, 10.4, 14.7, 21.5, 15.5, 15.2, 13.3, 19.2};
  const Values manual = {21, 21, 22.8, 32.4, 30.4, 33.9, 27.3, 26, 30.4, 15.8, 19.7, 15, 21.4};
  const WelchTest mtcars = welch_test(manual, automatic);
  EXPECT_NEAR(mtcars.t, -3.7671, 5e-5);
  EXPECT_NEAR(mtcars.degrees_of_freedom, 18.332, 5e-4);
  EXPECT_NEAR(mtcars.p, 0.001374, 5e-7);
}

TEST(Welch, AgreesWithBoostWhereOneSideIsConstant) {
  // Against a constant, Welch's test is the one-sample test, which Boost.Math has.
  Random random(5);
  for (int round = 0; round < 50; ++round) {
    Values a(2 + random.below(30));
    for (double& v : a) v = 100 + gauss(random);
    const auto [t, p] = boost::math::statistics::one_sample_t_test(a, 100.5);
    const WelchTest ours = welch_test(Values(5, 100.5), a);
    EXPECT_NEAR(ours.t, t, 1e-9 * std::abs(t));
    EXPECT_NEAR(ours.p, p, 1e-9);
  }
}

TEST(Welch, KnowsConstantSides) {
  const Values five(5, 5.0), six(4, 6.0);
  EXPECT_EQ(welch_test(five, five).p, 1);
  EXPECT_EQ(welch_test(five, six).p, 0);
  EXPECT_EQ(welch_test(Values{1, 2}, five).degrees_of_freedom, 1);
}

TEST(RankSum, AgreesWithPublishedValues) {
  // R: wilcox.test(x, y, alternative = "greater") gives W = 35, p = 0.1272; two-sided 0.2544.
  EXPECT_NEAR(rank_sum_p(kPermeabilityTerm, kPermeabilityEarly), 0.2544, 5e-5);
}

TEST(RankSum, AgreesWithEveryChoiceOfRanks) {
  Random random(9);
  for (int round = 0; round < 40; ++round) {
    const size_t n = 1 + random.below(5), m = 1 + random.below(5);
    Values all(n + m);
    for (double& v : all) v = static_cast<double>(random.below(6));  // with ties
    const auto rank_of = [&](size_t i) {
      double rank = 0.5;
      for (const double v : all) rank += v < all[i] ? 1 : v == all[i] ? 0.5 : 0;
      return rank;
    };
    const double expected = static_cast<double>(n * (n + m + 1)) / 2;
    double observed = 0;
    for (size_t i = 0; i < n; ++i) observed += rank_of(i);
    int as_far = 0, choices = 0;
    for (unsigned mask = 0; mask < 1u << (n + m); ++mask) {
      if (static_cast<size_t>(std::popcount(mask)) != n) continue;
      double sum = 0;
      for (size_t i = 0; i < n + m; ++i) sum += (mask >> i & 1) != 0 ? rank_of(i) : 0;
      ++choices;
      if (std::abs(sum - expected) >= std::abs(observed - expected) - 1e-9) ++as_far;
    }
    EXPECT_NEAR(rank_sum_p(std::span(all).first(n), std::span(all).last(m)),
                static_cast<double>(as_far) / choices, 1e-12);
  }
}

TEST(RankSum, IsContinuousWhereItBecomesNormal) {
  Random random(11);
  Values a(kExactValues / 2), b(kExactValues / 2 + 1);
  for (double& v : a) v = gauss(random);
  for (double& v : b) v = gauss(random) + 0.6;
  const double normal = rank_sum_p(a, b);
  b.pop_back();
  const double exact = rank_sum_p(a, b);
  EXPECT_NEAR(normal, exact, 0.02);
  EXPECT_NE(normal, exact);
}

TEST(PairedRankSum, AgreesWithEveryTossOfTheCoin) {
  Random random(13);
  for (int round = 0; round < 60; ++round) {
    const size_t n = 1 + random.below(9);
    Values a(n), b(n);
    for (Values* side : {&a, &b}) {
      for (double& v : *side) v = static_cast<double>(random.below(8));
    }
    Values all = a;
    all.insert(all.end(), b.begin(), b.end());
    const auto rank_of = [&](double value) {
      double rank = 0.5;
      for (const double v : all) rank += v < value ? 1 : v == value ? 0.5 : 0;
      return rank;
    };
    const auto distance = [&](unsigned swapped) {
      double sum = 0;
      for (size_t i = 0; i < n; ++i) {
        const double d = rank_of(b[i]) - rank_of(a[i]);
        sum += (swapped >> i & 1) != 0 ? -d : d;
      }
      return std::abs(sum);
    };
    int as_far = 0;
    for (unsigned swapped = 0; swapped < 1u << n; ++swapped)
      as_far += distance(swapped) >= distance(0) - 1e-9 ? 1 : 0;
    EXPECT_NEAR(paired_rank_sum_p(a, b), static_cast<double>(as_far) / (1u << n), 1e-12);
  }
}

TEST(PairedRankSum, IsContinuousWhereItBecomesNormal) {
  Random random(15);
  Values a(kExactPairs + 1), b(kExactPairs + 1);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = gauss(random);
    b[i] = a[i] + 0.3 + gauss(random);
  }
  const double normal = paired_rank_sum_p(a, b);
  a.pop_back();
  b.pop_back();
  const double exact = paired_rank_sum_p(a, b);
  EXPECT_NE(normal, exact);
  EXPECT_NEAR(normal, exact, 0.03);  // it also has one pair more
  EXPECT_EQ(paired_rank_sum_p(a, a), 1);
}

TEST(BenjaminiHochberg, AgreesWithThePaper) {
  // The example of Benjamini and Hochberg (1995), section 4: at 5% exactly the first four.
  const Values p = {.0001, .0004, .0019, .0095, .0201, .0278, .0298, .0344,
                    .0459, .3240, .4262, .5719, .6528, .7590, 1.0};
  const Values q = benjamini_hochberg(p);
  for (size_t i = 0; i < p.size(); ++i) EXPECT_EQ(q[i] <= 0.05, i < 4) << i;
  EXPECT_DOUBLE_EQ(q[0], .0015);           // .0001 * 15 / 1
  EXPECT_DOUBLE_EQ(q[3], .035625);         // .0095 * 15 / 4
  EXPECT_DOUBLE_EQ(q[5], .0298 * 15 / 7);  // the seventh is smaller, and so bounds the sixth
  EXPECT_DOUBLE_EQ(q[14], 1);
  EXPECT_THAT(benjamini_hochberg(Values{.04, .01}), testing::ElementsAre(.04, .02));
  EXPECT_TRUE(benjamini_hochberg(Values{}).empty());
}

TEST(Intervals, AreTheSameForTheSameSeedAndHoldTheShift) {
  Random random(17);
  Values a(15), b(15);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = gauss(random);
    b[i] = 0.4 + gauss(random);
  }
  const Interval first = paired_shift_interval(a, b, 1), again = paired_shift_interval(a, b, 1);
  EXPECT_EQ(first.low, again.low);
  EXPECT_EQ(first.high, again.high);
  const Interval other = paired_shift_interval(a, b, 2);
  EXPECT_TRUE(first.low != other.low || first.high != other.high);
  EXPECT_NEAR(first.low, other.low, 0.1);
  const double shift = hodges_lehmann_shift(a, b);
  EXPECT_LT(first.low, shift);
  EXPECT_GT(first.high, shift);
  const Interval wider = paired_shift_interval(a, b, 1, 0.99);
  EXPECT_LT(wider.low, first.low);
  EXPECT_GT(wider.high, first.high);
}

TEST(Intervals, FollowTheOrderOfPairsAndNotOfValues) {
  // The pairs differ by exactly 1 but lie far apart, so only pairing can show it.
  Values a, b;
  for (const int i : {7, 2, 9, 4, 0, 5, 3, 8, 1, 6}) {
    a.push_back(100.0 * i);
    b.push_back(100.0 * i + 1);
  }
  const Interval paired = paired_shift_interval(a, b, 1);
  EXPECT_NEAR(paired.low, 1, 1e-9);
  EXPECT_NEAR(paired.high, 1, 1e-9);
  const Interval unpaired = shift_interval(a, b, 1);
  EXPECT_LT(unpaired.low, -100);
  EXPECT_GT(unpaired.high, 100);
}

TEST(Intervals, OfAConstantAreAPoint) {
  const Values two(8, 2.0), three(8, 3.0);
  EXPECT_EQ(paired_shift_interval(two, three, 1).low, 1);
  EXPECT_EQ(shift_interval(two, three, 1).high, 1);
}

TEST(Intervals, HoldTheTruthAsOftenAsTheySay) {
  Random random(19);
  for (const size_t n : {10u, 20u}) {
    if (n == 20 && !test::every_night()) continue;
    int paired = 0, unpaired = 0;
    constexpr int kTrials = 200;
    for (int trial = 0; trial < kTrials; ++trial) {
      Values a(n), b(n);
      for (size_t i = 0; i < n; ++i) {
        a[i] = gauss(random);
        b[i] = 1 + gauss(random);
      }
      const Interval x = paired_shift_interval(a, b, 1), y = shift_interval(a, b, 1);
      paired += x.low <= 1 && 1 <= x.high ? 1 : 0;
      unpaired += y.low <= 1 && 1 <= y.high ? 1 : 0;
    }
    // 95% is 190; the standard deviation is 3.1.
    EXPECT_GE(paired, 183) << n;
    EXPECT_GE(unpaired, 183) << n;
    EXPECT_LT(paired, 200) << n;
    EXPECT_LT(unpaired, 200) << n;
  }
}

TEST(Intervals, AreAlikeWhereTheWayOfComputingChanges) {
  Random random(21);
  Values a(kBootstrapSmall + 1), b(kBootstrapSmall + 1);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = gauss(random);
    b[i] = gauss(random);
  }
  const Interval large = paired_shift_interval(a, b, 1), large_unpaired = shift_interval(a, b, 1);
  a.pop_back();
  b.pop_back();
  const Interval small = paired_shift_interval(a, b, 1), small_unpaired = shift_interval(a, b, 1);
  EXPECT_NEAR(large.low, small.low, 0.02);
  EXPECT_NEAR(large.high, small.high, 0.02);
  EXPECT_NEAR(large_unpaired.low, small_unpaired.low, 0.02);
  EXPECT_NEAR(large_unpaired.high, small_unpaired.high, 0.02);
}

TEST(Hits, MoreOnOneSideAreAsUnlikelyAsCountingSays) {
  EXPECT_NEAR(more_hits_p(0, 14, 4, 14), 1001.0 / 20475, 1e-9);  // C(14,4) / C(28,4)
  EXPECT_NEAR(more_hits_p(0, 14, 3, 14), 364.0 / 3276, 1e-9);
  EXPECT_NEAR(more_hits_p(0, 14, 14, 14), 1.0 / 40116600, 1e-12);
  EXPECT_NEAR(more_hits_p(1, 2, 1, 2), 5.0 / 6, 1e-9);
  EXPECT_NEAR(more_hits_p(3, 10, 0, 10), 1, 1e-9);
  EXPECT_EQ(more_hits_p(0, 0, 3, 3), 1);
}

}  // namespace
}  // namespace topspin
