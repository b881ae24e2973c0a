// compare: one metric on two sides, A the baseline and B the candidate: change, interval, verdict.
//
// Works on logarithms, so a change is a ratio and twice as slow is as far as twice as fast. Where a
// value is 0 or less there is no ratio, and for shares it would mislead: then a change is a
// difference. Something that was always 0 and never is now has changed, however small it is.
// docs/gate.md has the formulas. Pure: numbers, a metric and a seed in, values out.
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

/// Fewer values a side than this are described and not judged.
inline constexpr size_t kFewestValues = 6;

/// More are refused, because the comparison would take too long.
inline constexpr size_t kMostValues = 20'000;

/// The false discovery rate that a failing metric stays within, and the level of its interval.
inline constexpr double kFalseDiscoveryRate = 0.05;

/// The chance with which the minimum detectable effect is detected.
inline constexpr double kPower = 0.8;

/// How the values of the two sides belong together.
enum class Layout : uint8_t {
  kPaired,    // a_i and b_i were measured one after the other, in random order
  kUnpaired,  // two samples
};

/// The chance of a false alarm that a difference, or a rise from 0, stays within.
inline constexpr double kDifferenceChance = 0.01;

/// Changes and their interval are b / a - 1, whichever direction is better: 0.1 is 10% more; of an
/// `absolute` comparison they are b - a.
struct Comparison {
  Metric metric;
  bool absolute = false;
  double margin = 0;        // as the changes are
  bool from_zero = false;   // the baseline is 0 and the candidate is not, beyond chance
  std::optional<double> a;  // median of each side
  std::optional<double> b;
  std::optional<double> change;  // of the Hodges-Lehmann centre
  std::optional<double> ci_low;
  std::optional<double> ci_high;
  std::optional<double> p;  // that nothing changed at all
  std::optional<double> q;  // p after Benjamini-Hochberg over the gating metrics
  size_t n = 0;             // pairs; unpaired: values of the smaller side
  std::optional<double>
      minimum_detectable;  // worsening that would fail in 8 of 10 such comparisons
  Verdict verdict = Verdict::kInconclusive;
  std::string reason;  // one sentence, for what is not a pass
};

/// Everything but q and the verdict. REQUIRES: all finite; paired: as many on both sides; at most
/// kMostValues a side.
Comparison measure(const Metric& metric, std::span<const double> a, std::span<const double> b,
                   Layout layout, uint64_t seed);

/// Gives each its q, verdict and reason. A metric
///   fails        if the interval lies beyond the margin on the worse side, and q is at most 5%;
///   passes       if the interval ends before the margin;
///   inconclusive otherwise.
/// A metric that does not gate is judged by its p alone and has no q.
void judge(std::vector<Comparison>& comparisons);

/// How many pairs (or values per side) would decide, if noise and change stay the same; nullopt if
/// that is not known.
std::optional<size_t> values_wanted(const Comparison& comparison);

/// "+9.8%", "-0.31%": a share as people read it.
std::string format_change(double share);

/// A change of this comparison: "+9.8%" of a ratio, "+50.0 pp" (percentage points) of a share,
/// "+5" of other differences; "-" if there is none. `amount_text` has no sign: a margin.
std::string change_text(const Comparison& comparison, const std::optional<double>& change);
std::string amount_text(const Comparison& comparison, const std::optional<double>& amount);

}  // namespace topspin
