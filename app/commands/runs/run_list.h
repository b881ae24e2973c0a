// The list of runs, as a document with one row per run. Pure, except for read_list_row().
#pragma once

#include <string_view>
#include <vector>

#include "ci/metrics/measured_run.h"
#include "ci/metrics/standing.h"
#include "report/document/document.h"

namespace topspin {

struct RunListRow {
  MeasuredRun measured;
  RunStanding standing;
};

/// Reads a run's numbers. A list shows all runs, so if the ticks of one cannot be read, its row
/// says so.
RunListRow read_list_row(RunStore& store, StoredRun run);

/// "ok": complete, usable, may be judged; "not judged": usable only; "unusable"; or, of a run that
/// is not complete, its status.
std::string_view run_state(const RunListRow& row);

/// In the order of `rows`. `with_ids` adds a column with the whole ids.
document::Document run_list_document(const std::vector<RunListRow>& rows, bool with_ids);

}  // namespace topspin
