#include "ci/judgement/cause_changes.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "ci/statistics/statistics.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/tick/reply_parts.h"

namespace topspin {
namespace {

constexpr double kSmallestPart = 0.01;  // of the reply
constexpr double kSmallestCost = 0.01;  // of the subject's CPU time, or of all costs of its kind
constexpr size_t kMostNamed = 3;
constexpr size_t kNameBytes = 60;

/// The values of one part or cost on both sides. For pairs, only those in which both runs have it.
struct Values {
  std::vector<double> a, b;
};

using Sides = std::span<const RunTotals* const>;

template <typename Value>
Values values_of(Sides a, Sides b, Layout layout, Value value) {
  Values values;
  if (layout == Layout::kPaired) {
    for (size_t i = 0; i < a.size(); ++i) {
      const std::optional<double> x = value(*a[i]), y = value(*b[i]);
      if (!x || !y) continue;
      values.a.push_back(*x);
      values.b.push_back(*y);
    }
    return values;
  }
  for (const RunTotals* run : a)
    if (const std::optional<double> x = value(*run)) values.a.push_back(*x);
  for (const RunTotals* run : b)
    if (const std::optional<double> y = value(*run)) values.b.push_back(*y);
  return values;
}

Comparison compare_by_difference(std::string_view name, const Values& values, Layout layout,
                                 uint64_t seed) {
  Metric metric;
  metric.name = name;
  metric.unit = "ns";
  metric.absolute = true;
  metric.margin = 0;
  return measure(metric, values.a, values.b, layout, seed);
}

bool is_greater_change(const Comparison& x, const Comparison& y) {
  return std::abs(x.change.value_or(0)) > std::abs(y.change.value_or(0));
}

std::string signed_duration(double ns) {
  return fmt::format("{}{}", ns < 0 ? "-" : "+", format_duration(std::llround(std::abs(ns))));
}

std::string change_of_cause(const Comparison& cause) {
  return fmt::format("{} [{}, {}]", signed_duration(*cause.change), signed_duration(*cause.ci_low),
                     signed_duration(*cause.ci_high));
}

std::vector<Comparison> part_changes(Sides a, Sides b, Layout layout, uint64_t seed) {
  const Comparison whole = compare_by_difference(
      kReplyNumber, values_of(a, b, layout, [](const RunTotals& run) { return run.reply_ns; }),
      layout, seed);
  if (!whole.a || !whole.b || *whole.a <= 0 || *whole.b <= 0) return {};
  std::vector<Comparison> parts;
  for (size_t i = 0; i < kReplyPartCount; ++i) {
    Comparison part = compare_by_difference(
        reply_part_names()[i].time,
        values_of(a, b, layout, [i](const RunTotals& run) { return run.reply_part_ns[i]; }), layout,
        seed);
    if (!part.a || (*part.a < kSmallestPart * *whole.a && *part.b < kSmallestPart * *whole.b))
      continue;
    parts.push_back(std::move(part));
  }
  std::stable_sort(parts.begin(), parts.end(), is_greater_change);
  parts.insert(parts.begin(), whole);
  return parts;
}

/// Compares the costs of one kind.
class CostComparison {
 public:
  CostComparison(Sides a, Sides b, Layout layout, uint64_t seed, bool per_reply)
      : a_(a), b_(b), layout_(layout), seed_(seed), per_reply_(per_reply) {}

  void add(CostKind kind, std::vector<CostChange>& to) const {
    // What is compared is chosen by the mean of both sides. A choice by their difference would
    // favour chance differences.
    std::map<std::string_view, double> means;
    double all = 0;
    for (const Sides side : {a_, b_}) {
      for (const RunTotals* run : side) {
        if (!measured(*run, kind)) continue;
        for (const auto& [key, cost] : run->costs.costs) {
          if (key.first != kind) continue;
          const double share = per_unit(*run, cost.ns) / static_cast<double>(side.size());
          means[key.second] += share;
          all += share;
        }
      }
    }
    const double least = kSmallestCost * (kind == CostKind::kSyscall ? cpu_or(all) : all);
    std::vector<std::pair<double, std::string_view>> greatest;
    for (const auto& [name, mean] : means)
      if (mean > 0 && mean >= least) greatest.emplace_back(-mean, name);
    std::sort(greatest.begin(), greatest.end());
    greatest.resize(std::min(greatest.size(), kMostCosts[static_cast<size_t>(kind)]));
    const size_t from = to.size();
    for (const auto& [mean, name] : greatest) {
      if (std::optional<CostChange> change = compare(kind, std::string(name)))
        to.push_back(std::move(*change));
    }
    std::stable_sort(
        to.begin() + static_cast<std::ptrdiff_t>(from), to.end(),
        [](const CostChange& x, const CostChange& y) { return is_greater_change(x.of, y.of); });
  }

 private:
  bool measured(const RunTotals& run, CostKind kind) const {
    return run.costs.measured[static_cast<size_t>(kind)] && (!per_reply_ || run.costs.replies > 0);
  }

  double per_unit(const RunTotals& run, double amount) const {
    const double units = per_reply_ ? static_cast<double>(run.costs.replies)
                                    : static_cast<double>(run.costs.elapsed_ns) /
                                          static_cast<double>(kNanosPerSecond);
    return units > 0 ? amount / units : 0;
  }

  /// The mean CPU time of both sides, summed in the same way as the costs.
  double cpu_or(double otherwise) const {
    double sum = 0;
    for (const Sides side : {a_, b_}) {
      for (const RunTotals* run : side) {
        if (!run->costs.cpu_ns) return otherwise;
        sum += per_unit(*run, static_cast<double>(*run->costs.cpu_ns)) /
               static_cast<double>(side.size());
      }
    }
    return sum;
  }

  std::optional<CostChange> compare(CostKind kind, const std::string& name) const {
    const RunCosts::Key key(kind, name);
    const auto value = [&](auto amount) {
      return [&, amount](const RunTotals& run) -> std::optional<double> {
        if (!measured(run, kind)) return std::nullopt;
        const auto found = run.costs.costs.find(key);
        return found == run.costs.costs.end() ? 0 : per_unit(run, amount(found->second));
      };
    };
    const Values ns = values_of(a_, b_, layout_, value([](const auto& c) { return c.ns; }));
    if (ns.a.empty() || ns.b.empty()) return std::nullopt;
    const Values times = values_of(
        a_, b_, layout_, value([](const auto& c) { return static_cast<double>(c.times); }));
    return CostChange{kind, compare_by_difference(name, ns, layout_, seed_), median(times.a),
                      median(times.b)};
  }

  Sides a_, b_;
  Layout layout_;
  uint64_t seed_;
  bool per_reply_;
};

/// A run without replies cannot be compared with runs that have some.
bool most_have_replies(Sides side) {
  const auto with = std::count_if(side.begin(), side.end(),
                                  [](const RunTotals* run) { return run->costs.replies > 0; });
  return 2 * static_cast<size_t>(with) > side.size();
}

std::string short_name(std::string_view name) {
  if (name.size() <= kNameBytes) return std::string(name);
  size_t end = 0;
  for (size_t at = 0; at < kNameBytes;) {
    end = at;
    (void)next_code_point(name, at);
  }
  return std::string(name.substr(0, end)) + "...";
}

}  // namespace

CauseChanges cause_changes(Sides a, Sides b, Layout layout, uint64_t seed) {
  CauseChanges changes;
  changes.parts = part_changes(a, b, layout, seed);
  changes.per_reply = most_have_replies(a) && most_have_replies(b);
  const CostComparison costs(a, b, layout, seed, changes.per_reply);
  for (size_t kind = 0; kind < kCostKindCount; ++kind)
    costs.add(static_cast<CostKind>(kind), changes.costs);
  std::vector<Comparison*> all;
  for (Comparison& part : changes.parts) all.push_back(&part);
  for (CostChange& cost : changes.costs) all.push_back(&cost.of);
  std::vector<double> p;
  p.reserve(all.size());
  for (const Comparison* one : all) p.push_back(one->p.value_or(1));
  const std::vector<double> q = benjamini_hochberg(p);
  for (size_t i = 0; i < q.size(); ++i) all[i]->q = q[i];
  return changes;
}

bool has_changed(const Comparison& cause) {
  return cause.q && *cause.q <= kFalseDiscoveryRate && cause.ci_low && cause.ci_high &&
         (*cause.ci_low > 0 || *cause.ci_high < 0);
}

std::string_view cause_label(std::string_view name) {
  if (name == kReplyNumber) return "the whole reply";
  for (const ReplyPartNames& part : reply_part_names())
    if (part.time == name) return part.label;
  return name;
}

namespace {

std::string why_replies_changed(std::span<const Comparison> causes) {
  if (causes.empty() || !causes.front().ci_low) return {};
  const Comparison& whole = causes.front();
  const std::span<const Comparison> parts = causes.subspan(1);
  const auto is_changed = [](const Comparison& part) { return has_changed(part); };
  std::string text = has_changed(whole)
                         ? fmt::format("A reply takes {} in the server", change_of_cause(whole))
                         : std::string("A reply takes as long in the server as before, on average");
  size_t named = 0;
  for (const Comparison& part : parts) {
    if (!is_changed(part) || named == kMostNamed) continue;
    text += fmt::format("{}{} {}", named++ == 0 ? ": " : "; ", cause_label(part.metric.name),
                        change_of_cause(part));
  }
  if (named == 0) return text + "; no part of it changed beyond chance";
  // Other large parts of the reply that did not change are not causes.
  std::vector<const Comparison*> same;
  for (const Comparison& part : parts)
    if (!is_changed(part)) same.push_back(&part);
  std::stable_sort(same.begin(), same.end(),
                   [](const Comparison* x, const Comparison* y) { return *x->b > *y->b; });
  if (same.size() > kMostNamed) same.resize(kMostNamed);
  for (size_t i = 0; i < same.size(); ++i)
    text += fmt::format("{}{}", i == 0 ? ". Unchanged: " : "; ", cause_label(same[i]->metric.name));
  return text;
}

std::string_view cost_heading(CostKind kind) {
  switch (kind) {
    case CostKind::kSyscall: return "Inside system calls";
    case CostKind::kFunction: return "On a CPU";
    case CostKind::kSleep: break;
  }
  return "Asleep";
}

/// "Inside system calls, a reply: write +12.1us [+11.0us, +13.5us]"; empty if nothing changed.
std::string why_costs_changed(const CauseChanges& changes, CostKind kind) {
  std::string text;
  size_t named = 0;
  for (const CostChange& cost : changes.costs) {
    if (cost.kind != kind || !has_changed(cost.of) || named == kMostNamed) continue;
    text += named++ == 0 ? fmt::format("{}, a {}: ", cost_heading(kind),
                                       changes.per_reply ? "reply" : "second")
                         : std::string("; ");
    text += fmt::format("{} {}", short_name(cost.of.metric.name), change_of_cause(cost.of));
  }
  return text;
}

}  // namespace

std::string why_changed(const CauseChanges& changes) {
  std::string text = why_replies_changed(changes.parts);
  for (size_t kind = 0; kind < kCostKindCount; ++kind) {
    const std::string more = why_costs_changed(changes, static_cast<CostKind>(kind));
    if (!more.empty()) text += (text.empty() ? "" : ". ") + more;
  }
  return text;
}

}  // namespace topspin
