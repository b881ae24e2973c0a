// Metric: the name of a number, which direction is better, and how much worse is too much.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace topspin {

enum class Better : uint8_t { kLower, kHigher };

constexpr std::string_view better_name(Better better) {
  return better == Better::kLower ? "lower" : "higher";
}

inline constexpr double kMarginOfCounts = 0.03;     // CPU, memory, counts
inline constexpr double kMarginOfMedians = 0.05;    // of latencies
inline constexpr double kMarginOfTails = 0.10;      // p99
inline constexpr double kMarginOfFailures = 0.001;  // of failed work: 0.1 percentage points
inline constexpr std::string_view kUnitOfShares = "share";

struct Metric {
  std::string name;  // noun, unit, qualifier: reply_latency_ns_p99; hostile text if from a column
  std::string unit;  // "ns", "bytes", "1"; empty: not known
  Better better = Better::kLower;
  double margin = kMarginOfCounts;  // share by which it may get worse; 0.03 is 3%
  bool gating = true;               // false: informs, and decides nothing
  // Compared by difference and not by ratio. This is for shares, for which 0 is an ordinary value.
  // The margin is then in the metric's unit: 0.001 of a share is a tenth of a percentage point.
  bool absolute = false;
};

}  // namespace topspin
