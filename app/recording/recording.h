// Recording: one run from open to finish: the subject's command, the capture thread, the probes,
// the store.
//
// Opens everything, gives privileges up, then loops on one thread (the main one) over signals, the
// tick timer and the capture's hand-overs.
#pragma once

#include "app/options/record_options.h"
#include "app/recording/conductor.h"
#include "app/recording/onlooker.h"

namespace topspin {

/// Records one run, in front of an onlooker if there is one. Returns the process's exit code: the
/// command's own where there is one.
int record(const RecordOptions& options, Onlooker* onlooker = nullptr);

/// Records one run that `conductor` leads. Returns 0 once the run is stored, whatever it shows;
/// 128 + n after signal n, and then the run is kept as interrupted.
int record(const RecordOptions& options, Conductor& conductor);

}  // namespace topspin
