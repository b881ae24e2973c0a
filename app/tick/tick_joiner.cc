#include "app/tick/tick_joiner.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace topspin {
namespace {

/// Merges the interval that follows.
void merge_later(ClosedInterval& whole, ClosedInterval&& later) {
  whole.flows.merge(later.flows);
  whole.losses.kernel_drops += later.losses.kernel_drops;
  whole.losses.interface_drops += later.losses.interface_drops;
  whole.losses.gap_ns += later.losses.gap_ns;
  whole.changed.insert(whole.changed.end(), std::make_move_iterator(later.changed.begin()),
                       std::make_move_iterator(later.changed.end()));
  whole.changed_left = later.changed_left;
  whole.rows_lost += later.rows_lost;
  whole.ends_guessed += later.ends_guessed;
  merge_number(NumberKind::kCount, whole.calls, later.calls);
  // Rows have the current state. If an address is in both, the later row is stored last.
  whole.changed_called.insert(whole.changed_called.end(),
                              std::make_move_iterator(later.changed_called.begin()),
                              std::make_move_iterator(later.changed_called.end()));
}

/// The flows of an interval that the capture closed together with later ones, because all were
/// silent. The gauges are known, and there is nothing to count.
ClosedInterval silent_before(const FlowInterval& later) {
  ClosedInterval silent;
  silent.flows.begin_ns = silent.flows.end_ns = later.begin_ns;
  silent.flows.active_flows = later.active_flows;
  silent.flows.active_is_lower_bound = later.active_is_lower_bound;
  silent.flows.live_flows = later.live_flows;
  silent.flows.tcp_half_open = later.tcp_half_open;
  silent.flows.periodic_flows = later.periodic_flows;
  silent.flows.silent_flows = later.silent_flows;
  return silent;
}

}  // namespace

void TickJoiner::add_probes(ProbeReading reading, int64_t due_ns) {
  reading.late = reading.now_ns - due_ns > interval_ns_ / 10;
  const int64_t last = std::max<int64_t>(due_ns - 1 - start_ns_, 0) / interval_ns_;
  probe_halves_.push_back({static_cast<uint64_t>(last), std::move(reading)});
}

void TickJoiner::add_end_losses(const LossInterval& losses) {
  CHECK(!probe_halves_.empty());
  probe_halves_.back().reading.probes.losses.merge(losses);
}

bool TickJoiner::flows_are_there(const ProbeHalf& probe) const {
  return finishing_ || (!flow_halves_.empty() && flow_halves_.back().number >= probe.last_number);
}

/// Merges all flow intervals up to a number, or all that exist.
ClosedInterval TickJoiner::take_flows_of(uint64_t last_number, bool takes_all) {
  std::optional<ClosedInterval> whole;
  while (!flow_halves_.empty() && (takes_all || flow_halves_.front().number <= last_number)) {
    if (whole)
      merge_later(*whole, std::move(flow_halves_.front()));
    else
      whole = std::move(flow_halves_.front());
    flow_halves_.pop_front();
  }
  if (!whole) {
    whole = flow_halves_.empty() ? ClosedInterval() : silent_before(flow_halves_.front().flows);
  }
  // Rows for which the last tick has no room are never stored.
  if (takes_all) whole->rows_lost += std::exchange(whole->changed_left, 0);
  return *std::move(whole);
}

std::optional<TickJoiner::Tick> TickJoiner::next() {
  if (probe_halves_.empty() || !flows_are_there(probe_halves_.front())) return std::nullopt;
  ProbeHalf probe = std::move(probe_halves_.front());
  probe_halves_.pop_front();
  const bool last = finishing_ && probe_halves_.empty();
  return Tick{take_flows_of(probe.last_number, last), std::move(probe.reading), last};
}

}  // namespace topspin
