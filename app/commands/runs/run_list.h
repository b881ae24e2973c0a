// The list of runs for people at a terminal: a row a run, as wide as it may be. Pure; hostile text
// is sanitised.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ci/metrics/measured_run.h"
#include "ci/metrics/standing.h"

namespace topspin {

struct RunListRow {
  MeasuredRun measured;
  RunStanding standing;
};

/// "ok": complete, usable, may be judged; "not judged": usable only; "unusable"; or, of a run that
/// is not complete, its status.
std::string_view run_state(const RunListRow& row);

/// Oldest first. `width`: cells of a line, the last column is cut to fit; 0: nothing is cut, and
/// the whole ids are shown.
std::string run_list(const std::vector<RunListRow>& rows, size_t width);

}  // namespace topspin
