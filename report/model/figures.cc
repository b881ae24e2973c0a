#include "report/model/figures.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace topspin {
namespace {

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

/// p90 is drawn if most ticks have too few samples for a p99; for A and B it replaces the p99.
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

/// Samples over time, if they are kept.
const HeatMap* heat_of(const RunPage& run, std::string_view id) {
  if (id == "lateness_ns") return &run.lateness_heat;
  if (id == "reply_latency_ns") return &run.reply_heat;
  return id == "run_queue_latency_ns" ? &run.run_queue_heat : nullptr;
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
    // If there are percentiles, the median is dashed, because the tail matters more.
    const bool has_median = spec.unit == document::Unit::kNanoseconds;
    for (size_t r = 0; r < page.runs.size(); ++r) {
      size_t lines_of_run = 0;
      for (size_t c = 0; c < curve_specs().size(); ++c) {
        const CurveSpec& curve = curve_specs()[c];
        if (curve.figure != spec.id || !is_wanted(page, c)) continue;
        if (!page.runs[r].timeline.measured(c)) continue;
        if (!compared) {
          figure.lines.push_back({r, c, std::string(curve.label), curve.look, false});
        } else if (curve.compared) {
          // The colour shows the run, the dash the curve.
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
  const Sample& merged = run.fold.merged;
  const auto add = [&](std::string_view id) {
    const RegisteredNumber& number = *find_number(id);
    if (number.needs_period && !has_lateness(run.fold, run.run.info.settings)) return;
    if (number.signed_histogram) {
      const SignedHistogram* values = number.signed_histogram(merged);
      if (values != nullptr && !values->empty())
        all.push_back({id, document::capitalized(number.label), &values->non_negative(),
                       values->negative().count(), values->summary(), heat_of(run, id)});
    } else if (number.histogram) {
      const Histogram* values = number.histogram(merged);
      if (values != nullptr && !values->empty())
        all.push_back({id, document::capitalized(number.label), values, 0, values->summary(),
                       heat_of(run, id)});
    }
  };
  // From what a client sees to the parts inside the server.
  constexpr std::string_view kFirst[] = {
      "lateness_ns",     "reply_latency_ns",   "run_queue_latency_ns", "socket_wait_ns",
      "reply_socket_ns", "reply_cpu_queue_ns", "reply_runtime_ns"};
  for (const std::string_view id : kFirst) add(id);
  if (run.load) {
    const LoadPart& load = run.load->total;
    const auto add_load = [&](std::string_view id, std::string title, const Histogram& values) {
      if (!values.empty())
        all.push_back({id, std::move(title), &values, 0, values.summary(), nullptr});
    };
    add_load("load_latency_intended_ns", "Latency seen by the load", load.latency_intended);
    add_load("load_own_lateness_ns", "Lateness of the load itself", load.own_lateness);
  }
  for (const RegisteredNumber& number : numbers()) {
    if (std::find(std::begin(kFirst), std::end(kFirst), number.name) == std::end(kFirst))
      add(number.name);
  }
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
  // Each occupied cell is the value for all shares up to the samples in it and in the cells before.
  for (uint32_t index = 0; index < kHistogramBuckets && next < end; ++index) {
    if (values.cell(index) == 0) continue;
    seen += values.cell(index);
    const double above = all - below - static_cast<double>(seen);
    const double reached = above < 1 ? end : std::log10(all / above);
    if (reached < next) continue;
    const double value =
        static_cast<double>(std::clamp(histogram_bucket_max(index), *values.min(), *values.max()));
    // The share from which this value holds, and the share up to which it holds.
    if (above >= 1) points.push_back({reached, value});
    next = reached + kStep;
  }
  points.push_back({end, static_cast<double>(*values.max())});
  if (points.size() > 1 && distribution.below_zero == 0)
    points.insert(points.begin(), {0, static_cast<double>(*values.min())});
  // Make it strictly increasing, because the plot looks up values.
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
      plot.lines.push_back({d.id, 0, d.title, kLooks[plot.lines.size()], false, std::move(points)});
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
        plot = plots.insert(plots.end(), {id, d.title, {}});
      }
      plot->lines.push_back(
          {d.id, r, std::string(side_name(page, r)), kLooks[r % 2], r % 2 == 1, std::move(points)});
    }
  }
  return plots;
}

}  // namespace topspin
