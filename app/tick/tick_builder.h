// TickBuilder: makes the Samples of one run: of a recording, with and without a screen, and of a
// file that is read or played. Nothing else fills a Sample.
//
// A Sample that build() returns is complete, and nobody changes it after: the owners of its flows
// are named, it is stored (if the run is), and what the store lost of it is among its losses. So
// the screen, the rules and the judgement at the end see the same losses as the database. One
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "app/tick/flow_row_queue.h"
#include "capture/flow_tracker.h"
#include "core/run/run_fold.h"
#include "core/tick/host_usage.h"
#include "core/tick/sample.h"
#include "core/tick/split_check.h"
#include "probes/probes.h"

namespace topspin {

/// What is read of topspin itself and of the host at the end of a tick; growing counters.
struct SelfReading {
  int64_t cpu_ns = 0;
  int64_t rss_bytes = 0;
  std::optional<HostCpuTime> host;
  int64_t host_read_ns = 0;  // when, monotonic
};
SelfReading read_self();

/// All that is read at the end of a tick: its half that does not come from the capture.
struct ProbeReading {
  ProbeInterval probes;
  SelfReading self;
  int64_t now_ns = 0;  // monotonic
  bool late = false;   // more than a tenth of the interval after it was due
};

struct TickSettings {
  int64_t start_ns = 0;  // monotonic; of a file its first interval says it
  SelfReading first_self;
  int64_t reply_timeout_ns = 0;  // the capture's
  /// Names the owners of changed flows. Empty: nobody does.
  std::function<void(Sample&)> resolve_owners;
  /// Stores a tick and answers what was lost of it and since the one before. Empty: nothing is
  /// stored.
  std::function<LossInterval(const Sample&)> store;
  /// Flow rows to store of a tick, where it shows more of them. nullopt: all that it shows.
  std::optional<uint64_t> stored_rows_per_tick;
  /// Where the ticks are added up. Empty: in folds of the builder's own.
  std::shared_ptr<RunFolds> folds;
};

class TickBuilder {
 public:
  explicit TickBuilder(TickSettings settings);

  /// A tick of a recording. `last`: no other follows.
  Sample build(ClosedInterval flows, ProbeReading reading, bool last);
  /// A tick of a file: flows alone, the rest is absent.
  Sample build_of_file(ClosedInterval flows);

  /// Everything so far as one: for the judgement at the end, and for the store.
  const RunFold& fold() const { return settings_.folds->whole(); }
  const std::shared_ptr<RunFolds>& folds() const { return settings_.folds; }
  /// Why the split of replies may be wrong, as the capture tells; nullopt: nothing speaks against
  /// it.
  std::optional<std::string> split_doubt() const { return split_check_.doubt(); }
  /// Flows that were measured though nothing said which end asks.
  int64_t ends_guessed() const { return ends_guessed_; }

 private:
  Sample begin(ClosedInterval flows, Sample probes);
  Sample complete(Sample sample, bool last);
  LossInterval store(Sample& sample, bool last);

  TickSettings settings_;
  std::optional<FlowRowQueue> row_queue_;
  int64_t start_ns_;
  int64_t previous_end_ns_;
  SelfReading previous_self_;
  uint64_t ticks_ = 0;
  int64_t ends_guessed_ = 0;
  SplitCheck split_check_;
};

}  // namespace topspin
