// SlowMoment: the slow replies of some ticks of a run, or those that took so long: from a point of
// a plot or a bucket of a distribution to its replies. Plain values.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "core/base/result.h"
#include "core/tick/reply_parts.h"
#include "store/run_store.h"

namespace topspin {

/// From one time to another, both included, in ns.
struct TimeSpan {
  int64_t from_ns = 0;
  int64_t to_ns = std::numeric_limits<int64_t>::max();
};

struct SlowMoment {
  StoredRun run;
  TimeSpan elapsed;  // of the ticks, since the start of the run
  TimeSpan took;     // what was asked for
  uint64_t first_tick = 0;
  uint64_t last_tick = 0;
  uint64_t replies = 0;            // all that were split in these ticks, whatever they took
  std::vector<SlowReply> slowest;  // those of them that were kept, the slowest first
};

/// `at`: of the ticks that have some of this time, since the start of the run. kUsage: the run has
/// no such tick.
Result<SlowMoment> read_slow_moment(RunStore& store, const StoredRun& run, const TimeSpan& at,
                                    const TimeSpan& took);

}  // namespace topspin
