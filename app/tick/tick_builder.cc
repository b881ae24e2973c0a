#include "app/tick/tick_builder.h"

#include <cmath>
#include <utility>

#include "core/base/clock.h"

namespace topspin {
namespace {

/// The host is read a little before or after the tick ends. So its use is scaled from its own
/// interval to the tick's length; otherwise it could exceed what the machine has.
void add_self(const SelfReading& before, const SelfReading& now, int64_t interval_ns,
              SelfInterval& self) {
  self.cpu_ns = now.cpu_ns - before.cpu_ns;
  self.rss_bytes = now.rss_bytes;
  if (now.host && before.host) {
    const int64_t own_ns = now.host_read_ns - before.host_read_ns;
    const auto in_tick = [&](int64_t ns) {
      if (own_ns <= 0) return ns;
      return static_cast<int64_t>(
          std::llround(static_cast<double>(ns) * static_cast<double>(interval_ns) /
                       static_cast<double>(own_ns)));
    };
    self.host_steal_ns = in_tick(now.host->steal_ns - before.host->steal_ns);
    self.host_busy_ns = in_tick(now.host->busy_ns - before.host->busy_ns);
  }
}

}  // namespace

SelfReading read_self(const UsageReader& usage) {
  SelfReading self{process_cpu_now_ns(), usage.own_rss_bytes(), usage.host_cpu_time(), 0};
  self.host_read_ns = monotonic_now_ns();
  return self;
}

TickBuilder::TickBuilder(TickSettings settings)
    : settings_(std::move(settings)),
      start_ns_(settings_.start_ns),
      previous_end_ns_(start_ns_),
      previous_self_(settings_.first_self),
      split_check_(settings_.reply_timeout_ns) {
  if (settings_.stored_rows_per_tick) row_queue_.emplace(*settings_.stored_rows_per_tick);
  if (!settings_.folds) settings_.folds = std::make_shared<RunFolds>();
}

/// Joins the probes' half (a Sample without flows) and the flows' half.
Sample TickBuilder::begin(ClosedInterval flows, Sample probes) {
  Sample sample = std::move(probes);
  sample.tick = ++ticks_;
  for (SlowReply& reply : sample.slowest_replies) reply.tick = sample.tick;
  // Of what began before the run only a part is in it.
  std::erase_if(sample.long_stretches,
                [&](const BusyStretch& stretch) { return stretch.began_ns < start_ns_; });
  for (BusyStretch& stretch : sample.long_stretches) stretch.tick = sample.tick;
  ends_guessed_ += flows.ends_guessed;
  sample.losses.flow_rows_unstored += flows.rows_lost;
  sample.losses.capture_kernel_drops = flows.losses.kernel_drops;
  sample.losses.capture_interface_drops = flows.losses.interface_drops;
  sample.losses.capture_gap_ns = flows.losses.gap_ns;
  sample.losses.evicted_flows = flows.flows.evicted_flows;
  sample.flows = std::move(flows.flows);
  sample.changed_flows = std::move(flows.changed);
  sample.part<CallInterval>() = std::move(flows.calls);
  sample.changed_called = std::move(flows.changed_called);
  return sample;
}

/// Stores the tick as it is shown, or with only the flow rows whose turn it is.
LossInterval TickBuilder::store(Sample& sample, bool last) {
  if (!settings_.store) return {};
  if (!row_queue_) return settings_.store(sample);
  std::vector<FlowRow> shown = std::move(sample.changed_flows);
  sample.changed_flows = row_queue_->exchange(shown, last);
  LossInterval losses = settings_.store(sample);
  sample.changed_flows = std::move(shown);
  return losses;
}

Sample TickBuilder::complete(Sample sample, bool last) {
  if (settings_.resolve_owners) settings_.resolve_owners(sample);
  sample.losses.merge(store(sample, last));
  settings_.folds->add(sample);
  split_check_.add(sample);
  return sample;
}

Sample TickBuilder::build(ClosedInterval flows, ProbeReading reading, bool last) {
  Sample sample = begin(std::move(flows), static_cast<Sample&&>(reading.probes));
  sample.monotonic_ns = reading.now_ns;
  sample.elapsed_ns = reading.now_ns - start_ns_;
  sample.interval_ns = reading.now_ns - previous_end_ns_;
  previous_end_ns_ = reading.now_ns;
  sample.losses.late_ticks = reading.late ? 1 : 0;
  add_self(previous_self_, reading.self, sample.interval_ns, sample.self);
  previous_self_ = reading.self;
  return complete(std::move(sample), last);
}

Sample TickBuilder::build_of_file(ClosedInterval flows) {
  if (ticks_ == 0) start_ns_ = previous_end_ns_ = flows.flows.begin_ns;
  Sample sample = begin(std::move(flows), {});
  sample.elapsed_ns = sample.flows.end_ns - start_ns_;
  sample.interval_ns = sample.flows.end_ns - previous_end_ns_;
  previous_end_ns_ = sample.flows.end_ns;
  return complete(std::move(sample), false);
}

}  // namespace topspin
