// A stored run for playback. Its ticks are read when they are needed.
#pragma once

#include <memory>

#include "app/screen/playback.h"
#include "core/base/result.h"
#include "store/run_store.h"

namespace topspin {

/// The ticks that are stored so far. A run that is still being recorded ends there.
Result<Recorded> recorded_run(std::shared_ptr<RunStore> store, const StoredRun& run);

}  // namespace topspin
