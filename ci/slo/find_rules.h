// The rules of a search for the most that a server can do (load/find): those about what the load
// itself measures, since they are judged stage by stage while it runs.
//
//   p99(reply_latency) < 5ms       reply_latency is load_latency: from the moment a message was due
//   lost <= 0.001 * sent           any count of the load
//
// Two rules always hold beside them. A level counts only if it was sent: at most 1% of its messages
// may be blocked by their client's earlier message. And it counts only if it was answered: at most
// 1% may have had no reply within the timeout, or an error, unless a rule is about such a count.
//
// Pure.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/run/load_find.h"

namespace topspin {

inline constexpr double kMostUnanswered = 0.01;

/// kUsage: a rule cannot be read, or is about something that a load alone does not measure.
Result<FindRules> read_find_rules(const std::vector<std::string>& texts);

}  // namespace topspin
