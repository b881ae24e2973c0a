// Readings are sums since opening. The difference of two readings is an interval. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/tick/sample.h"

namespace topspin {

/// Subtracts each distribution of `before` from that of `interval`.
template <typename Interval>
void subtract_histograms(Interval& interval, const Interval& before) {
  std::vector<const std::optional<Histogram>*> histograms;
  Interval::for_each_histogram(
      before, [&](auto, const auto& histogram) { histograms.push_back(&histogram); });
  auto old_histogram = histograms.begin();
  Interval::for_each_histogram(interval, [&](auto, auto& histogram) {
    const std::optional<Histogram>& old = **old_histogram++;
    if (histogram && old) histogram->subtract(*old);
  });
}

inline LossInterval growth(const LossInterval& now, const LossInterval& before) {
  LossInterval difference;
  LossInterval::for_each_field([&](const char*, uint64_t LossInterval::*field) {
    difference.*field = now.*field - std::min(before.*field, now.*field);
  });
  return difference;
}

}  // namespace topspin
