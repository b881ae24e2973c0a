#include "report/html/plot_data.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/source_text.h"
#include "report/json/values.h"

namespace topspin {
namespace {

constexpr double kNanosecondsASecond = 1e9;

std::string text_json(std::string_view text) {
  return Json(document::plain_text(text, 120)).dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string seconds(int64_t ns) {
  return fmt::format("{:.9g}", static_cast<double>(ns) / kNanosecondsASecond);
}

template <typename Range, typename Write>
std::string array_json(const Range& range, Write write) {
  std::string text = "[";
  for (const auto& element : range) {
    if (text.size() > 1) text += ',';
    text += write(element);
  }
  return text + "]";
}

/// Points of a bin: one where it is one tick or all its ticks agree on a value, else two, the
/// extremes in the order in which they came.
bool has_two_points(const Timeline::Bin& bin) {
  return bin.ticks > 1 && bin.end_ns > bin.first_end_ns;
}

std::string times_json(const Timeline& timeline) {
  std::string text = "[";
  double last = -1;
  const auto point = [&](int64_t ns) {
    // Strictly increasing, whatever a damaged file says: the plots look values up by time.
    last = std::max(static_cast<double>(ns) / kNanosecondsASecond, last + 1e-6);
    if (text.size() > 1) text += ',';
    text += fmt::format("{:.10g}", last);
  };
  for (const Timeline::Bin& bin : timeline.bins()) {
    point(bin.first_end_ns);
    if (has_two_points(bin)) point(bin.end_ns);
  }
  return text + "]";
}

std::string values_json(const Timeline& timeline, size_t curve) {
  std::string text = "[";
  const auto point = [&](const CurveBin& bin, double value) {
    if (text.size() > 1) text += ',';
    text += bin.absent ? "null" : json_number(value);
  };
  for (size_t i = 0; i < timeline.bins().size(); ++i) {
    const CurveBin& bin = timeline.curve(curve)[i];
    if (has_two_points(timeline.bins()[i])) {
      point(bin, bin.max_first ? bin.max : bin.min);
      point(bin, bin.max_first ? bin.min : bin.max);
    } else {
      // A bin of several ticks at one moment shows its greatest.
      point(bin, bin.max);
    }
  }
  return text + "]";
}

std::string figure_json(const ReportPage& page, const Figure& figure) {
  const auto line = [&](const FigureLine& l) {
    return fmt::format(
        R"({{"run":{},"curve":"{}","label":{},"look":"{}","dashed":{},"values":{}}})", l.run,
        curve_specs()[l.curve].name, text_json(l.label), l.look, l.dashed,
        values_json(page.runs[l.run].timeline, l.curve));
  };
  return fmt::format(R"({{"id":"{}","unit":"{}","scale":"{}","small":{},"lines":{}}})",
                     figure.spec->id, unit_name(figure.spec->unit), figure.spec->scale,
                     figure.spec->small, array_json(figure.lines, line));
}

std::string heat_json(std::string_view id, size_t run, const HeatMap& heat) {
  std::string cells = "[";
  for (size_t c = 0; c < heat.columns().size(); ++c) {
    for (const auto& [row, count] : heat.columns()[c].counts) {
      if (cells.size() > 1) cells += ',';
      cells += fmt::format("{},{},{}", c, row, count);
    }
  }
  const auto column = [](const HeatMap::Column& c) {
    return fmt::format("[{},{}]", seconds(c.begin_ns), seconds(c.end_ns));
  };
  return fmt::format(R"({{"id":"heat-{}-{}","columns":{},"cells":{}]}})", id, run,
                     array_json(heat.columns(), column), cells);
}

std::string lives_json(size_t run, const LifeGrid& grid) {
  const auto row = [](const std::vector<double>& shares) {
    std::string digits = "\"";
    // One digit a cell; whoever is there at all is not drawn as nobody.
    for (const double share : shares)
      digits += static_cast<char>('0' + static_cast<int>(std::ceil(share * 9)));
    return digits + "\"";
  };
  return fmt::format(
      R"({{"id":"lives-{}","flows":{},"end_s":{},"group_sizes":{},"missed":{},"rows":{}}})", run,
      grid.flows, seconds(grid.end_ns),
      array_json(grid.group_sizes, [](size_t n) { return fmt::format("{}", n); }),
      array_json(grid.missed_ticks, [](uint64_t n) { return fmt::format("{}", n); }),
      array_json(grid.rows, row));
}

std::string percentiles_json(const PercentilePlot& plot) {
  const auto line = [](const PercentilePlot::Line& l) {
    return fmt::format(
        R"({{"label":{},"look":"{}","dashed":{},"at":{},"values":{}}})", text_json(l.label), l.look,
        l.dashed,
        array_json(l.points, [](const PercentilePoint& p) { return fmt::format("{:.6g}", p.at); }),
        array_json(l.points, [](const PercentilePoint& p) { return json_number(p.value); }));
  };
  return fmt::format(R"({{"id":"{}","lines":{}}})", plot.id, array_json(plot.lines, line));
}

std::string history_json(const ReportPage& page, size_t index) {
  const HistoryCurve& curve = page.history[index];
  std::vector<const HistoryChange*> changes;
  if (page.judgement) {
    for (const HistoryChange& change : page.judgement->changes) {
      if (change.metric == curve.metric.name) changes.push_back(&change);
    }
  }
  // A change's index counts the runs that were judged; in the page all runs stand, so the change's
  // run is found by its id, which its time ends with.
  const auto change_json = [&](const HistoryChange* change) {
    size_t run = change->index;
    for (size_t i = 0; i < page.history_runs.size(); ++i) {
      const std::string& id = page.history_runs[i].info.id;
      if (!id.empty() && change->time.ends_with(id)) run = i;
    }
    return fmt::format(R"({{"index":{},"before":{},"after":{},"worse":{}}})", run,
                       json_number(change->point.before), json_number(change->point.after),
                       change->worse && !change->acknowledged);
  };
  const std::string_view unit = curve.metric.unit;
  return fmt::format(
      R"({{"id":"history-{}","unit":{},"values":{},"changes":{}}})", index, text_json(unit),
      array_json(curve.values,
                 [](const std::optional<double>& v) { return v ? json_number(*v) : "null"; }),
      array_json(changes, change_json));
}

}  // namespace

std::string json_for_script(std::string_view json) {
  std::string escaped;
  escaped.reserve(json.size());
  for (const char c : json) {
    switch (c) {
      case '&': escaped += "\\u0026"; break;
      case '<': escaped += "\\u003c"; break;
      case '>': escaped += "\\u003e"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

std::string json_number(double value) {
  if (!std::isfinite(value)) return "null";
  if (value == std::floor(value) && std::fabs(value) < 9e15)
    return fmt::format("{}", static_cast<int64_t>(value));
  return fmt::format("{:.6g}", value);
}

std::string page_data_json(const ReportPage& page) {
  std::string runs, figures, heats, lives, events, stages, percentiles, history;
  const auto append = [](std::string& list, const std::string& element) {
    if (!list.empty()) list += ',';
    list += element;
  };
  int64_t end_ns = 0;
  for (size_t r = 0; r < page.runs.size(); ++r) {
    const RunPage& run = page.runs[r];
    end_ns = std::max(end_ns, run.elapsed_ns);
    append(runs, fmt::format(R"({{"id":{},"side":"{}","ticks_per_bin":{},"time_s":{}}})",
                             text_json(run.run.info.id), side_name(page, r),
                             run.timeline.ticks_per_bin(), times_json(run.timeline)));
    for (const LatencyCurve& d : distributions(run)) {
      if (d.heat != nullptr && !d.heat->empty()) append(heats, heat_json(d.id, r, *d.heat));
    }
    if (!run.lives.rows.empty()) append(lives, lives_json(r, run.lives));
    for (const StoredEvent& event : run.events) {
      append(events, fmt::format(R"({{"at_s":{},"run":{},"text":{}}})", seconds(event.elapsed_ns),
                                 r, text_json(event.text)));
    }
  }
  // A and B by one plan have the same stages; A's are drawn.
  for (const RunStage& stage : page.runs.front().stages) {
    append(stages, fmt::format(R"({{"name":{},"begin_s":{},"end_s":{}}})", text_json(stage.name),
                               seconds(stage.start_ns),
                               seconds(stage.end_ns.value_or(page.runs.front().elapsed_ns))));
  }
  for (const Figure& figure : page_figures(page)) append(figures, figure_json(page, figure));
  for (const PercentilePlot& plot : percentile_plots(page))
    append(percentiles, percentiles_json(plot));
  for (size_t i = 0; i < page.history.size(); ++i) append(history, history_json(page, i));
  const auto run_label = [](const StoredRun& run) {
    return text_json(run.info.source.commit.empty() ? run.info.id.substr(0, 8)
                                                    : short_commit(run.info.source, 10));
  };
  return fmt::format(
      R"({{"schema_version":1,"end_s":{},"runs":[{}],"figures":[{}],"heats":[{}],"lives":[{}],)"
      R"("percentiles":[{}],"events":[{}],"stages":[{}],"history":[{}],"history_runs":{}}})",
      seconds(end_ns), runs, figures, heats, lives, percentiles, events, stages, history,
      array_json(page.history_runs, run_label));
}

}  // namespace topspin
