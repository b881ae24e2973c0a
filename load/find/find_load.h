// A load that searches for the most that a server can do: stages at levels that FindSearch chooses,
// each a load of its own with its own accounts, added up to one result.
//
// A stage begins with the arrival of its clients and a moment in which each of them gets to its
// first message; they are part of the accounts ("warm_up_..."), but are not judged. Then the level
// is measured ("rate_...", "clients_..."). All replies are awaited before the next stage begins.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "core/base/result.h"
#include "core/run/load_find.h"
#include "load/load.h"

namespace topspin {

/// CPU time so far. Threads that ended are in `all_ns` only.
struct SubjectCpu {
  struct Thread {
    int64_t cpu_ns = 0;
    std::string name;
  };
  int64_t all_ns = 0;
  std::map<pid_t, Thread> threads;
};

struct FindWatch {
  std::function<void(const FindStage&)> on_stage;          // it is over
  std::function<std::optional<SubjectCpu>()> subject_cpu;  // on a thread of its own; may be empty
};

/// How many messages a stage should have, for a percentile: 20 above it, so 2,000 for p99. Then the
/// p99 that is measured lies between the true p98.6 and p99.4 in 19 of 20 stages, as far as
/// messages are independent. (The number above it is Poisson's: 20, give or take 2 * sqrt(20).)
/// With fewer than 10 above it a percentile is not given at all (kSamplesAbovePercentile).
uint64_t find_messages(double quantile);

/// The options of a stage. Pure.
struct FindStagePlan {
  LoadOptions options;
  int64_t measured_ns = 0;
};
FindStagePlan plan_find_stage(const LoadOptions& options, const FindRules& rules, double level,
                              double messages_per_client_s, const std::string& name);

/// Why the generator, or its host, and not the server may have been the reason for a broken rule;
/// empty if it kept up. Pure: `part` is the measured one.
std::string find_generator_limit(const LoadResult& result, const LoadPart& part,
                                 double own_cpu_share, const FindRules& rules);

/// Adds a stage to those before it, in time. Counts are added, stages follow one another.
void add_find_stage(LoadResult& whole, const LoadResult& stage);

/// Like run_load(). The result has LoadResult::find. A result is invalid if its accounts do not
/// balance, or if nothing was answered at all; a level that was too much for the server or for the
/// generator does not make it invalid.
Result<LoadResult> find_load(const LoadOptions& options, const FindRules& rules,
                             const std::atomic<bool>& stop, const FindWatch& watch);

}  // namespace topspin
