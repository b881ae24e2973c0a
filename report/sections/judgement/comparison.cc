// A against B: each metric with its change, and overlaid distributions.
#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "ci/judgement/cause_changes.h"
#include "ci/judgement/settled_verdict.h"
#include "core/base/text.h"
#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

constexpr size_t kMetricsShown = 200;
constexpr size_t kWhyBytes = 2'000;

Span change_of(const Comparison& c, const std::optional<double>& change) {
  return change && std::isfinite(*change) ? words(change_text(c, change)) : absent();
}

constexpr size_t kNameBytes = 24;

/// "A", or "A (base)" if the side's subject has a name.
std::string side_title(std::string_view side, const std::string& name) {
  return name.empty() ? std::string(side)
                      : fmt::format("{} ({})", side, plain_text(name, kNameBytes));
}

Cell interval_of(const Comparison& c) {
  if (!c.ci_low || !c.ci_high) return absent();
  return say("{} to {}", change_of(c, c.ci_low), change_of(c, c.ci_high));
}

Span amount_of(const Comparison& c, const std::optional<double>& amount) {
  return amount && std::isfinite(*amount) ? words(amount_text(c, amount)) : absent();
}

Span probability_of(const std::optional<double>& p) {
  if (!p) return absent();
  return words(*p < 0.0001 ? std::string("< 0.0001") : fmt::format("{:.4f}", *p));
}

}  // namespace

Cell verdict_cell(const Judgement& judgement, const Comparison& c) {
  const Verdict verdict = settled_verdict(judgement, c);
  Tone tone = Tone::kOpen;  // an invalid comparison is not a failure of the candidate
  if (verdict == Verdict::kPass) tone = Tone::kGood;
  if (verdict == Verdict::kFail) tone = Tone::kBad;
  const Span word = words(verdict_name(verdict));
  return c.metric.gating ? say("{}", toned(tone, word)) : say("({})", word);
}

Blocks comparison_of(const Judgement& judgement) {
  if (judgement.metrics.empty()) return {};
  Table table;
  table.columns =
      columns({"Metric", side_title("A", judgement.name_a), side_title("B", judgement.name_b),
               "Change", "95% interval", "-q", "-n", "-Margin", "-Detects", "=Verdict"});
  for (size_t i = 0; i < std::min(judgement.metrics.size(), kMetricsShown); ++i) {
    const Comparison& c = judgement.metrics[i];
    table.rows.push_back(
        {{code(c.metric.name, 80), metric_value(c.metric.unit, c.a),
          metric_value(c.metric.unit, c.b), change_of(c, c.change), interval_of(c),
          probability_of(c.metric.gating ? c.q : c.p), count(c.n), amount_of(c, c.margin),
          amount_of(c, c.minimum_detectable), verdict_cell(judgement, c)}});
  }
  table.more = judgement.metrics.size() - table.rows.size();
  return {Paragraph{say("Change is B against A, with its 95% interval. A metric fails when the "
                        "interval lies beyond its margin on the worse side. Detects: a worsening "
                        "that would fail in 8 of 10 such comparisons. A verdict in parentheses is "
                        "for information and decides nothing. Seed {}.",
                        words(fmt::format("{}", judgement.seed)))},
          std::move(table)};
}

namespace {

/// "+13.2us": by how much a reply takes longer.
Span longer_by(const std::optional<double>& ns) {
  if (!ns || !std::isfinite(*ns)) return absent();
  return difference(duration(std::llround(*ns)));
}

Cell longer_interval(const Comparison& c) {
  if (!c.ci_low || !c.ci_high) return absent();
  return say("{} to {}", longer_by(c.ci_low), longer_by(c.ci_high));
}

Cell change_cell(const Comparison& c) {
  return has_changed(c) ? strong(longer_by(c.change)) : longer_by(c.change);
}

Span times_of(double times) { return words(fmt::format("{:.3g}", times)); }

struct CostTitle {
  CostKind kind;
  const char* name;
  const char* time;
  const char* times;
};
constexpr std::array<CostTitle, kCostKindCount> kCostTitles = {{
    {CostKind::kSyscall, "System call", "inside", "calls"},
    {CostKind::kFunction, "Function", "on a CPU", "samples"},
    {CostKind::kSleep, "Slept in", "asleep", "sleeps"},
}};

/// A terminal shows only those that changed.
Table costs_table(const Judgement& judgement, const CostTitle& title) {
  const std::string unit = judgement.costs_per_reply ? "a reply" : "a second";
  Table table{fmt::format("Time {} {}, and {}", title.time, unit, title.times),
              columns({fmt::format("={}", title.name), "A", "B", "Change", "95% interval", "-q",
                       fmt::format("-A {}", title.times), fmt::format("-B {}", title.times)})};
  for (const CostChange& c : judgement.costs) {
    if (c.kind != title.kind) continue;
    table.rows.push_back(
        {{code(c.of.metric.name, 120), duration(c.of.a), duration(c.of.b), change_cell(c.of),
          longer_interval(c.of), probability_of(c.of.q), times_of(c.times_a), times_of(c.times_b)},
         has_changed(c.of) ? Shown::kEverywhere : Shown::kNotAtTerminals});
  }
  return table;
}

Line costs_compared(const Judgement& judgement) {
  std::array<size_t, kCostKindCount> compared{};
  size_t found = 0;
  for (const CostChange& c : judgement.costs) {
    ++compared[static_cast<size_t>(c.kind)];
    found += has_changed(c.of) ? 1 : 0;
  }
  std::vector<Line> kinds;
  if (compared[0] > 0) kinds.push_back(plural(compared[0], "system call", "system calls"));
  if (compared[1] > 0) kinds.push_back(plural(compared[1], "function", "functions"));
  if (compared[2] > 0) kinds.push_back(plural(compared[2], "place of sleep", "places of sleep"));
  const Line result = found == 0 ? say("none changed beyond chance")
                                 : say("{} changed beyond chance", count(found));
  return say("Compared by name: {}; {}.", listed(kinds), result);
}

}  // namespace

Blocks causes_of_change(const Judgement& judgement) {
  Blocks blocks;
  if (!judgement.causes.empty()) {
    Table table;
    table.columns = columns({"Part of a reply", "A", "B", "Change", "95% interval", "-q"});
    for (const Comparison& c : judgement.causes) {
      table.rows.push_back({{words(cause_label(c.metric.name)), duration(c.a), duration(c.b),
                             change_cell(c), longer_interval(c), probability_of(c.q)}});
    }
    Line told = judgement.why.empty() ? Line{} : say("{}. ", words(judgement.why, kWhyBytes));
    append(told, say("Times are means over all replies of a run, in the server: the parts add up "
                     "to the whole. q is the share of false discoveries among all that is in this "
                     "section."));
    blocks.emplace_back(Paragraph{std::move(told)});
    blocks.emplace_back(std::move(table));
  } else if (!judgement.why.empty()) {
    blocks.emplace_back(Paragraph{say("{}.", words(judgement.why, kWhyBytes))});
  }
  if (judgement.costs.empty()) return blocks;
  blocks.emplace_back(Paragraph{costs_compared(judgement)});
  blocks.emplace_back(
      Paragraph{say("These are counted over the whole run, from its start. A thread that waits for "
                    "work waits less when the work takes longer: read such a call or sleep "
                    "together with the rest."),
                true});
  for (const CostTitle& title : kCostTitles) add_table(blocks, costs_table(judgement, title));
  return blocks;
}

Blocks changed(const ReportPage& page) {
  if (!page.judgement || page.judgement->mode == "history") return {};
  return causes_of_change(*page.judgement);
}

Blocks distributions_of(const Judgement& judgement, bool with_bars) {
  Blocks blocks;
  for (const Distribution& d : judgement.distributions) {
    Table table{d.name, latency_columns()};
    table.rows = {latency_row(say("{}", side_title("A", judgement.name_a)), d.a),
                  latency_row(say("{}", side_title("B", judgement.name_b)), d.b)};
    blocks.emplace_back(std::move(table));
    Shares shares{d.name};
    for (const DistributionBar& bar : d.bars) {
      shares.bars.push_back({bar.to_ns < 0
                                 ? say("early")
                                 : say("{} to {}", duration(bar.from_ns), duration(bar.to_ns)),
                             bar.a, bar.b});
    }
    blocks.emplace_back(std::move(shares), Place::kWhole, !with_bars);
  }
  return blocks;
}

Blocks comparison(const ReportPage& page) {
  // The metrics of a history do not have two sides.
  if (!page.judgement || page.judgement->mode == "history") return {};
  return comparison_of(*page.judgement);
}

}  // namespace topspin::sections
