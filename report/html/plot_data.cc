#include "report/html/plot_data.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/source_text.h"
#include "report/document/readable.h"
#include "report/json/json_parts.h"

namespace topspin {
namespace {

constexpr double kNanosecondsASecond = 1e9;

std::string text_json(std::string_view text) {
  return Json(plain_text(text, 120)).dump(-1, ' ', true, Json::error_handler_t::replace);
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

bool measured(const ReportPage& page, size_t curve) {
  const bool must_occur = curve_specs()[curve].presence == Presence::kOnlyIfItOccurs;
  return std::any_of(page.runs.begin(), page.runs.end(), [&](const RunPage& run) {
    return must_occur ? run.timeline.occurs(curve) : run.timeline.measured(curve);
  });
}

size_t bins_with_value(const ReportPage& page, size_t curve) {
  size_t bins = 0;
  for (const RunPage& run : page.runs) {
    for (const CurveBin& bin : run.timeline.curve(curve)) bins += bin.absent ? 0 : 1;
  }
  return bins;
}

/// p90 is drawn where most ticks have too few samples for a p99; of A and B instead of it.
bool is_wanted(const ReportPage& page, size_t curve) {
  const std::string_view name = curve_specs()[curve].name;
  if (!measured(page, curve)) return false;
  const bool is_p90 = name.ends_with("_p90");
  if (!is_p90 && !name.ends_with("_p99")) return true;
  const std::string other = std::string(name.substr(0, name.size() - 3)) + (is_p90 ? "p99" : "p90");
  for (size_t c = 0; c < curve_specs().size(); ++c) {
    if (curve_specs()[c].name != other) continue;
    const size_t p90 = is_p90 ? curve : c;
    const size_t p99 = is_p90 ? c : curve;
    const bool sparse = 2 * bins_with_value(page, p99) < bins_with_value(page, p90);
    return is_p90 ? sparse : !sparse || page.runs.size() == 1;
  }
  return true;
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

std::string_view side_name(const ReportPage& page, size_t run) {
  if (page.runs.size() < 2) return "";
  return run == 0 ? "A" : "B";
}

std::vector<Figure> page_figures(const ReportPage& page) {
  std::vector<Figure> figures;
  const bool compared = page.runs.size() > 1;
  for (const FigureSpec& spec : figure_specs()) {
    Figure figure{&spec, {}};
    // Where there are percentiles the median is dashed, for the tail matters more.
    const bool has_median = spec.unit == Unit::kNanoseconds;
    for (size_t r = 0; r < page.runs.size(); ++r) {
      size_t lines_of_run = 0;
      for (size_t c = 0; c < curve_specs().size(); ++c) {
        const CurveSpec& curve = curve_specs()[c];
        if (curve.figure != spec.id || !is_wanted(page, c)) continue;
        if (!page.runs[r].timeline.measured(c)) continue;
        if (!compared) {
          figure.lines.push_back({r, c, std::string(curve.label), curve.look, false});
        } else if (curve.compared) {
          // The run says the colour, the curve the dash.
          figure.lines.push_back({r, c, fmt::format("{} {}", side_name(page, r), curve.label),
                                  r == 0 ? "main" : "tail",
                                  has_median ? curve.name.ends_with("_p50") : lines_of_run > 0});
          ++lines_of_run;
        }
      }
    }
    if (!figure.lines.empty()) figures.push_back(std::move(figure));
  }
  return figures;
}

std::vector<LatencyCurve> distributions(const RunPage& run) {
  std::vector<LatencyCurve> all;
  const FlowInterval& f = run.summary.flows;
  if (!f.lateness.empty() && has_lateness(run.summary, run.run.info.settings)) {
    all.push_back({"lateness_ns", "Lateness", &f.lateness.non_negative(),
                   f.lateness.negative().count(), f.lateness.summary(), &run.lateness_heat});
  }
  const auto add = [&](std::string_view id, std::string_view title, const Histogram& histogram,
                       const HeatMap* heat) {
    if (!histogram.empty()) all.push_back({id, title, &histogram, 0, histogram.summary(), heat});
  };
  add("reply_latency_ns", "Reply latency", f.reply_latency, &run.reply_heat);
  const auto add_measured = [&](std::string_view id, std::string_view title,
                                const std::optional<Histogram>& histogram) {
    if (histogram)
      add(id, title, *histogram, id == "run_queue_latency_ns" ? &run.run_queue_heat : nullptr);
  };
  const SchedulerInterval none;
  const SchedulerInterval& s = run.summary.scheduler ? *run.summary.scheduler : none;
  add_measured("run_queue_latency_ns", "Run-queue latency", s.run_queue_latency);
  add("tcp_handshake_ns", "TCP handshake", f.tcp_handshake, nullptr);
  if (run.load) {
    add("load_latency_intended_ns", "Latency seen by the load", run.load->total.latency_intended,
        nullptr);
    add("load_own_lateness_ns", "Lateness of the load itself", run.load->total.own_lateness,
        nullptr);
  }
  if (run.summary.sockets) {
    add_measured("accept_delay_ns", "Accept delay", run.summary.sockets->accept_delay);
    add_measured("socket_wait_ns", "Data waiting in a socket", run.summary.sockets->socket_wait);
    add_measured("reply_socket_ns", "Of a reply: in the socket", run.summary.sockets->reply_socket);
    add_measured("reply_cpu_queue_ns", "Of a reply: waiting for a CPU",
                 run.summary.sockets->reply_cpu_queue);
    add_measured("reply_runtime_ns", "Of a reply: in the runtime",
                 run.summary.sockets->reply_runtime);
  }
  add_measured("queue_wait_ns", "Woken to running", s.queue_wait);
  add_measured("preemption_wait_ns", "Preempted to running", s.preemption_wait);
  add_measured("wake_delivery_ns", "Wake-up delivery", s.wake_delivery);
  add_measured("on_cpu_ns", "Slice on a CPU", s.on_cpu);
  add_measured("timer_oversleep_ns", "Timer oversleep", s.timer_oversleep);
  add_measured("timer_slack_ns", "Of it: timer slack", s.timer_slack);
  add_measured("timer_late_expiry_ns", "Of it: late expiry", s.timer_late_expiry);
  add_measured("timer_queueing_ns", "Of it: fired to running", s.timer_queueing);
  return all;
}

std::vector<PercentilePoint> percentile_curve(const LatencyCurve& distribution) {
  const Histogram& values = *distribution.values;
  std::vector<PercentilePoint> points;
  if (values.empty()) return points;
  const auto all = static_cast<double>(values.count() + distribution.below_zero);
  const auto below = static_cast<double>(distribution.below_zero);
  uint64_t seen = 0;
  const double end = std::log10(all);
  constexpr double kStep = 1.0 / 16;  // of a tenth as many samples
  double next = 0;
  // Each occupied cell answers for the shares up to the samples that it and those before it hold.
  for (uint32_t index = 0; index < kHistogramBuckets && next < end; ++index) {
    if (values.cell(index) == 0) continue;
    seen += values.cell(index);
    const double above = all - below - static_cast<double>(seen);
    const double reached = above < 1 ? end : std::log10(all / above);
    if (reached < next) continue;
    const double value =
        static_cast<double>(std::clamp(histogram_bucket_max(index), *values.min(), *values.max()));
    // The share at which this value begins to be the answer, and where it ends to be.
    if (above >= 1) points.push_back({reached, value});
    next = reached + kStep;
  }
  points.push_back({end, static_cast<double>(*values.max())});
  if (points.size() > 1 && distribution.below_zero == 0)
    points.insert(points.begin(), {0, static_cast<double>(*values.min())});
  // Strictly increasing, for the plot's look-up.
  std::erase_if(points, [last = -1.0](const PercentilePoint& p) mutable {
    if (p.at <= last) return true;
    last = p.at;
    return false;
  });
  return points;
}

std::vector<PercentilePlot> percentile_plots(const ReportPage& page) {
  constexpr std::string_view kLooks[] = {"main", "tail", "third", "extreme"};
  std::vector<PercentilePlot> plots;
  if (page.runs.size() == 1) {
    PercentilePlot plot{"percentiles", "By percentile", {}};
    for (const LatencyCurve& d : distributions(page.runs[0])) {
      if (plot.lines.size() == std::size(kLooks)) break;
      auto points = percentile_curve(d);
      if (points.size() < 2) continue;
      plot.lines.push_back(
          {std::string(d.title), kLooks[plot.lines.size()], false, std::move(points)});
    }
    if (!plot.lines.empty()) plots.push_back(std::move(plot));
    return plots;
  }
  for (size_t r = 0; r < page.runs.size(); ++r) {
    for (const LatencyCurve& d : distributions(page.runs[r])) {
      auto points = percentile_curve(d);
      if (points.size() < 2) continue;
      const std::string id = fmt::format("percentiles-{}", d.id);
      auto plot = std::find_if(plots.begin(), plots.end(),
                               [&](const PercentilePlot& p) { return p.id == id; });
      if (plot == plots.end()) {
        if (plots.size() == kComparedPercentiles) continue;
        plot = plots.insert(plots.end(), {id, std::string(d.title), {}});
      }
      plot->lines.push_back(
          {std::string(side_name(page, r)), kLooks[r % 2], r % 2 == 1, std::move(points)});
    }
  }
  return plots;
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
