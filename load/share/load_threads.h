// A load on several threads of this process. Each thread is what a worker is in a load that hosts
// share: an engine with its share of the clients. Assignment, schedule and sum are the same code
// (docs/decisions/0017-workers.md), so the accounts are as exact.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/result.h"
#include "load/load.h"
#include "load/wire/target.h"

namespace topspin {

/// How many threads a load should have if its user does not say: as many as its rate needs, but at
/// most half of `cpus` if the server is on this host. Pure.
uint32_t threads_for(const LoadOptions& options, bool is_local, int64_t cpus);

/// Like run_load(), with checked options. REQUIRES: the workload can be shared; threads > 1.
Result<LoadResult> run_in_threads(const LoadOptions& options, const Target& target,
                                  uint32_t threads, const std::atomic<bool>& stop,
                                  const LoadProgressSink& progress);

}  // namespace topspin
