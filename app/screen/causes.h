// What a screen says of causes: the findings (ci/findings) of the last minute that its model has.
#pragma once

#include "core/run/run.h"
#include "tui/model/model.h"

namespace topspin {

/// Puts the findings of the model's last minute into its scene. Takes some milliseconds.
void explain(Model& model, const RunInfo& run);

}  // namespace topspin
