// SharedSchedule: between the thread that talks to the store and the engine's thread.
// The horizon and the end are atomic, since the engine reads them in each round.
#pragma once

#include <atomic>
#include <cstdint>

#include "load/engine/schedule_feed.h"

namespace topspin {

class SharedSchedule : public QueuedFeed {
 public:
  SharedSchedule(int64_t start_monotonic_ns, uint32_t clients_expected, int64_t end_ns)
      : start_monotonic_ns_(start_monotonic_ns),
        clients_expected_(clients_expected),
        end_ns_(end_ns) {}

  int64_t start_monotonic_ns() const override { return start_monotonic_ns_; }
  uint32_t clients_expected() const override { return clients_expected_; }
  int64_t horizon_ns() const override { return horizon_ns_.load(std::memory_order_acquire); }
  int64_t end_ns() const override { return end_ns_.load(std::memory_order_acquire); }

  /// After the changes that come before it.
  void extend_to(int64_t horizon_ns) {
    if (horizon_ns > horizon_ns_.load()) horizon_ns_.store(horizon_ns, std::memory_order_release);
  }
  void end_at(int64_t end_ns) { end_ns_.store(end_ns, std::memory_order_release); }

 private:
  const int64_t start_monotonic_ns_;
  const uint32_t clients_expected_;
  std::atomic<int64_t> horizon_ns_{INT64_MIN / 2};
  std::atomic<int64_t> end_ns_;
};

}  // namespace topspin
