#include "tui/plain.h"

#include <algorithm>

#include <fmt/format.h>

#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"
#include "tui/views.h"

namespace topspin {
namespace {

constexpr int kGraphHeight = 24;

}  // namespace

std::string plain_screen(const Model& model, ViewState state, int width, int rows) {
  // Without interaction: no cursor, no prompt, no tabs.
  state.prompt = Prompt::kNone;
  state.choosing_columns = false;
  state.message.clear();
  state.colours = 0;
  const Screen& screen = shown_screen(state);
  const int body_height =
      screen.plain_height != nullptr ? screen.plain_height(model, state, rows) : kGraphHeight;
  constexpr int kHead = 4;
  Grid grid({width, kHead + body_height + 1}, state.ascii);
  draw_head(grid, {0, 0, width, kHead}, model, state);
  const Area body{0, kHead, width, body_height};
  screen.draw(grid, body, model, state);
  draw_footer(grid, kHead + body_height, model, state);
  return grid_text(grid);
}

}  // namespace topspin
