// LongStretches: the longest busy stretches of a run, with the functions of their samples by name.
// Plain values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ci/metrics/hot_function.h"
#include "core/tick/busy_stretch.h"
#include "store/run_store.h"

namespace topspin {

struct LongStretches {
  std::vector<BusyStretch> longest;        // the longest first
  std::map<uint32_t, std::string> frames;  // of their stacks (StackRow::frames), by number

  /// "[no room for the stack]" of those beyond the limit of different stacks.
  std::string_view frames_of(uint32_t stack) const;
};

/// The `most` that tell most: as KeptStretches chooses, the longest first.
std::vector<const BusyStretch*> chosen_stretches(const LongStretches& all, size_t most);

/// All that a run kept. Empty without --stacks.
Result<LongStretches> read_long_stretches(RunStore& store, const std::string& run_id);

/// What ran most in some stretches, all samples together.
struct StretchSum {
  uint64_t stretches = 0;
  uint64_t shortest_ns = 0;
  uint64_t samples = 0;
  bool samples_cut = false;         // there may have been more
  std::optional<HotFunction> most;  // nullopt: no function is in half of the samples
};
/// REQUIRES: they are of `all`.
StretchSum sum_of(const LongStretches& all, std::span<const BusyStretch* const> stretches);

}  // namespace topspin
