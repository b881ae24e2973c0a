// The gate's log in a database file (gate_log.h, which also reads that of a team's store). Private
// to store.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "store/runs/gate_log.h"

namespace topspin {

Status log_file_acceptance(const std::string& path, const Acceptance& acceptance);
Status log_file_judgement(const std::string& path, const StoredJudgement& judgement);
Result<std::vector<Acceptance>> read_file_acceptances(const std::string& path);
Result<std::optional<StoredJudgement>> read_last_file_judgement(const std::string& path);

/// Checks that every entry can be read: acceptances, and judgements except for their documents.
Status check_gate_log(const std::string& path);

}  // namespace topspin
