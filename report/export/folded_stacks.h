// Folded stacks: a run's CPU samples (all, or those within its longest busy stretches), or its
// sleeps, in the form that flame graph programs read. Each stack is a line
// "thread;outermost;...;innermost COUNT"; for sleeps, the count is in microseconds. Streams from
// the store; any one thread.
#pragma once

#include "core/base/result.h"
#include "report/export/export.h"
#include "store/run_store.h"

namespace topspin {

enum class FoldedKind : uint8_t { kCpuSamples, kSleeps, kBusyStretches };

/// Writes the stacks of one run, or of several in turn. kUsage if a run was not recorded with
/// --stacks.
Status export_folded(RunStore& store, const std::vector<StoredRun>& runs, FoldedKind kind,
                     ExportOutput& output);

/// One stack as a line. Its text may be hostile, and is escaped so that only real separators end
/// the line or separate frames.
std::string folded_line(const StackRow& stack);
std::string folded_line(const SleepStackRow& stack);

}  // namespace topspin
