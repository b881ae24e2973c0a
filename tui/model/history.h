// The headline numbers of a tick that screens keep, and a ring of bounded length for them.
//
// Plain values; pure. Absent values are nullopt, never 0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "core/tick/sample.h"

namespace topspin {

/// Run-queue latency in bins of half an octave from 256 ns: bin b starts at 256 ns * 2^(b/2).
/// Shorter latencies are in the first bin, longer ones in the last.
inline constexpr size_t kHeatBins = 48;
int64_t heat_bin_min_ns(size_t bin);
size_t heat_bin(uint64_t latency_ns);

/// Percentiles, if there are enough samples for them (core/number/histogram.h).
struct LatencyPoint {
  uint64_t count = 0;
  std::optional<int64_t> p50, p90, p99, max;
};

struct TickPoint {
  uint64_t tick = 0;
  int64_t elapsed_ns = 0;
  int64_t interval_ns = 0;       // of what the probes measured
  int64_t flow_interval_ns = 0;  // of packets and flows
  uint64_t active_flows = 0;
  bool active_is_lower_bound = false;
  uint64_t live_flows = 0;
  uint64_t new_flows = 0;
  uint64_t ended_flows = 0;
  uint64_t packets = 0;
  uint64_t bytes = 0;
  // Without a flow that has a period there is no lateness: the counts are 0, the others absent.
  uint64_t periodic_flows = 0;
  uint64_t silent_flows = 0;
  uint64_t missed_ticks = 0;
  std::optional<double> late_share;  // of the active flows; absent if no gap was judged
  LatencyPoint lateness;
  LatencyPoint reply;
  uint64_t unanswered = 0;
  // p99 over the last ticks (recent_latency.h), if these have enough samples, and the maximum over
  // the same ticks.
  std::optional<int64_t> lateness_recent_p99, reply_recent_p99, run_queue_recent_p99;
  std::optional<int64_t> reply_recent_max;
  std::optional<LatencyPoint> run_queue;
  std::array<uint32_t, kHeatBins> heat{};
  std::optional<uint64_t> run_queue_wait_ns;    // the sum of single waits
  std::optional<uint64_t> kernel_run_delay_ns;  // the kernel's own sum
  std::optional<double> cpu_cores;  // CPU time of the subject / wall time: 1.0 is one core
  std::optional<uint64_t> voluntary_switches, involuntary_switches, migrations;
  std::optional<LatencyPoint> slice;            // from getting a CPU to leaving it
  std::optional<LatencyPoint> timer_oversleep;  // from the requested time to running
  std::array<Preemptions, kPreemptorCount> preempted_by;
  PressureInterval pressure;
  ResourceReading resources;  // all absent without a reading
  LossInterval losses;
  double self_cpu_cores = 0;
  int64_t self_rss_bytes = 0;
};

/// `declared_period_ns` is that of --period. The caller fills in the recent percentiles.
TickPoint make_tick_point(const Sample& sample,
                          const std::optional<int64_t>& declared_period_ns = {});

/// A count per second, by the tick's actual length; nullopt if that is 0.
std::optional<double> per_second(uint64_t count, int64_t interval_ns);

/// Lost packets, flows, threads and ticks. Waits that the ends of a run cut off are not lost data,
/// and rows that were not stored are not lost to the screen.
uint64_t lost_count(const LossInterval& losses);

/// The last `capacity` ticks. Copies share their points.
class TickHistory {
 public:
  explicit TickHistory(size_t capacity = 3600) : capacity_(capacity) {}

  using SharedPoint = std::shared_ptr<const TickPoint>;

  void add(const TickPoint& point) { add(std::make_shared<const TickPoint>(point)); }
  void add(SharedPoint point) {
    if (points_.size() == capacity_) points_.pop_front();
    points_.push_back(std::move(point));
  }
  size_t size() const { return points_.size(); }
  bool empty() const { return points_.empty(); }
  /// 0 is the oldest.
  const TickPoint& at(size_t index) const { return *points_[index]; }
  /// 0 is the newest. REQUIRES: back < size().
  const TickPoint& back(size_t ago = 0) const { return *points_[points_.size() - 1 - ago]; }
  /// REQUIRES: !empty().
  const SharedPoint& newest() const { return points_.back(); }

 private:
  size_t capacity_;
  std::deque<SharedPoint> points_;
};

}  // namespace topspin
