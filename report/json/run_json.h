// JSON of stored runs: `report --format json` and `list --format json`. Names are fixed.
#pragma once

#include <string>
#include <vector>

#include "report/model/run_summary.h"

namespace topspin {

/// One object, pretty-printed, newline at the end, ASCII only.
std::string run_report_json(const RunReport& report);

/// {"schema_version", "runs": [...]}, oldest first.
std::string run_list_json(const std::vector<ListedRun>& runs);

}  // namespace topspin
