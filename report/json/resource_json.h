// The resources of a run as JSON: what the subject holds beyond the headline numbers, pressure,
// perf counters, and what follows from them. Private to report, since nlohmann's header stays
// inside.
#pragma once

#include "report/json/json_parts.h"
#include "report/model/run_summary.h"

namespace topspin {

/// Members of a report's "summary".
void add_resources_summary(Json& json, const RunReport& report);

/// Members of one of a report's "ticks".
void add_tick_resources(Json& json, const Sample& sample);

}  // namespace topspin
