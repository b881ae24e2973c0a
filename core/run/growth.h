// Growth: what a flow costs in memory, mappings and descriptors, at how many flows a limit is
// reached, and what was not released after the load. These are pure functions of a series of
// readings, so that screens, reports and gate agree. docs/resources.md explains and justifies the
// formulas.
//
// It is not part of a Sample: everything here is derived from stored ticks.
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

/// The values of a tick that matter for growth. Without resources, they are absent.
struct GrowthPoint {
  int64_t elapsed_ns = 0;
  int64_t active_flows = 0;  // sent something lately; shows whether there is a load
  int64_t live_flows = 0;    // not ended; the subject holds something for each
  ResourceReading resources;
};
GrowthPoint growth_point(const Sample& sample);

struct XY {
  double x = 0;
  double y = 0;
};

/// The slope of a line through points: the median of the slopes of all pairs (Theil, Sen), with the
/// 95% interval from Kendall's test. With fewer than six points the interval is the range of all
/// slopes, whose confidence is below 95%.
struct Slope {
  double value = 0;
  double ci_low = 0;
  double ci_high = 0;
  double intercept = 0;  // median of y - value * x
  size_t points = 0;
};
/// nullopt with fewer than three points, or if all have the same x. More than 300 points are
/// thinned out evenly.
std::optional<Slope> theil_sen(std::span<const XY> points);

/// The part of a series in which the number of live flows rose: from the last ten readings before
/// the rise to the fifth one after 95% of the maximum was reached. Empty if it did not rise by at
/// least ten flows.
std::span<const GrowthPoint> find_ramp(std::span<const GrowthPoint> series);

/// Whether a slope is meaningful: it is from at least four different numbers of flows, and its
/// interval is above 0 with ends that differ by at most a factor of four.
bool is_cost(const Slope& slope, std::span<const XY> points);

/// The cost of a live flow: the slope over the ramp. Absent if there was no ramp, nothing was
/// measured, or the slope is not is_cost(). The RSS of several processes counts shared pages
/// several times; PSS is used instead.
struct PerFlowCost {
  std::optional<Slope> rss_bytes;  // of one process
  std::optional<Slope> pss_bytes;  // of several
  std::optional<Slope> vsz_bytes;
  std::optional<Slope> mappings;
  std::optional<Slope> fds;
};
PerFlowCost per_flow_cost(std::span<const GrowthPoint> series);

/// The number of live flows at which a limit is reached, if further flows cost as much as those of
/// the ramp.
struct Headroom {
  std::string_view limit;  // "address_space", "mappings", "fds", "memory", "ports"
  double per_flow = 0;     // in the limit's unit: bytes or a count
  int64_t used = 0;        // last known
  int64_t limit_value = 0;
  int64_t flows = 0;
  int64_t flows_low = 0;
  int64_t flows_high = 0;
};
/// The nearest limit comes first. A limit is left out if its use does not clearly grow with the
/// flows (its slope is not is_cost()).
std::vector<Headroom> headroom(std::span<const GrowthPoint> series);

enum class LeakVerdict : uint8_t { kNone, kLeak, kUnclear };
std::string_view leak_verdict_name(LeakVerdict verdict);  // "none", "leak", "unclear"

struct LeakMetric {
  std::string_view name;  // as in ResourceReading
  LeakVerdict verdict = LeakVerdict::kUnclear;
  std::string reason;  // one clause
  // What was not released: the median after the load minus the median before it. The bounds compare
  // all readings after the load with all readings before it.
  std::optional<double> residue, residue_low, residue_high;
  std::optional<Slope> slope_per_s;  // of the readings after the load; negative: being released
};

/// A load comes in waves. Between them, and before and after, the subject is at rest.
struct LeakReport {
  LeakVerdict verdict = LeakVerdict::kUnclear;
  std::string reason;
  size_t waves = 0;  // that had ended
  std::vector<LeakMetric> metrics;
};
LeakReport judge_leak(std::span<const GrowthPoint> series);

/// A value that grew steadily under a constant load, up to its end. This needs no rest, which a
/// server that is always in use does not have.
struct SteadyGrowth {
  std::string_view name;  // as in ResourceReading
  double grown = 0;       // over the readings that count, by their slope
  double seconds = 0;     // from the first of these readings to the last
  Slope slope_per_s;
};
/// Takes the longest stretch of readings whose flows are all within a tenth of their median, and
/// judges its last two thirds, which must be at least 60 readings and 60 s. Each third of these
/// must certainly grow, and the last at half the pace of all or faster. This excludes growth that
/// levels off (a cache, a pool). Growth that has not yet begun to level off looks like a leak.
std::vector<SteadyGrowth> judge_steady_growth(std::span<const GrowthPoint> series);

/// All of the above, from the readings after `from_ns` (since the start of the run), because
/// starting and warming up do not count. judged_from() finds that time from a run's stages.
struct Growth {
  PerFlowCost per_flow;
  std::vector<Headroom> headroom;
  LeakReport leak;
  std::vector<SteadyGrowth> steady;
};
Growth judge_growth(std::span<const GrowthPoint> series, int64_t from_ns = 0);

/// The start of the stage `before`, or else of the first stage of the load. 0 if there is neither;
/// then the whole run counts.
int64_t judged_from(std::span<const RunStage> stages);

}  // namespace topspin
