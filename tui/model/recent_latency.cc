#include "tui/model/recent_latency.h"

#include <algorithm>

#include "core/flow/periods.h"

namespace topspin {
namespace {

constexpr uint32_t kNonNegative = kHistogramBuckets;  // the first cell of values from 0 on

void add_cells(std::vector<std::pair<uint32_t, uint64_t>>& cells, const Histogram& histogram,
               bool negative) {
  if (histogram.empty()) return;
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) {
    const uint32_t bucket = negative ? kHistogramBuckets - 1 - i : i;
    if (const uint64_t count = histogram.cell(bucket); count > 0)
      cells.emplace_back(negative ? i : kNonNegative + i, count);
  }
}

/// The upper edge of a cell.
int64_t cell_value(uint32_t cell) {
  if (cell >= kNonNegative) return static_cast<int64_t>(histogram_bucket_max(cell - kNonNegative));
  return -static_cast<int64_t>(histogram_bucket_min(kHistogramBuckets - 1 - cell));
}

}  // namespace

void RecentLatency::add(const Histogram& histogram, int64_t interval_ns) {
  Tick tick;
  add_cells(tick.cells, histogram, false);
  tick.count = histogram.count();
  tick.max = static_cast<int64_t>(std::min<uint64_t>(histogram.max().value_or(0), INT64_MAX));
  tick.interval_ns = interval_ns;
  push(std::move(tick));
}

void RecentLatency::add(const SignedHistogram& histogram, int64_t interval_ns) {
  Tick tick;
  add_cells(tick.cells, histogram.negative(), true);
  add_cells(tick.cells, histogram.non_negative(), false);
  tick.count = histogram.count();
  tick.max = histogram.max().value_or(0);
  tick.interval_ns = interval_ns;
  push(std::move(tick));
}

void RecentLatency::push(Tick tick) {
  if (cells_.empty()) cells_.resize(size_t{2} * kHistogramBuckets);
  for (const auto& [cell, count] : tick.cells) cells_[cell] += count;
  count_ += tick.count;
  length_ns_ += tick.interval_ns;
  ticks_.push_back(std::move(tick));
  while (ticks_.size() > 1 &&
         (length_ns_ > kLongestNs || count_ - ticks_.front().count >= kEnoughSamples)) {
    drop_oldest();
  }
}

void RecentLatency::drop_oldest() {
  const Tick& oldest = ticks_.front();
  for (const auto& [cell, count] : oldest.cells) cells_[cell] -= count;
  count_ -= oldest.count;
  length_ns_ -= oldest.interval_ns;
  ticks_.pop_front();
}

std::optional<int64_t> RecentLatency::max() const {
  if (ticks_.empty() || ticks_.back().count == 0) return std::nullopt;
  int64_t max = INT64_MIN;
  for (const Tick& tick : ticks_) {
    if (tick.count > 0) max = std::max(max, tick.max);
  }
  return max;
}

std::optional<int64_t> RecentLatency::p99() const {
  const std::optional<uint64_t> rank = supported_rank(count_, 0.99);
  const std::optional<int64_t> greatest = max();
  if (!rank || !greatest) return std::nullopt;
  uint64_t seen = 0;
  for (uint32_t cell = 0; cell < cells_.size(); ++cell) {
    seen += cells_[cell];
    if (seen >= *rank) return std::min(cell_value(cell), *greatest);
  }
  return std::nullopt;
}

void RecentLatencies::add(const Sample& sample, const std::optional<int64_t>& declared_period_ns) {
  const bool periodic = has_lateness(sample.flows, declared_period_ns);
  lateness.add(periodic ? sample.flows.lateness : SignedHistogram(), sample.interval_ns);
  reply.add(sample.flows.reply_latency, sample.interval_ns);
  const bool waits = sample.scheduler && sample.scheduler->run_queue_latency;
  run_queue.add(waits ? *sample.scheduler->run_queue_latency : Histogram(), sample.interval_ns);
}

}  // namespace topspin
