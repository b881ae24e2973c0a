#include "core/number/exponential_histogram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

namespace topspin {
namespace {

/// The occupied cells of a histogram, without that of the value 0.
struct CellRange {
  uint32_t first = 0, last = 0;
};

std::optional<CellRange> occupied(const Histogram& histogram) {
  std::optional<CellRange> range;
  if (histogram.empty()) return range;
  for (uint32_t cell = 1; cell < kHistogramBuckets; ++cell) {
    if (histogram.cell(cell) == 0) continue;
    if (!range) range = {cell, cell};
    range->last = cell;
  }
  return range;
}

/// For each cell, the bucket of the finest scale that holds its middle, in seconds. The last cell
/// has no end; its beginning counts.
std::array<int32_t, kHistogramBuckets> make_finest_buckets() {
  constexpr double kPerOctave = 1 << kFinestExponentialScale;
  std::array<int32_t, kHistogramBuckets> buckets{};
  for (uint32_t cell = 1; cell < kHistogramBuckets; ++cell) {
    const auto least = static_cast<double>(histogram_bucket_min(cell));
    const auto most = static_cast<double>(histogram_bucket_max(cell));
    const double middle = cell + 1 == kHistogramBuckets ? least : (least + most) / 2;
    buckets[cell] = static_cast<int32_t>(std::ceil(std::log2(middle / 1e9) * kPerOctave)) - 1;
  }
  return buckets;
}

/// The bucket at the scale that is lower by `shift`. Each holds 2^shift buckets of the finest.
int32_t bucket_of(uint32_t cell, int32_t shift) {
  static const auto kFinest = make_finest_buckets();
  return kFinest[cell] >> shift;  // rounds down, also what is negative
}

size_t buckets_needed(const std::optional<CellRange>& range, int32_t shift) {
  if (!range) return 0;
  return static_cast<size_t>(bucket_of(range->last, shift) - bucket_of(range->first, shift) + 1);
}

ExponentialBuckets buckets_of(const Histogram& histogram, const std::optional<CellRange>& range,
                              int32_t shift) {
  ExponentialBuckets buckets;
  if (!range) return buckets;
  buckets.offset = bucket_of(range->first, shift);
  buckets.counts.resize(buckets_needed(range, shift));
  for (uint32_t cell = range->first; cell <= range->last; ++cell) {
    const auto at = static_cast<size_t>(bucket_of(cell, shift) - buckets.offset);
    buckets.counts[at] += histogram.cell(cell);
  }
  return buckets;
}

ExponentialHistogram exponential(const Histogram& positive, const Histogram* negative) {
  const auto positive_range = occupied(positive);
  const auto negative_range = negative ? occupied(*negative) : std::nullopt;
  int32_t shift = 0;
  while (std::max(buckets_needed(positive_range, shift), buckets_needed(negative_range, shift)) >
         kMostExponentialBuckets)
    ++shift;
  ExponentialHistogram result;
  result.scale = kFinestExponentialScale - shift;
  result.zero_count = positive.cell(0) + (negative ? negative->cell(0) : 0);
  result.positive = buckets_of(positive, positive_range, shift);
  if (negative) result.negative = buckets_of(*negative, negative_range, shift);
  return result;
}

}  // namespace

ExponentialHistogram exponential_seconds(const Histogram& histogram) {
  return exponential(histogram, nullptr);
}

ExponentialHistogram exponential_seconds(const SignedHistogram& histogram) {
  return exponential(histogram.non_negative(), &histogram.negative());
}

}  // namespace topspin
