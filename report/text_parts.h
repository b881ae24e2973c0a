// Pieces that several texts for people share.
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "core/histogram.h"
#include "core/text.h"

namespace topspin {

inline constexpr const char* kLatencyLayout =
    "  {:<18} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n";

inline std::string latency_table_header() {
  return fmt::format(fmt::runtime(kLatencyLayout), "", "count", "min", "p50", "p90", "p99", "p99.9",
                     "max");
}

/// Absent is "-": there were too few samples for that percentile, or none at all.
inline std::string latency_table_row(std::string_view name, const HistogramSummary& s) {
  const auto cell = [](const std::optional<int64_t>& ns) {
    return ns ? format_duration(*ns) : std::string("-");
  };
  return fmt::format(fmt::runtime(kLatencyLayout), name, s.count, cell(s.min), cell(s.p50),
                     cell(s.p90), cell(s.p99), cell(s.p999), cell(s.max));
}

}  // namespace topspin
