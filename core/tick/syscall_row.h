// SyscallRow: what one kind of system call cost the subject, counted since it was first watched.
// Plain values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "core/number/histogram.h"

namespace topspin {

/// Calls are counted when they return. One that never does (exit, or still inside) is in no number.
struct SyscallRow {
  int32_t number = 0;       // as the subject's architecture numbers it
  std::string name;         // "accept4"; "syscall_999" where the number has no name
  uint64_t count = 0;       // calls that returned
  uint64_t errors = 0;      // of these with an error; a call that a signal makes restart has none
  Histogram latency;        // from entry to return
  uint64_t blocked_ns = 0;  // of all that: off a CPU, asleep or waiting for one

  /// Of the time inside, what was spent on a CPU.
  uint64_t working_ns() const { return latency.sum() - std::min(blocked_ns, latency.sum()); }
};

}  // namespace topspin
