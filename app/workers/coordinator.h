// The coordinator: the side of a shared load that wants it. It invites workers, decides who has
// part in it, shows it, and adds up the result. docs/workers.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/run/load_result.h"
#include "load/load.h"
#include "load/share/job_text.h"

namespace topspin {

struct SharedLoadOptions {
  std::string address;                       // of the store
  std::map<std::string, std::string> where;  // labels that a worker needs
  size_t at_least = 1;                       // workers, before it begins
  int64_t ready_within_ns = 0;               // else it is an error; 0: waits for ever
};

/// What is shown while it runs.
struct SharedLoadView {
  /// A sentence for each change of the workers. May be empty, as the others.
  std::function<void(const std::string&)> tell;
  /// A second of the whole load.
  LoadProgressSink progress;
  /// The same second of each worker.
  std::function<void(const std::string& worker, const LoadProgress&)> of_worker;
  /// Called once, when it is known when the load begins, and by how much that may be wrong.
  std::function<void(int64_t start_monotonic_ns, int64_t error_ns)> begins;
};

/// Has workers send a load, and returns when it is over, or some seconds after `stop` was set.
/// kUsage if that was before it began, or if too few workers came; kOutput if the store is away for
/// too long. `job` describes `options`.
Result<LoadResult> run_shared_load(const SharedLoadOptions& shared, const JobDescription& job,
                                   const LoadOptions& options, const std::atomic<bool>& stop,
                                   const SharedLoadView& view);

}  // namespace topspin
