// The gating metrics over many runs, and where their level changed.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

constexpr size_t kChangesShown = 200;
constexpr size_t kRunsShown = 48;

Span share_of(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? words(format_change(*value)) : absent();
}

Line level_note(const HistoryChange& c) {
  Line line{toned(c.worse ? Tone::kBad : Tone::kGood, words(c.worse ? "worse" : "better"))};
  if (c.acknowledged) append(line, ", acknowledged");
  if (!c.because.empty()) append(line, say(" ({})", words(c.because)));
  if (c.recovered) append(line, ", recovered since");
  return line;
}

std::string unit_of(const Judgement& judgement, const std::string& metric) {
  const auto c =
      std::find_if(judgement.metrics.begin(), judgement.metrics.end(),
                   [&](const Comparison& candidate) { return candidate.metric.name == metric; });
  return c == judgement.metrics.end() ? "" : c->metric.unit;
}

Table metrics_table(const Judgement& judgement) {
  Table table{"Metrics", columns({"Metric", "Runs", "Least change", "=Verdict"})};
  for (const Comparison& c : judgement.metrics)
    table.rows.push_back({{code(c.metric.name, 80), count(c.n), share(c.metric.margin),
                           verdict_cell(judgement, c)}});
  return table;
}

Plot curve_plot(const ReportPage& page, size_t index) {
  const HistoryCurve& curve = page.history[index];
  Plot plot{fmt::format("history-{}", index), say("{}", words(curve.metric.name, 80))};
  plot.small = true;
  Table table{"", columns({"Run", "=Started", "Value"})};
  // Only the newest runs, which matter most; the plot has all of them.
  const size_t from = curve.values.size() - std::min(curve.values.size(), kRunsShown);
  for (size_t k = from; k < curve.values.size(); ++k) {
    table.rows.push_back(
        {{id(static_cast<int64_t>(k)), time_of_day(page.history_runs[k].info.started_wall_ns),
          metric_value(curve.metric.unit, curve.values[k])}});
  }
  plot.tables.push_back(std::move(table));
  return plot;
}

}  // namespace

Blocks changes_of(const Judgement& judgement) {
  if (judgement.changes.empty()) return {Paragraph{say("No change of level was found.")}};
  Table table{"", columns({"Metric", "=First run on the new level", "Before", "After", "Change",
                           "=", "-p"})};
  for (size_t i = 0; i < std::min(judgement.changes.size(), kChangesShown); ++i) {
    const HistoryChange& c = judgement.changes[i];
    const std::string unit = unit_of(judgement, c.metric);
    table.rows.push_back(
        {{code(c.metric, 80),
          c.time.empty() ? id(static_cast<int64_t>(c.index)) : words(c.time, 120),
          metric_value(unit, c.point.before), metric_value(unit, c.point.after),
          share_of(c.point.change), level_note(c), words(fmt::format("{:.0e}", c.point.p))}});
  }
  table.more = judgement.changes.size() - table.rows.size();
  return {std::move(table)};
}

Blocks history(const ReportPage& page) {
  if (page.history.empty()) return {};
  Blocks blocks{Paragraph{say("Each point is a run, oldest first. A dashed line marks a change of "
                              "level, the line after it the new level."),
                          true}};
  if (page.judgement) {
    for (Block& block : changes_of(*page.judgement)) blocks.push_back(std::move(block));
    add_table(blocks, metrics_table(*page.judgement));
  }
  for (size_t i = 0; i < page.history.size(); ++i) blocks.emplace_back(curve_plot(page, i));
  return blocks;
}

}  // namespace topspin::sections
