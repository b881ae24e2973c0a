// StoreClock: this host's clock, and how far it is from the store's. The store's clock is the one
// that all workers share. A thread uses it at a time, but for to_monotonic().
#pragma once

#include <cstdint>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "store/worker_store.h"

namespace topspin {

class StoreClock {
 public:
  /// `skew_ns` is added to what this host's clock says, for tests.
  explicit StoreClock(int64_t skew_ns)
      : wall_minus_monotonic_ns_(take_clock_anchor().offset_ns() + skew_ns) {}

  /// Asks the store several times, and keeps the answer with the shortest round trip: half of it is
  /// by how much the offset may be wrong.
  Status measure(WorkerStore& store);

  /// This host's clock minus the store's.
  int64_t offset_ns() const { return offset_ns_; }
  int64_t error_ns() const { return error_ns_; }

  int64_t to_monotonic(int64_t store_ns) const {
    return store_ns + offset_ns_ - wall_minus_monotonic_ns_;
  }
  int64_t now_ns() const { return monotonic_now_ns() + wall_minus_monotonic_ns_ - offset_ns_; }

 private:
  // CLOCK_REALTIME when this was made; a step of the clock since has no effect.
  int64_t wall_minus_monotonic_ns_;
  int64_t offset_ns_ = 0;
  int64_t error_ns_ = 0;
};

}  // namespace topspin
