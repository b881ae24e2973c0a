// Normally distributed numbers for the tests of statistics.
#pragma once

#include <cstdint>

#include "ci/statistics/random.h"
#include "ci/statistics/statistics.h"

namespace topspin {

/// A number of the standard normal distribution, drawn by inverting its distribution function.
inline double gauss(Random& random) {
  constexpr uint64_t kSteps = uint64_t{1} << 40;
  return normal_quantile((static_cast<double>(random.below(kSteps)) + 0.5) /
                         static_cast<double>(kSteps));
}

}  // namespace topspin
