#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "report/html/sections.h"
#include "report/html/table.h"
#include "report/model/headlines.h"

namespace topspin {
namespace {

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

}  // namespace

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

namespace {

/// Each distribution that some run has, once, in the order of first mention.
std::vector<std::string_view> distribution_ids(const ReportPage& page) {
  std::vector<std::string_view> ids;
  for (const RunPage& run : page.runs) {
    for (const LatencyCurve& d : distributions(run)) {
      if (std::find(ids.begin(), ids.end(), d.id) == ids.end()) ids.push_back(d.id);
    }
  }
  return ids;
}

std::string distribution_row(const ReportPage& page, size_t run, const LatencyCurve& d) {
  const HistogramSummary& s = d.summary;
  std::string name = side_prefix(page, run) + html_text(d.title);
  if (d.id == "reply_latency_ns") {
    name +=
        fmt::format(R"(<span class="under">{}</span>)", html_text(unanswered_text(page.runs[run])));
  }
  if (d.below_zero > 0) {
    name +=
        fmt::format(R"(<span class="under">{} early</span>)",
                    page_percent(static_cast<double>(d.below_zero) / static_cast<double>(s.count)));
  }
  std::string row = fmt::format("<tr data-distribution=\"{}\" data-run=\"{}\">{}{}", d.id, run,
                                row_head(name), number_cell(page_count(s.count)));
  const bool replies = d.id == "reply_latency_ns";
  for (const auto& value : {s.min, s.p50, s.p90, s.p99, s.p999, s.max}) {
    row += value && replies ? number_cell(reply_latency_text(page.runs[run], *value))
                            : duration_cell(value);
  }
  return row + "</tr>\n";
}

std::string distribution_rows(const ReportPage& page) {
  std::string rows;
  for (const std::string_view id : distribution_ids(page)) {
    for (size_t r = 0; r < page.runs.size(); ++r) {
      for (const LatencyCurve& d : distributions(page.runs[r])) {
        if (d.id == id) rows += distribution_row(page, r, d);
      }
    }
  }
  return rows;
}

std::string percentile_figures(const ReportPage& page) {
  std::string html;
  for (const PercentilePlot& plot : percentile_plots(page))
    html += figure_open(plot.id, html_text(plot.title)) + "</figure>\n";
  return page.runs.size() == 1 || html.empty() ? html
                                               : "<div class=\"columns\">\n" + html + "</div>\n";
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

}  // namespace

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
  if (kPageHasPlots) html += percentile_figures(page);  // the table above is theirs
  for (size_t r = 0; r < page.runs.size(); ++r) {
    for (const LatencyCurve& d : distributions(page.runs[r])) {
      if (d.heat == nullptr || d.heat->empty()) continue;
      html += figure_open(
          fmt::format("heat-{}-{}", d.id, r),
          fmt::format("{}{}, samples by time and value", side_prefix(page, r), html_text(d.title)));
      html += details(heat_table(*d.heat)) + "</figure>\n";
    }
  }
  return html + "</section>\n";
}

}  // namespace topspin
