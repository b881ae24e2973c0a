// RunStore over a team's store. What a list, a gate or a history needs comes from the tables, in
// one query per table for all runs that are asked for. Everything else comes from the run's own
// file, which is fetched when it is first needed. Private to store.
#pragma once

#include <memory>
#include <string>

#include "core/base/result.h"
#include "store/run_store.h"

namespace topspin {

Result<std::unique_ptr<RunStore>> open_team_runs(const std::string& address);

}  // namespace topspin
