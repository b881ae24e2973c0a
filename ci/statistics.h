// The estimators that verdicts stand on: centres, intervals, tests. Pure functions over numbers.
//
// Everything here knows nothing of metrics, runs or verdicts; docs/gate.md has the formulas with
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
inline constexpr size_t kBootstrapResamples = 10'000;

/// The value at share `q` (0 to 1) of sorted values, between two of them by linear interpolation
/// (type 7 of Hyndman and Fan 1996). REQUIRES: sorted, not empty.
double quantile_of_sorted(std::span<const double> sorted, double q);
double median(std::vector<double> values);  // REQUIRES: not empty
double mean(std::span<const double> values);

/// Of the n values, with divisor n-1. REQUIRES: at least 2.
double sample_variance(std::span<const double> values);

/// The Hodges-Lehmann centre: the median of the averages of all pairs i <= j (Walsh averages).
/// O(n log n) time and O(n) memory. REQUIRES: not empty, all finite.
double hodges_lehmann_centre(std::span<const double> values);

/// The Hodges-Lehmann shift: the median of all differences b_j - a_i. REQUIRES: as above, both.
double hodges_lehmann_shift(std::span<const double> a, std::span<const double> b);

/// Bootstrap interval of hodges_lehmann_centre: quantiles of the centres of resamples, drawn with
/// replacement, at tails widened for small n (Hesterberg's expanded percentile interval). With more
/// than kBootstrapMax values: Wilcoxon's interval of Walsh averages, which needs no resampling.
/// REQUIRES: at least 2 values.
inline constexpr size_t kBootstrapMax = 200;
Interval centre_interval(std::span<const double> values, uint64_t seed,
                         double confidence = kConfidence, size_t resamples = kBootstrapResamples);

/// The same for hodges_lehmann_shift; each side is resampled on its own.
Interval shift_interval(std::span<const double> a, std::span<const double> b, uint64_t seed,
                        double confidence = kConfidence, size_t resamples = kBootstrapResamples);

/// Two-sided p of Wilcoxon's signed-rank test that the values lie symmetrically about 0. Zeros are
/// left out, ties take their mean rank. Exact given the ranks up to 200 values, beyond that normal
/// with continuity correction. 1 if all are zero.
double signed_rank_p(std::span<const double> values);

/// Two-sided p of the Mann-Whitney (rank-sum) test that neither side tends to be larger. Ties take
/// their mean rank. Exact given the ranks up to 60 values together, beyond that normal with
/// continuity correction. REQUIRES: neither is empty.
double rank_sum_p(std::span<const double> a, std::span<const double> b);

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

/// How many standard errors a centre_interval of n values reaches to each side, if the values are
/// normal: what turns its width back into a standard error.
double interval_reach(size_t n, double confidence = kConfidence);

}  // namespace topspin
