// What is drawn around the screens: (model, view state, size) -> grid. The screens themselves are
// in screens/screens.h.
//
// Pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tui/model/model.h"
#include "tui/terminal/grid.h"
#include "tui/view_state.h"

namespace topspin {

struct Screen;

/// The whole screen: head, tabs, the chosen view, footer or prompt.
Grid draw_screen(const Model& model, const ViewState& state, Size size);

/// Where things are on a screen of this size. The controller reads clicks and pages by it.
struct ScreenLayout {
  int head_height = 0;
  int tabs_y = -1;  // -1: no tabs
  int body_y = 0;
  int body_height = 0;
  int footer_y = -1;  // -1: no footer
};
ScreenLayout screen_layout(Size size);

/// Rows of flows on the screen (below the table's head line), 0 if none.
int flow_rows_visible(Size size);

/// The column whose title is at cell x of the flow table's head line.
std::optional<FlowColumn> flow_column_at(const Model& model, const ViewState& state, Size size,
                                         int x);

void draw_head(Grid& grid, Area area, const Model& model, const ViewState& state);
void draw_tabs(Grid& grid, int y, const ViewState& state);
/// The screen whose tab is at cell x; nullptr: none.
const Screen* tab_at(int x, int width);
/// The number of the packet under the cursor; 0: there is none.
uint64_t selected_packet(const Model& model, const ViewState& state);
void draw_footer(Grid& grid, int y, const Model& model, const ViewState& state);

/// What of the flows on the screen has no name looked up yet. Empty unless names are asked for.
struct NameWants {
  std::vector<HostKey> hosts;
  std::vector<ServiceKey> services;
};
NameWants missing_names(const Model& model, const ViewState& state, Size size);

}  // namespace topspin
