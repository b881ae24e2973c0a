// The keys of the table of flows: cursor, order, groups and search. Pure.
#pragma once

#include "tui/screens/screens.h"

namespace topspin {

/// Screen::press of the screen "flows".
bool press_flows(ScreenPress& press);

/// Moves the cursor to the next flow that contains state.search_text. With `include_here` this may
/// be the flow under the cursor.
void search_flow(ViewState& state, const Model& model, Size size, bool include_here);

}  // namespace topspin
