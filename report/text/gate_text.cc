#include "report/text/gate_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include <fmt/format.h>

#include "core/text.h"
#include "report/export/export.h"

namespace topspin {
namespace {

std::string number(const std::optional<double>& value) {
  return value ? fmt::format("{:.5g}", *value) : "-";
}

/// A value in its unit, as the table of `topspin run` has it.
std::string value_text(const Metric& metric, const std::optional<double>& value) {
  if (!value || std::abs(*value) > 9e18) return number(value);
  if (metric.unit == "ns") return format_duration(static_cast<int64_t>(std::llround(*value)));
  if (metric.unit == "bytes" && *value >= 0)
    return format_bytes(static_cast<int64_t>(std::llround(*value)));
  if (metric.unit == kUnitOfShares) return fmt::format("{:.4g}%", 100 * *value);
  if (metric.unit == "1/s") return number(value) + "/s";
  return number(value);
}

std::string share(const std::optional<double>& value) {
  return value ? format_change(*value) : "-";
}

std::string probability(const std::optional<double>& value) {
  if (!value) return "-";
  return *value < 0.0001 ? "<.0001" : fmt::format("{:.4f}", *value);
}

std::string upper_case(std::string_view text) {
  std::string upper(text);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) {
    return static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  });
  return upper;
}

std::string metrics_text(const Judgement& judgement) {
  size_t width = 6;
  for (const Comparison& c : judgement.metrics)
    width = std::max(width, sanitize_for_terminal(c.metric.name).size());
  std::string text = fmt::format(
      "\n  {:<{}} {:>12} {:>12} {:>8} {:>19} {:>7} {:>5} {:>7} {:>8}  {}\n", "metric", width, "a",
      "b", "change", "95% interval", "q", "n", "margin", "detects", "verdict");
  for (const Comparison& c : judgement.metrics) {
    const std::string interval =
        c.ci_low ? fmt::format("{} {}", change_text(c, c.ci_low), change_text(c, c.ci_high)) : "-";
    text += fmt::format(
        "  {:<{}} {:>12} {:>12} {:>8} {:>19} {:>7} {:>5} {:>7} {:>8}  {}{}\n",
        sanitize_for_terminal(c.metric.name), width, value_text(c.metric, c.a),
        value_text(c.metric, c.b), change_text(c, c.change), interval, probability(c.q), c.n,
        amount_text(c, c.margin), amount_text(c, c.minimum_detectable),
        verdict_name(settled_verdict(judgement, c)), c.metric.gating ? "" : " (informs)");
  }
  return text;
}

std::string changes_text(const Judgement& judgement) {
  if (judgement.changes.empty()) return "\n  no change of level\n";
  std::string text = fmt::format("\n  {:>7} {:>12} {:>12} {:>8} {:>8}  {}\n", "index", "before",
                                 "after", "change", "p", "");
  for (const HistoryChange& c : judgement.changes) {
    std::string note = c.worse ? "worse" : "better";
    if (c.acknowledged) note += ", acknowledged";
    if (!c.because.empty()) note += fmt::format(" ({})", sanitize_for_terminal(c.because));
    if (c.recovered) note += ", recovered since";
    text +=
        fmt::format("  {:>7} {:>12} {:>12} {:>8} {:>8}  {}{}{}\n", c.index, number(c.point.before),
                    number(c.point.after), share(c.point.change), fmt::format("{:.0e}", c.point.p),
                    note, c.time.empty() ? "" : "; ", sanitize_for_terminal(c.time));
  }
  return text;
}

/// A share as a bar of at most `width` cells, in eighths of a cell.
std::string bar(double share, double greatest, size_t width) {
  constexpr std::array<std::string_view, 8> kEighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto eighths =
      static_cast<size_t>(std::lround(share / greatest * static_cast<double>(width * 8)));
  std::string text;
  for (size_t i = 0; i < eighths / 8; ++i) text += "█";
  text += kEighths[eighths % 8];
  if (text.empty() && share > 0) text = kEighths[1];  // little is not nothing
  return text;
}

std::string distribution_text(const Distribution& d) {
  constexpr size_t kBarWidth = 40;
  const auto cell = [](const std::optional<int64_t>& ns) {
    return ns ? format_duration(*ns) : std::string("-");
  };
  std::string text = fmt::format("\n  {:<24} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n", d.name,
                                 "count", "min", "p50", "p90", "p99", "p99.9", "max");
  for (const auto& [side, s] : {std::pair('a', &d.a), std::pair('b', &d.b)}) {
    text += fmt::format("  {:<24} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n", side, s->count,
                        cell(s->min), cell(s->p50), cell(s->p90), cell(s->p99), cell(s->p999),
                        cell(s->max));
  }
  double greatest = 0;
  for (const DistributionBar& b : d.bars) greatest = std::max({greatest, b.a, b.b});
  for (const DistributionBar& b : d.bars) {
    const std::string range =
        b.to_ns < 0 ? std::string("early")
                    : fmt::format("{} to {}", format_duration(b.from_ns), format_duration(b.to_ns));
    text +=
        fmt::format("  {:>22} a {:>5.1f}% {}\n", range, 100 * b.a, bar(b.a, greatest, kBarWidth));
    text += fmt::format("  {:>22} b {:>5.1f}% {}\n", "", 100 * b.b, bar(b.b, greatest, kBarWidth));
  }
  return text;
}

}  // namespace

std::string judgement_text(const Judgement& judgement) {
  std::string text = upper_case(verdict_name(judgement.verdict)) + "\n";
  for (const std::string& reason : judgement.reasons)
    text += fmt::format("  {}\n", sanitize_for_terminal(reason));
  for (const std::string& reason : judgement.not_comparable)
    text += fmt::format("  not comparable: {}\n", sanitize_for_terminal(reason));
  if (judgement.mode == "history") {
    text += changes_text(judgement);
    return text;
  }
  if (!judgement.metrics.empty()) text += metrics_text(judgement);
  for (const Distribution& d : judgement.distributions) text += distribution_text(d);
  text +=
      fmt::format("\n  seed {}; detects: a worsening that would fail in 8 of 10 such comparisons\n",
                  judgement.seed);
  return text;
}

std::string aa_check_text(const AaCheck& check) {
  std::string text;
  if (check.trials > 0) {
    text += fmt::format(
        "A/A: {} false alarms in {} judgements of {} pairs: {:.2g}% (at most {:.2g}%, with 95% "
        "confidence)\n",
        check.alarms, check.trials, check.pairs, 100 * check.alarm_rate,
        100 * check.alarm_rate_high);
    text += fmt::format("     {} passed, {} were inconclusive\n", check.passes,
                        check.trials - check.alarms - check.passes);
  } else {
    text += "A/A: not done\n";
  }
  for (const std::string& reason : check.reasons)
    text += fmt::format("  {}\n", sanitize_for_terminal(reason));
  if (check.metrics.empty()) return text;
  text += fmt::format("\n  {:<26} {:>7} {:>9} {:>7} {:>7}\n", "metric", "margin", "detects",
                      "alarms", "passes");
  for (const AaMetric& m : check.metrics) {
    text += fmt::format(
        "  {:<26} {:>6.3g}% {:>9} {:>7} {:>7}\n", sanitize_for_terminal(m.metric.name),
        100 * m.metric.margin,
        m.minimum_detectable ? fmt::format("{:.3g}%", 100 * *m.minimum_detectable) : "-", m.alarms,
        m.passes);
  }
  text += fmt::format(
      "\n  seed {}; detects: a worsening that would fail in 8 of 10 such comparisons, on this "
      "host\n",
      check.seed);
  return text;
}

}  // namespace topspin
