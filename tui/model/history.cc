#include "tui/model/history.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/base/clock.h"
#include "core/flow/periods.h"

namespace topspin {
namespace {

constexpr double kFirstBinNs = 256;

template <typename AnyHistogram>
LatencyPoint latency_point(const AnyHistogram& histogram) {
  const HistogramSummary summary = histogram.summary();
  return {summary.count, summary.p50, summary.p90, summary.p99, summary.max};
}

std::optional<LatencyPoint> latency_point(const std::optional<Histogram>& histogram) {
  return histogram ? std::optional(latency_point(*histogram)) : std::nullopt;
}

}  // namespace

int64_t heat_bin_min_ns(size_t bin) {
  return static_cast<int64_t>(std::llround(kFirstBinNs * std::exp2(static_cast<double>(bin) / 2)));
}

size_t heat_bin(uint64_t latency_ns) {
  if (latency_ns < static_cast<uint64_t>(kFirstBinNs)) return 0;
  const auto octave = static_cast<size_t>(std::bit_width(latency_ns) - 1);  // 8 for 256 ns
  size_t bin = 2 * (octave - 8);
  // The upper half of an octave starts at 2^(octave + 1/2), the same rounding as heat_bin_min_ns.
  if (bin + 1 < kHeatBins && latency_ns >= static_cast<uint64_t>(heat_bin_min_ns(bin + 1))) ++bin;
  return std::min(bin, kHeatBins - 1);
}

std::optional<double> per_second(uint64_t count, int64_t interval_ns) {
  if (interval_ns <= 0) return std::nullopt;
  return static_cast<double>(count) * static_cast<double>(kNanosPerSecond) /
         static_cast<double>(interval_ns);
}

uint64_t lost_count(const LossInterval& losses) { return losses_total(losses); }

TickPoint make_tick_point(const Sample& sample, const std::optional<int64_t>& declared_period_ns) {
  const FlowInterval& flows = sample.flows;
  TickPoint point;
  point.tick = sample.tick;
  point.elapsed_ns = sample.elapsed_ns;
  point.interval_ns = sample.interval_ns;
  point.flow_interval_ns = sample.flow_interval_ns();
  point.active_flows = flows.active_flows;
  point.active_is_lower_bound = flows.active_is_lower_bound;
  point.live_flows = flows.live_flows;
  point.new_flows = flows.new_flows;
  point.ended_flows = flows.ended_flows;
  point.packets = flows.packets;
  point.bytes = flows.bytes;
  point.unanswered = flows.unanswered;
  const uint64_t active_max = std::max(flows.active_flows_max, flows.active_flows);
  if (has_lateness(flows, declared_period_ns)) {
    point.periodic_flows = flows.periodic_flows;
    point.silent_flows = flows.silent_flows;
    point.missed_ticks = flows.missed_ticks;
    point.lateness = latency_point(flows.lateness);
    if (!flows.lateness.empty() && active_max > 0) {
      // The active count slides within the tick, so more flows can have been late than were ever
      // active at once.
      point.late_share =
          std::min(1.0, static_cast<double>(flows.late_flows) / static_cast<double>(active_max));
    }
  }
  point.reply = latency_point(flows.reply_latency);
  if (const auto& scheduler = sample.scheduler) {
    if (const auto& latency = scheduler->run_queue_latency) {
      point.run_queue = latency_point(*latency);
      for (uint32_t cell = 0; cell < kHistogramBuckets && !latency->empty(); ++cell) {
        const uint64_t count = latency->cell(cell);
        if (count == 0) continue;
        uint32_t& bin = point.heat[heat_bin(histogram_bucket_min(cell))];
        bin = static_cast<uint32_t>(std::min<uint64_t>(bin + count, UINT32_MAX));
      }
    }
    point.run_queue_wait_ns = scheduler->run_queue_wait_ns;
    point.kernel_run_delay_ns = scheduler->kernel_run_delay_ns;
    if (scheduler->cpu_ns && sample.interval_ns > 0) {
      point.cpu_cores =
          static_cast<double>(*scheduler->cpu_ns) / static_cast<double>(sample.interval_ns);
    }
    point.voluntary_switches = scheduler->voluntary_switches;
    point.involuntary_switches = scheduler->involuntary_switches;
    point.migrations = scheduler->migrations;
    point.slice = latency_point(scheduler->on_cpu);
    point.timer_oversleep = latency_point(scheduler->timer_oversleep);
    point.preempted_by = scheduler->preempted_by;
  }
  point.pressure = sample.pressure;
  if (sample.resources) point.resources = *sample.resources;
  point.losses = sample.losses;
  if (sample.interval_ns > 0) {
    point.self_cpu_cores =
        static_cast<double>(sample.self.cpu_ns) / static_cast<double>(sample.interval_ns);
  }
  point.self_rss_bytes = sample.self.rss_bytes;
  return point;
}

}  // namespace topspin
