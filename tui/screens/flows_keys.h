// What keys do to the table of flows: the cursor, the order, groups, a search. Pure.
#pragma once

#include "tui/screens/screens.h"

namespace topspin {

/// Of the screen "flows".
bool press_flows(ScreenPress& press);

/// Follows the next flow that has state.search_text. `include_here`: the one under the cursor may
/// be it.
void search_flow(ViewState& state, const Model& model, Size size, bool include_here);

}  // namespace topspin
