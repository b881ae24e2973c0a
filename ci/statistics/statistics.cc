#include "ci/statistics/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include <boost/math/distributions/beta.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>

#include "ci/statistics/random.h"
#include "core/base/check.h"

namespace topspin {
namespace {

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

// --- The median of n times m differences without making them -------------------------------------
// Each value may count several times (as often as a bootstrap drew it). The differences of sorted
// values are sorted along rows and columns, also after rounding, so counting those up to x takes
// one walk down a staircase. Bisection over the doubles themselves, in their order, finds the exact
// difference after at most 64 walks.

constexpr uint64_t kSignBit = uint64_t{1} << 63;

uint64_t order_of(double value) {
  const auto bits = std::bit_cast<uint64_t>(value);
  return (bits & kSignBit) != 0 ? ~bits : bits | kSignBit;
}

double value_at_order(uint64_t order) {
  return std::bit_cast<double>((order & kSignBit) != 0 ? order & ~kSignBit : ~order);
}

double half_sum(double x, double y) { return x / 2 + y / 2; }

struct Side {
  std::span<const double> sorted;
  std::span<const uint32_t> times;  // how often each value counts
};

/// The rank-th smallest (from 1) of b_j - a_i, each counted times_a_i * times_b_j times.
double difference_at(const Side& a, const Side& b, uint64_t rank) {
  const auto count_up_to = [&](double x) {
    uint64_t count = 0, below = 0;  // below: how many of b are at most a_i + x
    size_t j = 0;
    for (size_t i = 0; i < a.sorted.size(); ++i) {
      for (; j < b.sorted.size() && b.sorted[j] - a.sorted[i] <= x; ++j) below += b.times[j];
      count += below * a.times[i];
    }
    return count;
  };
  uint64_t first = order_of(b.sorted.front() - a.sorted.back());
  uint64_t last = order_of(b.sorted.back() - a.sorted.front());
  while (first < last) {
    const uint64_t middle = first + (last - first) / 2;
    if (count_up_to(value_at_order(middle)) >= rank)
      last = middle;
    else
      first = middle + 1;
  }
  return value_at_order(first);
}

/// REQUIRES: the times of each side add up to its size.
double median_difference(const Side& a, const Side& b) {
  const uint64_t count = uint64_t{a.sorted.size()} * b.sorted.size();
  const double upper = difference_at(a, b, count / 2 + 1);
  return count % 2 == 1 ? upper : half_sum(difference_at(a, b, count / 2), upper);
}

// --- Bootstrap ----------------------------------------------------------------------------------
// A resample is the number of times that each value was drawn. Its differences are those of the
// whole sample, each counted as often as its two values were drawn. With few values, the
// differences are computed and sorted once, and the shift of a resample is their weighted median:
// one short walk.

class ResampledShift {
 public:
  ResampledShift(std::span<const double> a, std::span<const double> b) : a_(a), b_(b) {
    if (a.size() > kBootstrapSmall || b.size() > kBootstrapSmall) return;
    differences_.reserve(a.size() * b.size());
    for (uint32_t i = 0; i < a.size(); ++i) {
      for (uint32_t j = 0; j < b.size(); ++j) differences_.push_back({b[j] - a[i], i, j});
    }
    // The order of equal differences does not change a median.
    std::sort(differences_.begin(), differences_.end(),
              [](const Difference& x, const Difference& y) { return x.value < y.value; });
  }

  size_t resamples() const {
    return differences_.empty() ? kBootstrapResamplesLarge : kBootstrapResamples;
  }

  /// The shift if a_i was drawn times_a[i] times and b_j times_b[j] times.
  double operator()(std::span<const uint32_t> times_a, std::span<const uint32_t> times_b) const {
    if (differences_.empty()) return median_difference({a_, times_a}, {b_, times_b});
    const uint64_t count = uint64_t{a_.size()} * b_.size();
    const uint64_t lower_rank = (count + 1) / 2, upper_rank = count / 2 + 1;
    uint64_t reached = 0;
    const Difference* lower = nullptr;
    for (const Difference& d : differences_) {
      reached += uint64_t{times_a[d.i]} * times_b[d.j];
      if (lower == nullptr && reached >= lower_rank) lower = &d;
      if (reached >= upper_rank) return half_sum(lower->value, d.value);
    }
    CHECK(false);
    return 0;
  }

 private:
  struct Difference {
    double value;
    uint32_t i;
    uint32_t j;
  };
  std::span<const double> a_, b_;  // sorted
  std::vector<Difference> differences_;
};

/// Calls drawn(index) `count` times, with a random index each time.
void draw_with_replacement(Random& random, size_t count, auto drawn) {
  for (size_t i = 0; i < count; ++i) drawn(static_cast<size_t>(random.below(count)));
}

/// The interval between the tails of the shifts. A plain percentile interval is too narrow for few
/// values, by sqrt((n-1)/n) and by the normal's tails against Student's.
Interval expanded_interval(std::vector<double> shifts, size_t n, double confidence) {
  const double tail = normal_upper_tail(interval_reach(n, confidence));
  std::sort(shifts.begin(), shifts.end());
  return {quantile_of_sorted(shifts, tail), quantile_of_sorted(shifts, 1 - tail)};
}

/// The place of each value in sorted order; equal values keep their order.
std::vector<size_t> places_in_order(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t x, size_t y) { return values[x] < values[y]; });
  std::vector<size_t> places(values.size());
  for (size_t i = 0; i < order.size(); ++i) places[order[i]] = i;
  return places;
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

double hodges_lehmann_shift(std::span<const double> a, std::span<const double> b) {
  CHECK(!a.empty() && !b.empty());
  const std::vector<double> sorted_a = sorted_copy(a), sorted_b = sorted_copy(b);
  const std::vector<uint32_t> once(std::max(a.size(), b.size()), 1);
  return median_difference({sorted_a, {once.data(), a.size()}},
                           {sorted_b, {once.data(), b.size()}});
}

double normal_quantile(double probability) {
  return boost::math::quantile(boost::math::normal(), probability);
}

double proportion_upper_bound(size_t successes, size_t trials, double confidence) {
  CHECK(trials > 0 && successes <= trials);
  if (successes == trials) return 1;
  const boost::math::beta_distribution<> distribution(static_cast<double>(successes + 1),
                                                      static_cast<double>(trials - successes));
  return boost::math::quantile(distribution, confidence);
}

double interval_reach(size_t n, double confidence) {
  CHECK(n >= 2);
  const auto count = static_cast<double>(n);
  return std::sqrt(count / (count - 1)) * t_quantile((1 + confidence) / 2, count - 1);
}

Interval paired_shift_interval(std::span<const double> a, std::span<const double> b, uint64_t seed,
                               double confidence) {
  CHECK(a.size() == b.size() && a.size() >= 2);
  const std::vector<double> sorted_a = sorted_copy(a), sorted_b = sorted_copy(b);
  const std::vector<size_t> place_a = places_in_order(a), place_b = places_in_order(b);
  const ResampledShift shift_of(sorted_a, sorted_b);
  Random random(seed);
  std::vector<double> shifts(shift_of.resamples());
  std::vector<uint32_t> times_a(a.size()), times_b(b.size());
  for (double& shift : shifts) {
    std::fill(times_a.begin(), times_a.end(), 0u);
    std::fill(times_b.begin(), times_b.end(), 0u);
    draw_with_replacement(random, a.size(), [&](size_t pair) {
      ++times_a[place_a[pair]];
      ++times_b[place_b[pair]];
    });
    shift = shift_of(times_a, times_b);
  }
  return expanded_interval(std::move(shifts), a.size(), confidence);
}

Interval shift_interval(std::span<const double> a, std::span<const double> b, uint64_t seed,
                        double confidence) {
  CHECK(a.size() >= 2 && b.size() >= 2);
  const std::vector<double> sorted_a = sorted_copy(a), sorted_b = sorted_copy(b);
  const ResampledShift shift_of(sorted_a, sorted_b);
  Random random(seed);
  std::vector<double> shifts(shift_of.resamples());
  std::vector<uint32_t> times_a(a.size()), times_b(b.size());
  for (double& shift : shifts) {
    std::fill(times_a.begin(), times_a.end(), 0u);
    std::fill(times_b.begin(), times_b.end(), 0u);
    draw_with_replacement(random, a.size(), [&](size_t i) { ++times_a[i]; });
    draw_with_replacement(random, b.size(), [&](size_t j) { ++times_b[j]; });
    shift = shift_of(times_a, times_b);
  }
  return expanded_interval(std::move(shifts), std::min(a.size(), b.size()), confidence);
}

double paired_rank_sum_p(std::span<const double> a, std::span<const double> b) {
  CHECK(a.size() == b.size());
  std::vector<double> all(a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  const Ranks ranks = rank_values(all);
  std::vector<size_t> distances;  // between doubled ranks, for the pairs that differ
  int64_t sum = 0;
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const int64_t distance = int64_t{ranks.doubled[a.size() + i]} - int64_t{ranks.doubled[i]};
    if (distance == 0) continue;
    sum += distance;
    squares += static_cast<double>(distance) * static_cast<double>(distance);
    distances.push_back(static_cast<size_t>(std::abs(distance)));
  }
  if (distances.empty()) return 1;
  const auto observed = static_cast<size_t>(std::abs(sum));
  if (distances.size() > kExactPairs)
    return two_sided_normal(static_cast<double>(observed), std::sqrt(squares));
  // Under the hypothesis, the sign of each distance is random. `up` is the sum of the positive
  // ones; the whole sum is 2 * up - total.
  const size_t total = std::accumulate(distances.begin(), distances.end(), size_t{0});
  std::vector<double> probability(total + 1, 0.0);
  probability[0] = 1;
  size_t reachable = 0;
  for (const size_t distance : distances) {
    reachable += distance;
    for (size_t up = reachable + 1; up-- > 0;) {
      const double with = up >= distance ? probability[up - distance] : 0;
      probability[up] = (probability[up] + with) / 2;
    }
  }
  double as_far = 0;
  for (size_t up = 0; up <= total; ++up) {
    const size_t away = 2 * up > total ? 2 * up - total : total - 2 * up;
    if (away >= observed) as_far += probability[up];
  }
  return std::min(1.0, as_far);
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
  if (count > kExactValues) {
    const auto nm = static_cast<double>(n * m), all_count = static_cast<double>(count);
    const double variance =
        nm / 12 * (all_count + 1 - ranks.tie_term / (all_count * (all_count - 1)));
    return two_sided_normal(static_cast<double>(distance) / 2 - 0.5, std::sqrt(variance));
  }
  // Under the hypothesis, every choice of n ranks out of all is equally likely. ways[k][s] is the
  // number of choices of k ranks with sum s. It is below 2^53, so exact.
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
    test.t =
        difference == 0 ? 0 : std::copysign(std::numeric_limits<double>::infinity(), difference);
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

double more_hits_p(uint64_t a_hits, uint64_t a_count, uint64_t b_hits, uint64_t b_count) {
  CHECK(a_hits <= a_count && b_hits <= b_count);
  if (a_count == 0 || b_count == 0) return 1;
  const auto log_choose = [](uint64_t n, uint64_t k) {
    return std::lgamma(static_cast<double>(n) + 1) - std::lgamma(static_cast<double>(k) + 1) -
           std::lgamma(static_cast<double>(n - k) + 1);
  };
  const uint64_t hits = a_hits + b_hits;
  const double all = log_choose(a_count + b_count, hits);
  double p = 0;
  for (uint64_t on_b = b_hits; on_b <= std::min(hits, b_count); ++on_b) {
    if (hits - on_b > a_count) continue;
    p += std::exp(log_choose(b_count, on_b) + log_choose(a_count, hits - on_b) - all);
  }
  return std::min(p, 1.0);
}

}  // namespace topspin
