#include "ci/judgement/cause_changes.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "ci/statistics/statistics.h"
#include "core/base/text.h"
#include "core/tick/reply_parts.h"

namespace topspin {
namespace {

constexpr double kSmallestPart = 0.01;  // of the reply
constexpr size_t kMostNamed = 3;

/// The values of one part: -1 is the whole reply.
struct Values {
  std::vector<double> a, b;
};

Values values_of(std::span<const RunTotals* const> a, std::span<const RunTotals* const> b,
                 Layout layout, int part) {
  const auto value = [&](const RunTotals& run) {
    return part < 0 ? run.reply_ns : run.reply_part_ns[static_cast<size_t>(part)];
  };
  Values values;
  if (layout == Layout::kPaired) {
    for (size_t i = 0; i < a.size(); ++i) {
      const auto x = value(*a[i]), y = value(*b[i]);
      if (!x || !y) continue;
      values.a.push_back(*x);
      values.b.push_back(*y);
    }
    return values;
  }
  for (const RunTotals* run : a)
    if (const auto x = value(*run)) values.a.push_back(*x);
  for (const RunTotals* run : b)
    if (const auto y = value(*run)) values.b.push_back(*y);
  return values;
}

Comparison compare_part(std::string_view name, const Values& values, Layout layout, uint64_t seed) {
  Metric metric;
  metric.name = name;
  metric.unit = "ns";
  metric.absolute = true;
  metric.margin = 0;
  return measure(metric, values.a, values.b, layout, seed);
}

std::string signed_duration(double ns) {
  return fmt::format("{}{}", ns < 0 ? "-" : "+", format_duration(std::llround(std::abs(ns))));
}

std::string change_of_cause(const Comparison& cause) {
  return fmt::format("{} [{}, {}]", signed_duration(*cause.change), signed_duration(*cause.ci_low),
                     signed_duration(*cause.ci_high));
}

}  // namespace

std::vector<Comparison> cause_changes(std::span<const RunTotals* const> a,
                                      std::span<const RunTotals* const> b, Layout layout,
                                      uint64_t seed) {
  const Comparison whole = compare_part(kReplyNumber, values_of(a, b, layout, -1), layout, seed);
  if (!whole.a || !whole.b || *whole.a <= 0 || *whole.b <= 0) return {};
  std::vector<Comparison> parts;
  for (size_t i = 0; i < kReplyPartCount; ++i) {
    Comparison part = compare_part(reply_part_names()[i].time,
                                   values_of(a, b, layout, static_cast<int>(i)), layout, seed);
    if (!part.a || (*part.a < kSmallestPart * *whole.a && *part.b < kSmallestPart * *whole.b))
      continue;
    parts.push_back(std::move(part));
  }
  std::stable_sort(parts.begin(), parts.end(), [](const Comparison& x, const Comparison& y) {
    return std::abs(x.change.value_or(0)) > std::abs(y.change.value_or(0));
  });
  parts.insert(parts.begin(), whole);
  std::vector<double> p;
  for (const Comparison& part : parts) p.push_back(part.p.value_or(1));
  const std::vector<double> q = benjamini_hochberg(p);
  for (size_t i = 0; i < q.size(); ++i) parts[i].q = q[i];
  return parts;
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

std::string why_changed(std::span<const Comparison> causes) {
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
  // What else is a large part of the reply, and did not change, is no cause.
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

}  // namespace topspin
