#include "ci/statistics/change_points.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "ci/statistics/random.h"
#include "ci/statistics/statistics.h"
#include "core/base/check.h"

namespace topspin {
namespace {

/// A tentative split may be this many times weaker than a final one, because its neighbours are not
/// known yet and may disturb its segments. The merge at the end applies the settings to all.
constexpr double kTentativeFactor = 10;

/// A value further from its side's median than this many scaled median deviations is moved to that
/// distance. Such a run was disturbed, so its value tells little about the level.
constexpr double kMostDeviations = 3;

/// 1 / the normal distribution's third quartile. Converts a median deviation to a standard
/// deviation.
constexpr double kDeviationScale = 1.4826;

std::vector<double> tamed(std::span<const double> side) {
  std::vector<double> values(side.begin(), side.end());
  const double centre = median(values);
  std::vector<double> deviations;
  deviations.reserve(values.size());
  for (const double v : values) deviations.push_back(std::abs(v - centre));
  const double reach = kMostDeviations * kDeviationScale * median(std::move(deviations));
  if (reach == 0) return values;  // more than half are equal, so there is no scale
  for (double& v : values) v = std::clamp(v, centre - reach, centre + reach);
  return values;
}

/// Welch's test of the two sides' levels, with outliers limited. Otherwise a single one would
/// increase the variance of its whole side and hide the step beside it.
WelchTest levels_differ(std::span<const double> before, std::span<const double> after) {
  return welch_test(tamed(before), tamed(after));
}

struct Split {
  size_t index = 0;
  double strength = 0;  // Q-hat, the scaled energy distance of the two sides
};

/// The split of `values` with the greatest energy distance between its sides, neither of which is
/// shorter than `min_segment`. If there are several, the first.
///
///   Q = nm/(n+m) * (2 mean|x-y| - mean|x-x'| - mean|y-y'|), means over pairs of different points
std::optional<Split> best_split(std::span<const double> values, size_t min_segment) {
  const size_t count = values.size();
  if (count < 2 * min_segment) return std::nullopt;
  // Sums of |difference| over the pairs inside the left side, inside the right, and across. Moving
  // a point from right to left moves its distances from one sum to another.
  double left = 0, right = 0, across = 0;
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = i + 1; j < count; ++j) right += std::abs(values[i] - values[j]);
  }
  std::optional<Split> best;
  for (size_t n = 1; n < count; ++n) {
    const double moved = values[n - 1];
    double to_left = 0, to_right = 0;
    for (size_t i = 0; i + 1 < n; ++i) to_left += std::abs(moved - values[i]);
    for (size_t j = n; j < count; ++j) to_right += std::abs(moved - values[j]);
    left += to_left;
    right -= to_right;
    across += to_right - to_left;
    const size_t m = count - n;
    if (n < min_segment || m < min_segment) continue;
    const auto x = static_cast<double>(n), y = static_cast<double>(m);
    const double strength =
        x * y / (x + y) *
        (2 * across / (x * y) - 2 * left / (x * (x - 1)) - 2 * right / (y * (y - 1)));
    if (!best || strength > best->strength) best = Split{n, strength};
  }
  return best;
}

class Analysis {
 public:
  Analysis(std::span<const double> series, const ChangePointSettings& settings)
      : series_(series), settings_(settings) {}

  std::vector<ChangePoint> run() {
    propose();
    do {
      settle();
    } while (remove_unproven());
    std::vector<ChangePoint> points;
    for (size_t i = 0; i < splits_.size(); ++i) points.push_back(describe(i));
    return points;
  }

 private:
  void propose() {
    const size_t step = std::max<size_t>(1, settings_.window / 2);
    for (size_t begin = 0; begin < series_.size(); begin += step) {
      const size_t end = std::min(series_.size(), begin + settings_.window);
      divide(begin, end);
      if (end == series_.size()) break;
    }
    std::sort(splits_.begin(), splits_.end());
    splits_.erase(std::unique(splits_.begin(), splits_.end()), splits_.end());
  }

  /// Splits [begin, end) and then its halves, as long as the sides differ.
  void divide(size_t begin, size_t end) {
    const auto split = best_split(series_.subspan(begin, end - begin), settings_.min_segment);
    if (!split) return;
    const size_t at = begin + split->index;
    const WelchTest test =
        levels_differ(series_.subspan(begin, at - begin), series_.subspan(at, end - at));
    if (test.p >= settings_.max_p * kTentativeFactor) return;
    splits_.push_back(at);
    divide(begin, at);
    divide(at, end);
  }

  /// Repeats until nothing changes: merges, and moves the remaining splits to the best place, which
  /// changes their neighbours' segments. The rounds are bounded, because moving might never end.
  void settle() {
    constexpr int kMostRounds = 8;
    for (int round = 0; round < kMostRounds; ++round) {
      merge();
      if (!relocate()) return;
    }
    merge();
  }

  /// Removes the splits that shuffled points would often show too; true if there were any.
  bool remove_unproven() {
    std::vector<size_t> proven;
    for (size_t i = 0; i < splits_.size(); ++i) {
      if (permutation_p(i) <= settings_.max_permutation_p) proven.push_back(splits_[i]);
    }
    std::swap(splits_, proven);
    return splits_.size() < proven.size();
  }

  /// The share of shuffles of split i's two segments whose best split is at least as strong.
  double permutation_p(size_t i) const {
    const auto before = side_before(i), after = side_after(i);
    std::vector<double> values(before.begin(), before.end());
    values.insert(values.end(), after.begin(), after.end());
    const auto strength = [&] { return best_split(values, settings_.min_segment)->strength; };
    const double observed = strength();
    Random random(settings_.seed);
    size_t as_strong = 1;  // the observed order is one of the possible ones
    for (size_t k = 0; k < settings_.permutations; ++k) {
      random.shuffle(std::span(values));
      if (strength() >= observed) ++as_strong;
    }
    return static_cast<double>(as_strong) / static_cast<double>(settings_.permutations + 1);
  }

  size_t segment_begin(size_t i) const { return i == 0 ? 0 : splits_[i - 1]; }
  size_t segment_end(size_t i) const {
    return i + 1 == splits_.size() ? series_.size() : splits_[i + 1];
  }

  /// The two sides of split i: up to its neighbours, but at most one window, because an old level
  /// tells little about the most recent one.
  std::span<const double> side_before(size_t i) const {
    const size_t at = splits_[i];
    const size_t begin = std::max(segment_begin(i), at - std::min(at, settings_.window));
    return series_.subspan(begin, at - begin);
  }
  std::span<const double> side_after(size_t i) const {
    const size_t at = splits_[i];
    return series_.subspan(at, std::min(segment_end(i) - at, settings_.window));
  }

  ChangePoint describe(size_t i) const {
    ChangePoint point;
    point.index = splits_[i];
    point.before = mean(side_before(i));
    point.after = mean(side_after(i));
    point.change = relative_change(point.before, point.after);
    point.p = levels_differ(side_before(i), side_after(i)).p;
    return point;
  }

  static double relative_change(double before, double after) {
    if (before == after) return 0;
    if (before == 0) return std::copysign(HUGE_VAL, after);
    return (after - before) / std::abs(before);
  }

  /// Removes the worst split until every one is good: first those whose segments are too short,
  /// then the least significant, then the smallest.
  void merge() {
    while (!splits_.empty()) {
      std::optional<size_t> worst;
      double worst_p = -1;
      for (size_t i = 0; i < splits_.size(); ++i) {
        const bool too_short = side_before(i).size() < settings_.min_segment ||
                               side_after(i).size() < settings_.min_segment;
        // A segment too short to be tested counts as no evidence. Of two splits that are too close,
        // the one with less evidence is removed.
        const double p = too_short ? 1 + crowded_p(i) : describe(i).p;
        if (p > worst_p) {
          worst_p = p;
          worst = i;
        }
      }
      if (worst_p < settings_.max_p) {
        worst.reset();
        double smallest = settings_.min_change;
        for (size_t i = 0; i < splits_.size(); ++i) {
          const double size = std::abs(describe(i).change);
          if (size < smallest) {
            smallest = size;
            worst = i;
          }
        }
        if (!worst) return;
      }
      splits_.erase(splits_.begin() + static_cast<std::ptrdiff_t>(*worst));
    }
  }

  /// The p of split i as if its neighbours within min_segment did not exist.
  double crowded_p(size_t i) const {
    const size_t at = splits_[i];
    size_t begin = 0, end = series_.size();
    for (const size_t other : splits_) {
      if (other + settings_.min_segment <= at) begin = other;
      if (other >= at + settings_.min_segment) {
        end = other;
        break;
      }
    }
    begin = std::max(begin, at - std::min(at, settings_.window));
    end = std::min(end, at + settings_.window);
    return levels_differ(series_.subspan(begin, at - begin), series_.subspan(at, end - at)).p;
  }

  /// Moves each split to where the energy distance between its two segments is greatest, now that
  /// its neighbours are known. True if one moved.
  bool relocate() {
    bool moved = false;
    for (size_t i = 0; i < splits_.size(); ++i) {
      const auto before = side_before(i), after = side_after(i);
      const size_t begin = splits_[i] - before.size();
      const auto split =
          best_split(series_.subspan(begin, before.size() + after.size()), settings_.min_segment);
      if (!split || begin + split->index == splits_[i]) continue;
      splits_[i] = begin + split->index;
      moved = true;
    }
    return moved;
  }

  std::span<const double> series_;
  const ChangePointSettings& settings_;
  std::vector<size_t> splits_;  // ascending
};

}  // namespace

std::vector<ChangePoint> find_change_points(std::span<const double> series,
                                            const ChangePointSettings& settings) {
  CHECK(settings.min_segment >= 2);
  CHECK(settings.window >= 2 * settings.min_segment);
  for (const double v : series) CHECK(std::isfinite(v));
  return Analysis(series, settings).run();
}

}  // namespace topspin
