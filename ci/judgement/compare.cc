#include "ci/judgement/compare.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "ci/statistics/statistics.h"
#include "core/base/check.h"

namespace topspin {
namespace {

std::vector<double> logarithms(std::span<const double> values) {
  std::vector<double> logs;
  logs.reserve(values.size());
  for (const double v : values) logs.push_back(std::log(v));
  return logs;
}

bool all_are(std::span<const double> values, double value) {
  return std::all_of(values.begin(), values.end(), [=](double v) { return v == value; });
}

bool all_positive(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return v > 0; });
}

/// How much worse B is than A, as an interval on the log scale.
struct Worsening {
  double low = 0;
  double high = 0;
  double margin = 0;  // on the same scale

  double centre() const { return (low + high) / 2; }
  double half_width() const { return (high - low) / 2; }
};

std::optional<Worsening> worsening(const Comparison& c) {
  if (!c.ci_low || !c.ci_high) return std::nullopt;
  if (c.absolute) {
    if (c.metric.better == Better::kHigher) return Worsening{-*c.ci_high, -*c.ci_low, c.margin};
    return Worsening{*c.ci_low, *c.ci_high, c.margin};
  }
  const double low = std::log1p(*c.ci_low), high = std::log1p(*c.ci_high);
  const double margin = std::log1p(c.metric.margin);
  if (c.metric.better == Better::kHigher) return Worsening{-high, -low, margin};
  return Worsening{low, high, margin};
}

/// The true worsening whose interval would end beyond the margin in kPower of all comparisons as
/// noisy as this one: the margin, the half width, and the standard error times the normal quantile
/// of that power.
double minimum_detectable(const Comparison& c, const Worsening& w) {
  const double standard_error = w.half_width() / interval_reach(c.n);
  const double reach = w.margin + w.half_width() + normal_quantile(kPower) * standard_error;
  if (c.absolute) return reach;
  const double ratio = std::expm1(reach);
  // If more is better, the lost share is 1 - 1/(1 + worsening).
  return c.metric.better == Better::kHigher ? ratio / (1 + ratio) : ratio;
}

/// Whether the candidate has a value above 0 that the baseline never has: in every run, or in so
/// many that chance does not explain it.
bool rises_from_zero(const Comparison& c, std::span<const double> a, std::span<const double> b,
                     double level) {
  if (c.metric.better != Better::kLower || c.n < kFewestValues || !c.p || *c.a != 0 || *c.b <= 0)
    return false;
  return (all_are(a, 0) && all_positive(b)) || *c.p <= std::min(kDifferenceChance, level) / 2;
}

/// Whether every value of the candidate is worse than every value of the baseline by more than the
/// margin. REQUIRES: neither side is empty.
bool are_apart(const Comparison& c, std::span<const double> a, std::span<const double> b) {
  const auto [least_a, greatest_a] = std::minmax_element(a.begin(), a.end());
  const auto [least_b, greatest_b] = std::minmax_element(b.begin(), b.end());
  return c.metric.better == Better::kLower ? *least_b - *greatest_a > c.margin
                                           : *least_a - *greatest_b > c.margin;
}

std::string describe(const Comparison& c) {
  return fmt::format("{} {} (95% interval {} to {}, margin {})", c.metric.name,
                     change_text(c, c.change), change_text(c, c.ci_low), change_text(c, c.ci_high),
                     amount_text(c, c.margin));
}

void decide(Comparison& c, std::optional<double> chance, double level) {
  const auto w = worsening(c);
  if (!w || !chance) return;  // measure() has set the reason
  if (c.from_zero && *chance <= level) {
    c.verdict = Verdict::kFail;
    c.reason = fmt::format(
        "{}: the baseline has 0, the candidate {}", c.metric.name,
        c.metric.unit == kUnitOfShares ? amount_text(c, c.b) : fmt::format("{:.5g}", *c.b));
    return;
  }
  if (w->high < w->margin || (c.absolute && w->high <= 0)) {
    c.verdict = Verdict::kPass;
    return;
  }
  const bool certain =
      *chance <= level && (!c.absolute || *c.p <= std::min(kDifferenceChance, level));
  if (w->low > w->margin && certain) {
    c.verdict = Verdict::kFail;
    c.reason = describe(c) + " is worse by more than its margin";
    return;
  }
  if (c.apart) {
    c.verdict = Verdict::kFail;
    c.reason =
        fmt::format("{} {}: every run of the candidate is worse than every run of the baseline",
                    c.metric.name, change_text(c, c.change));
    return;
  }
  c.verdict = Verdict::kInconclusive;
  c.reason = describe(c) + " could be on either side of its margin";
  if (w->low > w->margin)
    c.reason =
        fmt::format("{} looks worse, but with this many metrics one could by chance (q = {:.2g})",
                    describe(c), *chance);
  if (const auto wanted = values_wanted(c))
    c.reason +=
        fmt::format("; {} values per side were compared, about {} should decide", c.n, *wanted);
}

}  // namespace

std::string amount_text(const Comparison& c, const std::optional<double>& amount) {
  if (!amount) return "-";
  if (!c.absolute) return fmt::format("{:.3g}%", 100 * *amount);
  if (c.metric.unit == kUnitOfShares) return fmt::format("{:.3g} pp", 100 * *amount);
  return fmt::format("{:.4g}", *amount);
}

std::string change_text(const Comparison& c, const std::optional<double>& change) {
  if (!change) return "-";
  if (!c.absolute) return format_change(*change);
  if (c.metric.unit == kUnitOfShares) return fmt::format("{:+.3g} pp", 100 * *change);
  return fmt::format("{:+.4g}", *change);
}

std::string format_change(double share) {
  const double percent = 100 * share;
  if (std::abs(percent) >= 100) return fmt::format("{:+.0f}%", percent);
  if (std::abs(percent) >= 10) return fmt::format("{:+.1f}%", percent);
  return fmt::format("{:+.2f}%", percent);
}

Comparison measure(const Metric& metric, std::span<const double> a, std::span<const double> b,
                   Layout layout, uint64_t seed, double level) {
  const bool paired = layout == Layout::kPaired;
  CHECK(!paired || a.size() == b.size());
  CHECK(a.size() <= kMostValues && b.size() <= kMostValues);
  Comparison c;
  c.metric = metric;
  c.absolute = metric.absolute;
  c.margin = metric.margin;
  c.n = std::min(a.size(), b.size());
  if (c.n == 0) {
    c.reason = fmt::format("{} was not measured on both sides", metric.name);
    return c;
  }
  c.a = median({a.begin(), a.end()});
  c.b = median({b.begin(), b.end()});
  if (c.n >= 2) c.p = paired ? paired_rank_sum_p(a, b) : rank_sum_p(a, b);
  if (all_are(a, 0) && all_are(b, 0)) {  // no errors on either side: nothing changed
    c.change = 0;
    if (c.n >= kFewestValues) c.ci_low = c.ci_high = 0;
  } else if (metric.absolute || !all_positive(a) || !all_positive(b)) {
    if (!metric.absolute) c.margin = metric.margin * std::abs(*c.a);
    c.absolute = true;
    c.change = hodges_lehmann_shift(a, b);
    if (c.n >= kFewestValues) {
      const Interval interval = paired ? paired_shift_interval(a, b, seed, 1 - level)
                                       : shift_interval(a, b, seed, 1 - level);
      c.ci_low = interval.low;
      c.ci_high = interval.high;
    }
    c.from_zero = rises_from_zero(c, a, b, level);
    c.apart = metric.absolute && c.n >= kFewestValues && are_apart(c, a, b);
  } else {
    const std::vector<double> log_a = logarithms(a), log_b = logarithms(b);
    c.change = std::expm1(hodges_lehmann_shift(log_a, log_b));
    if (c.n >= kFewestValues) {
      const Interval interval = paired ? paired_shift_interval(log_a, log_b, seed, 1 - level)
                                       : shift_interval(log_a, log_b, seed, 1 - level);
      c.ci_low = std::expm1(interval.low);
      c.ci_high = std::expm1(interval.high);
    }
  }
  if (const auto w = worsening(c)) {
    c.minimum_detectable = minimum_detectable(c, *w);
  } else {
    c.reason = fmt::format("{} has {} value{} per side; a verdict needs {}", metric.name, c.n,
                           c.n == 1 ? "" : "s", kFewestValues);
  }
  return c;
}

void judge(std::vector<Comparison>& comparisons, double level) {
  std::vector<double> p;
  std::vector<Comparison*> gating;
  for (Comparison& c : comparisons) {
    if (!c.metric.gating || !c.p) continue;
    p.push_back(*c.p);
    gating.push_back(&c);
  }
  const std::vector<double> q = benjamini_hochberg(p);
  for (size_t i = 0; i < q.size(); ++i) gating[i]->q = q[i];
  for (Comparison& c : comparisons) decide(c, c.metric.gating ? c.q : c.p, level);
}

std::optional<size_t> values_wanted(const Comparison& c) {
  const auto w = worsening(c);
  if (!w) return std::nullopt;
  // The half width shrinks with the root of n; it should fit between centre and margin.
  const double distance = std::abs(w->centre() - w->margin);
  if (distance <= 0) return std::nullopt;
  const double factor = w->half_width() / distance;
  const double wanted = std::ceil(static_cast<double>(c.n) * factor * factor);
  if (wanted > static_cast<double>(kMostValues)) return std::nullopt;
  return std::max(static_cast<size_t>(wanted), c.n + 1);
}

}  // namespace topspin
