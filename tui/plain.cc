#include "tui/plain.h"

#include <algorithm>

#include <fmt/format.h>

#include "tui/terminal/draw.h"
#include "tui/views.h"

namespace topspin {
namespace {

constexpr int kGraphHeight = 24;

}  // namespace

std::string plain_screen(const Model& model, ViewState state, int width, int rows) {
  // Nothing of the hands: no cursor, no prompt, no tabs.
  state.prompt = Prompt::kNone;
  state.choosing_columns = false;
  state.message.clear();
  state.colours = 0;
  int body_height = kGraphHeight;
  if (state.screen == Screen::kFlows && !state.detail_id) {
    const uint64_t flows = query_flows(model, state.flow_query(), 0, 0).rows;
    body_height = 1 + static_cast<int>(std::min<uint64_t>(flows, static_cast<uint64_t>(rows)));
    body_height = std::max(body_height, 2);
  } else if (state.screen == Screen::kScheduler) {
    body_height +=
        static_cast<int>(std::min<size_t>(model.threads().size(), static_cast<size_t>(rows)));
  } else if (state.screen == Screen::kHelp) {
    body_height = help_lines();
  }
  constexpr int kHead = 4;
  Grid grid({width, kHead + body_height + 1}, state.ascii);
  draw_head(grid, {0, 0, width, kHead}, model, state);
  const Area body{0, kHead, width, body_height};
  draw_body(grid, body, model, state);
  draw_footer(grid, kHead + body_height, model, state);
  return grid_text(grid);
}

}  // namespace topspin
