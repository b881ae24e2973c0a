// Growth: what a flow costs in memory, mappings and descriptors, at how many flows that ends, and
// what did not come back after the load had gone. Pure functions of a series of readings, so that
// screens, reports and gate agree. docs/resources.md explains and justifies the formulas.
//
// Not part of a Sample: everything here is derived from stored ticks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/sample.h"

namespace topspin {

/// What a tick says about growth. A tick without resources has all of them absent.
struct GrowthPoint {
  int64_t elapsed_ns = 0;
  int64_t active_flows = 0;
  ResourceReading resources;
};
GrowthPoint growth_point(const Sample& sample);

struct XY {
  double x = 0;
  double y = 0;
};

/// The slope of a line through points: the median of the slopes of all pairs (Theil, Sen), with the
/// 95% interval that Kendall's test gives. With fewer than six points the interval is the range of
/// all slopes, which is less than 95%.
struct Slope {
  double value = 0;
  double ci_low = 0;
  double ci_high = 0;
  double intercept = 0;  // median of y - value * x
  size_t points = 0;
};
/// nullopt: fewer than three points, or all at one x. More than 300 points are thinned evenly.
std::optional<Slope> theil_sen(std::span<const XY> points);

/// The part of a series in which the flows came up: from the last ten readings before the rise to
/// the fifth after 95% of the most flows were reached. Empty: no rise by at least ten flows.
std::span<const GrowthPoint> find_ramp(std::span<const GrowthPoint> series);

/// What each active flow costs, by the slope over the ramp. Absent: no ramp, or not measured then.
struct PerFlowCost {
  std::optional<Slope> rss_bytes;
  std::optional<Slope> vsz_bytes;
  std::optional<Slope> mappings;
  std::optional<Slope> fds;
};
PerFlowCost per_flow_cost(std::span<const GrowthPoint> series);

/// At how many active flows a limit is reached, if each further flow costs what the ramp's did.
struct Headroom {
  std::string_view limit;  // "address_space", "mappings", "fds", "memory", "ports"
  double per_flow = 0;     // in the limit's unit: bytes or a count
  int64_t used = 0;        // last known
  int64_t limit_value = 0;
  int64_t flows = 0;
  int64_t flows_low = 0;
  int64_t flows_high = 0;
};
/// The nearest first. A limit is left out while its use was not seen to grow with the flows (the
/// slope's interval reaches zero).
std::vector<Headroom> headroom(std::span<const GrowthPoint> series);

enum class LeakVerdict : uint8_t { kNone, kLeak, kUnclear };
std::string_view leak_verdict_name(LeakVerdict verdict);  // "none", "leak", "unclear"

struct LeakMetric {
  std::string_view name;  // as in ResourceReading
  LeakVerdict verdict = LeakVerdict::kUnclear;
  std::string reason;  // one clause
  // What did not come back: the median after the load, less the median before it. The bounds take
  // all readings of the one against all of the other.
  std::optional<double> residue, residue_low, residue_high;
  std::optional<Slope> slope_per_s;  // of the readings after the load: negative is coming back
};

/// A load comes and goes in waves; between them, and before and after, the subject is at rest.
struct LeakReport {
  LeakVerdict verdict = LeakVerdict::kUnclear;
  std::string reason;
  size_t waves = 0;  // that had gone
  std::vector<LeakMetric> metrics;
};
LeakReport judge_leak(std::span<const GrowthPoint> series);

/// All of the above.
struct Growth {
  PerFlowCost per_flow;
  std::vector<Headroom> headroom;
  LeakReport leak;
};
Growth judge_growth(std::span<const GrowthPoint> series);

}  // namespace topspin
