#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/export/export.h"
#include "report/html/sections.h"
#include "report/html/table.h"
#include "report/model/headlines.h"

namespace topspin {
namespace {

constexpr size_t kMetricsShown = 200;
constexpr size_t kChangesShown = 200;

std::string verdict_cell(const Judgement& judgement, const Comparison& c) {
  const Verdict verdict = settled_verdict(judgement, c);
  const char* tone = "bad";  // invalid is as little a pass as fail is
  switch (verdict) {
    case Verdict::kPass: tone = "good"; break;
    case Verdict::kInconclusive: tone = "open"; break;
    case Verdict::kFail:
    case Verdict::kInvalid: break;
  }
  return fmt::format(R"(<td class="word-{}">{}{}</td>)", tone, verdict_name(verdict),
                     c.metric.gating ? "" : R"( <span class="absent">(informs)</span>)");
}

std::string share_or_dash(const std::optional<double>& share) {
  return share && std::isfinite(*share) ? html_text(format_change(*share))
                                        : std::string(kNotMeasured);
}

/// The rules over all runs of the candidate, as the verdict counts them.
std::string judged_rules_html(const ReportPage& page) {
  if (!page.judgement || page.judgement->slos.empty()) return {};
  std::string rows;
  for (const SloOutcome& o : page.judgement->slos) {
    const auto count = [](size_t n, const char* tone) {
      return n == 0 ? number_cell("0")
                    : number_cell(
                          fmt::format(R"(<span class="word-{}">{}</span>)", tone, page_count(n)));
    };
    rows += "<tr>" + row_head(fmt::format("<code>{}</code>", html_text(o.rule))) +
            count(o.kept, "good") + count(o.broken, "bad") + count(o.unknown, "open") +
            text_cell(html_text(o.explanation)) + "</tr>\n";
  }
  return "<h3>In all judged runs of the candidate</h3>\n" +
         scrolling("Rules of the candidate",
                   "<table>" +
                       table_head({"Rule", "#Kept", "#Broken", "#Not judged", "First example"}) +
                       "<tbody>" + rows + "</tbody></table>");
}

}  // namespace

std::string comparison_section(const Judgement& judgement) {
  std::string rows;
  for (size_t i = 0; i < std::min(judgement.metrics.size(), kMetricsShown); ++i) {
    const Comparison& c = judgement.metrics[i];
    rows += "<tr>" + row_head(fmt::format("<code>{}</code>", html_text(c.metric.name, 80)));
    rows += number_cell(html_text(metric_value(c.metric.unit, c.a)));
    rows += number_cell(html_text(metric_value(c.metric.unit, c.b)));
    rows += number_cell(html_text(page_change(c, c.change)));
    rows += c.ci_low && c.ci_high ? number_cell(html_text(page_interval(c))) : absent_cell();
    rows += number_cell(html_text(probability_text(c.metric.gating ? c.q : c.p)));
    rows += number_cell(fmt::format("{}", c.n));
    rows += number_cell(page_amount(c, c.margin));
    rows +=
        c.minimum_detectable ? number_cell(page_amount(c, c.minimum_detectable)) : absent_cell();
    rows += verdict_cell(judgement, c) + "</tr>\n";
  }
  return fmt::format(
      "<section id=\"comparison\"><h2>Comparison</h2>\n<p class=\"note\">Change is B against A, "
      "with its 95% interval. A metric fails when the interval lies beyond its margin on the worse "
      "side. Detects: a worsening that would fail in 8 of 10 such comparisons. Seed {}.</p>\n{}"
      "</section>\n",
      judgement.seed,
      scrolling("Comparison", "<table>" +
                                  table_head({"Metric", "#A", "#B", "#Change", "#95% interval",
                                              "#q", "#n", "#Margin", "#Detects", "Verdict"}) +
                                  "<tbody>" + rows + "</tbody></table>"));
}

std::string rules_section(const ReportPage& page) {
  // Each rule once, however many of the runs are held to it.
  std::vector<std::string> rules;
  for (const RunPage& run : page.runs) {
    for (const SloResult& slo : run.slos) {
      if (std::find(rules.begin(), rules.end(), slo.rule) == rules.end()) rules.push_back(slo.rule);
    }
  }
  const std::string judged = judged_rules_html(page);
  if (rules.empty() && judged.empty()) return {};
  const std::string head = "<section id=\"rules\"><h2>Rules</h2>\n";
  if (rules.empty()) return head + judged + "</section>\n";
  std::string rows;
  for (const std::string& rule : rules) {
    rows += "<tr>" + row_head(fmt::format("<code>{}</code>", html_text(rule)));
    for (const RunPage& run : page.runs) {
      const auto slo = std::find_if(run.slos.begin(), run.slos.end(),
                                    [&](const SloResult& s) { return s.rule == rule; });
      if (slo == run.slos.end()) {
        rows += text_cell("");
        continue;
      }
      const char* tone = slo->verdict == SloVerdict::kKept     ? "good"
                         : slo->verdict == SloVerdict::kBroken ? "bad"
                                                               : "open";
      rows +=
          text_cell(fmt::format(R"(<span class="word-{}">{}</span><span class="under">{}</span>)",
                                tone, slo_verdict_name(slo->verdict), html_text(slo->explanation)));
    }
    rows += "</tr>\n";
  }
  return head +
         fmt::format(
             "<p class=\"note\">What the plan holds {} to, and what was measured against the "
             "bound.</p>\n",
             page.runs.size() > 1 ? "each run" : "the run") +
         scrolling("Rules", "<table>" +
                                (page.runs.size() > 1 ? table_head({"Rule", "A", "B"})
                                                      : table_head({"Rule", "Kept"})) +
                                "<tbody>" + rows + "</tbody></table>") +
         judged + "</section>\n";
}

std::string history_section(const ReportPage& page) {
  std::string html =
      "<section id=\"history\"><h2>History</h2>\n<p class=\"note\">Each point is a run, oldest "
      "first. A dashed line marks a change of level, the line after it the new level.</p>\n";
  if (page.judgement && !page.judgement->changes.empty()) {
    std::string rows;
    const auto& changes = page.judgement->changes;
    for (size_t i = 0; i < std::min(changes.size(), kChangesShown); ++i) {
      const HistoryChange& c = changes[i];
      const auto curve =
          std::find_if(page.history.begin(), page.history.end(),
                       [&](const HistoryCurve& h) { return h.metric.name == c.metric; });
      const std::string unit = curve == page.history.end() ? "" : curve->metric.unit;
      rows += "<tr>" + row_head(fmt::format("<code>{}</code>", html_text(c.metric, 80)));
      rows += text_cell(html_text(c.time, 120));
      rows += number_cell(html_text(metric_value(unit, c.point.before)));
      rows += number_cell(html_text(metric_value(unit, c.point.after)));
      rows += number_cell(share_or_dash(c.point.change));
      rows += fmt::format(R"(<td class="word-{}">{}{}{}</td></tr>)", c.worse ? "bad" : "good",
                          c.worse ? "worse" : "better", c.acknowledged ? ", acknowledged" : "",
                          c.recovered ? ", recovered since" : "");
    }
    html += scrolling("Changes", "<table>" +
                                     table_head({"Metric", "First run on the new level", "#Before",
                                                 "#After", "#Change", ""}) +
                                     "<tbody>" + rows + "</tbody></table>");
  } else {
    html += "<p>No change of level was found.</p>\n";
  }
  if (page.judgement && !page.judgement->metrics.empty()) {
    std::string rows;
    for (const Comparison& c : page.judgement->metrics) {
      rows += "<tr>" + row_head(fmt::format("<code>{}</code>", html_text(c.metric.name, 80))) +
              number_cell(page_count(c.n)) + number_cell(page_percent(c.metric.margin)) +
              verdict_cell(*page.judgement, c) + "</tr>\n";
    }
    html += scrolling("Metrics", "<table>" +
                                     table_head({"Metric", "#Runs", "#Least change", "Verdict"}) +
                                     "<tbody>" + rows + "</tbody></table>");
  }
  html += "<div class=\"columns\">\n";
  for (size_t i = 0; i < page.history.size(); ++i) {
    const HistoryCurve& curve = page.history[i];
    html += figure_open(fmt::format("history-{}", i), html_text(curve.metric.name, 80));
    std::string rows;
    // The newest, which people ask for; the plot has them all.
    const size_t from = curve.values.size() - std::min(curve.values.size(), kTableRows);
    for (size_t k = from; k < curve.values.size(); ++k) {
      rows += "<tr>" + row_head(fmt::format("{}", k)) +
              text_cell(html_text(page_time(page.history_runs[k].info.started_wall_ns))) +
              number_cell(html_text(metric_value(curve.metric.unit, curve.values[k]))) + "</tr>\n";
    }
    html += details("<table>" + table_head({"Run", "Started", "#Value"}) + "<tbody>" + rows +
                    "</tbody></table>") +
            "</figure>\n";
  }
  return html + "</div></section>\n";
}

}  // namespace topspin
