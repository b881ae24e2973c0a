// What is stored and printed when a run ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/options/record_options.h"
#include "app/tick/tick_builder.h"
#include "ci/metrics/standing.h"
#include "core/run/run.h"

namespace topspin {

/// What is known after the last tick, when the command has ended.
struct EndFacts {
  int64_t duration_ns = 0;
  std::optional<int> exit_status;          // of the command
  LossInterval late_losses;                // losses of the store after the last tick was made
  std::vector<std::string> probes_doubts;  // Probes::doubts()
  std::optional<Error> failure;            // what ended the recording
};

/// Judges a run by its ticks, and returns its end.
RunEnd make_run_end(const TickBuilder& ticks, EndFacts facts);

/// A run that is over, and stored if it was to be stored.
struct EndedRun {
  const RunInfo& info;
  const RunEnd& end;
  const RunTotals& totals;
  const TickBuilder& ticks;
  std::string database;
};
/// Prints the result, as the options require. `with_screen`: nothing was printed so far.
void tell_run_end(const RecordOptions& options, const EndedRun& run, bool with_screen);

}  // namespace topspin
