// Change points of a history: the places where the level of a series of numbers changed lastingly.
//
// E-divisive (Matteson and James 2014, exponent 1) proposes them in overlapping windows. Welch's
// t-test, with the outliers of each side winsorised, judges them. Those that are too weak or too
// small are removed, the weakest first. The others must also pass a permutation test of the split,
// because Welch's p does not consider that the split was chosen where it looks best. Nothing is
// kept between calls: all history is analysed again, and the same series and seed give the same
// result. Pure; thread-agnostic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace topspin {

struct ChangePointSettings {
  size_t window = 50;        // points in which a split is searched, and judged on each side
  size_t min_segment = 4;    // a level has at least this many points, so an outlier is not one
  double max_p = 0.001;      // of Welch's test between the two sides, with outliers limited
  double min_change = 0.03;  // of the level, as a share of the level before
  size_t permutations = 999;
  double max_permutation_p = 0.001;
  uint64_t seed = 1;
};

struct ChangePoint {
  size_t index = 0;   // of the first point on the new level
  double before = 0;  // mean of the points before it, back to the last change or one window
  double after = 0;
  double change = 0;  // after / before - 1
  double p = 1;
};

/// In order of index. REQUIRES: all values finite.
std::vector<ChangePoint> find_change_points(std::span<const double> series,
                                            const ChangePointSettings& settings = {});

}  // namespace topspin
