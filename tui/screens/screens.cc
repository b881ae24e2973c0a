// The list of screens, one line each, in the order of the tabs. The word `x` stands for the
// function x_screen() of x_view.cc.
#include "tui/screens/screens.h"

#include <algorithm>

#include "core/base/check.h"
#include "tui/views.h"

#define TOPSPIN_SCREENS(line)                                                               \
  line(flows) line(scheduler) line(resources) line(timeline) line(liveness) line(losses)    \
      line(syscalls) line(sockets) line(interfaces) line(processes) line(numbers) line(why) \
          line(slowest) line(menu) line(help)

namespace topspin {

#define TOPSPIN_DECLARE(name) const Screen& name##_screen();
TOPSPIN_SCREENS(TOPSPIN_DECLARE)
#undef TOPSPIN_DECLARE

const std::vector<const Screen*>& screens() {
#define TOPSPIN_ADDRESS(name) &name##_screen(),
  static const std::vector<const Screen*> kAll = {TOPSPIN_SCREENS(TOPSPIN_ADDRESS)};
#undef TOPSPIN_ADDRESS
  return kAll;
}

const Screen* find_screen(std::string_view name) {
  for (const Screen* screen : screens()) {
    if (screen->name == name) return screen;
  }
  return nullptr;
}

const Screen* screen_of_key(const Key& key) {
  for (const Screen* screen : screens()) {
    if (key == character_key(screen->key)) return screen;
  }
  return nullptr;
}

const Screen& shown_screen(const ViewState& state) {
  const Screen* screen = find_screen(state.screen);
  return screen != nullptr ? *screen : *screens().front();
}

void open_screen(ViewState& state, std::string_view name) {
  const Screen* screen = find_screen(name);
  CHECK(screen != nullptr);
  if (screen->is_overlay && !shown_screen(state).is_overlay) state.before_overlay = state.screen;
  state.screen = screen->name;
  state.choosing_columns = false;
}

std::optional<int64_t> rows_moved(const ScreenPress& press) {
  constexpr int64_t kFar = int64_t{1} << 40;
  if (!press.command) return std::nullopt;
  const int64_t page = std::max(screen_layout(press.size).body_height - 1, 1);
  switch (*press.command) {
    case Command::kUp: return press.key.code == KeyCode::kWheelUp ? -3 : -1;
    case Command::kDown: return press.key.code == KeyCode::kWheelDown ? 3 : 1;
    case Command::kPageUp: return -page;
    case Command::kPageDown: return page;
    case Command::kHome: return -kFar;
    case Command::kEnd: return kFar;
    default: return std::nullopt;
  }
}

uint64_t top_of_list(const ListState& list, uint64_t count, uint64_t visible) {
  if (visible == 0 || count == 0) return 0;
  const uint64_t selected = std::min(list.selected, count - 1);
  return selected >= visible ? selected - visible + 1 : 0;
}

}  // namespace topspin
