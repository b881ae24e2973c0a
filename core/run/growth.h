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

#include "core/run/run.h"
#include "core/tick/sample.h"

namespace topspin {

/// What a tick says about growth. A tick without resources has all of them absent.
struct GrowthPoint {
  int64_t elapsed_ns = 0;
  int64_t active_flows = 0;  // sent something lately: whether there is a load
  int64_t live_flows = 0;    // not ended: what the subject holds something for
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

/// The part of a series in which the live flows came up: from the last ten readings before the rise
/// to the fifth after 95% of the most flows were reached. Empty: no rise by at least ten flows.
std::span<const GrowthPoint> find_ramp(std::span<const GrowthPoint> series);

/// A slope that says something about flows: of at least four different numbers of flows, with an
/// interval above 0 whose ends are no more than a factor of four apart.
bool is_cost(const Slope& slope, std::span<const XY> points);

/// What each live flow costs, by the slope over the ramp. Absent: no ramp, not measured then, or no
/// slope that is_cost(). Of several processes the RSS counts shared pages once for each: then PSS
/// stands in its place.
struct PerFlowCost {
  std::optional<Slope> rss_bytes;  // of one process
  std::optional<Slope> pss_bytes;  // of several
  std::optional<Slope> vsz_bytes;
  std::optional<Slope> mappings;
  std::optional<Slope> fds;
};
PerFlowCost per_flow_cost(std::span<const GrowthPoint> series);

/// At how many live flows a limit is reached, if each further flow costs what the ramp's did.
struct Headroom {
  std::string_view limit;  // "address_space", "mappings", "fds", "memory", "ports"
  double per_flow = 0;     // in the limit's unit: bytes or a count
  int64_t used = 0;        // last known
  int64_t limit_value = 0;
  int64_t flows = 0;
  int64_t flows_low = 0;
  int64_t flows_high = 0;
};
/// The nearest first. A limit is left out while its use was not seen to grow with the flows: its
/// slope is not is_cost().
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

/// All of the above, of the readings after `from_ns` (since the start of the run): what a subject
/// does to start and to warm up judges nothing. judged_from() of a run's stages says when.
struct Growth {
  PerFlowCost per_flow;
  std::vector<Headroom> headroom;
  LeakReport leak;
};
Growth judge_growth(std::span<const GrowthPoint> series, int64_t from_ns = 0);

/// When the stage `before` began, or else the first stage of the load; 0: there is neither, the
/// whole run counts.
int64_t judged_from(std::span<const RunStage> stages);

}  // namespace topspin
