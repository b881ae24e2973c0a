// The views: (model, view state, size) -> grid. One file each; here is the list of them.
//
// Pure functions. Each body draws into a rectangle below the head and above the footer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tui/model/model.h"
#include "tui/terminal/grid.h"
#include "tui/view_state.h"

namespace topspin {

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
/// The screen whose tab is at cell x, kCount: none.
Screen tab_at(int x, int width);
void draw_flows(Grid& grid, Area area, const Model& model, const ViewState& state);
void draw_flow_detail(Grid& grid, Area area, const Model& model, const ViewState& state);
void draw_scheduler(Grid& grid, Area area, const Model& model, const ViewState& state);
void draw_resources(Grid& grid, Area area, const Model& model, const ViewState& state);
void draw_timeline(Grid& grid, Area area, const Model& model, const ViewState& state);
void draw_liveness(Grid& grid, Area area, const Model& model, const ViewState& state);
/// One flow's ticks in one row, the newest at the right end.
void draw_liveness_strip(Grid& grid, int x, int y, int width, const LivenessHistory& history);
void draw_losses(Grid& grid, Area area, const Model& model, const ViewState& state);
void draw_syscalls(Grid& grid, Area area, const Model& model, const ViewState& state);
void draw_sockets(Grid& grid, Area area, const Model& model, const ViewState& state);
/// Why a screen of the subject has nothing to show: no subject, the probe's reason, or nothing yet.
void draw_why_not(Grid& grid, Area area, const Model& model, std::string_view probe,
                  std::string_view nothing_yet);
void draw_interfaces(Grid& grid, Area area, const Model& model, const ViewState& state);
/// The first interface that is visible with so many rows.
size_t interface_top(const ViewState& state, size_t count, size_t rows);
/// REQUIRES: state.detail_id.
void draw_packets(Grid& grid, Area area, const Model& model, const ViewState& state);
/// The number of the packet under the cursor; 0: there is none.
uint64_t selected_packet(const Model& model, const ViewState& state);
void draw_help(Grid& grid, Area area, const Model& model, const ViewState& state);
/// Of these, the one that the state has chosen; a chosen flow takes the place of the table.
void draw_body(Grid& grid, Area area, const Model& model, const ViewState& state);
void draw_footer(Grid& grid, int y, const Model& model, const ViewState& state);

/// What of the flows on the screen has no name looked up yet. Empty unless names are asked for.
struct NameWants {
  std::vector<HostKey> hosts;
  std::vector<ServiceKey> services;
};
NameWants missing_names(const Model& model, const ViewState& state, Size size);

/// Lines of Help, for the controller's scrolling.
int help_lines();

}  // namespace topspin
