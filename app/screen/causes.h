// The causes on a screen: the findings (ci/findings) of the last minute in its model.
#pragma once

#include "core/run/run.h"
#include "tui/model/model.h"

namespace topspin {

/// Puts the findings of the model's last minute into its scene. Takes some milliseconds.
void explain(Model& model, const RunInfo& run);

}  // namespace topspin
