// What the numbers of a load say about waiting. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/run/load_result.h"

namespace topspin {

/// How long the messages that were sent had waited, in all, for an earlier one of their own client.
/// Each message is in all three histograms, whose sums are exact.
inline uint64_t blocked_ns(const LoadPart& part) {
  const uint64_t all = part.latency_intended.sum();
  const uint64_t others = part.latency_actual.sum() + part.own_lateness.sum();
  return all - std::min(all, others);
}

}  // namespace topspin
