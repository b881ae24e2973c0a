// The curves of the page: a table of what is drawn over time, in which unit and in which figure.
//
// Counts of the wire are drawn automatically if they occur. Everything else that is drawn has a
// line in curve_specs() and, if it needs its own plot, one in figure_specs(). A curve that was
// never measured is left out, and so is a figure without curves. Pure; thread-agnostic.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tick/numbers.h"
#include "report/document/readable.h"

namespace topspin {

std::string_view unit_name(document::Unit unit);  // as page.js knows it

/// A tick, with the values that several curves need computed once.
struct TickNumbers {
  TickNumbers(const Sample& sample, const std::optional<int64_t>& declared_period_ns);

  const Sample& sample;
  HistogramSummary lateness;
  HistogramSummary reply_latency;
  HistogramSummary run_queue_latency;
  double seconds = 0;         // of the interval; 0 if it has no length
  bool has_lateness = false;  // some flow has a period (core/flow/periods.h)
};

/// How a curve is shown. A curve with kOnlyIfItOccurs is left out if it was always 0.
enum class Presence : uint8_t { kAlways, kOnlyIfItOccurs };

struct CurveSpec {
  std::string_view name;    // in the page's data
  std::string_view figure;  // where it is drawn
  std::string_view label;
  std::string_view look;  // colour and line, as page.js knows it
  Presence presence;
  bool compared;  // drawn for A and for B; the others only if one run is shown
  std::optional<double> (*take)(const TickNumbers&) = nullptr;
  const RegisteredNumber* number = nullptr;  // the value, if there is no `take`
};
std::span<const CurveSpec> curve_specs();

struct FigureSpec {
  std::string_view id;
  std::string_view title;
  document::Unit unit;
  std::string_view scale;  // "linear" from 0, "log", or "signed_log" (linear around 0)
  std::string_view caption;
  bool small = false;  // placed beside another one if there is room
};
std::span<const FigureSpec> figure_specs();

/// The values of one tick, in the order of curve_specs(). `declared_period_ns` is that of --period.
std::vector<std::optional<double>> curve_values(const Sample& sample,
                                                const std::optional<int64_t>& declared_period_ns);

}  // namespace topspin
