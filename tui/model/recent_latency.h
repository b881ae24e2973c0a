// RecentLatency: p99 and maximum of a latency over the last ticks, because a single tick often has
// too few samples.
//
// The window has as many of the last ticks as are needed for 1,000 samples, and at most 10 s of
// them. So the label of the number never changes. A value; pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "core/number/histogram.h"
#include "core/tick/sample.h"

namespace topspin {

class RecentLatency {
 public:
  static constexpr uint64_t kEnoughSamples = 1000;
  static constexpr int64_t kLongestNs = 10'000'000'000;

  /// Adds the next tick, which is `interval_ns` long.
  void add(const Histogram& histogram, int64_t interval_ns);
  void add(const SignedHistogram& histogram, int64_t interval_ns);

  /// The p99 of the window. nullopt with fewer than 1,000 samples, or if the last tick had none.
  std::optional<int64_t> p99() const;
  /// The greatest value of the same window, so never below p99(). nullopt without samples, or if
  /// the last tick had none.
  std::optional<int64_t> max() const;
  uint64_t count() const { return count_; }

 private:
  struct Tick {
    std::vector<std::pair<uint32_t, uint64_t>> cells;  // occupied ones, in order
    uint64_t count = 0;
    int64_t max = 0;
    int64_t interval_ns = 0;
  };

  void push(Tick tick);
  void drop_oldest();

  // One cell per bucket: first negative values, from the greatest magnitude on, then the others.
  std::vector<uint64_t> cells_;
  std::deque<Tick> ticks_;
  uint64_t count_ = 0;
  int64_t length_ns_ = 0;
};

/// The latencies that a tick line and the head of the screen show.
struct RecentLatencies {
  RecentLatency lateness, reply, run_queue;

  /// `declared_period_ns` is that of --period (core/flow/periods.h).
  void add(const Sample& sample, const std::optional<int64_t>& declared_period_ns = {});
};

}  // namespace topspin
