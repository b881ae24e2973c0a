#include "tui/tick_line.h"

#include <fmt/format.h>

#include "core/clock.h"
#include "core/text.h"
#include "tui/draw.h"
#include "tui/history.h"

namespace topspin {
namespace {

constexpr const char* kLayout =
    "{:>7} {:>8} {:>7} {:>7} {:>9} {:>9} {:>9} {:>7} {:>6} {:>9} {:>7} {:>9} {:>6}";

}  // namespace

std::string tick_line_header() {
  return fmt::format(fmt::runtime(kLayout), "time", "active", "new", "ended", "pkts/s", "late p99",
                     "reply p99", "missed", "unans", "runq p99", "cpu", "rss", "lost");
}

std::string tick_line(const Sample& sample) {
  const FlowInterval& flows = sample.flows;
  const double seconds =
      static_cast<double>(sample.flow_interval_ns()) / static_cast<double>(kNanosPerSecond);
  const auto rate = [&](uint64_t count) {
    return seconds > 0 ? fmt::format("{:.0f}", static_cast<double>(count) / seconds) : "-";
  };
  std::string run_queue = "-", cpu = "-", rss = "-";
  if (sample.scheduler) {
    if (const auto& latency = sample.scheduler->run_queue_latency) {
      run_queue = duration_or_dash(latency->summary().p99);
    }
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
      duration_or_dash(flows.lateness.summary().p99),
      duration_or_dash(flows.reply_latency.summary().p99), flows.missed_ticks, flows.unanswered,
      run_queue, cpu, rss, lost_count(sample.losses));
}

}  // namespace topspin
