// Pieces that several texts for people share.
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "core/flow.h"
#include "core/histogram.h"
#include "core/periods.h"
#include "core/text.h"

namespace topspin {

inline constexpr const char* kLatencyLayout =
    "  {:<18} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n";

inline std::string latency_table_header() {
  return fmt::format(fmt::runtime(kLatencyLayout), "", "count", "min", "p50", "p90", "p99", "p99.9",
                     "max");
}

/// Hostile text at the start of a line: fit for a terminal, and no command to the CI system that
/// reads the log ("::error::" of GitHub, "##[error]" of Azure; both after any spaces).
inline std::string safe_at_line_start(std::string_view text) {
  std::string safe = sanitize_for_terminal(text);
  const size_t first = safe.find_first_not_of(' ');
  if (first == std::string::npos) return safe;
  const std::string_view rest = std::string_view(safe).substr(first);
  if (rest.starts_with("::") || rest.starts_with("##"))
    safe.replace(first, 1, rest.front() == ':' ? "\\x3a" : "\\x23");
  return safe;
}

/// Absent is "-": there were too few samples for that percentile, or none at all.
inline std::string latency_table_row(std::string_view name, const HistogramSummary& s) {
  const auto cell = [](const std::optional<int64_t>& ns) {
    return ns ? format_duration(*ns) : std::string("-");
  };
  return fmt::format(fmt::runtime(kLatencyLayout), name, s.count, cell(s.min), cell(s.p50),
                     cell(s.p90), cell(s.p99), cell(s.p999), cell(s.max));
}

/// "12,345".
inline std::string grouped(uint64_t count) {
  std::string digits = fmt::format("{}", count);
  for (size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

/// The row of reply latency, and right under it how many requests are in it only as the timeout.
std::string reply_latency_rows(const FlowInterval& flows, int64_t timeout_ns);

/// "2,000 of 20,131 requests not answered within 1.00s, 256 of them later; ...". `timeout_ns` 0:
/// not known.
std::string unanswered_text(const FlowInterval& flows, int64_t timeout_ns);

/// What TCP, turns that are no replies, and the packets' stamps came to, a line each where there is
/// something to say; each begins with `indent`.
std::string traffic_notes_text(const FlowInterval& flows, std::string_view indent);

/// "24 flows with a period at most, 3 ticks missed; silent at most ...".
std::string silence_text(uint64_t periodic_max, uint64_t silent_max, const FlowInterval& flows);

}  // namespace topspin
