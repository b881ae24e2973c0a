#include "report/text/resource_text.h"

#include <fmt/format.h>

#include "core/growth_text.h"
#include "core/text.h"

namespace topspin {
namespace {

template <typename T>
std::string count_or_dash(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : "-";
}

std::string stalled(const char* what, const std::optional<uint64_t>& ns) {
  return ns ? fmt::format(" {} {}", what, format_duration(static_cast<int64_t>(*ns))) : "";
}

}  // namespace

std::string growth_text(const Growth& growth) {
  std::string out;
  for (const GrowthLine& line : growth_lines(growth))
    out += fmt::format("{:<10}{}\n", line.topic, line.text);
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
