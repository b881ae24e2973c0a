// Tests properties of the histograms on random values. A sorted array gives the exact percentiles.
#include "core/number/histogram.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "core/base/varint.h"
#include "core/number/coarse_histogram.h"

namespace topspin {
namespace {

TEST(HistogramLayout, BucketsJoinWithoutGapAndStayWithinOneThirtySecond) {
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) {
    const uint64_t low = histogram_bucket_min(i);
    ASSERT_EQ(topspin_histogram_index(low), i);
    if (i + 1 == kHistogramBuckets) break;
    const uint64_t high = histogram_bucket_max(i);
    ASSERT_EQ(topspin_histogram_index(high), i);
    ASSERT_EQ(topspin_histogram_index(high + 1), i + 1);
    ASSERT_LE((high - low) * 32, low) << i;
  }
  EXPECT_EQ(topspin_histogram_index(UINT64_MAX), kHistogramBuckets - 1);
  // The range must reach at least four hours.
  EXPECT_GT(histogram_bucket_min(kHistogramBuckets - 1), 4ull * 3600 * 1'000'000'000);
}

std::vector<uint64_t> random_values(std::mt19937_64& random, size_t n) {
  // Log-uniform, so that every octave is visited. Includes 0, 1 and a repeated value.
  std::uniform_real_distribution<double> exponent(0, 43.9);
  std::vector<uint64_t> values(n);
  for (auto& v : values) v = static_cast<uint64_t>(std::exp2(exponent(random)));
  if (n > 3) values[0] = 0, values[1] = 1, values[2] = values[3];
  return values;
}

TEST(Histogram, PercentilesAgreeWithASortedArray) {
  std::mt19937_64 random(1);
  for (const size_t n : {1, 9, 10, 19, 20, 99, 100, 999, 1000, 9999, 10000, 50000}) {
    auto values = random_values(random, n);
    Histogram h;
    uint64_t sum = 0;
    for (const uint64_t v : values) h.record(v), sum += v;
    std::sort(values.begin(), values.end());
    EXPECT_EQ(h.count(), n);
    EXPECT_EQ(h.sum(), sum);
    EXPECT_EQ(h.min(), values.front());
    EXPECT_EQ(h.max(), values.back());
    for (const double q : {0.0, 0.5, 0.9, 0.99, 0.999}) {
      const auto got = h.percentile(q);
      const double above = (1 - q) * static_cast<double>(n);
      ASSERT_EQ(got.has_value(), above + 1e-9 >= 10) << n << " " << q;
      if (!got) continue;
      const auto rank =
          static_cast<size_t>(std::max(1.0, std::ceil(q * static_cast<double>(n) - 1e-9)));
      const uint64_t exact = values[rank - 1];
      EXPECT_GE(*got, exact);
      EXPECT_LE(*got - exact, exact / 32 + 1) << q;
    }
  }
}

TEST(Histogram, MergeIsWhatRecordingBothWouldBe) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 20; ++round) {
    Histogram a, b, both;
    for (const uint64_t v : random_values(random, 500)) a.record(v), both.record(v);
    for (const uint64_t v : random_values(random, 300)) b.record(v), both.record(v);
    a.merge(b);
    EXPECT_EQ(a, both);
    Histogram empty;
    a.merge(empty);
    EXPECT_EQ(a, both);
    empty.merge(both);
    EXPECT_EQ(empty, both);
  }
}

TEST(Histogram, SubtractingAnEarlierReadingLeavesTheInterval) {
  std::mt19937_64 random(3);
  Histogram growing;
  for (const uint64_t v : random_values(random, 1000)) growing.record(v);
  const Histogram earlier = growing;
  Histogram interval;
  for (const uint64_t v : random_values(random, 700)) growing.record(v), interval.record(v);
  Histogram difference = growing;
  difference.subtract(earlier);
  EXPECT_EQ(difference.count(), interval.count());
  EXPECT_EQ(difference.sum(), interval.sum());
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) ASSERT_EQ(difference.cell(i), interval.cell(i));
  EXPECT_LE(*difference.min(), *interval.min());
  EXPECT_GE(*difference.max(), *interval.max());
  EXPECT_LE(*difference.max(), *interval.max() + *interval.max() / 32 + 1);

  Histogram nothing = growing;
  nothing.subtract(growing);
  EXPECT_TRUE(nothing.empty());
  EXPECT_EQ(nothing.max(), std::nullopt);
}

TEST(Histogram, ANewMaximumSurvivesSubtractionExactly) {
  Histogram h;
  h.record(100);
  const Histogram earlier = h;
  h.record(1'000'003);
  h.subtract(earlier);
  EXPECT_EQ(h.max(), 1'000'003u);
}

TEST(Histogram, EncodingRoundTripsAndIsSparse) {
  std::mt19937_64 random(4);
  for (const size_t n : {0, 1, 2, 100, 5000}) {
    Histogram h;
    for (const uint64_t v : random_values(random, n)) h.record(v);
    const auto back = Histogram::decode(h.encode());
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, h);
  }
  Histogram one;
  one.record_n(1'000'000, 15'000);
  EXPECT_LT(one.encode().size(), 20u);
}

TEST(Histogram, DamagedBytesAreRefusedAndNeverCrash) {
  std::mt19937_64 random(5);
  Histogram h;
  for (const uint64_t v : random_values(random, 200)) h.record(v);
  const std::string good = h.encode();
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(Histogram::decode(good.substr(0, n)).ok());
  for (int round = 0; round < 20'000; ++round) {
    std::string bad = good;
    bad[random() % bad.size()] = static_cast<char>(random());
    if (auto r = Histogram::decode(bad); r.ok()) {
      EXPECT_EQ(Histogram::decode(r->encode())->count(), r->count());
    }
  }
  EXPECT_FALSE(Histogram::decode("").ok());
  EXPECT_FALSE(SignedHistogram::decode(good).ok());
}

/// The encoding of a histogram with one cell. A hostile database may hold any of these numbers.
std::string encoding_of(uint64_t count, uint64_t sum, uint64_t min, uint64_t max, uint64_t index) {
  std::string bytes(1, '\1');
  for (const uint64_t number : {count, sum, min, max, index, count}) put_varint(bytes, number);
  return bytes;
}

TEST(Histogram, NumbersThatFitNoSignedIntegerAreDamage) {
  constexpr uint64_t kMost = INT64_MAX;
  EXPECT_TRUE(Histogram::decode(encoding_of(1, 5, 5, 5, 5)).ok());
  EXPECT_TRUE(Histogram::decode(encoding_of(kMost, kMost, kMost, kMost, 1000)).ok());
  EXPECT_FALSE(Histogram::decode(encoding_of(1, 5, 5, kMost + 1, 5)).ok());
  EXPECT_FALSE(Histogram::decode(encoding_of(1, 5, kMost + 1, UINT64_MAX, 5)).ok());
  EXPECT_FALSE(Histogram::decode(encoding_of(1, kMost + 1, 5, 5, 5)).ok());
  EXPECT_FALSE(Histogram::decode(encoding_of(kMost + 1, 5, 5, 5, 5)).ok());
  // The negative half of a signed histogram stores magnitudes, which are negated when read.
  const std::string half = encoding_of(20, 5, kMost + 1, kMost + 1, 1000);
  std::string both(1, '\2');
  put_varint(both, half.size());
  EXPECT_FALSE(SignedHistogram::decode(both + half + Histogram().encode()).ok());
}

TEST(Histogram, WhatIsGreaterThanCanBeStoredIsStoredAsTheMost) {
  Histogram h;
  h.record_n(UINT64_MAX, 3);
  const auto back = Histogram::decode(h.encode());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->count(), 3u);
  EXPECT_EQ(back->max(), static_cast<uint64_t>(INT64_MAX));
  SignedHistogram signed_h;
  for (int i = 0; i < 20; ++i) signed_h.record(INT64_MIN);
  const auto signed_back = SignedHistogram::decode(signed_h.encode());
  ASSERT_TRUE(signed_back.ok());
  EXPECT_EQ(signed_back->min(), -INT64_MAX);
  EXPECT_LT(signed_back->percentile(0.5), 0);
}

TEST(Histogram, RandomBytesDecodeToAnErrorOrToNumbersThatCanBeUsed) {
  std::mt19937_64 random(11);
  size_t decoded = 0;
  const auto use = [&](const auto& result) {
    if (!result.ok()) {
      EXPECT_EQ(result.error().code, ErrorCode::kInput);
      return;
    }
    ++decoded;
    auto sum = *result;
    sum.merge(*result);
    sum.merge(sum);
    const HistogramSummary summary = sum.summary();
    if (summary.min && summary.max) {
      EXPECT_LE(*summary.min, *summary.max);
    }
  };
  const auto any_number = [&] {
    constexpr uint64_t kEdges[] = {0, 1, 2, 20, 1279, 1280, INT64_MAX, 1ull << 63, UINT64_MAX};
    return random() % 2 == 0 ? kEdges[random() % std::size(kEdges)] : random() >> (random() % 64);
  };
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes;
    if (round % 2 == 0) {
      for (size_t i = random() % 40; i > 0; --i) bytes += static_cast<char>(random());
      if (!bytes.empty()) bytes[0] = static_cast<char>(random() % 5);
    } else {
      const uint64_t count = any_number();
      bytes = encoding_of(count, any_number(), any_number(), any_number(), any_number());
      if (round % 4 == 1) {
        std::string both(1, '\2');
        put_varint(both, bytes.size());
        bytes = both + bytes + Histogram().encode();
      }
    }
    use(Histogram::decode(bytes));
    use(SignedHistogram::decode(bytes));
    use(CoarseHistogram::decode(bytes));
  }
  EXPECT_GT(decoded, 100u);
}

TEST(Histogram, CellsFromElsewhereKeepCountAndSum) {
  std::vector<uint64_t> cells(kHistogramBuckets);
  cells[topspin_histogram_index(1000)] = 3;
  cells[topspin_histogram_index(70'000)] = 1;
  const Histogram h = Histogram::from_cells(cells, 73'000, 70'001);
  EXPECT_EQ(h.count(), 4u);
  EXPECT_EQ(h.sum(), 73'000u);
  EXPECT_EQ(h.max(), 70'001u);
  EXPECT_LE(*h.min(), 1000u);
}

TEST(Histogram, CellsThatGrowWhileTheyAreReadStillAgreeWithTheirCount) {
  std::vector<uint64_t> cells(kHistogramBuckets);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint32_t i = 0; !stop; i = (i + 7) % kHistogramBuckets) {
      std::atomic_ref(cells[i]).fetch_add(1, std::memory_order_relaxed);
    }
  });
  for (int round = 0; round < 2'000; ++round) {
    const Histogram h = Histogram::from_cells(cells, 1, 1);
    uint64_t count = 0;
    for (uint32_t i = 0; i < kHistogramBuckets; ++i) count += h.cell(i);
    ASSERT_EQ(h.count(), count);
  }
  stop = true;
  writer.join();
}

TEST(SignedHistogram, OrdersBothSidesOfZero) {
  std::mt19937_64 random(6);
  std::normal_distribution<double> lateness(2e6, 5e6);
  std::vector<int64_t> values(20'000);
  SignedHistogram h;
  int64_t sum = 0;
  for (auto& v : values) {
    v = static_cast<int64_t>(lateness(random));
    h.record(v);
    sum += v;
  }
  std::sort(values.begin(), values.end());
  EXPECT_EQ(h.count(), values.size());
  EXPECT_EQ(h.sum(), sum);
  EXPECT_EQ(h.min(), values.front());
  EXPECT_EQ(h.max(), values.back());
  for (const double q : {0.01, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999}) {
    const auto rank = static_cast<size_t>(std::ceil(q * 20'000 - 1e-9));
    const int64_t exact = values[rank - 1];
    ASSERT_TRUE(h.percentile(q).has_value());
    EXPECT_GE(*h.percentile(q), exact);
    EXPECT_LE(*h.percentile(q) - exact, std::abs(exact) / 32 + 1) << q;
  }
  const auto back = SignedHistogram::decode(h.encode());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, h);
}

TEST(SignedHistogram, OnlyNegativeValues) {
  SignedHistogram h;
  h.record(-5);
  h.record(-1);
  EXPECT_EQ(h.min(), -5);
  EXPECT_EQ(h.max(), -1);
  EXPECT_EQ(h.sum(), -6);
  h.record(INT64_MIN);  // must not overflow when it is negated
}

TEST(HistogramSummary, PercentilesAreAbsentWithTooFewSamples) {
  Histogram h;
  h.record(5);
  const HistogramSummary s = h.summary();
  EXPECT_EQ(s.count, 1u);
  EXPECT_EQ(s.min, 5);
  EXPECT_EQ(s.p50, std::nullopt);
  EXPECT_EQ(s.max, 5);
  h.record_n(7, 999);
  EXPECT_EQ(h.summary().p99, 7);
  EXPECT_EQ(h.summary().p999, std::nullopt);
  EXPECT_EQ(Histogram().summary().max, std::nullopt);
}

}  // namespace
}  // namespace topspin
