// Menu: all screens with a description; Enter, a click or its key opens one.
#include <algorithm>
#include <string>

#include "tui/screens/screens.h"

namespace topspin {
namespace {

void draw_menu(Grid& grid, Area area, const Model&, const ViewState& state) {
  const int head = area.height >= 3 ? 1 : 0;
  if (head > 0) grid.put(area.x + 1, area.y, "Screens", Role::kAccent, area.width - 1);
  const ListState& list = state.list("menu");
  const auto visible = static_cast<uint64_t>(std::max(area.height - head, 0));
  const uint64_t top = top_of_list(list, screens().size(), visible);
  for (uint64_t i = 0; i < visible && top + i < screens().size(); ++i) {
    const Screen& screen = *screens()[top + i];
    const int y = area.y + head + static_cast<int>(i);
    std::string key;
    append_utf8(key, screen.key);
    grid.put(area.x + 1, y, key, Role::kStrong, area.width - 1);
    grid.put(area.x + 4, y, screen.title, Role::kNormal, area.width - 4);
    grid.put(area.x + 17, y, screen.what, Role::kDim, area.width - 17);
    if (top + i == list.selected) grid.restyle(area.x, y, area.width, Role::kSelected);
  }
}

uint64_t menu_rows(const Model&, const ViewState&) { return screens().size(); }

bool press_menu(ScreenPress& press) {
  if (press.command != Command::kEnter) return false;
  const uint64_t row = press.state.list("menu").selected;
  if (row < screens().size()) open_screen(press.state, screens()[row]->name);
  return true;
}

int menu_height(const Model&, const ViewState&, int) {
  return static_cast<int>(screens().size()) + 1;
}

}  // namespace

const Screen& menu_screen() {
  static const Screen kScreen = {.name = "menu",
                                 .title = "Menu",
                                 .short_title = "Menu",
                                 .key = U'm',
                                 .what = "all screens, to choose one",
                                 .draw = draw_menu,
                                 .rows = menu_rows,
                                 .has_cursor = true,
                                 .press = press_menu,
                                 .plain_height = menu_height,
                                 .is_overlay = true};
  return kScreen;
}

}  // namespace topspin
