// Draws everything around the screens: (model, view state, size) -> grid. The screens themselves
// are in screens/screens.h.
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

/// The layout of a screen of this size. The controller uses it for clicks and pages.
struct ScreenLayout {
  int head_height = 0;
  int tabs_y = -1;  // -1: no tabs
  int body_y = 0;
  int body_height = 0;
  int footer_y = -1;  // -1: no footer
};
ScreenLayout screen_layout(Size size);

/// The number of rows of flows on the screen, below the table's head line.
int flow_rows_visible(Size size);

/// The column whose title is at x in the head line of the flow table.
std::optional<FlowColumn> flow_column_at(const Model& model, const ViewState& state, Size size,
                                         int x);

void draw_head(Grid& grid, Area area, const Model& model, const ViewState& state);
void draw_tabs(Grid& grid, int y, const ViewState& state);
/// The screen whose tab is at cell x; nullptr if there is none.
const Screen* tab_at(int x, int width);
/// The number of the packet under the cursor; 0 if there is none.
uint64_t selected_packet(const Model& model, const ViewState& state);
void draw_footer(Grid& grid, int y, const Model& model, const ViewState& state);

/// The addresses and ports of the visible flows whose names have not been looked up. Empty unless
/// names are shown.
struct NameWants {
  std::vector<HostKey> hosts;
  std::vector<ServiceKey> services;
};
NameWants missing_names(const Model& model, const ViewState& state, Size size);

}  // namespace topspin
