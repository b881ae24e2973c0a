// Folded stacks: a run's CPU samples as flame graph programs read them, one line a stack:
// "thread;outermost;...;innermost COUNT". Streams from the store; any one thread.
#pragma once

#include "core/base/result.h"
#include "report/export/export.h"
#include "store/run_store.h"

namespace topspin {

/// The stacks of one run, or of several one after the other. kUsage: a run was not recorded with
/// --stacks.
Status export_folded(RunStore& store, const std::vector<StoredRun>& runs, ExportOutput& output);

/// One stack as a line. Its text is hostile where the database is: nothing in it ends the line or
/// divides frames but the dividers.
std::string folded_line(const StackRow& stack);

}  // namespace topspin
