// The whole screen: its layout, the tabs, the footer, and the chosen view between them.
#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "core/base/text.h"
#include "core/base/text_width.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"
#include "tui/views.h"

namespace topspin {
namespace {

/// A tab: its first cell and width, its key, and the part of its name that fits.
struct TabSpan {
  const Screen* screen;
  int x, width;
  std::string key, name;
};

enum class TabStyle : uint8_t { kWhole, kShort, kTight, kKeys };

/// Whole names if all fit, else short ones, else short ones without gaps, else only keys.
std::vector<TabSpan> tab_spans(int width) {
  std::vector<TabSpan> spans;
  for (const TabStyle style :
       {TabStyle::kWhole, TabStyle::kShort, TabStyle::kTight, TabStyle::kKeys}) {
    spans.clear();
    int x = 0;
    for (const Screen* screen : screens()) {
      // The footer shows the keys of Help and the menu as well.
      if (style == TabStyle::kTight && screen->is_overlay) continue;
      std::string key = style == TabStyle::kTight ? "" : " ";
      append_utf8(key, screen->key);
      if (style <= TabStyle::kShort) key += ' ';
      std::string name;
      if (style == TabStyle::kWhole) name = fmt::format("{} ", screen->title);
      if (style == TabStyle::kShort || style == TabStyle::kTight)
        name = fmt::format("{} ", screen->short_title);
      const int cells = text_width(key) + text_width(name);
      spans.push_back({screen, x, cells, std::move(key), std::move(name)});
      x += cells;
    }
    if (x <= width) break;
  }
  return spans;
}

}  // namespace

ScreenLayout screen_layout(Size size) {
  ScreenLayout layout;
  if (size.height < 4 || size.width < 12) {
    // Too small for anything else: only the active flows and the body.
    layout.head_height = std::min(size.height, 1);
  } else if (size.height < 16 || size.width < 64) {
    layout.head_height = 2;
  } else {
    layout.head_height = 1 + kBigHeight;
  }
  layout.body_y = layout.head_height;
  int bottom = size.height;
  if (size.height >= 6) layout.footer_y = --bottom;
  if (size.height >= 9 && size.width >= 12) layout.tabs_y = layout.body_y++;
  layout.body_height = std::max(bottom - layout.body_y, 0);
  return layout;
}

void draw_tabs(Grid& grid, int y, const ViewState& state) {
  grid.fill(0, y, grid.width(), Role::kBarDim);
  for (const TabSpan& tab : tab_spans(grid.width())) {
    const bool shown = tab.screen == &shown_screen(state);
    // Highlight the key, because the name may follow without a gap.
    const int x = tab.x + grid.put(tab.x, y, tab.key, shown ? Role::kTab : Role::kBar);
    grid.put(x, y, tab.name, shown ? Role::kTab : Role::kBarDim);
  }
}

const Screen* tab_at(int x, int width) {
  for (const TabSpan& tab : tab_spans(width)) {
    if (x >= tab.x && x < tab.x + tab.width) return tab.screen;
  }
  return nullptr;
}

/// From this width on there is room for a cause beside the counts.
static constexpr int kWideFooter = 100;

/// Draws how many flows exist and are shown, and with `all` their bytes. Returns the cell after it.
static int draw_counts(Grid& grid, int y, const Model& model, const ViewState& state, bool all) {
  const bool some = !model.history().empty();
  const TickPoint point = some ? model.history().back() : TickPoint{};
  const uint64_t shown = [&]() -> uint64_t {
    if (state.filter.empty()) return model.flows().size();
    uint64_t count = 0;
    for (const FlowEntry& flow : model.flows())
      count += state.filter.matches(flow.row, model.owners()) ? 1 : 0;
    return count;
  }();
  const auto rate = per_second(point.bytes, point.flow_interval_ns);
  std::vector<std::string> parts = {
      fmt::format("{} flows", some ? format_exact(point.live_flows) : "-"),
      fmt::format("{} shown", format_exact(shown)),
      fmt::format("{} total", format_bytes(static_cast<int64_t>(model.bytes_total()))),
      fmt::format("{}/s", rate ? format_bytes(static_cast<int64_t>(*rate)) : "-"),
  };
  if (!all) parts.resize(2);
  int x = 1;
  for (const std::string& part : parts) {
    if (x + text_width(part) > grid.width()) break;
    x += grid.put(x, y, part, Role::kBar) + 3;
  }
  return x;
}

void draw_footer(Grid& grid, int y, const Model& model, const ViewState& state) {
  const int width = grid.width();
  grid.fill(0, y, width, Role::kBar);
  if (state.prompt != Prompt::kNone) {
    const std::string label = state.prompt == Prompt::kSearch ? " search: "
                              : state.prompt == Prompt::kTime ? " to the time: "
                                                              : " show only: ";
    const int x = grid.put(0, y, label, Role::kTab);
    // Show the end of a long input, where the user is typing.
    std::string input = sanitize_for_terminal(state.input);
    const int room = std::max(width - x - 2, 0);
    while (!input.empty() && text_width(input) > room) {
      size_t first = 0;
      (void)next_code_point(input, first);
      input.erase(0, first);
    }
    const int end = x + 1 + grid.put(x + 1, y, input, Role::kBar);
    grid.put_symbol(end, y, U'▏', '_', Role::kBar);
    return;
  }
  if (!state.message.empty()) {
    grid.put(1, y, state.message, Role::kBar, width - 2);
    return;
  }
  const bool has_cause = !model.scene.causes.empty() && model.scene.causes.front().stands_out;
  int x = 1;
  if (!has_cause || width >= kWideFooter) x = draw_counts(grid, y, model, state, !has_cause);
  std::string_view hint = "/ search  f filter  s sort  space freeze  m menu  h help  q quit";
  if (has_cause)
    hint = "y why  m menu  h help  q quit";
  else if (x + text_width(hint) + 2 > width)
    hint = "m menu  h help  q quit";
  const bool has_hint = has_cause ? width >= 60 : x + text_width(hint) + 2 <= width;
  if (has_hint) grid.put_right(0, y, hint, width - 1, Role::kBarDim);
  if (!has_cause) return;
  const int room = width - x - 2 - (has_hint ? text_width(hint) + 1 : 0);
  grid.put(x, y, model.scene.causes.front().sentence, Role::kLoss, room);
}

Grid draw_screen(const Model& model, const ViewState& state, Size size) {
  Grid grid(size, state.ascii);
  const ScreenLayout layout = screen_layout(size);
  draw_head(grid, {0, 0, size.width, layout.head_height}, model, state);
  if (layout.tabs_y >= 0) draw_tabs(grid, layout.tabs_y, state);
  const Area body{0, layout.body_y, size.width, layout.body_height};
  if (body.height > 0 && body.width > 0) {
    shown_screen(state).draw(grid, body, model, state);
  }
  if (layout.footer_y >= 0) draw_footer(grid, layout.footer_y, model, state);
  return grid;
}

}  // namespace topspin
