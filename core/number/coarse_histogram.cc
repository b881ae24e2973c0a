#include "core/number/coarse_histogram.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/base/varint.h"

namespace topspin {
namespace {

constexpr uint8_t kFormat = 3;
constexpr uint32_t kSubBuckets = 4;

Error damaged_coarse() {
  return make_error(ErrorCode::kInput,
                    "a thread's stored histogram is damaged: it does not decode");
}

}  // namespace

uint64_t coarse_cell_min(uint32_t index) {
  CHECK(index < kCoarseCells);
  if (index == 0) return 0;
  const uint64_t mantissa = kSubBuckets + (index - 1) % kSubBuckets;
  return mantissa << (TOPSPIN_COARSE_MIN_BITS - 2 + (index - 1) / kSubBuckets);
}

uint64_t coarse_cell_max(uint32_t index) {
  return index + 1 == kCoarseCells ? UINT64_MAX : coarse_cell_min(index + 1) - 1;
}

CoarseHistogram CoarseHistogram::from_cells(std::span<const uint32_t> cells, uint64_t sum,
                                            uint64_t max) {
  CHECK(cells.size() == kCoarseCells);
  CoarseHistogram h;
  for (const uint32_t cell : cells) h.count_ += cell;
  if (h.count_ == 0) return h;
  h.cells_.assign(cells.begin(), cells.end());
  h.sum_ = sum;
  h.max_ = max;
  return h;
}

void CoarseHistogram::record(uint64_t value) {
  if (cells_.empty()) cells_.resize(kCoarseCells);
  ++cells_[topspin_coarse_index(topspin_histogram_index(value))];
  ++count_;
  sum_ += value;
  max_ = std::max(max_, value);
}

void CoarseHistogram::merge(const CoarseHistogram& other) {
  if (other.empty()) return;
  if (cells_.empty()) cells_.resize(kCoarseCells);
  for (uint32_t index = 0; index < kCoarseCells; ++index) cells_[index] += other.cells_[index];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

void CoarseHistogram::subtract(const CoarseHistogram& earlier) {
  if (earlier.empty()) return;
  CHECK(count_ >= earlier.count_ && sum_ >= earlier.sum_);
  count_ -= earlier.count_;
  sum_ -= earlier.sum_;
  uint32_t last = 0;
  for (uint32_t i = 0; i < kCoarseCells; ++i) {
    const uint64_t before = earlier.cell(i);
    CHECK(cell(i) >= before);
    cells_[i] -= before;
    if (cells_[i] > 0) last = i;
  }
  if (count_ == 0)
    *this = CoarseHistogram();
  else if (max_ == earlier.max_)
    max_ = std::min(max_, coarse_cell_max(last));
}

std::optional<uint64_t> CoarseHistogram::max() const {
  return empty() ? std::nullopt : std::optional(max_);
}

std::optional<uint64_t> CoarseHistogram::percentile(double quantile) const {
  const auto rank = supported_rank(count_, quantile);
  if (!rank) return std::nullopt;
  uint64_t seen = 0;
  for (uint32_t index = 0; index < kCoarseCells; ++index) {
    seen += cells_[index];
    if (seen >= *rank) return std::min(coarse_cell_max(index), max_);
  }
  return max_;
}

HistogramSummary CoarseHistogram::summary() const {
  HistogramSummary s;
  s.count = count_;
  s.sum = static_cast<int64_t>(sum_);
  s.p50 = percentile(0.5);
  s.p90 = percentile(0.9);
  s.p99 = percentile(0.99);
  s.p999 = percentile(0.999);
  s.max = max();
  return s;
}

std::string CoarseHistogram::encode() const {
  std::string out(1, static_cast<char>(kFormat));
  put_varint(out, count_);
  put_varint(out, std::min(sum_, kMostStored));
  if (count_ == 0) return out;
  put_varint(out, std::min(max_, kMostStored));
  uint32_t previous = 0;
  for (uint32_t index = 0; index < kCoarseCells; ++index) {
    if (cells_[index] == 0) continue;
    put_varint(out, index - previous);
    put_varint(out, cells_[index]);
    previous = index;
  }
  return out;
}

Result<CoarseHistogram> CoarseHistogram::decode(std::string_view bytes) {
  if (bytes.empty() || static_cast<uint8_t>(bytes.front()) != kFormat) return damaged_coarse();
  bytes.remove_prefix(1);
  CoarseHistogram h;
  const auto count = take_varint(bytes);
  const auto sum = take_varint(bytes);
  if (!count || !sum || *count > kMostStored || *sum > kMostStored) return damaged_coarse();
  if (*count == 0) {
    if (!bytes.empty() || *sum != 0) return damaged_coarse();
    return h;
  }
  const auto max = take_varint(bytes);
  if (!max || *max > kMostStored) return damaged_coarse();
  h.cells_.resize(kCoarseCells);
  uint64_t index = 0, seen = 0;
  for (bool first = true; !bytes.empty(); first = false) {
    const auto step = take_varint(bytes);
    const auto cell = take_varint(bytes);
    if (!step || !cell || *cell == 0 || (!first && *step == 0)) return damaged_coarse();
    if (*step >= kCoarseCells || index + *step >= kCoarseCells) return damaged_coarse();
    if (*cell > *count - seen) return damaged_coarse();
    index += *step;
    h.cells_[index] = *cell;
    seen += *cell;
  }
  if (seen != *count) return damaged_coarse();
  h.count_ = *count;
  h.sum_ = *sum;
  h.max_ = *max;
  return h;
}

bool CoarseHistogram::operator==(const CoarseHistogram& other) const {
  if (count_ != other.count_ || sum_ != other.sum_) return false;
  return count_ == 0 || (max_ == other.max_ && cells_ == other.cells_);
}

}  // namespace topspin
