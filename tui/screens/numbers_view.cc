// Numbers: all numbers of a tick, from the registry (core/tick/numbers.h), so every measured number
// is on a screen. The key / searches them.
#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <string>

#include <fmt/format.h>

#include "core/base/text.h"
#include "core/tick/numbers.h"
#include "tui/screens/number_page.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"
#include "tui/terminal/number_table.h"

namespace topspin {
namespace {

constexpr std::array<NumberColumn, 3> kNumberColumns = {{
    {"this tick", 14},
    {"in all", 14},
    {"probe", 10},
}};
constexpr int kColumnsWidth = 44;

template <typename Distribution>
std::string distribution_text(const Distribution* distribution) {
  if (distribution == nullptr || distribution->empty()) return "-";
  if (const auto p99 = distribution->summary().p99)
    return fmt::format("p99 {}", format_duration(static_cast<int64_t>(*p99)));
  return fmt::format("max {}", format_duration(static_cast<int64_t>(*distribution->max())));
}

std::string text_of(const RegisteredNumber& number, const Sample& sample) {
  if (number.histogram) return distribution_text(number.histogram(sample));
  if (number.signed_histogram) return distribution_text(number.signed_histogram(sample));
  const auto value = number.value(sample);
  return value ? number_text(number, *value) : "-";
}

void draw_numbers(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const ListState list = state.list("numbers");
  const auto& all = numbers();
  const int name_width = std::clamp(area.width - kColumnsWidth, std::min(area.width, 20), 36);
  NumberTable table(grid, area, name_width, kNumberColumns);
  table.draw_titles(fmt::format("Number ({})", all.size()), std::nullopt, false);
  const int help_x = name_width + kColumnsWidth;
  const auto visible = static_cast<uint64_t>(std::max(area.height - 1, 0));
  const uint64_t top = top_of_list(list, all.size(), visible);
  const bool some = !model.history().empty();
  for (uint64_t i = 0; i < visible && top + i < all.size(); ++i) {
    const RegisteredNumber& number = all[top + i];
    const auto cell = [&](size_t column) -> std::string {
      if (column == 2) return std::string(number.probe);
      return some ? text_of(number, column == 0 ? model.last() : model.whole()) : "-";
    };
    // If there is no room for the help, Enter shows it.
    if (area.width > help_x + 20) {
      grid.put(area.x + help_x, area.y + 1 + static_cast<int>(i), number.help, Role::kDim,
               area.width - help_x);
    }
    table.draw_row(static_cast<int>(i), number.name, cell, Role::kNormal,
                   top + i == std::min<uint64_t>(list.selected, all.size() - 1));
  }
}

uint64_t numbers_rows(const Model&, const ViewState&) { return numbers().size(); }

bool contains(std::string_view text, std::string_view part) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  };
  return std::search(text.begin(), text.end(), part.begin(), part.end(), same) != text.end();
}

/// Searches from the cursor on, and wraps around.
void search_numbers(ViewState& state, const Model&, bool include_here) {
  const auto& all = numbers();
  ListState& list = state.list("numbers");
  for (size_t step = include_here ? 0 : 1; step <= all.size(); ++step) {
    const size_t at = (list.selected + step) % all.size();
    const RegisteredNumber& number = all[at];
    if (!contains(number.name, state.search_text) && !contains(number.label, state.search_text) &&
        !contains(number.help, state.search_text))
      continue;
    list.selected = at;
    state.message = fmt::format("{}: {}", number.name, number.help);
    return;
  }
  state.message = fmt::format("no number is called or means {}", state.search_text);
}

bool press_numbers(ScreenPress& press) {
  if (press.command != Command::kEnter) return false;
  const auto& all = numbers();
  const RegisteredNumber& number =
      all[std::min<uint64_t>(press.state.list("numbers").selected, all.size() - 1)];
  press.state.message = fmt::format("{}: {}", number.name, number.help);
  return true;
}

constexpr std::array<ScreenKey, 2> kKeys = {{
    {"/ N", "a number by its name or meaning, and the next"},
    {"Enter", "what the number under the cursor means"},
}};

int numbers_height(const Model&, const ViewState&, int) {
  return static_cast<int>(numbers().size()) + 1;
}

}  // namespace

const Screen& numbers_screen() {
  static const Screen kScreen = {.name = "numbers",
                                 .title = "Numbers",
                                 .short_title = "All",
                                 .key = U'#',
                                 .what = "every number of a tick, to be searched",
                                 .draw = draw_numbers,
                                 .rows = numbers_rows,
                                 .has_cursor = true,
                                 .press = press_numbers,
                                 .keys = kKeys,
                                 .search = search_numbers,
                                 .plain_height = numbers_height};
  return kScreen;
}

}  // namespace topspin
