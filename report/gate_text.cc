#include "report/gate_text.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "core/text.h"

namespace topspin {
namespace {

std::string number(const std::optional<double>& value) {
  return value ? fmt::format("{:.5g}", *value) : "-";
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
        c.ci_low ? fmt::format("{} {}", share(c.ci_low), share(c.ci_high)) : "-";
    const std::string detects =
        c.minimum_detectable ? fmt::format("{:.3g}%", 100 * *c.minimum_detectable) : "-";
    text += fmt::format("  {:<{}} {:>12} {:>12} {:>8} {:>19} {:>7} {:>5} {:>6.3g}% {:>8}  {}{}\n",
                        sanitize_for_terminal(c.metric.name), width, number(c.a), number(c.b),
                        share(c.change), interval, probability(c.q), c.n, 100 * c.metric.margin,
                        detects, verdict_name(c.verdict), c.metric.gating ? "" : " (informs)");
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
    if (c.recovered) note += ", recovered since";
    text +=
        fmt::format("  {:>7} {:>12} {:>12} {:>8} {:>8}  {}{}{}\n", c.index, number(c.point.before),
                    number(c.point.after), share(c.point.change), fmt::format("{:.0e}", c.point.p),
                    note, c.time.empty() ? "" : "; ", sanitize_for_terminal(c.time));
  }
  return text;
}

}  // namespace

std::string judgement_text(const Judgement& judgement) {
  std::string text = upper_case(verdict_name(judgement.verdict)) + "\n";
  for (const std::string& reason : judgement.reasons)
    text += fmt::format("  {}\n", sanitize_for_terminal(reason));
  if (judgement.mode == "history") {
    text += changes_text(judgement);
    return text;
  }
  if (!judgement.metrics.empty()) text += metrics_text(judgement);
  text +=
      fmt::format("\n  seed {}; detects: a worsening that would fail in 8 of 10 such comparisons\n",
                  judgement.seed);
  return text;
}

}  // namespace topspin
