// The resources of a run for people: what flows cost, when that ends, what did not come back; what
// the host was short of; perf counters. Each is lines, or empty where nothing is known.
#pragma once

#include <string>

#include "report/model/run_summary.h"

namespace topspin {

std::string growth_text(const Growth& growth);
std::string pressure_text(const PressureInterval& pressure);
std::string counters_text(const CounterInterval& counters);

}  // namespace topspin
