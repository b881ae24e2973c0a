// CoarseHistogram: the distribution of one thread's durations, small enough for 15,000 threads. It
// has the coarse layout of histogram_abi.h, as in BPF.
//
// count, sum and max are exact. A percentile is the upper edge of its bucket, but at most max. It
// is too high by at most 1/4 of its value. All values below 1 us share one bucket. The least value
// is not kept. Plain values; not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/number/histogram.h"
#include "core/number/histogram_abi.h"

namespace topspin {

inline constexpr uint32_t kCoarseCells = TOPSPIN_COARSE_CELLS;

/// Smallest and largest value that share cell `index`.
uint64_t coarse_cell_min(uint32_t index);
uint64_t coarse_cell_max(uint32_t index);

class CoarseHistogram {
 public:
  /// Adds cells that were counted elsewhere (by BPF), with their sum and greatest value.
  /// REQUIRES: cells.size() == kCoarseCells.
  static CoarseHistogram from_cells(std::span<const uint32_t> cells, uint64_t sum, uint64_t max);

  void record(uint64_t value);
  void merge(const CoarseHistogram& other);

  /// Subtracts an earlier reading of the same growing histogram. max is exact if it has grown since
  /// then; otherwise it becomes the upper edge of the last cell that is not empty.
  /// REQUIRES: every cell of `earlier` is at most that of *this.
  void subtract(const CoarseHistogram& earlier);

  uint64_t count() const { return count_; }
  uint64_t sum() const { return sum_; }
  bool empty() const { return count_ == 0; }
  std::optional<uint64_t> max() const;
  uint64_t cell(uint32_t index) const { return cells_.empty() ? 0 : cells_[index]; }

  /// See Histogram::percentile.
  std::optional<uint64_t> percentile(double quantile) const;
  /// Its min is absent.
  HistogramSummary summary() const;

  /// Sparse bytes, in LEB128 varints: format 3, count, sum, and if count > 0 max, then for each
  /// occupied cell in order: index minus the previous occupied index (the first: index), its count.
  std::string encode() const;
  static Result<CoarseHistogram> decode(std::string_view bytes);

  bool operator==(const CoarseHistogram& other) const;

 private:
  std::vector<uint64_t> cells_;  // empty, or kCoarseCells
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint64_t max_ = 0;
};

}  // namespace topspin
