// The signals of a recording.
#pragma once

#include <span>
#include <string>

#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

/// Opens a descriptor for the signals that end a recording, for SIGCHLD and for those that are
/// `wanted`. Blocks them in this thread and in threads that it starts later.
Result<UniqueFd> open_signal_fd(std::span<const int> wanted);

/// Handles SIGBUS: from now on the process prints a sentence and ends if the memory that SQLite
/// shares with the readers of `database` (-shm) disappears, because that file was truncated or its
/// disk fails. SQLite cannot continue after that fault, and nothing more can be stored.
void end_plainly_on_lost_memory(const std::string& database);

}  // namespace topspin
