#include "tui/terminal/number_table.h"

#include <fmt/format.h>

#include "tui/terminal/draw.h"

namespace topspin {

void NumberTable::draw_titles(std::string_view name_title, std::optional<size_t> sorted,
                              bool upwards) {
  if (area_.height < 1) return;
  grid_.put(area_.x + 1, area_.y, name_title, Role::kDim, name_width_ - 1);
  int x = area_.x + name_width_ + 1;
  for (size_t i = 0; i < shown_; ++i) {
    std::string title(columns_[i].title);
    if (sorted == i) {
      const std::string_view arrow = grid_.ascii() ? (upwards ? "^" : "v") : (upwards ? "▲" : "▼");
      title = fmt::format("{}{}", arrow, title);
    }
    grid_.put_right(x, area_.y, title, columns_[i].width, sorted == i ? Role::kAccent : Role::kDim);
    x += columns_[i].width + 1;
  }
}

void NumberTable::draw_row(int row, std::string_view name,
                           const std::function<std::string(size_t)>& cell, Role role,
                           bool selected) {
  const int y = area_.y + 1 + row;
  if (y >= area_.y + area_.height) return;
  grid_.put(area_.x + 1, y, name, role, name_width_ - 1);
  int x = area_.x + name_width_ + 1;
  for (size_t i = 0; i < shown_; ++i) {
    const std::string text = cell(i);
    const bool little = text == "-" || text == "0" || text == "0 B/s" || text == "0.0%";
    grid_.put_right(x, y, whole_or_ellipsis(grid_, text, columns_[i].width), columns_[i].width,
                    little && role == Role::kNormal ? Role::kDim : role);
    x += columns_[i].width + 1;
  }
  if (selected) grid_.restyle(area_.x, y, area_.width, Role::kSelected);
}

}  // namespace topspin
