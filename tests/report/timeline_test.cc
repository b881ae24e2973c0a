// Thinning of curves over time: the result is bounded, in order, and keeps the extremes.
#include "report/model/timeline.h"

#include <random>

#include <gtest/gtest.h>

namespace topspin {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

void add(Timeline& timeline, int64_t tick, std::optional<double> value) {
  timeline.add((tick - 1) * kSecond, tick * kSecond, std::vector{value});
}

TEST(Timeline, HoldsEachTickWhileThereIsRoom) {
  Timeline timeline(1, 4);
  for (int64_t tick = 1; tick <= 4; ++tick) add(timeline, tick, static_cast<double>(tick));
  ASSERT_EQ(timeline.bins().size(), 4u);
  EXPECT_EQ(timeline.ticks_per_bin(), 1u);
  EXPECT_EQ(timeline.curve(0)[2].min, 3);
  EXPECT_EQ(timeline.curve(0)[2].max, 3);
  EXPECT_EQ(timeline.bins()[2].end_ns, 3 * kSecond);
}

TEST(Timeline, LosesNoExtremeAndNoTickHoweverLong) {
  std::mt19937 random(7);
  for (const int ticks : {5, 100, 1023, 10'000}) {
    Timeline timeline(1, 64);
    const int low = static_cast<int>(random() % static_cast<unsigned>(ticks)) + 1;
    const int high = static_cast<int>(random() % static_cast<unsigned>(ticks)) + 1;
    for (int tick = 1; tick <= ticks; ++tick)
      add(timeline, tick,
          tick == high  ? 1e6
          : tick == low ? -1e6
                        : static_cast<double>(random() % 100));
    EXPECT_LE(timeline.bins().size(), 64u);
    EXPECT_TRUE(ticks < 64 || timeline.bins().size() >= 32u);
    uint64_t counted = 0;
    int64_t reached = 0;
    bool low_found = low == high, high_found = false;
    for (size_t i = 0; i < timeline.bins().size(); ++i) {
      const Timeline::Bin& bin = timeline.bins()[i];
      EXPECT_EQ(bin.begin_ns, reached);
      reached = bin.end_ns;
      counted += bin.ticks;
      const CurveBin& value = timeline.curve(0)[i];
      const auto holds = [&](int tick) {
        return bin.begin_ns < tick * kSecond && tick * kSecond <= bin.end_ns;
      };
      if (value.max == 1e6) high_found = holds(high);
      if (value.min == -1e6) low_found = holds(low);
      if (value.max == 1e6 && value.min == -1e6) {
        EXPECT_EQ(value.max_first, high < low);
      }
    }
    EXPECT_EQ(counted, static_cast<uint64_t>(ticks));
    EXPECT_TRUE(low_found && high_found) << ticks;
  }
}

TEST(Timeline, AbsentIsNotZero) {
  Timeline timeline(1, 2);
  for (int64_t tick = 1; tick <= 4; ++tick) add(timeline, tick, std::nullopt);
  EXPECT_FALSE(timeline.measured(0));
  add(timeline, 5, 0.0);
  EXPECT_TRUE(timeline.measured(0));
  EXPECT_FALSE(timeline.occurs(0));
  EXPECT_TRUE(timeline.curve(0).front().absent);
}

TEST(Timeline, FoldsForTablesWithoutTouchingItself) {
  Timeline timeline(1, 100);
  for (int64_t tick = 1; tick <= 99; ++tick) add(timeline, tick, static_cast<double>(tick));
  const Timeline folded = timeline.folded(30);
  EXPECT_EQ(folded.bins().size(), 25u);
  EXPECT_EQ(folded.curve(0).back().max, 99);
  EXPECT_EQ(folded.bins().back().ticks, 3u);
  EXPECT_EQ(timeline.bins().size(), 99u);
}

TEST(HeatMap, HoldsEverySampleWhereItFell) {
  HeatMap heat(8);
  uint64_t samples = 0;
  for (int64_t tick = 1; tick <= 100; ++tick) {
    Histogram histogram;
    histogram.record_n(1'000'000, static_cast<uint64_t>(tick));
    histogram.record(0);
    samples += static_cast<uint64_t>(tick) + 1;
    heat.add((tick - 1) * kSecond, tick * kSecond, histogram);
  }
  EXPECT_LE(heat.columns().size(), 8u);
  uint64_t found = 0;
  for (const HeatMap::Column& column : heat.columns()) {
    for (const auto& [row, count] : column.counts) {
      found += count;
      EXPECT_TRUE(row == 0 || row == HeatMap::row_of(1'000'000)) << row;
    }
  }
  EXPECT_EQ(found, samples);
  EXPECT_EQ(HeatMap::row_of(1 << 10), 40);
  EXPECT_EQ(HeatMap::row_of((1 << 10) - 1), 39);
}

TEST(LifeGrid, SaysWhichShareOfAGroupWasThere) {
  std::vector<FlowLife> lives;
  for (int i = 0; i < 10; ++i) lives.push_back({0, 10 * kSecond, 0});
  for (int i = 0; i < 10; ++i) lives.push_back({5 * kSecond, 6 * kSecond, 2});
  const LifeGrid grid = make_life_grid(lives, 10 * kSecond, kSecond, 2, 100);
  ASSERT_EQ(grid.columns, 10u);
  ASSERT_EQ(grid.rows.size(), 2u);
  EXPECT_EQ(grid.rows[0], std::vector<double>(10, 1.0));
  EXPECT_EQ(grid.rows[1], (std::vector<double>{0, 0, 0, 0, 0, 1, 1, 0, 0, 0}));
  EXPECT_EQ(grid.missed_ticks, (std::vector<uint64_t>{0, 20}));
  const LifeGrid one_row = make_life_grid(lives, 10 * kSecond, kSecond, 1, 100);
  EXPECT_EQ(one_row.rows[0][0], 0.5);
  EXPECT_EQ(one_row.rows[0][5], 1.0);
}

TEST(LifeGrid, TakesWhatDamagedRowsSay) {
  const LifeGrid grid = make_life_grid({{INT64_MAX, INT64_MIN, 0}, {INT64_MIN, INT64_MAX, 7}},
                                       10 * kSecond, kSecond, 8, 8);
  EXPECT_EQ(grid.rows.size(), 2u);
  EXPECT_TRUE(make_life_grid({}, kSecond, kSecond, 8, 8).rows.empty());
  EXPECT_TRUE(make_life_grid({{0, 1, 0}}, 0, 0, 8, 8).rows.empty());
}

}  // namespace
}  // namespace topspin
