// The estimators that verdicts are based on: centres, intervals, tests. Pure functions over
// numbers.
//
// Nothing here knows about metrics, runs or verdicts. docs/gate.md has the formulas, their sources,
// and why each was chosen. The same values and the same seed give the same result on every machine.
// The .cc takes distributions from Boost.Math. Thread-agnostic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace topspin {

struct Interval {
  double low = 0;
  double high = 0;
};

inline constexpr double kConfidence = 0.95;
inline constexpr size_t kBootstrapSmall = 200;
inline constexpr size_t kBootstrapResamples = 10'000;
inline constexpr size_t kBootstrapResamplesLarge = 2'000;

/// The quantile `q` (0 to 1) of sorted values, with linear interpolation between two of them (type
/// 7 of Hyndman and Fan 1996). REQUIRES: sorted, not empty.
double quantile_of_sorted(std::span<const double> sorted, double q);
double median(std::vector<double> values);  // REQUIRES: not empty
double mean(std::span<const double> values);

/// The variance of n values, with divisor n-1. REQUIRES: at least 2 values.
double sample_variance(std::span<const double> values);

/// The Hodges-Lehmann shift of b against a: the median of all differences b_j - a_i.
/// O((n + m) log) time, O(n + m) memory. REQUIRES: neither is empty, all finite.
double hodges_lehmann_shift(std::span<const double> a, std::span<const double> b);

/// Bootstrap interval of the shift: quantiles of the shifts of resamples, which are drawn with
/// replacement. For few values the tails are widened (Hesterberg's expanded percentile interval).
/// Paired: a_i and b_i were measured together and are drawn together, so changes that affect both
/// do not widen the interval. Unpaired: each side is drawn on its own. Above kBootstrapSmall values
/// per side there are fewer resamples. REQUIRES: at least 2 values per side, all finite; paired
/// sides have the same number of values.
Interval paired_shift_interval(std::span<const double> a, std::span<const double> b, uint64_t seed,
                               double confidence = kConfidence);
Interval shift_interval(std::span<const double> a, std::span<const double> b, uint64_t seed,
                        double confidence = kConfidence);

/// Two-sided p of the hypothesis that the sides of each pair are exchangeable. It is the
/// randomisation test of the sum of rank differences, with ranks over all values together and mean
/// ranks for ties. Exact up to kExactPairs pairs, a normal approximation beyond. 1 if no pair
/// differs. REQUIRES: the same number of values on both sides.
inline constexpr size_t kExactPairs = 100;
double paired_rank_sum_p(std::span<const double> a, std::span<const double> b);

/// Two-sided p of the Mann-Whitney (rank-sum) test that neither side tends to be larger, with mean
/// ranks for ties. Exact, given the ranks, up to kExactValues values in total; beyond that a normal
/// approximation with continuity correction. REQUIRES: neither side is empty.
inline constexpr size_t kExactValues = 50;
double rank_sum_p(std::span<const double> a, std::span<const double> b);

/// The probability that at least `b_hits` of all hits are on side B if the side has no influence
/// (Fisher's exact test, one-sided). 1 if a side is empty.
double more_hits_p(uint64_t a_hits, uint64_t a_count, uint64_t b_hits, uint64_t b_count);

/// Welch's t-test of equal means with unequal variances.
struct WelchTest {
  double t = 0;
  double degrees_of_freedom = 0;
  double p = 1;  // two-sided
};

/// If both sides are constant there is no variance: p is 1 if they are equal, and 0 if not.
/// REQUIRES: at least 2 values per side.
WelchTest welch_test(std::span<const double> a, std::span<const double> b);

/// Benjamini-Hochberg: computes a q for each p, the smallest false discovery rate at which it would
/// be a discovery. In the given order.
std::vector<double> benjamini_hochberg(std::span<const double> p);

/// The standard normal distribution's quantile. REQUIRES: 0 < probability < 1.
double normal_quantile(double probability);

/// Upper end of the one-sided interval of a share, after `successes` of `trials` (Clopper and
/// Pearson 1934). REQUIRES: successes <= trials, trials > 0.
double proportion_upper_bound(size_t successes, size_t trials, double confidence = kConfidence);

/// How many standard errors a bootstrap interval of n normal values extends to each side. It
/// converts the width of an interval into a standard error.
double interval_reach(size_t n, double confidence = kConfidence);

}  // namespace topspin
