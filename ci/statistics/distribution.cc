#include "ci/statistics/distribution.h"

#include <algorithm>
#include <array>
#include <bit>

#include "core/base/check.h"

namespace topspin {
namespace {

constexpr size_t kOctaves = TOPSPIN_HISTOGRAM_MAX_BITS + 1;  // [0], [1], [2..3], [4..7], ...

/// Each stored bucket lies within one octave, so the sums are exact.
std::array<double, kOctaves> octaves_of(const Histogram& histogram, uint64_t of) {
  std::array<double, kOctaves> shares{};
  for (uint32_t i = 0; i < kHistogramBuckets; ++i) {
    if (histogram.cell(i) == 0) continue;
    const auto octave = static_cast<size_t>(std::bit_width(histogram_bucket_min(i)));
    shares[octave] += static_cast<double>(histogram.cell(i)) / static_cast<double>(of);
  }
  return shares;
}

void add_octaves(Distribution& distribution, const std::array<double, kOctaves>& a,
                 const std::array<double, kOctaves>& b) {
  size_t first = kOctaves, last = 0;
  for (size_t i = 0; i < kOctaves; ++i) {
    if (a[i] == 0 && b[i] == 0) continue;
    if (first == kOctaves) first = i;
    last = i;
  }
  for (size_t i = first; i <= last && i < kOctaves; ++i) {
    const int64_t from = i == 0 ? 0 : int64_t{1} << (i - 1);
    distribution.bars.push_back({from, i == 0 ? 0 : 2 * from - 1, a[i], b[i]});
  }
}

}  // namespace

Distribution overlay(std::string name, const Histogram& a, const Histogram& b) {
  CHECK(!a.empty() && !b.empty());
  Distribution distribution{std::move(name), a.summary(), b.summary(), {}};
  add_octaves(distribution, octaves_of(a, a.count()), octaves_of(b, b.count()));
  return distribution;
}

Distribution overlay(std::string name, const SignedHistogram& a, const SignedHistogram& b) {
  CHECK(!a.empty() && !b.empty());
  Distribution distribution{std::move(name), a.summary(), b.summary(), {}};
  const auto early = [](const SignedHistogram& h) {
    return static_cast<double>(h.negative().count()) / static_cast<double>(h.count());
  };
  if (!a.negative().empty() || !b.negative().empty()) {
    const int64_t least = std::min(distribution.a.min.value_or(0), distribution.b.min.value_or(0));
    distribution.bars.push_back({least, -1, early(a), early(b)});
  }
  add_octaves(distribution, octaves_of(a.non_negative(), a.count()),
              octaves_of(b.non_negative(), b.count()));
  return distribution;
}

}  // namespace topspin
