// Reads two recordings of the same flows, finds each packet of one in the other, and splits the
// replies (docs/two-ends.md). The room's door.
#pragma once

#include "capture/flow_tracker.h"
#include "core/base/result.h"
#include "core/flow/two_ends.h"

namespace topspin {

struct TwoRecordings {
  FileOptions client;  // path, filter, max_packets and seed; the other fields are not used
  FileOptions server;  // its seed is not used
  FlowTableOptions table;
};

/// How many of the slowest replies are listed.
inline constexpr size_t kSlowestListed = 10;

/// kInput: a file cannot be opened, or the two have no flow in common. If only the clocks cannot be
/// related, the result says why and has counts only.
Result<TwoEnds> compare_two_ends(const TwoRecordings& recordings);

}  // namespace topspin
