// Our histograms as base-2 exponential ones: what a reader finds in a bucket, against the values
// that were recorded.
#include "core/number/exponential_histogram.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace topspin::test {
namespace {

/// A reader that knows only the definition: bucket i holds base^i < v <= base^(i+1).
struct Bucket {
  double above = 0, to = 0;
  uint64_t count = 0;
};

std::vector<Bucket> read(const ExponentialBuckets& buckets, int32_t scale) {
  const double base = std::pow(2.0, std::pow(2.0, -scale));
  std::vector<Bucket> all;
  for (size_t i = 0; i < buckets.counts.size(); ++i) {
    const double index = buckets.offset + static_cast<double>(i);
    all.push_back({std::pow(base, index), std::pow(base, index + 1), buckets.counts[i]});
  }
  return all;
}

uint64_t sum_of(const ExponentialBuckets& buckets) {
  return std::accumulate(buckets.counts.begin(), buckets.counts.end(), uint64_t{0});
}

/// Each value, in order, is in the bucket in which a reader finds the value of its rank, or outside
/// of it by at most 1/64.
void expect_near(std::vector<uint64_t> values_ns, const ExponentialHistogram& histogram) {
  std::sort(values_ns.begin(), values_ns.end());
  size_t rank = histogram.zero_count;
  for (const Bucket& bucket : read(histogram.positive, histogram.scale)) {
    for (uint64_t i = 0; i < bucket.count; ++i, ++rank) {
      ASSERT_LT(rank, values_ns.size());
      const double seconds = static_cast<double>(values_ns[rank]) / 1e9;
      constexpr double kOff = 1.0 / 64 + 1e-9;
      EXPECT_GT(seconds, bucket.above * (1 - kOff)) << values_ns[rank];
      EXPECT_LE(seconds, bucket.to * (1 + kOff)) << values_ns[rank];
    }
  }
  EXPECT_EQ(rank, values_ns.size());
}

TEST(ExponentialHistogram, HasEachValueInItsBucketOrByA64thOutside) {
  std::mt19937_64 random(7);
  for (const double octaves : {0.5, 3.0, 9.0, 14.0, 30.0, 43.0}) {
    std::vector<uint64_t> values;
    Histogram histogram;
    std::uniform_real_distribution<double> exponent(43.0 - octaves, 43.0);
    for (int i = 0; i < 3'000; ++i) {
      values.push_back(static_cast<uint64_t>(std::exp2(exponent(random))));
      histogram.record(values.back());
    }
    const ExponentialHistogram made = exponential_seconds(histogram);
    EXPECT_LE(made.positive.counts.size(), kMostExponentialBuckets);
    EXPECT_GT(made.positive.counts.front(), 0u);
    EXPECT_GT(made.positive.counts.back(), 0u);
    EXPECT_EQ(made.scale, octaves < 10 ? 4 : octaves < 20 ? 3 : octaves < 40 ? 2 : 1) << octaves;
    expect_near(values, made);
  }
}

TEST(ExponentialHistogram, EveryCellIsWhereItsEdgesAreNear) {
  for (uint32_t cell = 1; cell + 1 < kHistogramBuckets; ++cell) {
    for (const uint64_t edge : {histogram_bucket_min(cell), histogram_bucket_max(cell)}) {
      Histogram histogram;
      histogram.record(edge);
      expect_near({edge}, exponential_seconds(histogram));
    }
  }
}

TEST(ExponentialHistogram, KnowsZeroAndWhatIsBeyondTheLastCell) {
  Histogram histogram;
  histogram.record_n(0, 3);
  const ExponentialHistogram zeros = exponential_seconds(histogram);
  EXPECT_EQ(zeros.zero_count, 3u);
  EXPECT_TRUE(zeros.positive.counts.empty());
  histogram.record(UINT64_MAX / 2);
  const ExponentialHistogram made = exponential_seconds(histogram);
  EXPECT_EQ(sum_of(made.positive), 1u);
  const Bucket last = read(made.positive, made.scale).back();
  EXPECT_GE(last.to, static_cast<double>(histogram_bucket_min(kHistogramBuckets - 1)) / 1e9);
  const ExponentialHistogram none = exponential_seconds(Histogram());
  EXPECT_TRUE(none.zero_count == 0 && none.positive.counts.empty());
}

TEST(ExponentialHistogram, HasBothSidesOfZeroWithOneScale) {
  SignedHistogram histogram;
  histogram.record(0);
  for (int64_t early = 1; early < 5'000'000'000; early *= 2) histogram.record(-early);
  histogram.record(1'000'000);
  const ExponentialHistogram made = exponential_seconds(histogram);
  EXPECT_EQ(made.zero_count, 1u);
  EXPECT_EQ(sum_of(made.positive), 1u);
  EXPECT_EQ(sum_of(made.negative), histogram.count() - 2);
  EXPECT_LE(made.negative.counts.size(), kMostExponentialBuckets);
  const Bucket late = read(made.positive, made.scale).front();
  EXPECT_LE(late.above, 0.001 * (1 + 1.0 / 64));
  EXPECT_GE(late.to, 0.001 * (1 - 1.0 / 64));
}

/// The counts of the same buckets only grow, whatever was recorded before: a reader of cumulative
/// histograms takes a count that falls for a restart.
TEST(ExponentialHistogram, OnlyGrows) {
  std::mt19937_64 random(3);
  Histogram histogram;
  ExponentialHistogram before = exponential_seconds(histogram);
  for (int i = 0; i < 400; ++i) {
    const double width = 20 + static_cast<double>(i) / 20;
    histogram.record(static_cast<uint64_t>(
        std::exp2(std::uniform_real_distribution<double>(30 - width, 12 + width)(random))));
    const ExponentialHistogram now = exponential_seconds(histogram);
    ASSERT_LE(now.scale, before.scale);
    const int32_t shift = before.scale - now.scale;
    for (size_t b = 0; b < before.positive.counts.size(); ++b) {
      const int32_t at =
          ((before.positive.offset + static_cast<int32_t>(b)) >> shift) - now.positive.offset;
      ASSERT_GE(at, 0);
      ASSERT_LT(static_cast<size_t>(at), now.positive.counts.size());
      EXPECT_GE(now.positive.counts[static_cast<size_t>(at)], before.positive.counts[b]);
    }
    before = now;
  }
  EXPECT_LT(before.scale, kFinestExponentialScale) << "the range became wide";
}

}  // namespace
}  // namespace topspin::test
