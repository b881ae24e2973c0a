#include "core/number/coarse_histogram.h"

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace topspin {
namespace {

uint32_t cell_of(uint64_t value) { return topspin_coarse_index(topspin_histogram_index(value)); }

TEST(CoarseHistogram, each_value_lies_within_its_cell_and_cells_join) {
  for (uint32_t index = 0; index < kCoarseCells; ++index) {
    EXPECT_EQ(cell_of(coarse_cell_min(index)), index);
    EXPECT_EQ(cell_of(coarse_cell_max(index)), index);
    if (index + 1 == kCoarseCells) continue;
    EXPECT_EQ(coarse_cell_max(index) + 1, coarse_cell_min(index + 1));
    if (index == 0) continue;
    EXPECT_LE(coarse_cell_max(index) + 1 - coarse_cell_min(index), coarse_cell_min(index) / 4);
  }
  EXPECT_EQ(coarse_cell_min(1), 1024u);
  EXPECT_EQ(cell_of(0), 0u);
  EXPECT_EQ(cell_of(UINT64_MAX), kCoarseCells - 1);
}

TEST(CoarseHistogram, percentiles_are_at_most_a_quarter_too_high_and_never_too_low) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latency(11.0, 1.5);
  CoarseHistogram coarse;
  std::vector<uint64_t> values;
  for (int i = 0; i < 20'000; ++i) {
    values.push_back(static_cast<uint64_t>(latency(random)));
    coarse.record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double quantile : {0.5, 0.9, 0.99, 0.999}) {
    const uint64_t exact =
        values[static_cast<size_t>(quantile * static_cast<double>(values.size())) - 1];
    const uint64_t seen = coarse.percentile(quantile).value();
    EXPECT_GE(seen, exact) << quantile;
    EXPECT_LE(static_cast<double>(seen), 1.25 * static_cast<double>(exact) + 1024) << quantile;
  }
  EXPECT_EQ(coarse.max(), values.back());
  EXPECT_EQ(coarse.count(), values.size());
  EXPECT_FALSE(coarse.summary().min);
}

TEST(CoarseHistogram, too_few_samples_give_no_percentile) {
  CoarseHistogram h;
  EXPECT_FALSE(h.max());
  for (int i = 0; i < 19; ++i) h.record(5'000);
  EXPECT_FALSE(h.percentile(0.5));
  h.record(5'000);
  EXPECT_EQ(h.percentile(0.5), 5'000u);
}

TEST(CoarseHistogram, comes_back_from_its_bytes_and_damage_is_refused) {
  CoarseHistogram h;
  EXPECT_EQ(CoarseHistogram::decode(h.encode()).value(), h);
  for (const uint64_t value : {0ull, 1'500ull, 1'500ull, 1ull << 40}) h.record(value);
  const std::string bytes = h.encode();
  EXPECT_EQ(CoarseHistogram::decode(bytes).value(), h);
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(CoarseHistogram::decode(bytes.substr(0, length)).ok()) << length;
  EXPECT_FALSE(CoarseHistogram::decode(bytes + '\1').ok());
  EXPECT_FALSE(CoarseHistogram::decode(Histogram().encode()).ok());
}

TEST(CoarseHistogram, merges_and_takes_cells_counted_elsewhere) {
  std::array<uint32_t, kCoarseCells> cells{};
  cells[cell_of(2'000)] = 2;
  CoarseHistogram taken = CoarseHistogram::from_cells(cells, 4'000, 2'000);
  CoarseHistogram recorded;
  recorded.record(2'000);
  CoarseHistogram both = recorded;
  both.merge(recorded);
  EXPECT_EQ(taken, both);
  both.merge(CoarseHistogram());
  EXPECT_EQ(taken, both);
}

}  // namespace
}  // namespace topspin
