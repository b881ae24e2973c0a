// A stored run as playback shows it: its ticks, read when they are asked for.
#pragma once

#include <memory>

#include "app/screen/playback.h"
#include "core/base/result.h"
#include "store/run_store.h"

namespace topspin {

/// The ticks that are stored by now. Those of a run that goes on end there.
Result<Recorded> recorded_run(std::shared_ptr<RunStore> store, const StoredRun& run);

}  // namespace topspin
