// Curves over the run, and its events.
#include <algorithm>

#include "report/model/figures.h"
#include "report/sections/all.h"
#include "report/sections/parts.h"

namespace topspin::sections {

using namespace document;

namespace {

constexpr size_t kTableRows = 48;  // under a plot
constexpr size_t kCurvePoints = 60;

/// The curves that a report without plots shows, if they were measured.
constexpr std::pair<std::string_view, std::string_view> kTelling[] = {
    {"active_flows", "Active flows"},
    {"missed_ticks", "Missed ticks"},
    {"silent_flows", "Silent flows"},
    {"unanswered", "Unanswered"},
    {"lateness_ns_p99", "Lateness p99"},
    {"reply_latency_ns_p99", "Reply latency p99"},
    {"run_queue_latency_ns_p99", "Run-queue latency p99"},
    {"cpu", "CPU"},
    {"rss_bytes", "Resident memory"}};

Unit unit_of(const CurveSpec& curve) {
  const auto figure = std::find_if(figure_specs().begin(), figure_specs().end(),
                                   [&](const FigureSpec& f) { return f.id == curve.figure; });
  return figure->unit;
}

size_t index_of(std::string_view name) {
  size_t index = 0;
  while (curve_specs()[index].name != name) ++index;
  return index;
}

Curves telling_curves(const RunPage& run) {
  const Timeline timeline = run.timeline.folded(kCurvePoints);
  Curves all;
  for (const Timeline::Bin& bin : timeline.bins()) all.ends_ns.push_back(bin.end_ns);
  for (const auto& [name, label] : kTelling) {
    const size_t c = index_of(name);
    const CurveSpec& spec = curve_specs()[c];
    const bool shown =
        spec.presence == Presence::kOnlyIfItOccurs ? timeline.occurs(c) : timeline.measured(c);
    if (!shown) continue;
    Curves::Curve curve{std::string(label), unit_of(spec)};
    for (const CurveBin& bin : timeline.curve(c))
      curve.points.push_back({bin.min, bin.max, bin.absent});
    all.curves.push_back(std::move(curve));
  }
  return all;
}

Cell bin_cell(Unit unit, const CurveBin& bin) {
  if (bin.absent) return absent();
  if (page_number(unit, bin.min) == page_number(unit, bin.max)) return number(unit, bin.max);
  return say("{} – {}", number(unit, bin.min), number(unit, bin.max));
}

Table figure_table(const ReportPage& page, const Figure& figure, size_t run,
                   const Timeline& folded) {
  Table table;
  std::vector<const FigureLine*> lines;
  for (const FigureLine& line : figure.lines) {
    if (line.run == run) lines.push_back(&line);
  }
  if (lines.empty()) return table;
  if (page.runs.size() > 1) table.title = side_name(page, run);
  table.columns.push_back({"Time", true});
  for (const FigureLine* line : lines) table.columns.push_back({line->label, true});
  for (size_t i = 0; i < folded.bins().size(); ++i) {
    const Timeline::Bin& bin = folded.bins()[i];
    Row row{{bin.ticks == 1 ? Cell(moment(bin.end_ns))
                            : Cell(say("{} to {}", moment(bin.begin_ns), moment(bin.end_ns)))}};
    for (const FigureLine* line : lines)
      row.cells.push_back(bin_cell(figure.spec->unit, folded.curve(line->curve)[i]));
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table events_table(const ReportPage& page) {
  Table table{"Events", {{"Time", true}, {"What happened", false}}};
  for (size_t r = 0; r < page.runs.size(); ++r) {
    for (const StoredEvent& event : page.runs[r].events) {
      Line at = side_mark(page, r);
      append(at, moment(event.elapsed_ns));
      table.rows.push_back({{std::move(at), words(event.text)}});
    }
    table.more += page.runs[r].events_in_all - page.runs[r].events.size();
  }
  return table;
}

Paragraph point_note(const ReportPage& page) {
  uint64_t ticks_per_bin = 1;
  for (const RunPage& run : page.runs)
    ticks_per_bin = std::max(ticks_per_bin, run.timeline.ticks_per_bin());
  return {ticks_per_bin == 1 ? say("Each point is one tick.")
                             : say("Each pair of points covers {} ticks, with their least and "
                                   "their greatest value, so no extreme is missing.",
                                   count(ticks_per_bin)),
          true};
}

}  // namespace

Blocks over_time(const ReportPage& page) {
  const std::vector<Figure> figures = page_figures(page);
  if (figures.empty()) return {};
  Blocks blocks{point_note(page)};
  for (Block& block : blocks_of_runs(page, [&](size_t r) {
         Curves curves = telling_curves(page.runs[r]);
         return curves.ends_ns.size() < 2 || curves.curves.empty() ? Blocks{}
                                                                   : Blocks{std::move(curves)};
       }))
    blocks.push_back(std::move(block));
  blocks.emplace_back(PlotControls{});
  std::vector<Timeline> folded;
  for (const RunPage& run : page.runs) folded.push_back(run.timeline.folded(kTableRows));
  for (const Figure& figure : figures) {
    Plot plot{std::string(figure.spec->id), say("{}", figure.spec->title),
              say("{}", figure.spec->caption)};
    plot.small = figure.spec->small;
    for (size_t r = 0; r < page.runs.size(); ++r) {
      Table table = figure_table(page, figure, r, folded[r]);
      if (!table.rows.empty()) plot.tables.push_back(std::move(table));
    }
    blocks.emplace_back(std::move(plot));
  }
  add_table(blocks, events_table(page));
  return blocks;
}

}  // namespace topspin::sections
