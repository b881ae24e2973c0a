// A table of names and numbers, with a mark at the sorted column, and as many columns as fit. The
// screens of system calls and sockets share it. Pure.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tui/terminal/grid.h"

namespace topspin {

struct NumberColumn {
  std::string_view title;
  int width;
};

class NumberTable {
 public:
  /// Columns are in order of importance. Those that do not fit beside a name of `name_width` are
  /// left out, the last ones first. Rows are ordered by column `sorted`, downwards unless
  /// `upwards`.
  NumberTable(Grid& grid, Area area, int name_width, std::span<const NumberColumn> columns)
      : grid_(grid), area_(area), name_width_(std::min(name_width, area.width)) {
    int x = name_width_;
    for (const NumberColumn& column : columns) {
      if (x + 1 + column.width > area.width) break;
      x += 1 + column.width;
      ++shown_;
    }
    columns_ = columns.first(shown_);
  }

  size_t shown() const { return shown_; }

  void draw_titles(std::string_view name_title, std::optional<size_t> sorted, bool upwards);
  /// `row` 0 is the first below the titles. `cell(column)` gives a cell's text, "-" for absent.
  void draw_row(int row, std::string_view name, const std::function<std::string(size_t)>& cell,
                Role role = Role::kNormal, bool selected = false);

 private:
  Grid& grid_;
  Area area_;
  int name_width_;
  std::span<const NumberColumn> columns_;
  size_t shown_ = 0;
};

}  // namespace topspin
