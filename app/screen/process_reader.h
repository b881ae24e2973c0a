// Reads the processes that the screen Processes shows, from /proc. One thread.
#pragma once

#include <cstddef>
#include <string>

#include "tui/model/model.h"

namespace topspin {

/// A bound on the time that a look takes: some 20 us a process, and as much a thread.
struct ProcessLimits {
  size_t processes = 4'096;  // beyond: left out, and counted
  size_t threads = 4'096;    // beyond: a process has no wait_ns
};

/// The processes of the subject and those that have flows; where the model has no subject, all of
/// the host. Processes that end meanwhile are not in it.
ProcessReadings read_processes(const Model& model, const ProcessLimits& limits = {},
                               const std::string& proc_root = "/proc");

}  // namespace topspin
