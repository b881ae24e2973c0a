// StretchSamples: finds for each busy stretch the CPU samples that were taken within it. A part of
// the probe "stacks".
//
// A stretch is known when it ends, and its samples before that: the recent samples are kept, at
// most a fixed number. Pure; owned by StacksProbe, on its thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/tick/busy_stretch.h"

namespace topspin {

/// A sample of a thread's stack. The moment is CLOCK_MONOTONIC's.
struct StackSample {
  int32_t tid = 0;
  uint32_t stack = 0;  // as in StretchStack
  int64_t time_ns = 0;
};

class StretchSamples {
 public:
  /// Ten seconds of 64 busy CPUs at 99 samples a second: 2 MB.
  static constexpr size_t kMostSamples = 65'536;

  explicit StretchSamples(size_t most_samples = kMostSamples) : most_(most_samples) {}

  /// In any order. Where there is no room, the sample that came first is forgotten.
  void add(const StackSample& sample);
  /// In any order. Its samples may still come.
  void add(BusyStretch stretch) { waiting_.push_back(std::move(stretch)); }

  /// The stretches that ended before `until_ns`, with their samples, as they came. Their samples
  /// must have been added; stretches that ended later wait for the next call.
  std::vector<BusyStretch> take(int64_t until_ns);

 private:
  struct Moment {
    int64_t time_ns;
    uint32_t stack;
  };

  void match(BusyStretch& stretch) const;

  size_t most_;
  std::unordered_map<int32_t, std::deque<Moment>> of_thread_;  // in order of time
  std::deque<int32_t> threads_;                                // of all samples, as they came
  int64_t forgotten_until_ns_ = INT64_MIN;  // the latest of the samples that were forgotten
  std::vector<BusyStretch> waiting_;
};

}  // namespace topspin
