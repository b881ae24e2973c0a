// The rows that a plan adds to a run: the plan itself, the run's stages and its load. Private to
// store.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/run/load_result.h"
#include "core/run/run.h"
#include "store/sqlite/sqlite.h"

namespace topspin {

Status insert_plan(Connection& connection, int64_t run, const RunPlan& plan);
Result<std::optional<RunPlan>> select_plan(Connection& connection, int64_t run);

/// Inserts the stage at this position, or replaces the existing one.
Status upsert_stage(Connection& connection, int64_t run, uint64_t position, const RunStage& stage);
Result<std::vector<RunStage>> select_stages(Connection& connection, int64_t run);

/// REQUIRES: a transaction is open, because the rows of a load belong together.
Status insert_load(Connection& connection, int64_t run, const LoadResult& load);
Result<std::optional<LoadResult>> select_load(Connection& connection, int64_t run);

}  // namespace topspin
