#include "app/session.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "core/clock.h"

namespace topspin {
namespace {

/// At most one packet in a thousand may be lost, and one tick in ten may come late.
constexpr double kMaxDropShare = 0.001;
constexpr double kMaxLateTickShare = 0.1;
/// One late tick of a short run says nothing about the host.
constexpr uint64_t kMinLateTicks = 3;

}  // namespace

SelfReading read_self() { return {process_cpu_now_ns(), own_rss_bytes(), read_host_cpu_time()}; }

void Session::add_probes(ProbeInterval probes, SelfReading self, int64_t due_ns, int64_t now_ns) {
  const bool late = now_ns - due_ns > interval_ns_ / 10;
  const int64_t last = std::max<int64_t>(due_ns - 1 - start_ns_, 0) / interval_ns_;
  probe_halves_.push_back({static_cast<uint64_t>(last), std::move(probes), self, now_ns, late});
}

void Session::add_end_losses(const LossInterval& losses) {
  CHECK(!probe_halves_.empty());
  probe_halves_.back().probes.losses.merge(losses);
}

void Session::add_flows(ClosedInterval flows) {
  ends_guessed_ += flows.ends_guessed;
  flow_halves_.push_back(std::move(flows));
}

bool Session::flows_are_there(const ProbeHalf& probe) const {
  return finishing_ || (!flow_halves_.empty() && flow_halves_.back().number >= probe.last_number);
}

/// All flow intervals of a probes' half as one. REQUIRES: flows_are_there().
ClosedInterval Session::take_flows_of(const ProbeHalf& probe) {
  const bool takes_all = finishing_ && probe_halves_.empty();
  ClosedInterval whole;
  bool first = true;
  while (!flow_halves_.empty() && (takes_all || flow_halves_.front().number <= probe.last_number)) {
    ClosedInterval next = std::move(flow_halves_.front());
    flow_halves_.pop_front();
    if (std::exchange(first, false)) {
      whole = std::move(next);
      continue;
    }
    whole.flows.merge(next.flows);
    whole.losses.kernel_drops += next.losses.kernel_drops;
    whole.losses.interface_drops += next.losses.interface_drops;
    whole.losses.gap_ns += next.losses.gap_ns;
    whole.changed.insert(whole.changed.end(), std::make_move_iterator(next.changed.begin()),
                         std::make_move_iterator(next.changed.end()));
    whole.changed_left = next.changed_left;
    whole.rows_lost += next.rows_lost;
  }
  if (first && !flow_halves_.empty()) {
    // The capture closed this interval together with later ones, since they were silent: the
    // gauges are known, and there is nothing to count.
    const FlowInterval& later = flow_halves_.front().flows;
    whole.flows.begin_ns = whole.flows.end_ns = later.begin_ns;
    whole.flows.active_flows = later.active_flows;
    whole.flows.active_is_lower_bound = later.active_is_lower_bound;
    whole.flows.live_flows = later.live_flows;
    whole.flows.tcp_half_open = later.tcp_half_open;
    whole.flows.periodic_flows = later.periodic_flows;
    whole.flows.silent_flows = later.silent_flows;
  }
  // Rows for which the last tick has no room are never stored.
  if (takes_all) whole.rows_lost += std::exchange(whole.changed_left, 0);
  return whole;
}

std::optional<Sample> Session::next_sample() {
  if (probe_halves_.empty() || !flows_are_there(probe_halves_.front())) return std::nullopt;
  ProbeHalf probe = std::move(probe_halves_.front());
  probe_halves_.pop_front();
  ClosedInterval flow = take_flows_of(probe);

  Sample sample;
  sample.tick = ++ticks_;
  sample.monotonic_ns = probe.now_ns;
  sample.elapsed_ns = probe.now_ns - start_ns_;
  sample.interval_ns = probe.now_ns - previous_end_ns_;
  previous_end_ns_ = probe.now_ns;

  sample.flows = std::move(flow.flows);
  sample.changed_flows = std::move(flow.changed);
  sample.scheduler = std::move(probe.probes.scheduler);
  sample.resources = probe.probes.resources;
  sample.pressure = probe.probes.pressure;
  sample.counters = probe.probes.counters;
  sample.changed_stacks = std::move(probe.probes.changed_stacks);
  sample.changed_threads = std::move(probe.probes.changed_threads);
  sample.sockets = std::move(probe.probes.sockets);
  sample.changed_sockets = std::move(probe.probes.changed_sockets);
  sample.changed_syscalls = std::move(probe.probes.changed_syscalls);

  sample.losses = probe.probes.losses;
  sample.losses.flow_rows_unstored += flow.rows_lost;
  sample.losses.capture_kernel_drops = flow.losses.kernel_drops;
  sample.losses.capture_interface_drops = flow.losses.interface_drops;
  sample.losses.capture_gap_ns = flow.losses.gap_ns;
  sample.losses.evicted_flows = sample.flows.evicted_flows;
  sample.losses.late_ticks = probe.late ? 1 : 0;

  sample.self.cpu_ns = probe.self.cpu_ns - previous_self_.cpu_ns;
  sample.self.rss_bytes = probe.self.rss_bytes;
  sample.self.bpf_ns = probe.probes.bpf_ns;
  if (probe.self.host && previous_self_.host) {
    sample.self.host_steal_ns = probe.self.host->steal_ns - previous_self_.host->steal_ns;
    sample.self.host_busy_ns = probe.self.host->busy_ns - previous_self_.host->busy_ns;
  }
  previous_self_ = probe.self;

  flow_totals_.merge(sample.flows);
  loss_totals_.merge(sample.losses);
  split_check_.add(sample);
  return sample;
}

std::vector<std::string> judge_losses(const LossInterval& losses, const FlowInterval& flows,
                                      uint64_t ticks) {
  std::vector<std::string> reasons;
  const auto packets = static_cast<double>(flows.packets);
  const auto drops =
      static_cast<double>(losses.capture_kernel_drops + losses.capture_interface_drops);
  if (drops > 0 && drops > kMaxDropShare * (packets + drops)) {
    reasons.push_back(fmt::format("the capture lost {} packets ({:.2f}%)",
                                  static_cast<uint64_t>(drops), 100 * drops / (packets + drops)));
  }
  if (losses.capture_gap_ns > 0) {
    reasons.push_back(
        fmt::format("the interface was away for {} ms", losses.capture_gap_ns / kNanosPerMilli));
  }
  if (losses.evicted_flows > 0) {
    reasons.push_back(
        fmt::format("{} flows were evicted: more than --max-flows at once", losses.evicted_flows));
  }
  if (losses.scheduler_map_full > 0) {
    reasons.push_back(
        fmt::format("{} threads found no room in the scheduler probe", losses.scheduler_map_full));
  }
  if (losses.ticks_unstored > 0) {
    reasons.push_back(fmt::format("{} of {} ticks could not be stored in the database",
                                  losses.ticks_unstored, ticks));
  }
  if (losses.late_ticks >= kMinLateTicks &&
      static_cast<double>(losses.late_ticks) > kMaxLateTickShare * static_cast<double>(ticks)) {
    reasons.push_back(
        fmt::format("{} of {} ticks came late: the host was overloaded", losses.late_ticks, ticks));
  }
  return reasons;
}

std::vector<std::string> doubts_of(const FlowInterval& flows) {
  std::vector<std::string> doubts;
  if (flows.time_steps > 0) {
    doubts.push_back(
        fmt::format("the clock of the packets was stepped {} time{}, so times between packets may "
                    "be wrong",
                    flows.time_steps, flows.time_steps == 1 ? "" : "s"));
  }
  return doubts;
}

std::optional<std::string> doubt_of_guessed_ends(uint64_t flows) {
  if (flows == 0) return std::nullopt;
  return fmt::format(
      "{} flow{} joined midway, and which end asked is a guess: replies may be taken for requests",
      flows, flows == 1 ? " was" : "s were");
}

}  // namespace topspin
