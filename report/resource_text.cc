#include "report/resource_text.h"

#include <fmt/format.h>

#include "core/headroom_watch.h"
#include "core/text.h"

namespace topspin {
namespace {

/// A limit that this many flows do not reach is no news.
constexpr int64_t kFarthestHeadroom = 10'000'000;

template <typename T>
std::string count_or_dash(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : "-";
}

std::string stalled(const char* what, const std::optional<uint64_t>& ns) {
  return ns ? fmt::format(" {} {}", what, format_duration(static_cast<int64_t>(*ns))) : "";
}

std::string per_flow_text(const PerFlowCost& cost) {
  const auto bytes = [](double v) { return format_bytes(static_cast<int64_t>(v)); };
  const auto count = [](double v) { return fmt::format("{:.3g}", v); };
  std::string out;
  const auto add = [&](std::string_view name, const std::optional<Slope>& slope, auto format) {
    if (!slope) return;
    out += fmt::format("{}{} {} ({} to {})", out.empty() ? "per flow  " : ", ", name,
                       format(slope->value), format(slope->ci_low), format(slope->ci_high));
  };
  add("rss", cost.rss_bytes, bytes);
  add("vsz", cost.vsz_bytes, bytes);
  add("mappings", cost.mappings, count);
  add("fds", cost.fds, count);
  return out.empty() ? out : out + "\n";
}

}  // namespace

std::string growth_text(const GrowthSummary& growth) {
  std::string out = per_flow_text(growth.per_flow);
  for (const Headroom& h : growth.headroom) {
    if (h.flows <= kFarthestHeadroom) out += fmt::format("headroom  {}\n", headroom_sentence(h));
  }
  if (growth.leak.metrics.empty()) return out;
  out +=
      fmt::format("leak      {}: {}\n", leak_verdict_name(growth.leak.verdict), growth.leak.reason);
  for (const LeakMetric& m : growth.leak.metrics) {
    if (m.verdict == LeakVerdict::kNone || !m.residue) continue;
    const bool bytes = m.name.ends_with("_bytes");
    const auto amount = [&](double v) {
      return bytes ? format_bytes(static_cast<int64_t>(v)) : fmt::format("{:.3g}", v);
    };
    out +=
        fmt::format("          {} {}: {} not back ({} to {})", m.name, leak_verdict_name(m.verdict),
                    amount(*m.residue), amount(*m.residue_low), amount(*m.residue_high));
    if (m.slope_per_s)
      out += fmt::format(", {} a second since ({} to {})", amount(m.slope_per_s->value),
                         amount(m.slope_per_s->ci_low), amount(m.slope_per_s->ci_high));
    out += "\n";
  }
  return out;
}

std::string pressure_text(const PressureInterval& p) {
  std::string out;
  const std::pair<const char*, const StallInterval&> groups[] = {{"host", p.host},
                                                                 {"cgroup", p.cgroup}};
  for (const auto& [name, s] : groups) {
    const std::string line = stalled("cpu", s.cpu_some_ns) + stalled("memory", s.memory_some_ns) +
                             stalled("memory (all)", s.memory_full_ns) +
                             stalled("io", s.io_some_ns) + stalled("io (all)", s.io_full_ns);
    if (!line.empty()) out += fmt::format("stalled   {}:{}\n", name, line);
  }
  if (p.throttled_ns && *p.throttled_ns > 0) {
    out += fmt::format("throttled {} in {} of {} periods of the cgroup's CPU quota\n",
                       format_duration(static_cast<int64_t>(*p.throttled_ns)),
                       count_or_dash(p.throttled_periods), count_or_dash(p.cpu_quota_periods));
  }
  return out;
}

/// Scaled where they had to take turns.
std::string counters_text(const CounterInterval& counters) {
  std::string out;
  CounterInterval::for_each_field([&](std::string_view name, auto field) {
    const auto& counter = counters.*field;
    if (!counter) return;
    const auto scaled = counter->scaled();
    out += fmt::format("  {:<18} {:>18}", name, scaled ? fmt::format("{}", *scaled) : "-");
    if (counter->running_ns < counter->enabled_ns)
      out += fmt::format("  (counted {:.0f}% of the time)",
                         100 * static_cast<double>(counter->running_ns) /
                             static_cast<double>(counter->enabled_ns));
    out += "\n";
  });
  return out.empty() ? out : "\n  perf counters\n" + out;
}

}  // namespace topspin
