// TickJoiner: joins the two halves of each tick by the number of their interval: the flows from the
// capture thread, and the rest from the probes. The capture ends its intervals at exact times. The
// probes are read a little later, or much later if the recorder was stopped. Pure; one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "app/tick/tick_builder.h"
#include "capture/flow_tracker.h"

namespace topspin {

class TickJoiner {
 public:
  TickJoiner(int64_t start_ns, int64_t interval_ns)
      : start_ns_(start_ns), interval_ns_(interval_ns) {}

  /// Adds the probes' half of a tick that was due at `due_ns` (monotonic). It covers every interval
  /// that ends after the due time of the previous half and no later than `due_ns`.
  void add_probes(ProbeReading reading, int64_t due_ns);
  /// Adds losses to the last tick. REQUIRES: its probes' half was just added.
  void add_end_losses(const LossInterval& losses);
  /// Adds the flows of an interval. The numbers of intervals never decrease.
  void add_flows(ClosedInterval flows) { flow_halves_.push_back(std::move(flows)); }
  /// Call this when nothing more comes. The last half of the probes takes all remaining flows.
  void finish() { finishing_ = true; }

  struct Tick {
    ClosedInterval flows;
    ProbeReading reading;
    bool last = false;  // of the run
  };
  /// The next complete tick, in order; nullopt while one of its halves is missing.
  std::optional<Tick> next();

 private:
  struct ProbeHalf {
    uint64_t last_number = 0;  // of the intervals that it covers
    ProbeReading reading;
  };

  bool flows_are_there(const ProbeHalf& probe) const;
  ClosedInterval take_flows_of(uint64_t last_number, bool takes_all);

  int64_t start_ns_;
  int64_t interval_ns_;
  bool finishing_ = false;
  std::deque<ProbeHalf> probe_halves_;
  std::deque<ClosedInterval> flow_halves_;
};

}  // namespace topspin
