// The first of many by some order, without sorting them. Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace topspin {

/// Keeps the `count` elements that come first by `before`.
template <typename T, typename Before>
void keep_foremost(std::vector<T>& all, size_t count, const Before& before) {
  if (all.size() <= count) return;
  const auto end = all.begin() + static_cast<std::ptrdiff_t>(count);
  std::nth_element(all.begin(), end, all.end(), before);
  all.erase(end, all.end());
}

}  // namespace topspin
