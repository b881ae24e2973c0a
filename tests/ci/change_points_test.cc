// Change points of series whose answer is known.
#include "ci/statistics/change_points.h"

#include <gtest/gtest.h>

#include "ci/statistics/random.h"
#include "ci/statistics/statistics.h"

namespace topspin {
namespace {

using Series = std::vector<double>;

/// `count` random values, drawn uniformly within 1% of `at`.
Series level(double at, size_t count, uint64_t seed) {
  Random random(seed);
  Series values;
  for (size_t i = 0; i < count; ++i)
    values.push_back(at * (0.99 + 0.02 * static_cast<double>(random.below(1001)) / 1000));
  return values;
}

Series joined(std::initializer_list<Series> parts) {
  Series all;
  for (const Series& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::vector<size_t> indexes(const Series& series, const ChangePointSettings& settings = {}) {
  std::vector<size_t> found;
  for (const ChangePoint& point : find_change_points(series, settings))
    found.push_back(point.index);
  return found;
}

using Indexes = std::vector<size_t>;

TEST(ChangePoints, AStepIsFoundWhereItIs) {
  const auto points = find_change_points(joined({level(100, 40, 1), level(110, 40, 2)}));
  ASSERT_EQ(points.size(), 1u);
  EXPECT_EQ(points[0].index, 40u);
  EXPECT_NEAR(points[0].before, 100, 0.5);
  EXPECT_NEAR(points[0].after, 110, 0.5);
  EXPECT_NEAR(points[0].change, 0.10, 0.01);
  EXPECT_LT(points[0].p, 1e-10);
}

TEST(ChangePoints, SeveralStepsAreFoundWhereverTheWindowsFall) {
  for (size_t first = 30; first < 90; first += 7) {
    const Series series =
        joined({level(100, first, first), level(108, 33, 2), level(100, 12, 3), level(120, 61, 4)});
    EXPECT_EQ(indexes(series), (Indexes{first, first + 33, first + 45})) << first;
  }
}

TEST(ChangePoints, ConstantsShortSeriesAndNoneHaveNone) {
  EXPECT_TRUE(indexes({}).empty());
  EXPECT_TRUE(indexes(Series(200, 5.0)).empty());
  EXPECT_TRUE(indexes(Series(200, 0.0)).empty());
  EXPECT_TRUE(indexes({1, 1, 1, 9, 9, 9, 9}).empty());  // 7 values: no two segments of 4
  EXPECT_TRUE(indexes(level(100, 300, 5)).empty());
}

TEST(ChangePoints, AnOutlierIsNone) {
  for (const size_t at : {0u, 5u, 10u, 50u, 99u}) {
    Series series = level(100, 100, 6);
    series[at] = 50;
    EXPECT_TRUE(indexes(series).empty()) << at;
    for (size_t i = at; i < at + 3 && i < series.size(); ++i) series[i] = 200;
    EXPECT_TRUE(indexes(series).empty()) << at << ": three are shorter than a segment";
  }
}

TEST(ChangePoints, LessThanTheLeastChangeIsNone) {
  const Series series = joined({level(100, 60, 7), level(102.5, 60, 8)});
  EXPECT_TRUE(indexes(series).empty());
  ChangePointSettings sensitive;
  sensitive.min_change = 0.01;
  EXPECT_EQ(indexes(series, sensitive), Indexes{60});
}

TEST(ChangePoints, ALongHistoryDoesNotHideANewStep) {
  EXPECT_EQ(indexes(joined({level(100, 1000, 9), level(107, 12, 10)})), Indexes{1000});
}

TEST(ChangePoints, ASlowDriftBelowTheLeastChangeInAWindowIsNone) {
  Series series;
  for (int i = 0; i < 500; ++i) series.push_back(100 + 0.02 * i);  // 10% in all, 1% in a window
  EXPECT_TRUE(indexes(series).empty());
}

TEST(ChangePoints, WorkOnNegativeValuesAndFromZero) {
  EXPECT_EQ(indexes(joined({level(-100, 30, 11), level(-110, 30, 12)})), Indexes{30});
  const auto from_zero = find_change_points(joined({Series(30, 0.0), level(5, 30, 13)}));
  ASSERT_EQ(from_zero.size(), 1u);
  EXPECT_EQ(from_zero[0].index, 30u);
}

TEST(ChangePoints, TheSameSeriesGivesTheSameAnswer) {
  const Series series = joined({level(100, 40, 1), level(104, 40, 2), level(100, 20, 3)});
  EXPECT_EQ(indexes(series), indexes(series));
}

TEST(ChangePoints, NormalNoiseRarelyLooksLikeAChange) {
  Random random(14);
  size_t alarms = 0;
  for (int history = 0; history < 60; ++history) {
    Series series;
    for (int i = 0; i < 100; ++i) {
      series.push_back(100 +
                       5 * normal_quantile((static_cast<double>(random.below(1u << 30)) + 0.5) /
                                           static_cast<double>(1u << 30)));
    }
    alarms += indexes(series).size();
  }
  EXPECT_LE(alarms, 3u);  // of 6,000 commits
}

}  // namespace
}  // namespace topspin
