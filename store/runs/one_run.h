// One run by itself, as the rows and the file of a database that has only this run. Private to
// store.
#pragma once

#include <memory>
#include <string>

#include "core/base/result.h"
#include "store/run_store.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

/// A database in memory with a copy of run `id` of `from`, which gets the number 1. kInput if it
/// cannot be read, or is still being recorded.
Result<std::unique_ptr<Connection>> copy_of_run(Connection& from, const std::string& id);

/// A store of the runs in the bytes of a file. `name` is for messages.
Result<std::unique_ptr<RunStore>> open_run_bytes(std::string_view bytes, const std::string& name);

/// A store of the runs of a file, which is not an address of a team's store.
Result<std::unique_ptr<RunStore>> open_run_file(const std::string& path);

}  // namespace topspin
