// TickBuilder: makes the Samples of one run: of a recording with or without a screen, and of a file
// that is read or played. Nothing else fills a Sample.
//
// A Sample that build() returns is complete, and nobody changes it afterwards. Its flows have their
// owners, it is stored (if the run is stored), and its losses include those of the store. So the
// screen, the rules and the judgement at the end see the same losses as the database. One thread.
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

/// The counters of topspin itself and of the host at the end of a tick. They only grow.
struct SelfReading {
  int64_t cpu_ns = 0;
  int64_t rss_bytes = 0;
  std::optional<HostCpuTime> host;
  int64_t host_read_ns = 0;  // when the host was read, monotonic
};
SelfReading read_self(const UsageReader& usage);

/// Everything that is read at the end of a tick: the half that does not come from the capture.
struct ProbeReading {
  ProbeInterval probes;
  SelfReading self;
  int64_t now_ns = 0;  // monotonic
  bool late = false;   // more than a tenth of the interval after it was due
};

struct TickSettings {
  int64_t start_ns = 0;  // monotonic; for a file it comes from the first interval
  SelfReading first_self;
  int64_t reply_timeout_ns = 0;  // that of the capture
  /// Finds the owners of changed flows. If empty, owners are not looked up.
  std::function<void(Sample&)> resolve_owners;
  /// Stores a tick, and returns what was lost of it and since the previous one. If empty, nothing
  /// is stored.
  std::function<LossInterval(const Sample&)> store;
  /// How many flow rows of a tick are stored; nullopt: all of them.
  std::optional<uint64_t> stored_rows_per_tick;
  /// The folds to which the ticks are added. If empty, the builder makes its own.
  std::shared_ptr<RunFolds> folds;
};

class TickBuilder {
 public:
  explicit TickBuilder(TickSettings settings);

  /// Builds a tick of a recording. `last`: no other one follows.
  Sample build(ClosedInterval flows, ProbeReading reading, bool last);
  /// Builds a tick of a file. It has flows only; everything else is absent.
  Sample build_of_file(ClosedInterval flows);

  /// All ticks so far, merged, for the judgement at the end and for the store.
  const RunFold& fold() const { return settings_.folds->whole(); }
  const std::shared_ptr<RunFolds>& folds() const { return settings_.folds; }
  /// Why the split of replies may be wrong, according to the capture; nullopt if it agrees.
  std::optional<std::string> split_doubt() const { return split_check_.doubt(); }
  /// The number of flows whose replies were measured although it is not known which end asks.
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
