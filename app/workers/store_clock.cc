#include "app/workers/store_clock.h"

#include <limits>

namespace topspin {
namespace {

constexpr int kClockSamples = 10;
constexpr int64_t kStoreClockUnitNs = 1000;  // it has microseconds

}  // namespace

Status StoreClock::measure(WorkerStore& store) {
  int64_t best_ns = std::numeric_limits<int64_t>::max();
  for (int i = 0; i < kClockSamples; ++i) {
    const int64_t before = monotonic_now_ns();
    TOPSPIN_ASSIGN(const int64_t store_ns, store.clock());
    const int64_t after = monotonic_now_ns();
    if (after - before >= best_ns) continue;
    best_ns = after - before;
    offset_ns_ = before + best_ns / 2 + wall_minus_monotonic_ns_ - store_ns;
    error_ns_ = best_ns / 2 + kStoreClockUnitNs;
  }
  return {};
}

}  // namespace topspin
