// The fold of a run as rows of the tables total, total_histogram, total_counter and total_cpu.
// Private to store.
#pragma once

#include <cstdint>
#include <optional>

#include "core/base/result.h"
#include "core/run/run_fold.h"
#include "store/run_store.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

std::string_view run_part_name(RunPart part);  // "run", "measured"

/// REQUIRES: the run has no rows of that part yet.
Status insert_fold(Connection& connection, int64_t run, RunPart part, const RunFold& fold);

/// nullopt if nothing is stored for that part. kInput if the rows cannot be read.
Result<std::optional<RunFold>> load_fold(Connection& connection, int64_t run, RunPart part);

}  // namespace topspin
