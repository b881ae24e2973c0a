// Log-linear histograms of durations: record, merge, subtract, percentile, sparse encoding.
//
// The layout is histogram_abi.h's, the same in BPF. count, sum, min and max are exact for what was
// recorded here; a percentile is off by at most 1/32 of its value (it is the upper edge of its
// bucket, but never above max, so it is never too low). Plain values; not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/number/histogram_abi.h"

namespace topspin {

inline constexpr uint32_t kHistogramBuckets = TOPSPIN_HISTOGRAM_BUCKETS;

/// A percentile needs this many samples above it, so p99 needs 1,000 samples.
inline constexpr uint64_t kSamplesAbovePercentile = 10;

/// Smallest and largest value that share bucket `index`.
uint64_t histogram_bucket_min(uint32_t index);
uint64_t histogram_bucket_max(uint32_t index);

/// Nearest rank (1-based) of `quantile` among `count` samples, or nullopt if too few lie above it.
std::optional<uint64_t> supported_rank(uint64_t count, double quantile);

/// The fields that every latency has in every JSON object. Absent is nullopt, never 0.
struct HistogramSummary {
  uint64_t count = 0;
  int64_t sum = 0;
  std::optional<int64_t> min;
  std::optional<int64_t> p50;
  std::optional<int64_t> p90;
  std::optional<int64_t> p99;
  std::optional<int64_t> p999;
  std::optional<int64_t> max;

  bool operator==(const HistogramSummary&) const = default;
};

/// A histogram of non-negative values, by convention in nanoseconds. It has 1,280 buckets of 8
/// bytes, which are allocated on first use.
class Histogram {
 public:
  void record(uint64_t value) { record_n(value, 1); }
  void record_n(uint64_t value, uint64_t times);

  /// Adds cells that were counted elsewhere (by BPF). sum and max are exact; min is not known and
  /// becomes the lower edge of the first cell. REQUIRES: cells.size() == kHistogramBuckets.
  static Histogram from_cells(std::span<const uint64_t> cells, uint64_t sum, uint64_t max);

  void merge(const Histogram& other);

  /// Subtracts an earlier reading of the same growing histogram. count, sum and cells stay exact.
  /// min and max become bucket edges; a max that has grown since `earlier` is exact. REQUIRES:
  /// every cell of `earlier` is at most that of *this.
  void subtract(const Histogram& earlier);

  void clear();

  uint64_t count() const { return count_; }
  uint64_t sum() const { return sum_; }
  bool empty() const { return count_ == 0; }
  std::optional<uint64_t> min() const;
  std::optional<uint64_t> max() const;
  uint64_t cell(uint32_t index) const { return cells_.empty() ? 0 : cells_[index]; }

  /// The value that a share `quantile` (0 to 1) of the samples does not exceed (nearest rank), or
  /// nullopt with fewer than kSamplesAbovePercentile samples above it.
  std::optional<uint64_t> percentile(double quantile) const;
  HistogramSummary summary() const;

  /// Sparse bytes, in LEB128 varints: format 1, count, sum, and if count > 0 min, max, then for
  /// each occupied cell in order: index minus the previous occupied index (the first: index), its
  /// count. Count, sum, min and max are stored as INT64_MAX if they are larger.
  std::string encode() const;
  /// kInput: the bytes are no such encoding, or a number is above INT64_MAX. What is decoded is
  /// safe to summarize: no value overflows int64_t.
  static Result<Histogram> decode(std::string_view bytes);

  bool operator==(const Histogram& other) const;

 private:
  friend class SignedHistogram;
  uint64_t value_at_rank(uint64_t rank) const;  // 1-based rank; upper edge, clamped to [min, max]

  std::vector<uint64_t> cells_;  // empty, or kHistogramBuckets
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint64_t min_ = 0;  // meaningful when count_ > 0
  uint64_t max_ = 0;
};

/// Values of either sign (lateness: early is negative): two histograms, one for each side of zero.
class SignedHistogram {
 public:
  void record(int64_t value) {
    // INT64_MIN, whose magnitude does not fit, is replaced by its neighbour.
    if (value < 0)
      negative_.record(static_cast<uint64_t>(value == INT64_MIN ? INT64_MAX : -value));
    else
      non_negative_.record(static_cast<uint64_t>(value));
  }
  void merge(const SignedHistogram& other);
  void clear();

  uint64_t count() const { return negative_.count() + non_negative_.count(); }
  int64_t sum() const;
  bool empty() const { return count() == 0; }
  std::optional<int64_t> min() const;
  std::optional<int64_t> max() const;
  std::optional<int64_t> percentile(double quantile) const;
  HistogramSummary summary() const;

  const Histogram& negative() const { return negative_; }  // of magnitudes
  const Histogram& non_negative() const { return non_negative_; }

  /// Format 2, then the length of the negative half's encoding, that encoding, the other half's.
  std::string encode() const;
  static Result<SignedHistogram> decode(std::string_view bytes);

  bool operator==(const SignedHistogram&) const = default;

 private:
  Histogram negative_;
  Histogram non_negative_;
};

}  // namespace topspin
