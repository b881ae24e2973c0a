// Recording: one run from beginning to end, with the subject's command, the capture thread, the
// probes and the store.
//
// It opens everything, gives up privileges, and then runs a loop on the main thread. The loop waits
// for signals, the tick timer and intervals of the capture.
#pragma once

#include "app/options/record_options.h"
#include "app/recording/conductor.h"
#include "app/recording/onlooker.h"

namespace topspin {

/// Records one run, which the onlooker sees if there is one. Returns the process's exit code, which
/// is that of the command if there is one.
int record(const RecordOptions& options, Onlooker* onlooker = nullptr);

/// Records one run that `conductor` controls. Returns 0 once the run is stored, whatever it shows.
/// Returns 128 + n after signal n; the run is then stored as interrupted.
int record(const RecordOptions& options, Conductor& conductor);

}  // namespace topspin
