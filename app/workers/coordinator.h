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
};

/// What is shown while it runs.
struct SharedLoadView {
  /// A sentence for each change of the workers.
  std::function<void(const std::string&)> tell;
  /// A second of the whole load.
  LoadProgressSink progress;
  /// The same second of each worker; may be empty.
  std::function<void(const std::string& worker, const LoadProgress&)> of_worker;
  /// Called once, when it is known when the load begins. May be empty.
  std::function<void(int64_t start_monotonic_ns)> begins;
};

/// Has workers send a load, and returns when it is over, or some seconds after `stop` was set.
/// After a stop before it began the result is kUsage. kOutput if the store is away for too long.
/// `job` describes `options`.
Result<LoadResult> run_shared_load(const SharedLoadOptions& shared, const JobDescription& job,
                                   const LoadOptions& options, const std::atomic<bool>& stop,
                                   const SharedLoadView& view);

}  // namespace topspin
