// What is drawn of a page's runs: figures over time with their lines, latency distributions and
// curves by percentile, chosen from what was measured. Pure; thread-agnostic.
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

/// "A", "B"; empty when there is but one run.
std::string_view side_name(const ReportPage& page, size_t run);

/// The figures over time that have something to draw, in order.
std::vector<Figure> page_figures(const ReportPage& page);

/// A latency of a run whose distribution is shown: each of the registry that was measured, and the
/// load's.
struct LatencyCurve {
  std::string_view id;                // as in JSON: lateness_ns
  std::string title;                  // Lateness
  const Histogram* values = nullptr;  // what is not negative
  uint64_t below_zero = 0;            // samples beside those
  HistogramSummary summary;
  const HeatMap* heat = nullptr;  // over time, where kept
};
std::vector<LatencyCurve> distributions(const RunPage& run);

/// Of A and B, the first so many latencies are drawn over each other; the table has them all.
inline constexpr size_t kComparedPercentiles = 6;

/// A curve of value by share of samples. `at` is log10(1 / (1 - share)): 0 all, 1 p90, 2 p99, ...
struct PercentilePoint {
  double at = 0;
  double value = 0;
};
/// At most some 200 points; the last is the greatest value, at the place of one sample in all.
std::vector<PercentilePoint> percentile_curve(const LatencyCurve& distribution);

/// A plot of latency by percentile: all latencies of one run, or one latency of A and B. Those
/// without a line to draw are not among them.
struct PercentilePlot {
  struct Line {
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
