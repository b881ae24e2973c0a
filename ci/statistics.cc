#include "ci/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>

#include "ci/random.h"
#include "core/check.h"

namespace topspin {
namespace {

constexpr size_t kExactSignedRankMax = 200;
constexpr size_t kExactRankSumMax = 60;

std::vector<double> sorted_copy(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  for (const double v : sorted) CHECK(std::isfinite(v));
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

double normal_upper_tail(double z) {
  return boost::math::cdf(boost::math::complement(boost::math::normal(), z));
}

double t_quantile(double probability, double degrees_of_freedom) {
  return boost::math::quantile(boost::math::students_t(degrees_of_freedom), probability);
}

// --- The k-th smallest of n^2 sums without making them -----------------------------------------
// Sums of a row and a column of sorted values are sorted along both, and stay so when rounded, so
// counting those up to x takes one walk down a staircase. Bisection over the doubles themselves, in
// their order, ends at the very sum after at most 64 walks.

uint64_t order_of(double value) {
  const auto bits = std::bit_cast<uint64_t>(value);
  constexpr uint64_t kSign = uint64_t{1} << 63;
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

double value_at_order(uint64_t order) {
  constexpr uint64_t kSign = uint64_t{1} << 63;
  return std::bit_cast<double>((order & kSign) != 0 ? order & ~kSign : ~order);
}

/// The smallest double x in [low, high] with count_up_to(x) >= rank.
template <typename CountUpTo>
double smallest_with_count(double low, double high, uint64_t rank, CountUpTo count_up_to) {
  uint64_t first = order_of(low), last = order_of(high);
  while (first < last) {
    const uint64_t middle = first + (last - first) / 2;
    if (count_up_to(value_at_order(middle)) >= rank)
      last = middle;
    else
      first = middle + 1;
  }
  return value_at_order(first);
}

double half_sum(double x, double y) { return x / 2 + y / 2; }

uint64_t walsh_count(uint64_t n) { return n * (n + 1) / 2; }

/// The rank-th smallest (from 1) of (x_i + x_j) / 2 over i <= j.
double walsh_average(std::span<const double> sorted, uint64_t rank) {
  const auto count_up_to = [&](double x) {
    uint64_t count = 0;
    size_t columns = sorted.size();
    for (size_t i = 0; i < sorted.size(); ++i) {
      while (columns > i && half_sum(sorted[i], sorted[columns - 1]) > x) --columns;
      if (columns <= i) break;
      count += columns - i;
    }
    return count;
  };
  return smallest_with_count(sorted.front(), sorted.back(), rank, count_up_to);
}

/// The rank-th smallest (from 1) of b_j - a_i.
double difference_at(std::span<const double> a, std::span<const double> b, uint64_t rank) {
  const auto count_up_to = [&](double x) {
    uint64_t count = 0;
    size_t columns = 0;  // of b; grows as a_i grows
    for (const double a_value : a) {
      while (columns < b.size() && b[columns] - a_value <= x) ++columns;
      count += columns;
    }
    return count;
  };
  return smallest_with_count(b.front() - a.back(), b.back() - a.front(), rank, count_up_to);
}

/// The median of `count` things that `at` gives by rank from 1.
template <typename At>
double median_by_rank(uint64_t count, At at) {
  const double upper = at(count / 2 + 1);
  return count % 2 == 1 ? upper : half_sum(at(count / 2), upper);
}

// --- Bootstrap ----------------------------------------------------------------------------------
// A resample is how often each value was drawn. Its Walsh averages (or differences) are those of
// the whole sample, each as often as its two values were drawn together, so they are sorted once
// and a resample's centre is a weighted median.

struct PairValue {
  double value;
  uint32_t first;
  uint32_t second;
};

template <typename Weight>
double weighted_median(const std::vector<PairValue>& sorted, uint64_t total, Weight weight) {
  const uint64_t lower_rank = (total + 1) / 2;
  const uint64_t upper_rank = total / 2 + 1;
  uint64_t reached = 0;
  double lower = 0;
  bool lower_found = false;
  for (const PairValue& pair : sorted) {
    reached += weight(pair);
    if (!lower_found && reached >= lower_rank) {
      lower = pair.value;
      lower_found = true;
    }
    if (reached >= upper_rank) return half_sum(lower, pair.value);
  }
  CHECK(false);
  return 0;
}

void draw_with_replacement(Random& random, std::vector<uint32_t>& times) {
  std::fill(times.begin(), times.end(), 0u);
  for (size_t i = 0; i < times.size(); ++i) ++times[random.below(times.size())];
}

void sort_by_value(std::vector<PairValue>& pairs) {
  std::sort(pairs.begin(), pairs.end(), [](const PairValue& x, const PairValue& y) {
    return x.value != y.value ? x.value < y.value
                              : std::pair(x.first, x.second) < std::pair(y.first, y.second);
  });
}

/// The share of resampled centres to leave out on each side. A plain percentile interval is too
/// narrow for small n by sqrt((n-1)/n) and by the normal's tails against Student's.
double expanded_tail(size_t n, double confidence) {
  return normal_upper_tail(interval_reach(n, confidence));
}

Interval quantile_interval(std::vector<double> centres, double tail) {
  std::sort(centres.begin(), centres.end());
  return {quantile_of_sorted(centres, tail), quantile_of_sorted(centres, 1 - tail)};
}

/// The ranks that a distribution-free interval of `count` ordered values takes, when the test's
/// statistic is normal with the given mean (count / 2) and deviation.
Interval rank_interval(uint64_t count, double deviation, double confidence, auto at) {
  const double reach = normal_quantile((1 + confidence) / 2) * deviation;
  const double low = std::floor(static_cast<double>(count) / 2 - reach);
  const uint64_t rank = low < 1 ? 1 : static_cast<uint64_t>(low);
  return {at(rank), at(count + 1 - rank)};
}

// --- Ranks --------------------------------------------------------------------------------------

/// Twice the mean rank of each value among all (whole numbers even with ties), and the tie term:
/// the sum of t^3 - t over groups of t equal values.
struct Ranks {
  std::vector<uint32_t> doubled;
  double tie_term = 0;
};

Ranks rank_values(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t x, size_t y) { return values[x] < values[y]; });
  Ranks ranks;
  ranks.doubled.resize(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i)
      ranks.doubled[order[i]] = static_cast<uint32_t>(begin + 1 + end);
    const auto t = static_cast<double>(end - begin);
    ranks.tie_term += t * t * t - t;
    begin = end;
  }
  return ranks;
}

double two_sided_normal(double distance, double deviation) {
  if (deviation <= 0) return 1;
  return std::min(1.0, 2 * normal_upper_tail(std::max(0.0, distance) / deviation));
}

}  // namespace

double quantile_of_sorted(std::span<const double> sorted, double q) {
  CHECK(!sorted.empty());
  CHECK(q >= 0 && q <= 1);
  const double position = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(position);
  if (below + 1 >= sorted.size()) return sorted.back();
  return std::lerp(sorted[below], sorted[below + 1], position - static_cast<double>(below));
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return quantile_of_sorted(values, 0.5);
}

double mean(std::span<const double> values) {
  CHECK(!values.empty());
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double sample_variance(std::span<const double> values) {
  CHECK(values.size() >= 2);
  const double centre = mean(values);
  double squares = 0;
  for (const double v : values) squares += (v - centre) * (v - centre);
  return squares / static_cast<double>(values.size() - 1);
}

double hodges_lehmann_centre(std::span<const double> values) {
  CHECK(!values.empty());
  const std::vector<double> sorted = sorted_copy(values);
  return median_by_rank(walsh_count(sorted.size()),
                        [&](uint64_t rank) { return walsh_average(sorted, rank); });
}

double hodges_lehmann_shift(std::span<const double> a, std::span<const double> b) {
  CHECK(!a.empty() && !b.empty());
  const std::vector<double> sorted_a = sorted_copy(a), sorted_b = sorted_copy(b);
  return median_by_rank(uint64_t{a.size()} * b.size(),
                        [&](uint64_t rank) { return difference_at(sorted_a, sorted_b, rank); });
}

double normal_quantile(double probability) {
  return boost::math::quantile(boost::math::normal(), probability);
}

double interval_reach(size_t n, double confidence) {
  CHECK(n >= 2);
  const auto count = static_cast<double>(n);
  return std::sqrt(count / (count - 1)) * t_quantile((1 + confidence) / 2, count - 1);
}

Interval centre_interval(std::span<const double> values, uint64_t seed, double confidence,
                         size_t resamples) {
  CHECK(values.size() >= 2);
  const std::vector<double> sorted = sorted_copy(values);
  const size_t n = sorted.size();
  if (n > kBootstrapMax) {
    const auto count = static_cast<double>(n);
    const double deviation = std::sqrt(count * (count + 1) * (2 * count + 1) / 24);
    return rank_interval(walsh_count(n), deviation, confidence,
                         [&](uint64_t rank) { return walsh_average(sorted, rank); });
  }
  std::vector<PairValue> averages;
  averages.reserve(walsh_count(n));
  for (uint32_t i = 0; i < n; ++i) {
    for (uint32_t j = i; j < n; ++j) averages.push_back({half_sum(sorted[i], sorted[j]), i, j});
  }
  sort_by_value(averages);
  Random random(seed);
  std::vector<uint32_t> times(n);
  std::vector<double> centres(resamples);
  for (double& centre : centres) {
    draw_with_replacement(random, times);
    centre = weighted_median(averages, walsh_count(n), [&](const PairValue& pair) -> uint64_t {
      const uint64_t drawn = times[pair.first];
      return pair.first == pair.second ? drawn * (drawn + 1) / 2 : drawn * times[pair.second];
    });
  }
  return quantile_interval(std::move(centres), expanded_tail(n, confidence));
}

Interval shift_interval(std::span<const double> a, std::span<const double> b, uint64_t seed,
                        double confidence, size_t resamples) {
  CHECK(a.size() >= 2 && b.size() >= 2);
  const std::vector<double> sorted_a = sorted_copy(a), sorted_b = sorted_copy(b);
  const uint64_t total = uint64_t{a.size()} * b.size();
  if (a.size() > kBootstrapMax || b.size() > kBootstrapMax) {
    const auto n = static_cast<double>(a.size()), m = static_cast<double>(b.size());
    const double deviation = std::sqrt(n * m * (n + m + 1) / 12);
    return rank_interval(total, deviation, confidence, [&](uint64_t rank) {
      return difference_at(sorted_a, sorted_b, rank);
    });
  }
  std::vector<PairValue> differences;
  differences.reserve(total);
  for (uint32_t i = 0; i < sorted_a.size(); ++i) {
    for (uint32_t j = 0; j < sorted_b.size(); ++j)
      differences.push_back({sorted_b[j] - sorted_a[i], i, j});
  }
  sort_by_value(differences);
  Random random(seed);
  std::vector<uint32_t> times_a(a.size()), times_b(b.size());
  std::vector<double> shifts(resamples);
  for (double& shift : shifts) {
    draw_with_replacement(random, times_a);
    draw_with_replacement(random, times_b);
    shift = weighted_median(differences, total, [&](const PairValue& pair) {
      return uint64_t{times_a[pair.first]} * times_b[pair.second];
    });
  }
  return quantile_interval(std::move(shifts),
                           expanded_tail(std::min(a.size(), b.size()), confidence));
}

double signed_rank_p(std::span<const double> values) {
  std::vector<double> magnitudes;
  std::vector<bool> positive;
  for (const double v : values) {
    if (v == 0) continue;
    magnitudes.push_back(std::abs(v));
    positive.push_back(v > 0);
  }
  const size_t n = magnitudes.size();
  if (n == 0) return 1;
  const Ranks ranks = rank_values(magnitudes);
  size_t positive_sum = 0, total = 0;  // of doubled ranks
  for (size_t i = 0; i < n; ++i) {
    total += ranks.doubled[i];
    if (positive[i]) positive_sum += ranks.doubled[i];
  }
  const size_t smaller = std::min(positive_sum, total - positive_sum);
  if (n > kExactSignedRankMax) {
    const auto count = static_cast<double>(n);
    const double variance = count * (count + 1) * (2 * count + 1) / 24 - ranks.tie_term / 48;
    const double distance = (static_cast<double>(total) / 2 - static_cast<double>(smaller)) / 2;
    return two_sided_normal(distance - 0.5, std::sqrt(variance));
  }
  // Under the hypothesis each rank is positive or not by the toss of a coin.
  std::vector<double> probability(total + 1, 0.0);
  probability[0] = 1;
  size_t reachable = 0;
  for (const uint32_t rank : ranks.doubled) {
    reachable += rank;
    for (size_t sum = reachable + 1; sum-- > 0;) {
      const double with = sum >= rank ? probability[sum - rank] : 0;
      probability[sum] = (probability[sum] + with) / 2;
    }
  }
  const auto end = probability.begin() + static_cast<std::ptrdiff_t>(smaller) + 1;
  return std::min(1.0, 2 * std::accumulate(probability.begin(), end, 0.0));
}

double rank_sum_p(std::span<const double> a, std::span<const double> b) {
  CHECK(!a.empty() && !b.empty());
  std::vector<double> all(a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  const Ranks ranks = rank_values(all);
  const size_t n = a.size(), m = b.size(), count = n + m;
  size_t sum_a = 0;  // of doubled ranks
  for (size_t i = 0; i < n; ++i) sum_a += ranks.doubled[i];
  const size_t expected = n * (count + 1);
  const size_t distance = sum_a > expected ? sum_a - expected : expected - sum_a;
  if (count > kExactRankSumMax) {
    const auto nm = static_cast<double>(n * m), all_count = static_cast<double>(count);
    const double variance =
        nm / 12 * (all_count + 1 - ranks.tie_term / (all_count * (all_count - 1)));
    return two_sided_normal(static_cast<double>(distance) / 2 - 0.5, std::sqrt(variance));
  }
  // Under the hypothesis every choice of n ranks out of all is as likely as any other:
  // ways[k][s], the number of choices of k ranks with sum s; below 2^53 for 56 values, and close
  // enough beyond.
  const size_t sum_max = count * (count + 1);
  std::vector<std::vector<double>> ways(n + 1, std::vector<double>(sum_max + 1, 0.0));
  ways[0][0] = 1;
  for (const uint32_t rank : ranks.doubled) {
    for (size_t k = n; k > 0; --k) {
      for (size_t sum = rank; sum <= sum_max; ++sum) ways[k][sum] += ways[k - 1][sum - rank];
    }
  }
  double as_far = 0, choices = 0;
  for (size_t sum = 0; sum <= sum_max; ++sum) {
    choices += ways[n][sum];
    const size_t away = sum > expected ? sum - expected : expected - sum;
    if (away >= distance) as_far += ways[n][sum];
  }
  return std::min(1.0, as_far / choices);
}

WelchTest welch_test(std::span<const double> a, std::span<const double> b) {
  const auto n = static_cast<double>(a.size()), m = static_cast<double>(b.size());
  const double share_a = sample_variance(a) / n, share_b = sample_variance(b) / m;
  const double difference = mean(b) - mean(a);
  WelchTest test;
  const double variance = share_a + share_b;
  if (variance <= 0) {
    test.p = difference == 0 ? 1 : 0;
    test.t = difference == 0
                 ? 0
                 : std::copysign(std::numeric_limits<double>::infinity(), difference);
    test.degrees_of_freedom = n + m - 2;
    return test;
  }
  test.t = difference / std::sqrt(variance);
  // Welch-Satterthwaite, with the shares scaled so that their squares cannot underflow.
  const double x = share_a / variance, y = share_b / variance;
  test.degrees_of_freedom = 1 / (x * x / (n - 1) + y * y / (m - 1));
  const boost::math::students_t distribution(test.degrees_of_freedom);
  test.p = 2 * boost::math::cdf(boost::math::complement(distribution, std::abs(test.t)));
  return test;
}

std::vector<double> benjamini_hochberg(std::span<const double> p) {
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t x, size_t y) { return p[x] < p[y]; });
  std::vector<double> q(p.size());
  double least = 1;
  for (size_t rank = p.size(); rank > 0; --rank) {
    const size_t i = order[rank - 1];
    least = std::min(least, p[i] * static_cast<double>(p.size()) / static_cast<double>(rank));
    q[i] = least;
  }
  return q;
}

}  // namespace topspin
