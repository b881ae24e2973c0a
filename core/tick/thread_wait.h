// How long a thread waited for a CPU, by one meaning wherever it is shown. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "core/tick/sample.h"

namespace topspin {

/// The sum of the waits that were measured one by one; where they were not, the kernel's own sum
/// (run_delay), which from Linux 6.12 on may count sleeping as waiting.
inline std::optional<uint64_t> waited_ns(const ThreadRow& thread) {
  return thread.run_queue_wait ? std::optional(thread.run_queue_wait->sum())
                               : thread.run_queue_wait_ns;
}

}  // namespace topspin
