// Help: the table of keys, and the meaning of columns and colours.
#include <fmt/format.h>

#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"

namespace topspin {
namespace {

struct HelpLine {
  std::string left, right;
  Role role = Role::kNormal;
};

std::vector<HelpLine> lines() {
  std::vector<HelpLine> all;
  all.push_back({"Keys", "", Role::kAccent});
  for (const KeyBinding& binding : key_bindings()) {
    all.push_back({std::string(binding.label), std::string(binding.what), Role::kNormal});
  }
  all.push_back(
      {"mouse", "the wheel moves, a click opens a row or screen, sorts by a title", Role::kNormal});
  all.push_back({"", "", Role::kNormal});
  all.push_back({"Screens", "", Role::kAccent});
  for (const Screen* screen : screens()) {
    std::string key;
    append_utf8(key, screen->key);
    all.push_back({fmt::format("{} {}", key, screen->title), std::string(screen->what)});
    for (const ScreenKey& own : screen->keys)
      all.push_back({fmt::format("  {}", own.label), std::string(own.what)});
  }
  all.push_back({"", "", Role::kNormal});
  all.push_back({"Columns of Flows", "", Role::kAccent});
  for (const FlowColumnInfo& column : flow_columns()) {
    all.push_back({std::string(column.title), std::string(column.what), Role::kNormal});
  }
  all.push_back({"", "", Role::kNormal});
  all.push_back({"Numbers", "", Role::kAccent});
  all.push_back({"active flows", "flows with a packet in the last window; exact, whatever is shown",
                 Role::kNormal});
  all.push_back(
      {"late", "share of active flows late by more than a tenth of their period", Role::kNormal});
  all.push_back(
      {"p99 p90 p50", "the highest percentile with ten samples above it; else max", Role::kNormal});
  all.push_back({"-", "not measured, or nothing to measure; never zero", Role::kNormal});
  return all;
}

}  // namespace

static void draw_help(Grid& grid, Area area, const Model&, const ViewState& state) {
  const std::vector<HelpLine> all = lines();
  const auto rows = static_cast<uint64_t>(area.height);
  const uint64_t most = all.size() > rows ? all.size() - rows : 0;
  const uint64_t top = std::min(state.list("help").top, most);
  const int left = area.width >= 50 ? 18 : 9;
  for (uint64_t i = 0; i < rows && top + i < all.size(); ++i) {
    const HelpLine& line = all[top + i];
    const int y = area.y + static_cast<int>(i);
    if (line.right.empty()) {
      grid.put(area.x + 1, y, line.left, line.role, area.width - 1);
      continue;
    }
    grid.put(area.x + 1, y, line.left, Role::kStrong, std::min(left - 1, area.width - 1));
    grid.put(area.x + 1 + left, y, line.right, Role::kNormal, area.width - left - 1);
  }
  if (top < most && area.width >= 12) {
    grid.put_right(area.x, area.y + area.height - 1, "more: Down", area.width - 1, Role::kDim);
  }
}

namespace {

uint64_t help_rows(const Model&, const ViewState&) { return lines().size(); }

int help_height(const Model&, const ViewState&, int) { return static_cast<int>(lines().size()); }

}  // namespace

const Screen& help_screen() {
  static const Screen kScreen = {
      .name = "help",
      .title = "Help",
      .short_title = "Help",
      .key = U'h',
      .what = "the keys, the screens, the columns",
      .draw = draw_help,
      .rows = help_rows,
      .plain_height = help_height,
      .is_overlay = true,
  };
  return kScreen;
}

}  // namespace topspin
