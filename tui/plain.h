// The screens as plain text, for --once, --batch and the export key.
//
// Pure. No escape sequences; the grid makes hostile text harmless.
#pragma once

#include <string>

#include "tui/model/model.h"
#include "tui/view_state.h"

namespace topspin {

/// The screen that `state` shows, `width` cells wide, with at most `rows` rows of its table. A
/// screen without a table is as tall as a usual terminal.
std::string plain_screen(const Model& model, ViewState state, int width, int rows);

}  // namespace topspin
