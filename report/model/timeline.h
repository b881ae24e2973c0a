// Timeline: curves over a run of any length, in bounded space and without losing an extreme.
//
// Each bin covers the same number of ticks. For each curve it keeps the least and the greatest
// value, and which of them came first. When all bins are in use, neighbours are merged, and each
// bin then covers twice as many ticks. HeatMap does the same with histograms. Pure;
// thread-agnostic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/number/histogram.h"

namespace topspin {

/// The values of one curve within one bin; absent if no tick of the bin had a value.
struct CurveBin {
  double min = 0;
  double max = 0;
  bool max_first = false;  // the greatest came before the least
  bool absent = true;

  void add(double value);
  void merge(const CurveBin& later);
};

class Timeline {
 public:
  struct Bin {
    int64_t begin_ns = 0;      // from the start of the run to the start of the first tick
    int64_t first_end_ns = 0;  // ... to the end of the first tick
    int64_t end_ns = 0;        // ... to the end of the last
    uint64_t ticks = 0;
  };

  /// REQUIRES: most_bins is even.
  Timeline(size_t curves, size_t most_bins);

  /// Adds one tick; values[i] belongs to curve i. REQUIRES: values.size() == curves.
  void add(int64_t begin_ns, int64_t end_ns, std::span<const std::optional<double>> values);

  size_t curves() const { return bins_of_.size(); }
  uint64_t ticks_per_bin() const { return ticks_per_bin_; }
  const std::vector<Bin>& bins() const { return bins_; }
  const std::vector<CurveBin>& curve(size_t index) const { return bins_of_[index]; }

  /// Whether the curve has a value anywhere, and whether one of them is not 0.
  bool measured(size_t index) const;
  bool occurs(size_t index) const;

  /// The same in at most `most_bins` bins, for tables.
  Timeline folded(size_t most_bins) const;

 private:
  void halve();

  size_t most_bins_;
  uint64_t ticks_per_bin_ = 1;
  std::vector<Bin> bins_;
  std::vector<std::vector<CurveBin>> bins_of_;  // curve, then bin
};

/// How many samples there were, by time and value: one column per bin of ticks, four rows per
/// octave.
class HeatMap {
 public:
  struct Column {
    int64_t begin_ns = 0;
    int64_t end_ns = 0;
    uint64_t ticks = 0;
    std::map<int, uint64_t> counts;  // row -> samples; only rows that have some
  };

  /// REQUIRES: most_columns is even.
  explicit HeatMap(size_t most_columns) : most_columns_(most_columns) {}

  void add(int64_t begin_ns, int64_t end_ns, const Histogram& histogram);

  const std::vector<Column>& columns() const { return columns_; }
  bool empty() const;

  /// Row r holds the values from 2^(r/4) up to 2^((r+1)/4). Values below 1 are in row 0.
  static int row_of(uint64_t value);

 private:
  size_t most_columns_;
  uint64_t ticks_per_column_ = 1;
  std::vector<Column> columns_;
};

/// One flow's life within a run, on the run's clock.
struct FlowLife {
  int64_t first_ns = 0;
  int64_t last_ns = 0;
  uint64_t missed_ticks = 0;
};

/// The share of the flows that were alive, that is, between their first and their last packet. Rows
/// are flows, or groups of them in the order of their first packets; columns are equal spans of
/// time.
struct LifeGrid {
  size_t flows = 0;
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  size_t columns = 0;
  std::vector<size_t> group_sizes;        // flows of each row
  std::vector<uint64_t> missed_ticks;     // of all flows of each row
  std::vector<std::vector<double>> rows;  // 0 to 1
};

/// At most `most_rows` rows and `most_columns` columns of at least `least_span_ns` each.
LifeGrid make_life_grid(std::vector<FlowLife> lives, int64_t end_ns, int64_t least_span_ns,
                        size_t most_rows, size_t most_columns);

}  // namespace topspin
