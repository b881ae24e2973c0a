// The statistics on series of real measurements with known answers: no alarm on identical code, the
// steps that were put in, and the change points that Mozilla's sheriffs confirmed.
#include "tests/support/series.h"

#include <cmath>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ci/judgement/compare.h"
#include "ci/statistics/change_points.h"
#include "ci/statistics/random.h"
#include "core/number/csv.h"
#include "tests/support/every_night.h"

namespace topspin {
namespace {

using Values = std::vector<double>;

Values column(const std::string& file, const std::string& name) {
  const auto table = read_csv_file(test::series_directory() + "/" + file);
  CHECK(table.ok());
  const auto at = find_column(*table, name);
  CHECK(at.ok());
  auto numbers = column_numbers(*table, *at);
  CHECK(numbers.ok());
  return *std::move(numbers);
}

/// How many of `trials` comparisons of `pairs` pairs fail when B is `ratio` times as expensive. A
/// pair is two runs in a row. A coin decides which of them is A, as in an interleaved A/B.
int failures(const Values& series, size_t pairs, double ratio, int trials) {
  Random random(2026);
  int failed = 0;
  for (int trial = 0; trial < trials; ++trial) {
    const size_t begin = random.below(series.size() - 2 * pairs + 1);
    Values a, b;
    for (size_t i = 0; i < pairs; ++i) {
      const bool a_first = random.coin();
      a.push_back(series[begin + 2 * i + (a_first ? 0 : 1)]);
      b.push_back(series[begin + 2 * i + (a_first ? 1 : 0)] * ratio);
    }
    std::vector<Comparison> all{measure(Metric{"cpu", "us", Better::kLower, 0.03, true}, a, b,
                                        Layout::kPaired, static_cast<uint64_t>(trial))};
    judge(all);
    failed += all[0].verdict == Verdict::kFail ? 1 : 0;
  }
  return failed;
}

TEST(SeriesGate, IdenticalCodeRaisesAtMostOneAlarmInAHundred) {
  TOPSPIN_NEEDS_SERIES();
  const Values cpu = column("aa_sqlite_insert.csv", "cpu_us_per_row");
  const int of_twenty = test::repeats(300, 1000), of_ten = test::repeats(100, 300);
  EXPECT_LE(failures(cpu, 20, 1, of_twenty), of_twenty / 100);
  EXPECT_LE(failures(cpu, 10, 1, of_ten), of_ten / 100);
}

TEST(SeriesGate, TenPercentAreFoundIn95Of100) {
  TOPSPIN_NEEDS_SERIES();
  const Values cpu = column("aa_sqlite_insert.csv", "cpu_us_per_row");
  EXPECT_GE(failures(cpu, 20, 1.10, 200), 190);
}

TEST(SeriesHistory, AnOutlierIsNoChangePoint) {
  TOPSPIN_NEEDS_SERIES();
  const Values series = column("otava/tigerbeetle_series.csv", "value");
  for (const double least : {0.0, 0.03}) {
    ChangePointSettings settings;
    settings.min_change = least;
    // The level falls by 12% at 15, just after the outlier. The outlier must neither be a change
    // nor hide this one. It lowers the mean before the change, from which the change is only 9%.
    const auto points = find_change_points(series, settings);
    ASSERT_FALSE(points.empty());
    EXPECT_EQ(points[0].index, 15u) << "the outlier stands at 10";
    EXPECT_NEAR(points[0].change, -0.09, 0.01);
  }
}

TEST(SeriesHistory, StepsInACleanTailAreFound) {
  TOPSPIN_NEEDS_SERIES();
  const Values series = column("otava/tigerbeetle_series.csv", "value");
  const Values tail(series.end() - 200, series.end());
  EXPECT_TRUE(find_change_points(tail).empty());
  for (const double ratio : {1.10, 0.90, 1.05}) {
    for (size_t at = 10; at <= 190; at += 20) {
      Values stepped = tail;
      for (size_t i = at; i < stepped.size(); ++i) stepped[i] *= ratio;
      const auto points = find_change_points(stepped);
      ASSERT_EQ(points.size(), 1u) << ratio << " at " << at;
      EXPECT_NEAR(static_cast<double>(points[0].index), static_cast<double>(at), 1);
      EXPECT_NEAR(points[0].change, ratio - 1, 0.04);  // the tail itself varies by 2%
    }
  }
}

/// One series of a Mozilla test: values in the order of their pushes.
struct Talos {
  std::vector<int64_t> timestamps;
  Values values;
};

Talos read_talos(const std::string& file) {
  std::ifstream in(test::series_directory() + "/mozilla/" + file);
  const auto json = nlohmann::json::parse(in);
  std::vector<std::pair<int64_t, double>> points;
  for (const auto& run : json["test_runs"]) points.emplace_back(run[2], run[3]);
  std::stable_sort(points.begin(), points.end(),
                   [](const auto& x, const auto& y) { return x.first < y.first; });
  Talos talos;
  for (const auto& [timestamp, value] : points) {
    talos.timestamps.push_back(timestamp);
    talos.values.push_back(value);
  }
  return talos;
}

TEST(SeriesHistory, FindsTreeherdersTwelveChanges) {
  TOPSPIN_NEEDS_SERIES();
  const auto table =
      read_csv_file(test::series_directory() + "/mozilla/expected_change_timestamps.csv");
  ASSERT_TRUE(table.ok()) << table.error().message;
  size_t expected = 0, found = 0, found_by_default = 0, expected_large = 0;
  for (const auto& row : table->rows) {
    const Talos talos = read_talos(row[0]);
    // The labels have no least change. Four of them are smaller than 3%.
    ChangePointSettings any_size;
    any_size.min_change = 0;
    const auto points = find_change_points(talos.values, any_size);
    const auto default_points = find_change_points(talos.values);
    std::istringstream timestamps(row[1]);
    for (int64_t timestamp = 0; timestamps >> timestamp;) {
      ++expected;
      const auto nearest = [&](const std::vector<ChangePoint>& among) {
        double least = HUGE_VAL;
        ChangePoint at;
        for (const ChangePoint& point : among) {
          for (size_t i = 0; i < talos.timestamps.size(); ++i) {
            if (talos.timestamps[i] != timestamp) continue;
            const double away = std::abs(static_cast<double>(point.index) - static_cast<double>(i));
            if (away < least) {
              least = away;
              at = point;
            }
          }
        }
        return std::pair(least, at);
      };
      const auto [away, point] = nearest(points);
      EXPECT_LE(away, 1) << row[0] << " at " << timestamp;
      found += away <= 1 ? 1 : 0;
      if (std::abs(point.change) >= 0.04) {
        ++expected_large;
        found_by_default += nearest(default_points).first <= 1 ? 1 : 0;
      }
    }
    if (row[1].empty()) {
      EXPECT_TRUE(default_points.empty()) << row[0];
    }
  }
  EXPECT_EQ(expected, 12u);
  EXPECT_EQ(found, 12u);
  EXPECT_EQ(expected_large, 8u);
  EXPECT_EQ(found_by_default, expected_large);
}

}  // namespace
}  // namespace topspin
