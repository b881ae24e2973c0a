// Reads from /proc the processes that the screen Processes shows. One thread.
#pragma once

#include <cstddef>
#include <string>

#include "tui/model/model.h"

namespace topspin {

/// Limits, which bound the time of a reading: about 20 us per process, and the same per thread.
struct ProcessLimits {
  size_t processes = 4'096;  // others are left out and counted
  size_t threads = 4'096;    // beyond this, a process has no wait_ns
};

/// Returns the processes of the subject and those that have flows; without a subject, all processes
/// of the host. Processes that end during the reading are left out.
ProcessReadings read_processes(const Model& model, const ProcessLimits& limits = {},
                               const std::string& proc_root = "/proc");

}  // namespace topspin
