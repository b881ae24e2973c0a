// Chooses what is drawn for a page's runs from what was measured: figures over time with their
// lines, latency distributions, and curves by percentile. Pure; thread-agnostic.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "report/model/curves.h"
#include "report/model/report_page.h"

namespace topspin {

struct FigureLine {
  size_t run = 0;    // index in ReportPage::runs
  size_t curve = 0;  // index in curve_specs()
  std::string label;
  std::string_view look;
  bool dashed = false;
};

struct Figure {
  const FigureSpec* spec = nullptr;
  std::vector<FigureLine> lines;
};

/// "A", "B"; empty if there is only one run.
std::string_view side_name(const ReportPage& page, size_t run);

/// The figures over time that have something to draw, in order.
std::vector<Figure> page_figures(const ReportPage& page);

/// A latency of a run whose distribution is shown: each one of the registry that was measured, and
/// those of the load.
struct LatencyCurve {
  std::string_view id;                // as in JSON: lateness_ns
  std::string title;                  // Lateness
  const Histogram* values = nullptr;  // the values that are not negative
  uint64_t below_zero = 0;            // how many samples are negative
  HistogramSummary summary;
  const HeatMap* heat = nullptr;  // over time, if kept
};
std::vector<LatencyCurve> distributions(const RunPage& run);

/// For A and B, this many latencies are drawn over each other; the table has all of them.
inline constexpr size_t kComparedPercentiles = 6;

/// A curve of value by share of samples. `at` is log10(1 / (1 - share)): 0 all, 1 p90, 2 p99, ...
struct PercentilePoint {
  double at = 0;
  double value = 0;
};
/// At most about 200 points. The last one is the greatest value, where the share is that of a
/// single sample.
std::vector<PercentilePoint> percentile_curve(const LatencyCurve& distribution);

/// A plot of latency by percentile: all latencies of one run, or one latency of A and B. Plots
/// without a line are left out.
struct PercentilePlot {
  struct Line {
    std::string_view latency;  // LatencyCurve::id
    size_t run = 0;
    std::string label;
    std::string_view look;
    bool dashed = false;
    std::vector<PercentilePoint> points;
  };
  std::string id;
  std::string title;
  std::vector<Line> lines;
};
std::vector<PercentilePlot> percentile_plots(const ReportPage& page);

}  // namespace topspin
