// Whether lateness and missed ticks are meaningful: only flows with a period can be late. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "core/flow/flow.h"

namespace topspin {

/// Whether some flow of this interval (or of a run that was merged into one) has or had a period,
/// which was declared or learned from regular gaps. Older versions of topspin learned periods from
/// any gaps, so those do not count; such an interval has no count of requests either.
inline bool has_lateness(const FlowInterval& flows, const std::optional<int64_t>& declared_ns) {
  if (flows.periodic_flows > 0) return true;
  if (flows.lateness.empty() && flows.missed_ticks == 0) return false;
  return declared_ns.has_value() || flows.requests > 0;
}

/// Requests that were never answered. They are in reply_latency as the timeout, although their true
/// latency is not known.
inline uint64_t never_answered(const FlowInterval& flows) {
  return flows.unanswered > flows.late_replies ? flows.unanswered - flows.late_replies : 0;
}

/// Whether a percentile or maximum of reply latencies is only a lower bound. That is so if it is
/// not below the timeout, and some requests were never answered: these count as the timeout.
inline bool is_at_least(int64_t reply_latency_ns, uint64_t never_answered, int64_t timeout_ns) {
  if (never_answered == 0 || timeout_ns <= 0 || reply_latency_ns <= 0) return false;
  return topspin_histogram_index(static_cast<uint64_t>(reply_latency_ns)) >=
         topspin_histogram_index(static_cast<uint64_t>(timeout_ns));
}

}  // namespace topspin
