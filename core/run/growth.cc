#include "core/run/growth.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/base/clock.h"

namespace topspin {
namespace {

constexpr size_t kMostPoints = 300;  // 45,000 pairs, which take some ms
constexpr double kNormal95 = 1.96;
constexpr size_t kFewestForInterval = 6;

constexpr int64_t kLeastRise = 10;
constexpr size_t kFewestFlowCounts = 4;
constexpr double kWidestInterval = 4;  // its high end over its low one
constexpr double kTopOfRamp = 0.95;
constexpr double kFootOfRamp = 0.05;
constexpr size_t kReadingsBeforeRise = 10;
constexpr size_t kReadingsAfterRise = 5;

/// At rest, at most one fiftieth of the highest number of flows is left.
constexpr int64_t kRestShare = 50;
constexpr size_t kReadingsBefore = 2;
constexpr ptrdiff_t kReadingsOfWindow = 3;
constexpr size_t kReadingsAfter = 3;
constexpr size_t kSteadyReadings = 6;
constexpr double kPlateau = 0.9;
constexpr double kEqualWaves = 1.1;

constexpr size_t kSteadyLoadReadings = 60;
constexpr int64_t kSteadyLoadNs = 59 * kNanosPerSecond;  // 60 readings, one per second
constexpr double kSteadyLoad = 0.1;

using Member = std::optional<int64_t> ResourceReading::*;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

std::vector<XY> thinned(std::span<const XY> points) {
  if (points.size() <= kMostPoints) return {points.begin(), points.end()};
  std::vector<XY> kept;
  for (size_t i = 0; i < kMostPoints; ++i)
    kept.push_back(points[i * (points.size() - 1) / (kMostPoints - 1)]);
  return kept;
}

/// The variance of Kendall's S, with the correction for points at the same x.
double kendall_variance(const std::vector<XY>& points) {
  const auto term = [](double n) { return n * (n - 1) * (2 * n + 5); };
  std::vector<double> xs;
  xs.reserve(points.size());
  for (const XY& point : points) xs.push_back(point.x);
  std::sort(xs.begin(), xs.end());
  double sum = term(static_cast<double>(xs.size()));
  for (size_t from = 0; from < xs.size();) {
    size_t to = from;
    while (to < xs.size() && xs[to] == xs[from]) ++to;
    sum -= term(static_cast<double>(to - from));
    from = to;
  }
  return sum / 18;
}

int64_t most_flows(std::span<const GrowthPoint> series, int64_t GrowthPoint::*flows) {
  int64_t most = 0;
  for (const GrowthPoint& point : series) most = std::max(most, point.*flows);
  return most;
}

std::vector<XY> by_flows(std::span<const GrowthPoint> series, Member member) {
  std::vector<XY> points;
  for (const GrowthPoint& point : series) {
    if (const auto value = point.resources.*member)
      points.push_back({static_cast<double>(point.live_flows), static_cast<double>(*value)});
  }
  return points;
}

std::vector<XY> by_seconds(std::span<const GrowthPoint> series, Member member) {
  std::vector<XY> points;
  for (const GrowthPoint& point : series) {
    if (const auto value = point.resources.*member)
      points.push_back(
          {static_cast<double>(point.elapsed_ns) / kNanosPerSecond, static_cast<double>(*value)});
  }
  return points;
}

std::optional<Slope> cost_of(const std::vector<XY>& points) {
  auto slope = theil_sen(points);
  if (slope && !is_cost(*slope, points)) slope.reset();
  return slope;
}

int64_t whole_flows(double flows) {
  if (!(flows > 0)) return 0;
  return flows < 1e15 ? static_cast<int64_t>(flows) : static_cast<int64_t>(1e15);
}

std::optional<Headroom> headroom_of(std::string_view name, LimitUse ResourceReading::*member,
                                    std::span<const GrowthPoint> series,
                                    std::span<const GrowthPoint> ramp) {
  std::vector<XY> points;
  for (const GrowthPoint& point : ramp) {
    if (const auto used = (point.resources.*member).used)
      points.push_back({static_cast<double>(point.live_flows), static_cast<double>(*used)});
  }
  const auto slope = cost_of(points);
  if (!slope) return std::nullopt;
  // The slope is that of the ramp. The limit is the last known one, because the available memory
  // changes.
  Headroom result{name, slope->value, 0, 0, 0, 0, 0};
  for (const GrowthPoint& point : series) {
    const LimitUse& use = point.resources.*member;
    if (use.used && use.limit) result.used = *use.used, result.limit_value = *use.limit;
  }
  const double room = static_cast<double>(result.limit_value) - slope->intercept;
  result.flows = whole_flows(room / slope->value);
  result.flows_low = whole_flows(room / slope->ci_high);
  result.flows_high = whole_flows(room / slope->ci_low);
  return result;
}

// ---- leak ----

struct LeakKind {
  std::string_view name;
  Member member;
  bool is_bytes;
  bool pooled;  // healthy programs keep some for reuse: allocators, thread pools
};
constexpr LeakKind kLeakKinds[] = {
    {"rss_bytes", &ResourceReading::rss_bytes, true, true},
    {"anonymous_bytes", &ResourceReading::anonymous_bytes, true, true},
    {"mappings", &ResourceReading::mappings, false, true},
    {"threads", &ResourceReading::threads, false, true},
    {"processes", &ResourceReading::processes, false, true},
    {"fds", &ResourceReading::fds, false, false},
};

struct Rest {
  std::span<const GrowthPoint> points;
};

/// The longest stretches at rest. After a load, the first reading is left out, because it may still
/// include the load's end.
std::vector<Rest> find_rests(std::span<const GrowthPoint> series, int64_t most) {
  const int64_t rest_flows = most / kRestShare;
  std::vector<Rest> rests;
  for (size_t from = 0; from < series.size();) {
    size_t to = from;
    while (to < series.size() && series[to].active_flows <= rest_flows) ++to;
    if (to > from) {
      const size_t settle = from == 0 ? 0 : 1;
      if (to - from > settle) rests.push_back({series.subspan(from + settle, to - from - settle)});
    }
    from = std::max(to, from + 1);
  }
  return rests;
}

/// The last half of a rest's readings, but at least `fewest`: those furthest from the load before.
std::vector<double> readings_of(const Rest& rest, Member member, size_t fewest) {
  std::vector<double> all;
  for (const GrowthPoint& point : rest.points) {
    if (const auto value = point.resources.*member) all.push_back(static_cast<double>(*value));
  }
  const size_t keep = std::max(fewest, (all.size() + 1) / 2);
  if (all.size() > keep) all.erase(all.begin(), all.end() - static_cast<ptrdiff_t>(keep));
  return all;
}

struct Difference {
  double value, low, high;
};
Difference difference(const std::vector<double>& after, const std::vector<double>& before) {
  const auto [after_low, after_high] = std::minmax_element(after.begin(), after.end());
  const auto [before_low, before_high] = std::minmax_element(before.begin(), before.end());
  return {median(after) - median(before), *after_low - *before_high, *after_high - *before_low};
}

int64_t most_flows_between(std::span<const GrowthPoint> series, int64_t from_ns, int64_t to_ns) {
  int64_t most = 0;
  for (const GrowthPoint& point : series) {
    if (point.elapsed_ns > from_ns && point.elapsed_ns < to_ns)
      most = std::max(most, point.active_flows);
  }
  return most;
}

/// Growth over the second half of the time under full load, if it is certain; else 0.
double steady_growth(std::span<const GrowthPoint> series, int64_t most, Member member) {
  std::vector<GrowthPoint> plateau;
  for (const GrowthPoint& point : series) {
    if (static_cast<double>(point.active_flows) >= kPlateau * static_cast<double>(most))
      plateau.push_back(point);
  }
  const auto half = std::span<const GrowthPoint>(plateau).subspan(plateau.size() / 2);
  const std::vector<XY> points = by_seconds(half, member);
  if (points.size() < kSteadyReadings) return 0;
  const auto slope = theil_sen(points);
  if (!slope || slope->ci_low <= 0) return 0;
  return slope->ci_low * (points.back().x - points.front().x);
}

LeakMetric judge_metric(const LeakKind& kind, std::span<const GrowthPoint> series, int64_t most,
                        const std::vector<Rest>& rests) {
  LeakMetric metric;
  metric.name = kind.name;
  const Rest& last = rests.back();
  const std::vector<double> before = readings_of(rests.front(), kind.member, kReadingsBefore);
  const std::vector<double> after = readings_of(last, kind.member, kReadingsAfter);
  if (before.size() < kReadingsBefore || after.size() < kReadingsAfter) {
    metric.reason = fmt::format("{} readings before the load and {} after it: too few",
                                before.size(), after.size());
    return metric;
  }
  const Difference residue = difference(after, before);
  metric.residue = residue.value;
  metric.residue_low = residue.low;
  metric.residue_high = residue.high;
  const std::vector<XY> after_points = by_seconds(last.points, kind.member);
  metric.slope_per_s = theil_sen(after_points);

  double peak = median(before);
  for (const GrowthPoint& point : series) {
    if (const auto value = point.resources.*kind.member)
      peak = std::max(peak, static_cast<double>(*value));
  }
  const double grown = peak - median(before);
  const double floor =
      kind.is_bytes ? std::max(1048576.0, 0.05 * grown) : std::max(2.0, 0.01 * grown);
  const auto decide = [&](LeakVerdict verdict, std::string reason) {
    metric.verdict = verdict;
    metric.reason = std::move(reason);
    return metric;
  };

  if (metric.slope_per_s && metric.slope_per_s->points >= kFewestForInterval &&
      metric.slope_per_s->ci_low > 0 &&
      metric.slope_per_s->ci_low * (after_points.back().x - after_points.front().x) > floor)
    return decide(LeakVerdict::kLeak, "it goes on growing with no load");
  if (residue.high <= floor) return decide(LeakVerdict::kNone, "it came back");

  if (rests.size() > 2) {
    // After several waves: a pool keeps memory only once, but a leak grows with each wave.
    const Rest& first = rests[1];
    const std::vector<double> after_first = readings_of(first, kind.member, kReadingsAfter);
    const int64_t first_peak = most_flows_between(series, rests.front().points.back().elapsed_ns,
                                                  first.points.front().elapsed_ns);
    const int64_t later_peak =
        most_flows_between(series, first.points.back().elapsed_ns, last.points.front().elapsed_ns);
    const bool equal = static_cast<double>(later_peak) <=
                       kEqualWaves * static_cast<double>(std::max<int64_t>(first_peak, 1));
    if (after_first.size() >= kReadingsAfter && equal) {
      const Difference again = difference(after, after_first);
      const double again_floor = kind.is_bytes ? std::max(1048576.0, 0.1 * grown)
                                 : kind.pooled ? floor
                                               : 0.5;
      if (again.low > again_floor)
        return decide(LeakVerdict::kLeak, "each wave of load left more behind");
      if (again.high <= again_floor)
        return decide(LeakVerdict::kNone, "the first wave of load left it, the later ones no more");
      return decide(LeakVerdict::kUnclear, "the waves of load differ by as much as the readings");
    }
  }
  if (metric.slope_per_s && metric.slope_per_s->points >= kFewestForInterval &&
      metric.slope_per_s->ci_high < 0)
    return decide(LeakVerdict::kUnclear, "it was still coming back at the end: watch for longer");
  const double steady = steady_growth(series, most, kind.member);
  if (steady > floor && residue.low >= steady / 2)
    return decide(LeakVerdict::kLeak, "it grew under constant load and did not come back");
  if (!kind.pooled && residue.low > std::max(8.0, 0.05 * grown))
    return decide(LeakVerdict::kLeak, "it did not come back");
  if (rests.size() > 2)
    return decide(
        LeakVerdict::kUnclear,
        fmt::format("it did not come back after {} waves of load, which cannot be compared: "
                    "the later ones were larger than the first, or too few readings lie "
                    "between them",
                    rests.size() - 1));
  return decide(LeakVerdict::kUnclear,
                "it did not come back after one wave of load: a pool keeps it once, a leak grows "
                "with a second wave");
}

// ---- growth under a steady load ----

/// The longest stretch of readings whose number of flows is within a tenth of the median of all
/// readings with flows. Clients that reconnect may change the number by that much.
std::span<const GrowthPoint> steady_load(std::span<const GrowthPoint> series) {
  std::vector<double> flows;
  for (const GrowthPoint& point : series)
    if (point.live_flows > 0) flows.push_back(static_cast<double>(point.live_flows));
  if (flows.size() < kSteadyLoadReadings) return {};
  const double usual = median(std::move(flows));
  const double off = std::max(1.0, kSteadyLoad * usual);
  std::span<const GrowthPoint> longest;
  for (size_t from = 0; from < series.size();) {
    size_t to = from;
    while (to < series.size() &&
           std::abs(static_cast<double>(series[to].live_flows) - usual) <= off)
      ++to;
    if (to - from > longest.size()) longest = series.subspan(from, to - from);
    from = std::max(to, from + 1);
  }
  return longest;
}

bool grows_to_the_end(std::span<const XY> points, double pace) {
  const size_t third = points.size() / 3;
  for (size_t i = 0; i < 3; ++i) {
    const auto slope = theil_sen(points.subspan(i * third, third));
    if (!slope || slope->ci_low <= 0) return false;
    if (i == 2 && slope->value < pace / 2) return false;
  }
  return true;
}

}  // namespace

GrowthPoint growth_point(const Sample& sample) {
  return {sample.elapsed_ns, static_cast<int64_t>(sample.flows.active_flows),
          static_cast<int64_t>(sample.flows.live_flows),
          sample.resources.value_or(ResourceReading{})};
}

std::optional<Slope> theil_sen(std::span<const XY> all) {
  const std::vector<XY> points = thinned(all);
  if (points.size() < 3) return std::nullopt;
  std::vector<double> slopes;
  slopes.reserve(points.size() * (points.size() - 1) / 2);
  for (size_t i = 0; i < points.size(); ++i) {
    for (size_t j = i + 1; j < points.size(); ++j) {
      if (points[i].x != points[j].x)
        slopes.push_back((points[j].y - points[i].y) / (points[j].x - points[i].x));
    }
  }
  if (slopes.empty()) return std::nullopt;
  std::sort(slopes.begin(), slopes.end());
  Slope slope;
  slope.points = points.size();
  slope.value = median(slopes);
  const auto count = static_cast<double>(slopes.size());
  const double reach = kNormal95 * std::sqrt(kendall_variance(points));
  const double last = count - 1;
  size_t low = 0;
  size_t high = slopes.size() - 1;
  if (points.size() >= kFewestForInterval) {
    low = static_cast<size_t>(std::clamp(std::floor((count - reach) / 2) - 1, 0.0, last));
    high = static_cast<size_t>(std::clamp(std::ceil((count + reach) / 2), 0.0, last));
  }
  slope.ci_low = slopes[low];
  slope.ci_high = slopes[high];
  std::vector<double> rests;
  rests.reserve(points.size());
  for (const XY& point : points) rests.push_back(point.y - slope.value * point.x);
  slope.intercept = median(std::move(rests));
  return slope;
}

std::span<const GrowthPoint> find_ramp(std::span<const GrowthPoint> series) {
  const auto most = static_cast<double>(most_flows(series, &GrowthPoint::live_flows));
  size_t top = 0;
  while (top < series.size() && static_cast<double>(series[top].live_flows) < kTopOfRamp * most)
    ++top;
  if (top == series.size()) return {};
  size_t foot = top;
  while (foot > 0 && static_cast<double>(series[foot].live_flows) > kFootOfRamp * most) --foot;
  if (series[top].live_flows - series[foot].live_flows < kLeastRise) return {};
  const size_t begin = foot - std::min(foot, kReadingsBeforeRise - 1);
  const size_t end = std::min(series.size(), top + 1 + kReadingsAfterRise);
  return series.subspan(begin, end - begin);
}

PerFlowCost per_flow_cost(std::span<const GrowthPoint> series) {
  const auto ramp = find_ramp(series);
  const bool several = std::ranges::any_of(
      ramp, [](const GrowthPoint& point) { return point.resources.processes.value_or(1) > 1; });
  PerFlowCost cost;
  if (several)
    cost.pss_bytes = cost_of(by_flows(ramp, &ResourceReading::pss_bytes));
  else
    cost.rss_bytes = cost_of(by_flows(ramp, &ResourceReading::rss_bytes));
  cost.vsz_bytes = cost_of(by_flows(ramp, &ResourceReading::vsz_bytes));
  cost.mappings = cost_of(by_flows(ramp, &ResourceReading::mappings));
  cost.fds = cost_of(by_flows(ramp, &ResourceReading::fds));
  return cost;
}

bool is_cost(const Slope& slope, std::span<const XY> points) {
  std::vector<double> counts;
  for (const XY& point : points) counts.push_back(point.x);
  std::ranges::sort(counts);
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  return counts.size() >= kFewestFlowCounts && slope.ci_low > 0 &&
         slope.ci_high <= kWidestInterval * slope.ci_low;
}

std::vector<Headroom> headroom(std::span<const GrowthPoint> series) {
  const auto ramp = find_ramp(series);
  std::vector<Headroom> all;
  const std::pair<std::string_view, LimitUse ResourceReading::*> limits[] = {
      {"address_space", &ResourceReading::address_space_bytes},
      {"mappings", &ResourceReading::process_mappings},
      {"fds", &ResourceReading::process_fds},
      {"memory", &ResourceReading::memory_bytes}};
  for (const auto& [name, member] : limits) {
    if (auto found = headroom_of(name, member, series, ramp)) all.push_back(*found);
  }
  // A flow takes one port of its client's address. From one address to one other end there cannot
  // be more flows than ports, whatever the subject holds.
  std::optional<int64_t> ports;
  for (const GrowthPoint& point : series) {
    if (point.resources.ephemeral_ports) ports = point.resources.ephemeral_ports;
  }
  if (ports && !series.empty())
    all.push_back({"ports", 1, series.back().live_flows, *ports, *ports, *ports, *ports});
  std::stable_sort(all.begin(), all.end(),
                   [](const Headroom& a, const Headroom& b) { return a.flows < b.flows; });
  return all;
}

std::string_view leak_verdict_name(LeakVerdict verdict) {
  switch (verdict) {
    case LeakVerdict::kNone: return "none";
    case LeakVerdict::kLeak: return "leak";
    case LeakVerdict::kUnclear: return "unclear";
  }
  return "unclear";
}

LeakReport judge_leak(std::span<const GrowthPoint> series) {
  LeakReport report;
  const int64_t most = most_flows(series, &GrowthPoint::active_flows);
  if (most == 0) {
    report.reason = "there was no load";
    return report;
  }
  const std::vector<Rest> rests = find_rests(series, most);
  if (rests.empty() || rests.front().points.data() != series.data()) {
    report.reason = "the load was there from the start: begin the recording before it";
    return report;
  }
  if (rests.size() < 2 || rests.back().points.back().elapsed_ns != series.back().elapsed_ns) {
    report.reason = "the load had not gone when the run ended: record on for ten ticks after it";
    return report;
  }
  report.waves = rests.size() - 1;
  report.verdict = LeakVerdict::kNone;
  bool judged = false;
  for (const LeakKind& kind : kLeakKinds) {
    const bool measured = std::any_of(series.begin(), series.end(), [&](const GrowthPoint& point) {
      return (point.resources.*kind.member).has_value();
    });
    if (!measured) continue;
    LeakMetric metric = judge_metric(kind, series, most, rests);
    judged |= metric.residue.has_value();
    if (metric.verdict == LeakVerdict::kLeak)
      report.verdict = LeakVerdict::kLeak;
    else if (metric.verdict == LeakVerdict::kUnclear && report.verdict == LeakVerdict::kNone)
      report.verdict = LeakVerdict::kUnclear;
    report.metrics.push_back(std::move(metric));
  }
  if (!judged) {
    report.verdict = LeakVerdict::kUnclear;
    report.reason = "too few readings of the subject before the load and after it";
    return report;
  }
  for (const LeakMetric& metric : report.metrics) {
    if (metric.verdict != report.verdict || report.verdict == LeakVerdict::kNone) continue;
    if (!report.reason.empty()) report.reason += "; ";
    report.reason += fmt::format("{}: {}", metric.name, metric.reason);
  }
  if (report.verdict == LeakVerdict::kNone) report.reason = "everything came back";
  return report;
}

std::vector<SteadyGrowth> judge_steady_growth(std::span<const GrowthPoint> series) {
  std::vector<SteadyGrowth> found;
  const auto steady = steady_load(series);
  const auto points = steady.subspan(steady.size() / 3);
  if (points.size() < kSteadyLoadReadings ||
      points.back().elapsed_ns - points.front().elapsed_ns < kSteadyLoadNs)
    return found;
  for (const LeakKind& kind : kLeakKinds) {
    const std::vector<XY> all = by_seconds(points, kind.member);
    if (all.size() < kSteadyLoadReadings) continue;
    const double least = kind.is_bytes ? std::max(4194304.0, 0.02 * all.front().y)
                                       : std::max(16.0, 0.02 * all.front().y);
    if (all.back().y - all.front().y < least / 2) continue;  // most; they need no slope
    const auto slope = theil_sen(all);
    const double seconds = all.back().x - all.front().x;
    if (!slope || slope->ci_low * seconds < least || !grows_to_the_end(all, slope->value)) continue;
    found.push_back({kind.name, slope->value * seconds, seconds, *slope});
  }
  return found;
}

int64_t judged_from(std::span<const RunStage> stages) {
  for (const StageKind kind : {StageKind::kBefore, StageKind::kLoad}) {
    for (const RunStage& stage : stages)
      if (stage.kind == kind) return stage.start_ns;
  }
  return 0;
}

Growth judge_growth(std::span<const GrowthPoint> all, int64_t from_ns) {
  auto first = std::ranges::find_if(
      all, [&](const GrowthPoint& point) { return point.elapsed_ns > from_ns; });
  // Flows of a warm-up stay active for one window after its end.
  const int64_t rest_flows = most_flows(all, &GrowthPoint::active_flows) / kRestShare;
  const auto last = first + std::min(kReadingsOfWindow, all.end() - first);
  const auto at_rest = std::find_if(
      first, last, [&](const GrowthPoint& point) { return point.active_flows <= rest_flows; });
  if (from_ns > 0 && at_rest != last) first = at_rest;
  const auto series = all.subspan(static_cast<size_t>(first - all.begin()));
  return {per_flow_cost(series), headroom(series), judge_leak(series), judge_steady_growth(series)};
}

}  // namespace topspin
