// The CPU time of a process with its descendants, by thread, from /proc.
#pragma once

#include <cstdint>
#include <optional>

#include <sys/types.h>

#include "load/find/find_load.h"

namespace topspin {

/// nullopt if there is no such process. Kernel ticks: exact to 10 ms.
std::optional<SubjectCpu> read_process_cpu(pid_t root);

}  // namespace topspin
