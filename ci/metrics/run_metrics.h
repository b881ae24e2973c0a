// The metrics of a stored run: one table of names, units, directions and margins, and of how each
// is computed from the sum of the run's ticks.
//
// A run gives one number per metric, because the ticks of a run are not independent measurements. A
// metric that was not measured has no number. Pure over Samples; thread-agnostic.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ci/metrics/metric.h"
#include "ci/metrics/run_costs.h"
#include "core/run/load_result.h"
#include "core/run/run_fold.h"

namespace topspin {

/// The number (docs/numbers.md) whose mean is RunTotals::reply_ns.
inline constexpr std::string_view kReplyNumber = "reply_ns";

/// The sum of a run's ticks, as far as its metrics need it.
struct RunTotals {
  FlowInterval flows;
  std::optional<Histogram> run_queue_latency;
  std::optional<uint64_t> cpu_ns;
  std::optional<uint64_t> context_switches;
  std::optional<int64_t> rss_bytes_max;
  std::optional<int64_t> threads_max;
  std::optional<int64_t> fds_max;
  int64_t interval_ns = 0;  // all ticks
  int64_t self_cpu_ns = 0;
  std::optional<int64_t> host_steal_ns;
  std::optional<int64_t> host_busy_ns;
  uint64_t ticks = 0;
  uint64_t capture_drops = 0;  // by the kernel and by the interface
  // Reads that found data, of known and of unknown age. Absent if the probe `replies` did not run.
  std::optional<uint64_t> socket_reads;

  // The mean time of the replies that were split, and of each part (by ReplyPart). Absent if none
  // was.
  std::optional<double> reply_ns;
  std::array<std::optional<double>, kReplyPartCount> reply_part_ns;

  RunCosts costs;  // empty unless measure_costs() read them

  /// The result of a load that expects replies.
  struct Load {
    LoadAccounts accounts;
    bool is_http = false;
    bool closed_loop = false;
    int64_t duration_ns = 0;
  };
  std::optional<Load> load;
  bool load_is_one_way = false;  // it expects no replies, so nothing can be unanswered

  bool had_period = false;  // some flow had one; otherwise no tick can be missed

  uint64_t half_open_before = 0;  // flows.tcp_half_open one tick earlier
  /// TCP connections that nothing answered. For runs that did not count them: those that were half
  /// open both at the end and one tick earlier. One that is half open only at the end may have just
  /// begun.
  uint64_t never_completed() const;
  /// Requests that were not answered, and connections that were refused or never completed.
  uint64_t failed_work() const;

  RunTotals() = default;
  explicit RunTotals(const RunFold& fold);
  /// The distributions that this needs of a fold, by name.
  static const std::vector<std::string_view>& distributions();
  void set_load(const LoadResult& result);
};

/// The share of the requested work that was not done: not answered in time, refused, reset, cut
/// short, or answered with an error. It is from the load's accounts. Without a load it is from the
/// wire: requests without an answer (including those that a reset cut off), refused connections and
/// connections that nothing answered. nullopt if nothing was requested, or the load expects no
/// answers.
std::optional<double> failed_share(const RunTotals& totals);

struct RunMetric {
  Metric metric;
  bool from_scheduler = false;  // depends on the rung of the scheduler's probe
  std::optional<double> (*take)(const RunTotals&);
};

/// In order of display; at most kMostGatingMetrics of them gate.
std::span<const RunMetric> run_metrics();

}  // namespace topspin
