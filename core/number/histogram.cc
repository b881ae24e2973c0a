#include "core/number/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/base/varint.h"

namespace topspin {
namespace {

constexpr uint8_t kUnsignedFormat = 1;
constexpr uint8_t kSignedFormat = 2;

Error corrupt() {
  return make_error(ErrorCode::kInput, "a stored histogram is damaged: its bytes do not decode");
}

/// Takes a stored number off the front of `bytes`.
std::optional<uint64_t> take_number(std::string_view& bytes) {
  const auto number = take_varint(bytes);
  return number && *number <= kMostStored ? number : std::nullopt;
}

template <typename H>
HistogramSummary summarize(const H& histogram) {
  HistogramSummary s;
  s.count = histogram.count();
  s.sum = static_cast<int64_t>(histogram.sum());
  s.min = histogram.min();
  s.p50 = histogram.percentile(0.5);
  s.p90 = histogram.percentile(0.9);
  s.p99 = histogram.percentile(0.99);
  s.p999 = histogram.percentile(0.999);
  s.max = histogram.max();
  return s;
}

}  // namespace

std::optional<uint64_t> supported_rank(uint64_t count, double quantile) {
  CHECK(quantile >= 0 && quantile <= 1);
  const auto n = static_cast<double>(count);
  // The small slack keeps n = 1,000 enough for 0.99, whose complement is not exact in binary.
  if (count == 0 || (1.0 - quantile) * n + 1e-9 < static_cast<double>(kSamplesAbovePercentile)) {
    return std::nullopt;
  }
  const auto rank = static_cast<uint64_t>(std::ceil(quantile * n - 1e-9));
  return std::clamp<uint64_t>(rank, 1, count);
}

uint64_t histogram_bucket_min(uint32_t index) {
  CHECK(index < kHistogramBuckets);
  if (index < 2 * TOPSPIN_HISTOGRAM_SUB_BUCKETS) return index;
  const uint32_t shift = index / TOPSPIN_HISTOGRAM_SUB_BUCKETS - 1;
  const uint64_t mantissa = TOPSPIN_HISTOGRAM_SUB_BUCKETS + index % TOPSPIN_HISTOGRAM_SUB_BUCKETS;
  return mantissa << shift;
}

uint64_t histogram_bucket_max(uint32_t index) {
  if (index + 1 == kHistogramBuckets) return UINT64_MAX;
  return histogram_bucket_min(index + 1) - 1;
}

void Histogram::record_n(uint64_t value, uint64_t times) {
  if (times == 0) return;
  if (cells_.empty()) [[unlikely]]
    cells_.resize(kHistogramBuckets);
  cells_[topspin_histogram_index(value)] += times;
  if (count_ == 0) {
    min_ = max_ = value;
  } else {
    min_ = std::min(min_, value);
    max_ = std::max(max_, value);
  }
  count_ += times;
  sum_ += value * times;
}

Histogram Histogram::from_cells(std::span<const uint64_t> cells, uint64_t sum, uint64_t max) {
  CHECK(cells.size() == kHistogramBuckets);
  Histogram h;
  // BPF may still be writing to the cells, so each is read once, and the count is of what was read.
  h.cells_.resize(cells.size());
  for (size_t i = 0; i < cells.size(); ++i)
    h.cells_[i] = __atomic_load_n(&cells[i], __ATOMIC_RELAXED);
  uint32_t first = kHistogramBuckets, last = 0;
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) {
    if (h.cells_[i] == 0) continue;
    h.count_ += h.cells_[i];
    first = std::min(first, i);
    last = i;
  }
  if (h.count_ == 0) return h;
  h.sum_ = sum;
  h.min_ = histogram_bucket_min(first);
  // A reader may see the cell before the maximum or after it: keep max inside the last cell.
  h.max_ = std::clamp(max, histogram_bucket_min(last), histogram_bucket_max(last));
  return h;
}

void Histogram::merge(const Histogram& other) {
  if (other.count_ == 0) return;
  if (count_ == 0) {
    *this = other;
    return;
  }
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) cells_[i] += other.cells_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

void Histogram::subtract(const Histogram& earlier) {
  if (earlier.count_ == 0) return;
  CHECK(count_ >= earlier.count_);
  uint32_t first = kHistogramBuckets, last = 0;
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) {
    CHECK(cells_[i] >= earlier.cells_[i]);
    cells_[i] -= earlier.cells_[i];
    if (cells_[i] == 0) continue;
    first = std::min(first, i);
    last = i;
  }
  count_ -= earlier.count_;
  sum_ -= earlier.sum_;
  if (count_ == 0) {
    clear();
    return;
  }
  min_ = std::max(min_, histogram_bucket_min(first));
  if (max_ == earlier.max_) max_ = std::min(max_, histogram_bucket_max(last));
}

void Histogram::clear() {
  std::fill(cells_.begin(), cells_.end(), 0);
  count_ = sum_ = min_ = max_ = 0;
}

std::optional<uint64_t> Histogram::min() const {
  return count_ == 0 ? std::nullopt : std::optional(min_);
}
std::optional<uint64_t> Histogram::max() const {
  return count_ == 0 ? std::nullopt : std::optional(max_);
}

uint64_t Histogram::value_at_rank(uint64_t rank) const {
  uint64_t seen = 0;
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) {
    seen += cells_[i];
    if (seen >= rank) return std::clamp(histogram_bucket_max(i), min_, max_);
  }
  return max_;
}

std::optional<uint64_t> Histogram::percentile(double quantile) const {
  const auto rank = supported_rank(count_, quantile);
  if (!rank) return std::nullopt;
  return value_at_rank(*rank);
}

HistogramSummary Histogram::summary() const { return summarize(*this); }

std::string Histogram::encode() const {
  std::string out(1, static_cast<char>(kUnsignedFormat));
  put_varint(out, std::min(count_, kMostStored));
  put_varint(out, std::min(sum_, kMostStored));
  if (count_ == 0) return out;
  put_varint(out, std::min(min_, kMostStored));
  put_varint(out, std::min(max_, kMostStored));
  uint32_t previous = 0;
  uint64_t left = kMostStored;  // so that the cells add up to the count that is written
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) {
    const uint64_t cell = std::min(cells_[i], left);
    if (cell == 0) continue;
    put_varint(out, i - previous);
    put_varint(out, cell);
    left -= cell;
    previous = i;
  }
  return out;
}

Result<Histogram> Histogram::decode(std::string_view bytes) {
  if (bytes.empty() || static_cast<uint8_t>(bytes.front()) != kUnsignedFormat) return corrupt();
  bytes.remove_prefix(1);
  Histogram h;
  const auto count = take_number(bytes);
  const auto sum = take_number(bytes);
  if (!count || !sum) return corrupt();
  if (*count == 0) {
    if (!bytes.empty() || *sum != 0) return corrupt();
    return h;
  }
  const auto min = take_number(bytes);
  const auto max = take_number(bytes);
  if (!min || !max || *min > *max) return corrupt();
  h.cells_.resize(kHistogramBuckets);
  uint64_t index = 0, seen = 0;
  for (bool first = true; !bytes.empty(); first = false) {
    const auto step = take_varint(bytes);
    const auto cell = take_varint(bytes);
    if (!step || !cell || *cell == 0 || (!first && *step == 0)) return corrupt();
    if (*step >= kHistogramBuckets || index + *step >= kHistogramBuckets) return corrupt();
    if (*cell > *count - seen) return corrupt();
    index += *step;
    h.cells_[index] = *cell;
    seen += *cell;
  }
  if (seen != *count) return corrupt();
  h.count_ = *count;
  h.sum_ = *sum;
  h.min_ = *min;
  h.max_ = *max;
  return h;
}

bool Histogram::operator==(const Histogram& other) const {
  if (count_ != other.count_ || sum_ != other.sum_) return false;
  if (count_ == 0) return true;
  return min_ == other.min_ && max_ == other.max_ && cells_ == other.cells_;
}

void SignedHistogram::merge(const SignedHistogram& other) {
  negative_.merge(other.negative_);
  non_negative_.merge(other.non_negative_);
}

void SignedHistogram::clear() {
  negative_.clear();
  non_negative_.clear();
}

int64_t SignedHistogram::sum() const {
  return static_cast<int64_t>(non_negative_.sum() - negative_.sum());  // may wrap
}

std::optional<int64_t> SignedHistogram::min() const {
  if (!negative_.empty()) return -static_cast<int64_t>(negative_.max_);
  return non_negative_.min();
}

std::optional<int64_t> SignedHistogram::max() const {
  if (!non_negative_.empty()) return static_cast<int64_t>(non_negative_.max_);
  if (!negative_.empty()) return -static_cast<int64_t>(negative_.min_);
  return std::nullopt;
}

std::optional<int64_t> SignedHistogram::percentile(double quantile) const {
  const auto rank = supported_rank(count(), quantile);
  if (!rank) return std::nullopt;
  if (*rank > negative_.count()) {
    return static_cast<int64_t>(non_negative_.value_at_rank(*rank - negative_.count()));
  }
  // Ascending order of negatives is descending order of magnitudes. The edge nearer to zero is the
  // upper one, as for positive values.
  const uint64_t magnitude_rank = negative_.count() - *rank + 1;
  uint64_t seen = 0;
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) {
    seen += negative_.cells_[i];
    if (seen >= magnitude_rank) {
      return -static_cast<int64_t>(
          std::clamp(histogram_bucket_min(i), negative_.min_, negative_.max_));
    }
  }
  return min();
}

HistogramSummary SignedHistogram::summary() const { return summarize(*this); }

std::string SignedHistogram::encode() const {
  const std::string negative = negative_.encode();
  std::string out(1, static_cast<char>(kSignedFormat));
  put_varint(out, negative.size());
  return out + negative + non_negative_.encode();
}

Result<SignedHistogram> SignedHistogram::decode(std::string_view bytes) {
  if (bytes.empty() || static_cast<uint8_t>(bytes.front()) != kSignedFormat) return corrupt();
  bytes.remove_prefix(1);
  const auto length = take_varint(bytes);
  if (!length || *length > bytes.size()) return corrupt();
  SignedHistogram h;
  TOPSPIN_ASSIGN(h.negative_, Histogram::decode(bytes.substr(0, *length)));
  TOPSPIN_ASSIGN(h.non_negative_, Histogram::decode(bytes.substr(*length)));
  return h;
}

}  // namespace topspin
