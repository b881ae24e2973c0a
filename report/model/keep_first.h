// keep_first: finds the first few of many rows in some order, without keeping the others.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace topspin {

/// Inserts `value` into a sorted list of at most `most` values, after those that are equal to it.
template <typename T, typename Before>
void keep_first(std::vector<T>& kept, const T& value, size_t most, Before before) {
  const auto place = std::upper_bound(kept.begin(), kept.end(), value, before);
  if (place == kept.end() && kept.size() == most) return;
  kept.insert(place, value);
  if (kept.size() > most) kept.pop_back();
}

}  // namespace topspin
