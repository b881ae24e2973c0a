#include "report/model/timeline.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"

namespace topspin {

void CurveBin::add(double value) { merge(CurveBin{value, value, false, false}); }

void CurveBin::merge(const CurveBin& later) {
  if (later.absent) return;
  if (absent) {
    *this = later;
    return;
  }
  const bool new_min = later.min < min;
  const bool new_max = later.max > max;
  // If both extremes are from the same bin, its order is kept. Otherwise the older one came first.
  if (new_min && new_max) {
    max_first = later.max_first;
  } else if (new_min) {
    max_first = true;
  } else if (new_max) {
    max_first = false;
  }
  min = std::min(min, later.min);
  max = std::max(max, later.max);
}

Timeline::Timeline(size_t curves, size_t most_bins) : most_bins_(most_bins), bins_of_(curves) {
  CHECK(most_bins >= 2 && most_bins % 2 == 0);
}

void Timeline::add(int64_t begin_ns, int64_t end_ns,
                   std::span<const std::optional<double>> values) {
  CHECK(values.size() == bins_of_.size());
  if (bins_.empty() || bins_.back().ticks == ticks_per_bin_) {
    if (bins_.size() == most_bins_) halve();
    // most_bins_ is even, so the last bin is full after halving.
    bins_.push_back({begin_ns, end_ns, end_ns, 0});
    for (auto& bins : bins_of_) bins.emplace_back();
  }
  Bin& bin = bins_.back();
  bin.end_ns = end_ns;
  ++bin.ticks;
  for (size_t c = 0; c < values.size(); ++c) {
    if (values[c] && std::isfinite(*values[c])) bins_of_[c].back().add(*values[c]);
  }
}

void Timeline::halve() {
  ticks_per_bin_ *= 2;
  for (size_t i = 0; i < bins_.size(); i += 2) {
    Bin merged = bins_[i];
    if (i + 1 < bins_.size()) {
      merged.end_ns = bins_[i + 1].end_ns;
      merged.ticks += bins_[i + 1].ticks;
    }
    bins_[i / 2] = merged;
  }
  for (auto& bins : bins_of_) {
    for (size_t i = 0; i < bins.size(); i += 2) {
      CurveBin merged = bins[i];
      if (i + 1 < bins.size()) merged.merge(bins[i + 1]);
      bins[i / 2] = merged;
    }
    bins.resize((bins.size() + 1) / 2);
  }
  bins_.resize((bins_.size() + 1) / 2);
}

bool Timeline::measured(size_t index) const {
  return std::any_of(bins_of_[index].begin(), bins_of_[index].end(),
                     [](const CurveBin& b) { return !b.absent; });
}

bool Timeline::occurs(size_t index) const {
  return std::any_of(bins_of_[index].begin(), bins_of_[index].end(),
                     [](const CurveBin& b) { return !b.absent && (b.min != 0 || b.max != 0); });
}

Timeline Timeline::folded(size_t most_bins) const {
  Timeline copy = *this;
  while (copy.bins_.size() > most_bins) copy.halve();
  return copy;
}

int HeatMap::row_of(uint64_t value) {
  return value < 2 ? 0 : static_cast<int>(std::floor(4 * std::log2(static_cast<double>(value))));
}

void HeatMap::add(int64_t begin_ns, int64_t end_ns, const Histogram& histogram) {
  if (columns_.empty() || columns_.back().ticks == ticks_per_column_) {
    if (columns_.size() == most_columns_) {
      ticks_per_column_ *= 2;
      for (size_t i = 0; i < columns_.size(); i += 2) {
        Column merged = std::move(columns_[i]);
        merged.end_ns = columns_[i + 1].end_ns;
        merged.ticks += columns_[i + 1].ticks;
        for (const auto& [row, count] : columns_[i + 1].counts) merged.counts[row] += count;
        columns_[i / 2] = std::move(merged);
      }
      columns_.resize(columns_.size() / 2);
    }
    columns_.push_back({begin_ns, end_ns, 0, {}});
  }
  Column& column = columns_.back();
  column.end_ns = end_ns;
  ++column.ticks;
  if (histogram.empty()) return;
  for (uint32_t index = 0; index < kHistogramBuckets; ++index) {
    const uint64_t count = histogram.cell(index);
    if (count == 0) continue;
    const uint64_t low = histogram_bucket_min(index);
    column.counts[row_of(low + (histogram_bucket_max(index) - low) / 2)] += count;
  }
}

bool HeatMap::empty() const {
  return std::all_of(columns_.begin(), columns_.end(),
                     [](const Column& c) { return c.counts.empty(); });
}

LifeGrid make_life_grid(std::vector<FlowLife> lives, int64_t end_ns, int64_t least_span_ns,
                        size_t most_rows, size_t most_columns) {
  LifeGrid grid;
  grid.flows = lives.size();
  grid.end_ns = end_ns;
  if (lives.empty() || end_ns <= 0) return grid;
  std::sort(lives.begin(), lives.end(), [](const FlowLife& a, const FlowLife& b) {
    return std::pair(a.first_ns, a.last_ns) < std::pair(b.first_ns, b.last_ns);
  });
  const int64_t spans = std::max<int64_t>(1, end_ns / std::max<int64_t>(1, least_span_ns));
  grid.columns = std::min(most_columns, static_cast<size_t>(spans));
  const size_t rows = std::min(most_rows, lives.size());
  const auto column_of = [&](int64_t at_ns) {
    const double share = static_cast<double>(at_ns) / static_cast<double>(end_ns);
    const double column = std::floor(share * static_cast<double>(grid.columns));
    return static_cast<size_t>(std::clamp(column, 0.0, static_cast<double>(grid.columns - 1)));
  };
  // A damaged row may end before it begins.
  for (FlowLife& life : lives) life.last_ns = std::max(life.first_ns, life.last_ns);
  for (size_t row = 0; row < rows; ++row) {
    const size_t from = row * lives.size() / rows;
    const size_t to = (row + 1) * lives.size() / rows;
    // Count at the ends of the lives and sum along the row, so that the cost does not depend on the
    // length of a life.
    std::vector<int64_t> change(grid.columns + 1, 0);
    uint64_t missed = 0;
    for (size_t i = from; i < to; ++i) {
      ++change[column_of(lives[i].first_ns)];
      --change[column_of(lives[i].last_ns) + 1];
      missed += lives[i].missed_ticks;
    }
    std::vector<double> shares;
    int64_t alive = 0;
    for (size_t c = 0; c < grid.columns; ++c) {
      alive += change[c];
      shares.push_back(static_cast<double>(alive) / static_cast<double>(to - from));
    }
    grid.group_sizes.push_back(to - from);
    grid.missed_ticks.push_back(missed);
    grid.rows.push_back(std::move(shares));
  }
  return grid;
}

}  // namespace topspin
