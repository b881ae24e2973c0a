// Compaction: the ticks of old runs become ticks of a minute, so that a year of recordings fits.
//
// A minute's tick is what its ticks merge to, each number by its kind: sums and distributions are
// exact, a gauge is the last one, a maximum the greatest. What a run adds up to is stored with its
// end and does not change. Rows of a tick (threads that ran most, messages that came late) become
// those of the minute; flows, threads, sockets and events stay as they are.
//
// A run stays as it is if its single ticks are needed: one that the gate's history holds as a
// baseline, one of a plan (its rules and stages are judged by ticks), an incident, and one whose
// totals are not stored, since its greatest values are found in its ticks. The report says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/tick/sample.h"

namespace topspin {

inline constexpr int64_t kCompactedTickNs = 60'000'000'000;

/// Merges ticks by the minute of the run in which they end. Pure.
class TickFolder {
 public:
  struct Minute {
    Sample merged;            // its number is that of its last tick
    uint64_t first_tick = 0;  // the number of its first tick
    size_t ticks = 0;
  };

  /// Takes the next tick. Returns the minute before, if this tick is of another one.
  std::optional<Minute> add(const Sample& tick);
  std::optional<Minute> finish() { return std::exchange(minute_, std::nullopt); }

 private:
  std::optional<Minute> minute_;
};

/// How much of a run may be folded: the whole minutes that ended before `before_wall_ns`.
int64_t foldable_ns(int64_t started_wall_ns, int64_t before_wall_ns);

struct CompactionReport {
  struct Kept {
    uint64_t run = 0;  // its number
    std::string why;
  };
  size_t folded_runs = 0;
  uint64_t ticks_before = 0;  // of the folded runs
  uint64_t ticks_after = 0;
  uint64_t bytes_freed = 0;
  std::vector<Kept> kept;  // old enough, but needed
};

/// Folds the ticks that ended before `before_wall_ns`. Each run is folded in one transaction, or
/// not at all.
Result<CompactionReport> compact_runs(const std::string& path, int64_t before_wall_ns);

}  // namespace topspin
