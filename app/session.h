// Session: makes one Sample of each tick's halves (flows from the capture thread, the rest from the
// probes).
//
// The halves are joined by the number of their interval: the capture cuts packets at exact ends,
// the probes are read a little later, or much later when the recorder stood still. Pure apart from
// what it is given: times and readings are parameters. Lives on the main thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "capture/flow_tracker.h"
#include "core/host_usage.h"
#include "core/sample.h"
#include "core/split_check.h"
#include "probes/probes.h"

namespace topspin {

/// What is read of topspin itself and of the host at the end of a tick; growing counters.
struct SelfReading {
  int64_t cpu_ns = 0;
  int64_t rss_bytes = 0;
  std::optional<HostCpuTime> host;
};
SelfReading read_self();

class Session {
 public:
  /// `reply_timeout_ns`: the capture's.
  Session(int64_t start_ns, int64_t interval_ns, SelfReading first, int64_t reply_timeout_ns)
      : start_ns_(start_ns),
        interval_ns_(interval_ns),
        previous_end_ns_(start_ns),
        previous_self_(first),
        split_check_(reply_timeout_ns) {}

  /// The probes' half of a tick, read at `now_ns` (monotonic), due at `due_ns`: of every interval
  /// that ends after the previous half's due time and by `due_ns`.
  void add_probes(ProbeInterval probes, SelfReading self, int64_t due_ns, int64_t now_ns);
  /// What ending the run cuts off, for the last tick. REQUIRES: its probes' half was just added.
  void add_end_losses(const LossInterval& losses);
  /// The flows of an interval. Numbers never go down.
  void add_flows(ClosedInterval flows);
  /// Nothing more comes: the last probes' half takes all flows that are left.
  void finish() { finishing_ = true; }

  /// The next whole tick, in order, or nullopt while a half of it is missing.
  std::optional<Sample> next_sample();

  /// Everything so far as one, for the judgement at the end.
  const FlowInterval& flow_totals() const { return flow_totals_; }
  const LossInterval& loss_totals() const { return loss_totals_; }
  uint64_t ticks() const { return ticks_; }
  /// Why the split of replies may be wrong, as the capture tells; nullopt: nothing speaks against
  /// it.
  std::optional<std::string> split_doubt() const { return split_check_.doubt(); }
  /// Flows that were measured though nothing said which end asks.
  uint64_t ends_guessed() const { return ends_guessed_; }

 private:
  struct ProbeHalf {
    uint64_t last_number = 0;  // of the intervals that it covers
    ProbeInterval probes;
    SelfReading self;
    int64_t now_ns = 0;
    bool late = false;
  };

  bool flows_are_there(const ProbeHalf& probe) const;
  ClosedInterval take_flows_of(const ProbeHalf& probe);

  int64_t start_ns_;
  int64_t interval_ns_;
  int64_t previous_end_ns_;
  SelfReading previous_self_;
  uint64_t ticks_ = 0;
  bool finishing_ = false;
  std::deque<ProbeHalf> probe_halves_;
  std::deque<ClosedInterval> flow_halves_;
  FlowInterval flow_totals_;
  LossInterval loss_totals_;
  uint64_t ends_guessed_ = 0;
  SplitCheck split_check_;
};

/// Why a run with these losses judges nothing; empty: it is valid. Limits: docs/losses.md.
std::vector<std::string> judge_losses(const LossInterval& losses, const FlowInterval& flows,
                                      uint64_t ticks);

/// Which numbers of a run may be wrong though nothing was lost. Such a run is usable, but may not
/// be judged.
std::vector<std::string> doubts_of(const FlowInterval& flows);
std::optional<std::string> doubt_of_guessed_ends(uint64_t flows);

}  // namespace topspin
