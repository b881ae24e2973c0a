// How long a thread waited for a CPU. Everything that shows this wait uses the same definition.
// Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "core/tick/sample.h"

namespace topspin {

/// The sum of the waits that were measured individually. If they were not, the kernel's sum
/// (run_delay), which may count sleeping as waiting since Linux 6.12.
inline std::optional<uint64_t> waited_ns(const ThreadRow& thread) {
  return thread.run_queue_wait ? std::optional(thread.run_queue_wait->sum())
                               : thread.run_queue_wait_ns;
}

}  // namespace topspin
