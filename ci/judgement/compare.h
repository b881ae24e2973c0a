// compare: compares a metric on two sides, the baseline A and the candidate B. The result is a
// change, its interval and a verdict.
//
// It works on logarithms: a change is a ratio, and twice as slow is as far away as twice as fast.
// For values of 0 or less there is no ratio, and for shares it would mislead, so a change is then a
// difference. A number that was always 0 and now never is 0 has changed, however small it is.
// docs/gate.md has the formulas. Pure: turns numbers, a metric and a seed into values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ci/judgement/verdict.h"
#include "ci/metrics/metric.h"

namespace topspin {

/// With fewer values per side, the sides are described but not judged.
inline constexpr size_t kFewestValues = 6;

/// More values are refused, because the comparison would take too long.
inline constexpr size_t kMostValues = 20'000;

/// The usual level of a verdict: the limit of the false discovery rate of failing metrics, and the
/// share of intervals that miss the true change. judgement/looks.h has a stricter one.
inline constexpr double kFalseDiscoveryRate = 0.05;

/// The chance with which the minimum detectable effect is detected.
inline constexpr double kPower = 0.8;

/// The relation between the values of the two sides.
enum class Layout : uint8_t {
  kPaired,    // a_i and b_i were measured one after the other, in random order
  kUnpaired,  // two samples
};

/// The limit of the probability of a false alarm for a difference, or for a rise from 0.
inline constexpr double kDifferenceChance = 0.01;

/// Changes and their interval are b / a - 1, whichever direction is better; 0.1 is 10% more. In an
/// `absolute` comparison they are b - a.
struct Comparison {
  Metric metric;
  bool absolute = false;
  double margin = 0;       // in the form of the changes
  bool from_zero = false;  // the baseline is 0 and the candidate is not, beyond chance
  bool apart = false;      // shares: every value of the candidate is worse than all of the baseline
  std::optional<double> a;  // median of each side
  std::optional<double> b;
  std::optional<double> change;  // of the Hodges-Lehmann centre
  std::optional<double> ci_low;
  std::optional<double> ci_high;
  std::optional<double> p;  // of the hypothesis that nothing changed
  std::optional<double> q;  // p after Benjamini-Hochberg over the gating metrics
  size_t n = 0;             // pairs; unpaired: values of the smaller side
  std::optional<double>
      minimum_detectable;  // worsening that would fail in 8 of 10 such comparisons
  Verdict verdict = Verdict::kInconclusive;
  std::string reason;  // one sentence; for everything except a pass
};

/// Computes everything except q and the verdict. REQUIRES: all values are finite; paired sides have
/// the same number of values; there are at most kMostValues per side.
Comparison measure(const Metric& metric, std::span<const double> a, std::span<const double> b,
                   Layout layout, uint64_t seed, double level = kFalseDiscoveryRate);

/// Sets the q, verdict and reason of each metric. A metric
///   fails        if the interval lies beyond the margin on the worse side, and q is at most
///   `level`;
///                a share also if the sides are apart by more than the margin;
///   passes       if the interval ends before the margin;
///   inconclusive otherwise.
/// A metric that does not gate is judged by its p only and has no q. REQUIRES: the level of
/// measure().
void judge(std::vector<Comparison>& comparisons, double level = kFalseDiscoveryRate);

/// How many pairs (or values per side) would be enough for a decision if noise and change stay the
/// same; nullopt if that is not known.
std::optional<size_t> values_wanted(const Comparison& comparison);

/// A share for people: "+9.8%", "-0.31%".
std::string format_change(double share);

/// A change in this comparison: "+9.8%" for a ratio, "+50.0 pp" (percentage points) for a share,
/// "+5" for other differences; "-" if there is none. `amount_text` has no sign, as for a margin.
std::string change_text(const Comparison& comparison, const std::optional<double>& change);
std::string amount_text(const Comparison& comparison, const std::optional<double>& amount);

}  // namespace topspin
