// The signals of a recording.
#pragma once

#include <string>

#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

/// A descriptor to read signals from: those that end a recording, a child's end and, `with_screen`,
/// those of a terminal. Blocks them for this thread and those it will start.
Result<UniqueFd> open_signal_fd(bool with_screen);

/// From now on the process ends with a plain sentence when the memory that SQLite shares with the
/// readers of `database` (-shm) is gone: somebody truncated that file, or its disk fails. SQLite
/// cannot go on after that fault, and nothing of the run can be stored any more.
void end_plainly_on_lost_memory(const std::string& database);

}  // namespace topspin
