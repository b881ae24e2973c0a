// Stored runs for people at a terminal: one run's report, and the list of runs. Hostile text is
// sanitised.
#pragma once

#include <string>
#include <vector>

#include "report/model/run_summary.h"

namespace topspin {

std::string run_report_text(const RunReport& report);
std::string run_list_text(const std::vector<ListedRun>& runs);

}  // namespace topspin
