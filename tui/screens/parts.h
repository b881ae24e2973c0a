// Parts that several screens use. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tui/model/model.h"
#include "tui/terminal/grid.h"
#include "tui/view_state.h"

namespace topspin {

/// Draws one flow's page and its packets in place of the table. REQUIRES: state.detail_id.
void draw_flow_detail(Grid& grid, Area area, const Model& model, const ViewState& state);
void draw_packets(Grid& grid, Area area, const Model& model, const ViewState& state);

/// One flow's ticks in one row, the newest at the right end.
void draw_liveness_strip(Grid& grid, int x, int y, int width, const LivenessHistory& history);

/// Why a screen about the subject is empty: there is no subject, the probe has a reason, or nothing
/// was measured yet.
void draw_why_not(Grid& grid, Area area, const Model& model, std::string_view probe,
                  std::string_view nothing_yet);

// Values of a series as numbers for its bars, and as text.
std::optional<double> as_number(const std::optional<int64_t>& value);
std::string as_bytes(double bytes);

}  // namespace topspin
