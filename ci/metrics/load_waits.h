// Computes waiting times from the numbers of a load. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/run/load_result.h"

namespace topspin {

/// The total time for which sent messages had to wait for an earlier message of their own client.
/// Each message is in all three histograms, whose sums are exact.
inline uint64_t blocked_ns(const LoadPart& part) {
  const uint64_t all = part.latency_intended.sum();
  const uint64_t others = part.latency_actual.sum() + part.own_lateness.sum();
  return all - std::min(all, others);
}

}  // namespace topspin
