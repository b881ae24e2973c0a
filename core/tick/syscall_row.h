// SyscallRow: the cost of one kind of system call for the subject, since the subject was first
// watched. Plain values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "core/number/histogram.h"

namespace topspin {

/// Calls are counted when they return. A call that never returns (exit, or one that is still
/// running) is in no number.
struct SyscallRow {
  int32_t number = 0;       // as the subject's architecture numbers it
  std::string name;         // "accept4"; "syscall_999" where the number has no name
  uint64_t count = 0;       // calls that returned
  uint64_t errors = 0;      // of these, with an error; a call that a signal restarts has none
  Histogram latency;        // from entry to return
  uint64_t blocked_ns = 0;  // the part of it off a CPU: asleep, or waiting for one

  /// The part of the time inside that was spent on a CPU.
  uint64_t working_ns() const { return latency.sum() - std::min(blocked_ns, latency.sum()); }
};

}  // namespace topspin
