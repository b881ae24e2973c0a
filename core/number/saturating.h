// Sums of numbers from a stored run, which may be hostile. Pure.
#pragma once

#include <limits>
#include <type_traits>

namespace topspin {

/// a + b, or the nearest number that fits if the sum does not.
template <typename T>
requires std::is_integral_v<T>
constexpr T saturating_add(T a, T b) {
  T sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b < T{} ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
}

}  // namespace topspin
