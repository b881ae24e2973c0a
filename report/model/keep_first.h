// keep_first: the first few of many rows, in an order, without keeping the others.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace topspin {

/// Inserts into a sorted list of at most `most`, after its equals.
template <typename T, typename Before>
void keep_first(std::vector<T>& kept, const T& value, size_t most, Before before) {
  const auto place = std::upper_bound(kept.begin(), kept.end(), value, before);
  if (place == kept.end() && kept.size() == most) return;
  kept.insert(place, value);
  if (kept.size() > most) kept.pop_back();
}

}  // namespace topspin
