// TickJoiner: joins the two halves of each tick, flows from the capture thread and the rest from
// the probes, by the number of their interval: the capture cuts packets at exact ends, the probes
// are read a little later, or much later when the recorder stood still. Pure; one thread.
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

  /// The probes' half of a tick, due at `due_ns` (monotonic): of every interval that ends after the
  /// previous half's due time and by `due_ns`.
  void add_probes(ProbeReading reading, int64_t due_ns);
  /// Losses that belong to the last tick. REQUIRES: its probes' half was just added.
  void add_end_losses(const LossInterval& losses);
  /// The flows of an interval. Numbers never go down.
  void add_flows(ClosedInterval flows) { flow_halves_.push_back(std::move(flows)); }
  /// Nothing more comes: the last probes' half takes all flows that are left.
  void finish() { finishing_ = true; }

  struct Tick {
    ClosedInterval flows;
    ProbeReading reading;
    bool last = false;  // of the run
  };
  /// The next whole tick, in order, or nullopt while a half of it is missing.
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
