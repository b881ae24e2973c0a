#include "tui/tick_line.h"

#include <fmt/format.h>

#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/flow/periods.h"
#include "tui/model/history.h"
#include "tui/terminal/draw.h"

namespace topspin {
namespace {

constexpr const char* kLayout =
    "{:>7} {:>8} {:>7} {:>7} {:>9} {:>8} {:>8} {:>7} {:>7} {:>9} {:>9} {:>6} {:>14} {:>8} {:>8} "
    "{:>7} {:>9} {:>6}";

}  // namespace

std::string tick_line_header() {
  return fmt::format(fmt::runtime(kLayout), "time", "active", "new", "ended", "pkts/s", "late p99",
                     "late max", "missed", "silent", "reply p99", "reply max", "unans",
                     "failed (total)", "runq p99", "runq max", "cpu", "rss", "lost");
}

std::string tick_line(const Sample& sample, TickLineMemory& memory) {
  RecentLatencies& recent = memory.recent;
  recent.add(sample);
  memory.failed.add(sample);
  const FlowInterval& flows = sample.flows;
  const double seconds =
      static_cast<double>(sample.flow_interval_ns()) / static_cast<double>(kNanosPerSecond);
  const auto rate = [&](uint64_t count) {
    return seconds > 0 ? fmt::format("{:.0f}", static_cast<double>(count) / seconds) : "-";
  };
  const bool has_periods = has_lateness(flows, std::nullopt);
  const auto periodic = [&](const std::string& text) { return has_periods ? text : "-"; };
  std::string cpu = "-", rss = "-";
  if (sample.scheduler) {
    if (sample.scheduler->cpu_ns && sample.interval_ns > 0) {
      cpu = fmt::format("{:.1f}%", 100 * static_cast<double>(*sample.scheduler->cpu_ns) /
                                       static_cast<double>(sample.interval_ns));
    }
  }
  if (sample.resources && sample.resources->rss_bytes)
    rss = format_bytes(*sample.resources->rss_bytes);
  return fmt::format(
      fmt::runtime(kLayout), fmt::format("{:.1f}s", static_cast<double>(sample.elapsed_ns) / 1e9),
      fmt::format("{}{}", flows.active_is_lower_bound ? ">=" : "", flows.active_flows),
      flows.new_flows, flows.ended_flows, rate(flows.packets),
      duration_or_dash(recent.lateness.p99()), periodic(duration_or_dash(recent.lateness.max())),
      periodic(fmt::format("{}", flows.missed_ticks)),
      periodic(fmt::format("{}", flows.silent_flows)), duration_or_dash(recent.reply.p99()),
      duration_or_dash(recent.reply.max()), flows.unanswered,
      fmt::format("{} ({})", memory.failed.now(), memory.failed.total()),
      duration_or_dash(recent.run_queue.p99()), duration_or_dash(recent.run_queue.max()), cpu, rss,
      lost_count(sample.losses));
}

}  // namespace topspin
