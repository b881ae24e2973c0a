// Base-2 exponential histograms, as OpenTelemetry defines them, made from ours.
//
// Bucket i of scale s holds the values v with base^i < v <= base^(i+1), where base is 2^(2^-s):
// each octave has 2^s buckets. A histogram of ours has 32 linear cells in each octave of
// nanoseconds, so its cells do not end where such buckets end. A cell goes whole into the bucket
// that holds its middle, always the same one. So a value is in its bucket, or outside of it by at
// most 1/64 of the value (half a cell; below 64 ns half a nanosecond). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/number/histogram.h"

namespace topspin {

/// 16 buckets in an octave, each 4.4% wide. Finer ones would be narrower than our cells.
inline constexpr int32_t kFinestExponentialScale = 4;
/// With a wider range the scale is lower. As many as OpenTelemetry's SDKs have by default.
inline constexpr size_t kMostExponentialBuckets = 160;

struct ExponentialBuckets {
  int32_t offset = 0;            // the index of the first count
  std::vector<uint64_t> counts;  // the first and the last are not 0
};

struct ExponentialHistogram {
  int32_t scale = kFinestExponentialScale;
  uint64_t zero_count = 0;
  ExponentialBuckets positive, negative;  // of magnitudes
};

/// Of durations in nanoseconds, with buckets in seconds. As the histogram grows, no bucket of the
/// same scale ever loses a count, and the scale never rises.
ExponentialHistogram exponential_seconds(const Histogram& histogram);
ExponentialHistogram exponential_seconds(const SignedHistogram& histogram);

}  // namespace topspin
