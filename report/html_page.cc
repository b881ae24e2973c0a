#include "report/html_page.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/check.h"
#include "report/headlines.h"
#include "report/html_data.h"
#include "report/html_parts.h"
#include "report/page_assets.h"

namespace topspin {
namespace {

constexpr size_t kTableRows = 48;  // under a plot
constexpr size_t kReasonsShown = 20;
constexpr size_t kLabelsShown = 24;
constexpr size_t kMetricsShown = 200;
constexpr size_t kChangesShown = 200;

std::string absent_cell() { return R"(<td class="n absent">–</td>)"; }
std::string number_cell(const std::string& text) {
  return fmt::format(R"(<td class="n">{}</td>)", text);
}
/// `html` is escaped already.
std::string text_cell(const std::string& html) {
  return fmt::format(R"(<td class="text">{}</td>)", html.empty() ? "–" : html);
}

template <typename T>
std::string count_cell(const std::optional<T>& value) {
  return value ? number_cell(page_count(static_cast<uint64_t>(*value))) : absent_cell();
}

template <typename T>
std::string duration_cell(const std::optional<T>& ns) {
  if (!ns) return absent_cell();
  if constexpr (std::is_unsigned_v<T>) {
    return number_cell(page_duration(static_cast<int64_t>(std::min<uint64_t>(*ns, INT64_MAX))));
  } else {
    return number_cell(page_duration(*ns));
  }
}

/// Titles beginning with '#' stand over numbers.
std::string table_head(std::initializer_list<std::string_view> titles) {
  std::string html = "<thead><tr>";
  for (const std::string_view title : titles) {
    html += title.starts_with('#')
                ? fmt::format(R"(<th scope="col" class="n">{}</th>)", html_text(title.substr(1)))
                : fmt::format(R"(<th scope="col">{}</th>)", html_text(title));
  }
  return html + "</tr></thead>\n";
}

std::string row_head(const std::string& html) {
  return fmt::format(R"(<th scope="row">{}</th>)", html);
}

/// A table that scrolls on its own on a narrow screen, and can be reached by keyboard to do so.
std::string scrolling(const std::string& name, const std::string& table) {
  return fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">{}</div>\n", name,
      table);
}

std::string side_mark(const ReportPage& page, size_t run) {
  const std::string_view side = side_name(page, run);
  if (side.empty()) return {};
  return fmt::format(R"(<span class="side side-{}">{}</span>)", run == 0 ? "a" : "b", side);
}

/// "A: " in headings of what each run has of its own.
std::string side_prefix(const ReportPage& page, size_t run) {
  const std::string mark = side_mark(page, run);
  return mark.empty() ? mark : mark + " ";
}

std::string figure_open(const std::string& id, const std::string& title_html) {
  return fmt::format(
      "<figure id=\"figure-{0}\">\n<figcaption><h3>{1}</h3></figcaption>\n"
      "<div class=\"plot\" data-plot=\"{0}\"></div>\n",
      id, title_html);
}

std::string details(const std::string& table) {
  return fmt::format("<details{}><summary>Table</summary>{}</details>\n",
                     kPageHasPlots ? "" : " open", scrolling("Table", table));
}

// ---- the top

std::string run_facts(const RunPage& run) {
  const RunInfo& info = run.run.info;
  std::string html;
  const auto fact = [&](const std::string& text) { html += "<li>" + text + "</li>"; };
  fact(page_time(info.started_wall_ns));
  fact(page_duration(run.run.end.duration_ns));
  if (!info.settings.interface.empty()) fact("on " + html_text(info.settings.interface, 80));
  if (!info.settings.filter.empty()) fact("filter " + html_text(info.settings.filter, 120));
  if (!info.host.hostname.empty()) fact("host " + html_text(info.host.hostname, 80));
  if (!info.source.commit.empty()) {
    fact(fmt::format("commit <code>{}</code>{}{}", html_text(info.source.commit.substr(0, 12)),
                     info.source.dirty.value_or(false) ? " with changes" : "",
                     info.source.branch.empty() ? "" : " on " + html_text(info.source.branch, 80)));
  }
  size_t shown = 0;
  for (const auto& [key, value] : info.labels) {
    if (shown++ == kLabelsShown) {
      fact(fmt::format("and {} labels more", info.labels.size() - kLabelsShown));
      break;
    }
    fact(fmt::format("{}={}", html_text(key, 60), html_text(value, 120)));
  }
  return html;
}

std::string masthead(const ReportPage& page) {
  std::string html = "<header class=\"masthead\">\n<p class=\"kind\">topspin report</p>\n";
  html += fmt::format("<h1>{}</h1>\n", html_text(report_title(page), 160));
  for (size_t r = 0; r < page.runs.size(); ++r) {
    std::string facts;
    if (page.runs.size() > 1) {
      facts += fmt::format("<li>{} {}</li>", side_mark(page, r),
                           html_text(run_title(page.runs[r].run), 120));
    } else if (page.history_runs.size() > 1) {
      facts += fmt::format("<li>newest: {}</li>", html_text(run_title(page.runs[r].run), 120));
    }
    html += fmt::format("<ul class=\"facts\">{}{}</ul>\n", facts, run_facts(page.runs[r]));
  }
  return html + "</header>\n";
}

std::string reasons_html(const std::vector<std::string>& reasons) {
  if (reasons.empty()) return {};
  std::string html = "<ul>";
  for (size_t i = 0; i < std::min(reasons.size(), kReasonsShown); ++i)
    html += "<li>" + html_text(reasons[i]) + "</li>";
  if (reasons.size() > kReasonsShown)
    html += fmt::format("<li>and {} more</li>", reasons.size() - kReasonsShown);
  return html + "</ul>";
}

std::string loss_sentence(const RunPage& run, bool page_says_so) {
  const auto losses = losses_that_occurred(run.summary.losses);
  if (losses.empty()) return page_says_so ? std::string() : "Nothing was lost.";
  std::vector<std::string> parts;
  for (const LossCount& loss : losses) {
    std::string name = loss.name;
    std::replace(name.begin(), name.end(), '_', ' ');
    if (name.ends_with(" ns")) name.resize(name.size() - 3);
    parts.push_back(fmt::format("{} {}", name, loss.text));
  }
  return html_text(fmt::format("Losses: {}.", fmt::join(parts, ", ")));
}

std::string verdict_html(const ReportPage& page) {
  const TopVerdict top = top_verdict(page);
  const char* tone = top.tone == Tone::kGood ? "good" : top.tone == Tone::kBad ? "bad" : "open";
  std::string html = fmt::format(
      "<div class=\"verdict is-{}\" id=\"verdict\" data-verdict=\"{}\">\n<h2>{}</h2><p>{}</p>{}\n",
      tone, html_text(top.word), html_text(top.word), html_text(top.sentence),
      reasons_html(top.reasons));
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const StoredRun& run = page.runs[r].run;
    std::string line = side_prefix(page, r);
    if (page.judgement) {
      const auto reasons = invalid_reasons(run);
      line += reasons.empty() ? "Recording valid. "
                              : "<span class=\"word-bad\">Recording invalid:</span> " +
                                    html_text(fmt::format("{}", fmt::join(reasons, "; "))) + ". ";
    }
    line += loss_sentence(page.runs[r], !page.judgement);
    if (run.end.exit_status) {
      line += *run.end.exit_status == 0
                  ? " The command exited with 0."
                  : fmt::format(" <span class=\"word-bad\">The command exited with {}.</span>",
                                *run.end.exit_status);
    }
    if (!line.empty()) html += "<p class=\"quiet\">" + line + "</p>\n";
  }
  return html + "</div>\n";
}

/// Machine-readable beside what people read: <data value> holds the number as JSON reports have it.
std::string data_value(const Headline& headline, size_t run, const std::string& html) {
  const auto& value = headline.of_run[run];
  if (!value.raw) return html;
  return fmt::format(R"(<data value="{}" data-path="{}" data-run="{}">{}</data>)",
                     json_number(*value.raw), headline.path, run, html);
}

std::string tiles(const ReportPage& page) {
  std::string html = "<div class=\"tiles\">\n";
  for (const Headline& h : headlines(page)) {
    html += fmt::format("<div class=\"tile\"><p class=\"label\">{}</p>", html_text(h.label));
    if (page.runs.size() == 1) {
      html +=
          fmt::format(R"(<p class="value">{}</p><p class="extra">{}</p>)",
                      data_value(h, 0, html_text(h.of_run[0].text)), html_text(h.of_run[0].extra));
    } else {
      for (size_t r = 0; r < page.runs.size(); ++r) {
        html += fmt::format(R"(<p class="pair">{} {}</p>)", side_mark(page, r),
                            data_value(h, r, html_text(h.of_run[r].text)));
      }
      const auto& a = h.of_run[0].raw;
      const auto& b = h.of_run[1].raw;
      if (a && b && *a > 0)
        html += fmt::format(R"(<p class="extra">{}</p>)", html_text(format_change(*b / *a - 1)));
    }
    html += "</div>\n";
  }
  return html + "</div>\n";
}

// ---- comparison and history

std::string verdict_cell(const Comparison& c) {
  const char* tone = c.verdict == Verdict::kFail           ? "bad"
                     : c.verdict == Verdict::kInconclusive ? "open"
                                                           : "good";
  return fmt::format(R"(<td class="word-{}">{}{}</td>)", tone, verdict_name(c.verdict),
                     c.metric.gating ? "" : R"( <span class="absent">(informs)</span>)");
}

std::string share_or_dash(const std::optional<double>& share) {
  return share && std::isfinite(*share) ? html_text(format_change(*share))
                                        : std::string(kNotMeasured);
}

std::string comparison_section(const Judgement& judgement) {
  std::string rows;
  for (size_t i = 0; i < std::min(judgement.metrics.size(), kMetricsShown); ++i) {
    const Comparison& c = judgement.metrics[i];
    rows += "<tr>" + row_head(fmt::format("<code>{}</code>", html_text(c.metric.name, 80)));
    rows += number_cell(html_text(metric_value(c.metric.unit, c.a)));
    rows += number_cell(html_text(metric_value(c.metric.unit, c.b)));
    rows += number_cell(share_or_dash(c.change));
    rows += c.ci_low && c.ci_high
                ? number_cell(share_or_dash(c.ci_low) + " to " + share_or_dash(c.ci_high))
                : absent_cell();
    rows += number_cell(html_text(probability_text(c.metric.gating ? c.q : c.p)));
    rows += number_cell(fmt::format("{}", c.n));
    rows += number_cell(page_percent(c.metric.margin));
    rows += c.minimum_detectable ? number_cell(page_percent(*c.minimum_detectable)) : absent_cell();
    rows += verdict_cell(c) + "</tr>\n";
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
    html += "<p>No change of level.</p>\n";
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

// ---- over time

/// "12.0 s", with as many decimals as the run's ticks need.
std::string elapsed_text(int64_t ns) {
  return fmt::format("{:.{}f}\u202fs", static_cast<double>(ns) / 1e9, ns % 1'000'000'000 ? 1 : 0);
}

std::string bin_cell(Unit unit, const CurveBin& bin) {
  if (bin.absent) return absent_cell();
  const std::string low = page_number(unit, bin.min);
  const std::string high = page_number(unit, bin.max);
  return number_cell(low == high ? high : low + " – " + high);
}

std::string figure_table(const ReportPage& page, const Figure& figure, size_t run,
                         const Timeline& folded) {
  std::vector<const FigureLine*> lines;
  for (const FigureLine& line : figure.lines) {
    if (line.run == run) lines.push_back(&line);
  }
  if (lines.empty()) return {};
  std::string html = "<table>";
  if (page.runs.size() > 1) html += fmt::format("<caption>{}</caption>", side_mark(page, run));
  html += R"(<thead><tr><th scope="col" class="n">Time</th>)";
  for (const FigureLine* line : lines)
    html += fmt::format(R"(<th scope="col" class="n">{}</th>)", html_text(line->label));
  html += "</tr></thead>\n<tbody>";
  for (size_t i = 0; i < folded.bins().size(); ++i) {
    const Timeline::Bin& bin = folded.bins()[i];
    html += "<tr>" + number_cell(bin.ticks == 1 ? elapsed_text(bin.end_ns)
                                                : elapsed_text(bin.begin_ns) + " to " +
                                                      elapsed_text(bin.end_ns));
    for (const FigureLine* line : lines)
      html += bin_cell(figure.spec->unit, folded.curve(line->curve)[i]);
    html += "</tr>\n";
  }
  return html + "</tbody></table>\n";
}

std::string events_table(const ReportPage& page) {
  std::string rows;
  for (size_t r = 0; r < page.runs.size(); ++r) {
    for (const StoredEvent& event : page.runs[r].events) {
      rows += fmt::format("<tr>{}{}</tr>\n",
                          number_cell(side_prefix(page, r) + elapsed_text(event.elapsed_ns)),
                          text_cell(html_text(event.text)));
    }
    const size_t more = page.runs[r].events_in_all - page.runs[r].events.size();
    if (more > 0) {
      rows += fmt::format("<tr><td></td><td class=\"text\">{}and {} more</td></tr>\n",
                          side_prefix(page, r), page_count(more));
    }
  }
  if (rows.empty()) return {};
  return "<h3>Events</h3>\n" +
         scrolling("Events", "<table>" + table_head({"#Time", "What happened"}) + "<tbody>" + rows +
                                 "</tbody></table>");
}

std::string timeline_section(const ReportPage& page) {
  const std::vector<Figure> figures = page_figures(page);
  if (figures.empty()) return {};
  std::string html = "<section id=\"timeline\"><h2>Over time</h2>\n";
  uint64_t ticks_per_bin = 1;
  std::vector<Timeline> folded;
  for (const RunPage& run : page.runs) {
    ticks_per_bin = std::max(ticks_per_bin, run.timeline.ticks_per_bin());
    folded.push_back(run.timeline.folded(kTableRows));
  }
  html += fmt::format("<p class=\"note\">{}</p>\n",
                      ticks_per_bin == 1
                          ? "Each point is one tick."
                          : fmt::format("Each pair of points spans {} ticks: the least value and "
                                        "the greatest, so no extreme is missing.",
                                        ticks_per_bin));
  if (kPageHasPlots) {
    html +=
        "<div class=\"toolbar\"><span>Showing <span class=\"span\" id=\"zoom-span\">the whole "
        "run</span></span><button id=\"zoom-reset\" type=\"button\" disabled>Show all</button>"
        "<span class=\"hint\">Drag across a plot to zoom all of them. By keyboard: arrows move the "
        "cursor, + and − zoom, 0 shows all.</span></div>\n";
  } else {
    html +=
        "<p class=\"noplot\">This topspin was built without plots; the tables hold the same "
        "numbers.</p>\n";
  }
  bool beside = false;
  for (const Figure& figure : figures) {
    if (figure.spec->small != beside)
      html += beside ? "</div>\n" : "<div class=\"columns wide\">\n";
    beside = figure.spec->small;
    html += figure_open(std::string(figure.spec->id), std::string(figure.spec->title));
    std::string tables = fmt::format("<p class=\"noplot\">{}</p>", html_text(figure.spec->caption));
    for (size_t r = 0; r < page.runs.size(); ++r)
      tables += figure_table(page, figure, r, folded[r]);
    html += details(tables) + "</figure>\n";
  }
  if (beside) html += "</div>\n";
  return html + events_table(page) + "</section>\n";
}

// ---- distributions

/// Each distribution that some run has, once, in the order of first mention.
std::vector<std::string_view> distribution_ids(const ReportPage& page) {
  std::vector<std::string_view> ids;
  for (const RunPage& run : page.runs) {
    for (const Distribution& d : distributions(run)) {
      if (std::find(ids.begin(), ids.end(), d.id) == ids.end()) ids.push_back(d.id);
    }
  }
  return ids;
}

std::string_view distribution_title(const ReportPage& page, std::string_view id) {
  for (const RunPage& run : page.runs) {
    for (const Distribution& d : distributions(run)) {
      if (d.id == id) return d.title;
    }
  }
  return id;
}

std::string distribution_row(const ReportPage& page, size_t run, const Distribution& d) {
  const HistogramSummary& s = d.summary;
  std::string name = side_prefix(page, run) + html_text(d.title);
  if (d.below_zero > 0) {
    name +=
        fmt::format(R"(<span class="under">{} early</span>)",
                    page_percent(static_cast<double>(d.below_zero) / static_cast<double>(s.count)));
  }
  std::string row = fmt::format("<tr data-distribution=\"{}\" data-run=\"{}\">{}{}", d.id, run,
                                row_head(name), number_cell(page_count(s.count)));
  for (const auto& value : {s.min, s.p50, s.p90, s.p99, s.p999, s.max}) row += duration_cell(value);
  return row + "</tr>\n";
}

std::string distribution_rows(const ReportPage& page) {
  std::string rows;
  for (const std::string_view id : distribution_ids(page)) {
    for (size_t r = 0; r < page.runs.size(); ++r) {
      for (const Distribution& d : distributions(page.runs[r])) {
        if (d.id == id) rows += distribution_row(page, r, d);
      }
    }
  }
  return rows;
}

/// Samples by slices of time and by bands of eightfold values.
std::string heat_table(const HeatMap& heat) {
  constexpr int kRowsABand = 12;
  constexpr size_t kSlices = 24;
  int least = INT32_MAX, most = INT32_MIN;
  for (const HeatMap::Column& column : heat.columns()) {
    if (column.counts.empty()) continue;
    least = std::min(least, column.counts.begin()->first / kRowsABand);
    most = std::max(most, column.counts.rbegin()->first / kRowsABand);
  }
  if (least > most) return {};
  std::string html = R"(<table><thead><tr><th scope="col" class="n">Time</th>)";
  for (int band = least; band <= most; ++band) {
    html += fmt::format(R"(<th scope="col" class="n">from {}</th>)",
                        page_duration(int64_t{1} << (band * kRowsABand / 4)));
  }
  html += "</tr></thead>\n<tbody>";
  const size_t slices = std::min(kSlices, heat.columns().size());
  for (size_t s = 0; s < slices; ++s) {
    const size_t from = s * heat.columns().size() / slices;
    const size_t to = (s + 1) * heat.columns().size() / slices;
    std::vector<uint64_t> counts(static_cast<size_t>(most - least + 1), 0);
    for (size_t c = from; c < to; ++c) {
      for (const auto& [row, count] : heat.columns()[c].counts)
        counts[static_cast<size_t>(row / kRowsABand - least)] += count;
    }
    html += "<tr>" + number_cell(elapsed_text(heat.columns()[from].begin_ns) + " to " +
                                 elapsed_text(heat.columns()[to - 1].end_ns));
    for (const uint64_t count : counts) html += number_cell(page_count(count));
    html += "</tr>\n";
  }
  return html + "</tbody></table>";
}

std::string distributions_section(const ReportPage& page) {
  const std::string rows = distribution_rows(page);
  if (rows.empty()) return {};
  std::string html =
      "<section id=\"distributions\"><h2>Latency distributions</h2>\n<p class=\"note\">Over the "
      "whole run. A percentile wants ten samples above it; where there are fewer it is not given. "
      "Percentiles are exact to 1/32, the least and the greatest value are exact.</p>\n";
  html += scrolling(
      "Latency distributions",
      "<table>" + table_head({"", "#Samples", "#Min", "#p50", "#p90", "#p99", "#p99.9", "#Max"}) +
          "<tbody>" + rows + "</tbody></table>");
  if (page.runs.size() == 1) {
    html += figure_open("percentiles", "By percentile") + "</figure>\n";
  } else {
    html += "<div class=\"columns\">\n";
    for (const std::string_view id : distribution_ids(page)) {
      html +=
          figure_open(fmt::format("percentiles-{}", id), html_text(distribution_title(page, id))) +
          "</figure>\n";
    }
    html += "</div>\n";
  }
  for (size_t r = 0; r < page.runs.size(); ++r) {
    for (const Distribution& d : distributions(page.runs[r])) {
      if (d.heat == nullptr || d.heat->empty()) continue;
      html += figure_open(
          fmt::format("heat-{}-{}", d.id, r),
          fmt::format("{}{}, samples by time and value", side_prefix(page, r), html_text(d.title)));
      html += details(heat_table(*d.heat)) + "</figure>\n";
    }
  }
  return html + "</section>\n";
}

// ---- flows

std::string owner_html(const FlowOwner* owner) {
  if (owner == nullptr) return {};
  return fmt::format(R"(<span class="under">{} {}{}</span>)", html_text(owner->name, 60),
                     owner->pid, owner->quality == OwnerQuality::kShared ? " and others" : "");
}

std::string lives_table(const LifeGrid& grid) {
  constexpr size_t kSlices = 24;
  const size_t slices = std::min(kSlices, grid.columns);
  std::string rows;
  for (size_t s = 0; s < slices; ++s) {
    const size_t column = s * grid.columns / slices;
    double there = 0;
    for (size_t row = 0; row < grid.rows.size(); ++row)
      there += grid.rows[row][column] * static_cast<double>(grid.group_sizes[row]);
    const auto at =
        static_cast<int64_t>(static_cast<double>(grid.end_ns) * static_cast<double>(column) /
                             static_cast<double>(grid.columns));
    rows += "<tr>" + number_cell(elapsed_text(at)) +
            number_cell(page_count(static_cast<uint64_t>(std::llround(there)))) + "</tr>\n";
  }
  return "<table>" + table_head({"#From", "#Flows there"}) + "<tbody>" + rows + "</tbody></table>";
}

std::string flows_section(const ReportPage& page) {
  std::string html = "<section id=\"flows\"><h2>Flows</h2>\n";
  bool any = false;
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const RunPage& run = page.runs[r];
    if (!run.lives.rows.empty()) {
      any = true;
      const size_t group = run.lives.group_sizes.front();
      html +=
          figure_open(fmt::format("lives-{}", r), side_prefix(page, r) + "When flows were there");
      html += fmt::format(
          "<p class=\"noplot\">{} flows in the order of their first packets{}; each is there from "
          "its first packet to its last.</p>\n",
          page_count(run.lives.flows),
          group > 1 ? fmt::format(", some {} to a row", page_count(group)) : "");
      html += details(lives_table(run.lives)) + "</figure>\n";
    }
    if (run.busiest_flows.empty()) continue;
    any = true;
    std::string rows;
    for (const FlowRow& flow : run.busiest_flows) {
      const auto end = [&](const Endpoint& endpoint, size_t side) {
        return text_cell(html_text(format_endpoint(endpoint, flow.key.ip_version)) +
                         owner_html(run.owners.find(flow.owners[side])));
      };
      rows += "<tr>" + row_head(html_text(format_protocol(flow.key.protocol)));
      rows += end(flow.initiator(), 0) + end(flow.responder(), 1);
      rows += number_cell(page_count(flow.packets[0] + flow.packets[1]));
      rows += number_cell(page_bytes(
          static_cast<int64_t>(std::min<uint64_t>(flow.bytes[0] + flow.bytes[1], INT64_MAX))));
      rows += duration_cell(flow.lateness_max_ns) + number_cell(page_count(flow.missed_ticks));
      rows += flow.replies > 0
                  ? number_cell(page_duration(
                        flow.reply_latency_sum_ns /
                        static_cast<int64_t>(std::clamp<uint64_t>(flow.replies, 1, INT64_MAX))))
                  : absent_cell();
      rows += duration_cell(flow.reply_latency_max_ns) + number_cell(page_count(flow.unanswered)) +
              "</tr>\n";
    }
    html += fmt::format("<h3>{}Busiest flows</h3>\n", side_prefix(page, r)) +
            scrolling("Busiest flows",
                      "<table>" +
                          table_head({"", "Initiator", "Responder", "#Packets", "#Bytes", "#Latest",
                                      "#Missed", "#Reply, mean", "#Reply, max", "#Unanswered"}) +
                          "<tbody>" + rows + "</tbody></table>");
  }
  return any ? html + "</section>\n" : std::string();
}

// ---- threads

std::string threads_section(const ReportPage& page) {
  std::string html = "<section id=\"threads\"><h2>Threads</h2>\n";
  bool any = false;
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const RunPage& run = page.runs[r];
    if (run.threads.empty()) continue;
    any = true;
    if (page.runs.size() > 1) html += fmt::format("<h3>{}</h3>\n", side_mark(page, r));
    std::string rows;
    for (const ThreadRow& t : run.threads) {
      rows += "<tr>" + row_head(html_text(t.name.empty() ? "–" : t.name, 60));
      rows += number_cell(fmt::format("{}", t.pid)) + number_cell(fmt::format("{}", t.tid));
      rows += duration_cell(t.cpu_ns) + duration_cell(t.run_queue_wait_ns) +
              duration_cell(t.run_queue_wait_max_ns);
      rows += count_cell(t.voluntary_switches) + count_cell(t.involuntary_switches) +
              count_cell(t.migrations) + "</tr>\n";
    }
    html += scrolling(
        "Threads", "<table>" +
                       table_head({"Thread", "#Process", "#Id", "#CPU", "#Waited", "#Longest wait",
                                   "#Voluntary", "#Involuntary", "#Migrations"}) +
                       "<tbody>" + rows + "</tbody></table>");
    if (run.threads_in_all > run.threads.size()) {
      html += fmt::format("<p class=\"note\">The {} with the most CPU time, of {}.</p>\n",
                          run.threads.size(), page_count(run.threads_in_all));
    }
  }
  return any ? html + "</section>\n" : std::string();
}

// ---- where it comes from

class Definitions {
 public:
  /// `html` is escaped already; an empty one is left out.
  void add(std::string_view term, const std::string& html) {
    if (!html.empty()) list_ += fmt::format("<dt>{}</dt><dd>{}</dd>\n", html_text(term), html);
  }
  std::string html() const { return "<dl>" + list_ + "</dl>\n"; }

 private:
  std::string list_;
};

std::string host_html(const HostInfo& host) {
  Definitions list;
  list.add("Host", html_text(host.hostname));
  list.add("CPU", host.cpus_online
                      ? fmt::format("{} × {}", *host.cpus_online, html_text(host.cpu_model))
                      : html_text(host.cpu_model));
  list.add("Memory", host.memory_bytes ? page_bytes(*host.memory_bytes) : "");
  list.add("System", html_text(host.os));
  list.add("Kernel", html_text(host.kernel) + " " + html_text(host.architecture));
  list.add("Virtual machine", html_text(host.hypervisor));
  list.add("Fingerprint", host.fingerprint.empty()
                              ? ""
                              : fmt::format("<code>{}</code>", html_text(host.fingerprint)));
  return list.html();
}

std::string settings_html(const RunPage& page) {
  const RunInfo& info = page.run.info;
  const RunSettings& s = info.settings;
  Definitions list;
  list.add("Run", fmt::format("<code>{}</code>", html_text(info.id)));
  if (!info.command.empty()) {
    list.add("Command",
             fmt::format("<code>{}</code>",
                         html_text(fmt::format("{}", fmt::join(info.command, " ")), 2000)));
  }
  list.add("Subject", html_text(s.subject));
  list.add("Interface", html_text(s.interface));
  list.add("Filter", html_text(s.filter, 2000));
  list.add("Period", s.period_ns ? page_duration(*s.period_ns) : "learned for each flow");
  list.add("Window", page_duration(s.window_ns));
  list.add("Tick", page_duration(s.interval_ns));
  list.add("Reply timeout", page_duration(s.reply_timeout_ns));
  list.add("Ticks", page_count(page.run.ticks));
  list.add("Status", std::string(run_status_name(page.run.end.status)));
  list.add("topspin", html_text(info.topspin_version));
  return list.html();
}

std::string probes_html(const std::vector<ProbeStatus>& probes) {
  if (probes.empty()) return {};
  std::string rows;
  for (const ProbeStatus& probe : probes) {
    rows += "<tr>" + row_head(html_text(probe.name, 80)) +
            fmt::format("<td><code>{}</code></td>", rung_name(probe.rung)) +
            text_cell(html_text(probe.reason)) + "</tr>\n";
  }
  return scrolling("Probes", "<table>" + table_head({"Probe", "Rung", "Why not a better one"}) +
                                 "<tbody>" + rows + "</tbody></table>");
}

std::string losses_html(const LossInterval& losses) {
  std::string rows;
  LossInterval::for_each_field([&](std::string_view name, auto field) {
    const uint64_t raw = losses.*field;
    rows += fmt::format(
        "<tr>{}<td class=\"n{}\"><data value=\"{}\" data-path=\"losses.{}\">{}</data></td></tr>\n",
        row_head(fmt::format("<code>{}</code>", html_text(name))), raw == 0 ? " absent" : "", raw,
        html_text(name),
        name.ends_with("_ns")
            ? page_duration(static_cast<int64_t>(std::min<uint64_t>(raw, INT64_MAX)))
            : page_count(raw));
  });
  return scrolling("Losses", "<table><tbody>" + rows + "</tbody></table>");
}

std::string self_html(const RunPage& page) {
  const RunSummary& s = page.summary;
  Definitions list;
  std::string cpu = page_duration(s.self_cpu_ns);
  if (page.elapsed_ns > 0) {
    cpu += fmt::format(", {} of one CPU", page_percent(static_cast<double>(s.self_cpu_ns) /
                                                       static_cast<double>(page.elapsed_ns)));
  }
  list.add("CPU", cpu);
  if (s.flows.packets > 0) {
    list.add("CPU per packet",
             page_duration(static_cast<int64_t>(static_cast<double>(s.self_cpu_ns) /
                                                static_cast<double>(s.flows.packets))));
  }
  list.add("BPF programs",
           s.self_bpf_ns ? page_duration(*s.self_bpf_ns) : "run time not counted by this kernel");
  list.add("Resident memory", page_bytes(s.self_rss_bytes_max) + " at most");
  if (s.host_steal_ns && page.elapsed_ns > 0) {
    list.add("Stolen by the hypervisor", page_percent(static_cast<double>(*s.host_steal_ns) /
                                                      static_cast<double>(page.elapsed_ns)) +
                                             " of one CPU");
  }
  return list.html();
}

std::string provenance_section(const ReportPage& page) {
  std::string html = "<section id=\"provenance\"><h2>How it was measured</h2>\n";
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const RunPage& run = page.runs[r];
    const std::string side = side_prefix(page, r);
    html += fmt::format("<div class=\"columns\"><div><h3>{}Host</h3>\n{}</div>\n", side,
                        host_html(run.run.info.host));
    html +=
        fmt::format("<div><h3>{}Run and settings</h3>\n{}</div></div>\n", side, settings_html(run));
    html += fmt::format("<div class=\"columns\"><div><h3>{}Probes</h3>\n{}", side,
                        probes_html(run.run.info.probes));
    html += fmt::format("<h3>{}What topspin itself used</h3>\n{}</div>\n", side, self_html(run));
    html += fmt::format("<div><h3>{}Losses</h3>\n{}</div></div>\n", side,
                        losses_html(run.summary.losses));
  }
  return html + "</section>\n";
}

std::string navigation(std::initializer_list<std::pair<const char*, const std::string*>> sections) {
  std::string html = "<nav aria-label=\"Sections\"><ul>";
  for (const auto& [title, body] : sections) {
    if (body->empty()) continue;
    const size_t from = body->find("id=\"") + 4;
    html += fmt::format("<li><a href=\"#{}\">{}</a></li>",
                        body->substr(from, body->find('"', from) - from), title);
  }
  return html + "</ul></nav>\n";
}

}  // namespace

std::string html_report(const ReportPage& page) {
  CHECK(page.runs.size() == 1 || page.runs.size() == 2);
  std::string comparison, history;
  if (page.judgement && !page.judgement->metrics.empty())
    comparison = comparison_section(*page.judgement);
  if (!page.history.empty()) history = history_section(page);
  const std::string timeline = timeline_section(page);
  const std::string latency = distributions_section(page);
  const std::string flows = flows_section(page);
  const std::string threads = threads_section(page);
  const std::string provenance = provenance_section(page);

  std::string html = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  // Before anything that it governs.
  html += fmt::format(
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src {}; "
      "style-src {}; base-uri 'none'; form-action 'none'\">\n",
      kPageScriptSources, kPageStyleSources);
  html +=
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta name=\"referrer\" content=\"no-referrer\">\n";
  html += fmt::format("<title>{} – topspin</title>\n", html_text(report_title(page), 100));
  html += fmt::format("<style>{}</style>\n</head>\n<body>\n", kPageStyle);
  html += masthead(page) + "<main>\n" + verdict_html(page) + tiles(page);
  html += navigation({{"Comparison", &comparison},
                      {"History", &history},
                      {"Over time", &timeline},
                      {"Distributions", &latency},
                      {"Flows", &flows},
                      {"Threads", &threads},
                      {"How it was measured", &provenance}});
  html += comparison + history + timeline + latency + flows + threads + provenance + "</main>\n";
  html += fmt::format(
      "<footer><p>Made by topspin from run{} {}. This file is whole: it loads nothing.</p>\n{}"
      "</footer>\n",
      page.runs.size() > 1 ? "s" : "",
      html_text(page.runs.size() > 1 ? page.runs[0].run.info.id + " and " + page.runs[1].run.info.id
                                     : page.runs[0].run.info.id),
      kPageNotice);
  html += "<script type=\"application/json\" id=\"page-data\">" +
          json_for_script(page_data_json(page)) + "</script>\n";
  for (const std::string_view script : kPageScripts)
    html += fmt::format("<script>{}</script>\n", script);
  return html + "</body>\n</html>\n";
}

}  // namespace topspin
