// The longest busy stretches of a run, one by one, with the stacks that were sampled meanwhile.
// docs/resources.md defines them. Plain values; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace topspin {

/// A stack in which a stretch's thread was sampled, and how often.
struct StretchStack {
  uint32_t stack = 0;  // StackRow::number; 0: beyond the limit of different stacks
  uint64_t samples = 0;
};

/// From a thread's waking to its next voluntary sleep. Waits for a CPU in between are part of it.
struct BusyStretch {
  uint64_t tick = 0;  // in which it ended
  int32_t pid = 0;
  int32_t tid = 0;
  std::string thread;    // comm at its end: hostile text
  int64_t began_ns = 0;  // CLOCK_MONOTONIC
  uint64_t length_ns = 0;
  uint64_t cpu_ns = 0;               // of it, on a CPU
  uint64_t samples = 0;              // of its thread, within it
  bool samples_cut = false;          // it began before the oldest samples that were still there
  std::vector<StretchStack> stacks;  // the most samples first; at most kStacksAStretch

  int64_t end_ns() const { return began_ns + static_cast<int64_t>(length_ns); }
};

/// Rarer stacks of a stretch are in its samples alone.
inline constexpr size_t kStacksAStretch = 16;
/// So many of a run are kept.
inline constexpr size_t kStretchesARun = 1'024;

/// Which stretches of a run are kept: the longest. Where there is no room for all, the thread that
/// has the most of them gives up its shortest, so that threads that always compute do not push out
/// those of an event loop.
class KeptStretches {
 public:
  explicit KeptStretches(size_t most = kStretchesARun) : most_(most) {}

  /// The number under which it is kept, from 0; another one may have had it before. nullopt: it is
  /// not kept.
  std::optional<uint32_t> keep(int32_t tid, uint64_t length_ns);

 private:
  struct Kept {
    int32_t tid = 0;
    uint64_t length_ns = 0;
  };
  size_t most_;
  std::vector<Kept> kept_;  // by number
};

}  // namespace topspin
