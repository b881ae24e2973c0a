// The estimators that verdicts are based on: centres, intervals, tests. Pure functions over
// numbers.
//
// Nothing here knows about metrics, runs or verdicts; docs/gate.md has the formulas with
// their sources and why each was chosen. The same values and the same seed give the same answer on
// every machine. Distributions come from Boost.Math, behind the .cc. Thread-agnostic.
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

/// The value at share `q` (0 to 1) of sorted values, between two of them by linear interpolation
/// (type 7 of Hyndman and Fan 1996). REQUIRES: sorted, not empty.
double quantile_of_sorted(std::span<const double> sorted, double q);
double median(std::vector<double> values);  // REQUIRES: not empty
double mean(std::span<const double> values);

/// Of the n values, with divisor n-1. REQUIRES: at least 2.
double sample_variance(std::span<const double> values);

/// The Hodges-Lehmann shift of b against a: the median of all differences b_j - a_i.
/// O((n + m) log) time, O(n + m) memory. REQUIRES: neither is empty, all finite.
double hodges_lehmann_shift(std::span<const double> a, std::span<const double> b);

/// Bootstrap interval of the shift: quantiles of the shifts of resamples, drawn with replacement,
/// at tails widened for few values (Hesterberg's expanded percentile interval). Paired: a_i and b_i
/// were measured together and are drawn together, so what moves both widens nothing. Unpaired: each
/// side is drawn on its own. Above kBootstrapSmall values a side there are fewer resamples.
/// REQUIRES: at least 2 values a side, all finite; paired: as many on both sides.
Interval paired_shift_interval(std::span<const double> a, std::span<const double> b, uint64_t seed,
                               double confidence = kConfidence);
Interval shift_interval(std::span<const double> a, std::span<const double> b, uint64_t seed,
                        double confidence = kConfidence);

/// Two-sided p of the hypothesis that the sides of each pair are exchangeable:
/// the randomisation test of the sum of rank differences, ranks over all values together, ties at
/// their mean. Exact up to kExactPairs pairs, beyond that normal. 1 if no pair differs.
/// REQUIRES: as many on both sides.
inline constexpr size_t kExactPairs = 100;
double paired_rank_sum_p(std::span<const double> a, std::span<const double> b);

/// Two-sided p of the Mann-Whitney (rank-sum) test that neither side tends to be larger, ties at
/// their mean rank. Exact given the ranks up to kExactValues together, beyond that normal with
/// continuity correction. REQUIRES: neither is empty.
inline constexpr size_t kExactValues = 50;
double rank_sum_p(std::span<const double> a, std::span<const double> b);

/// The chance that at least `b_hits` of all hits fall on side B if side has nothing to do with them
/// (Fisher's exact test, one-sided). 1 where a side is empty.
double more_hits_p(uint64_t a_hits, uint64_t a_count, uint64_t b_hits, uint64_t b_count);

/// Welch's t-test of equal means, variances unequal.
struct WelchTest {
  double t = 0;
  double degrees_of_freedom = 0;
  double p = 1;  // two-sided
};

/// Two constant sides have no variance: p is 1 if they are equal and 0 if not.
/// REQUIRES: at least 2 values a side.
WelchTest welch_test(std::span<const double> a, std::span<const double> b);

/// Benjamini-Hochberg: for each p its q, the smallest false discovery rate at which it would be
/// called a discovery. In the order given.
std::vector<double> benjamini_hochberg(std::span<const double> p);

/// The standard normal distribution's quantile. REQUIRES: 0 < probability < 1.
double normal_quantile(double probability);

/// Upper end of the one-sided interval of a share, `successes` of `trials` seen (Clopper and
/// Pearson 1934). REQUIRES: successes <= trials, trials > 0.
double proportion_upper_bound(size_t successes, size_t trials, double confidence = kConfidence);

/// How many standard errors a bootstrap interval of n values reaches to each side, if the values
/// are normal: what turns its width back into a standard error.
double interval_reach(size_t n, double confidence = kConfidence);

}  // namespace topspin
