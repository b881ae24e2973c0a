#include "tui/terminal/grid.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/base/text.h"
#include "core/base/text_width.h"

namespace topspin {

Grid::Grid(Size size, bool ascii)
    : size_{std::max(size.width, 0), std::max(size.height, 0)},
      ascii_(ascii),
      cells_(static_cast<size_t>(size_.width) * static_cast<size_t>(size_.height)) {}

const Cell& Grid::at(int x, int y) const {
  CHECK(x >= 0 && y >= 0 && x < size_.width && y < size_.height);
  return cells_[static_cast<size_t>(y) * static_cast<size_t>(size_.width) + static_cast<size_t>(x)];
}

Cell* Grid::cell(int x, int y) {
  if (x < 0 || y < 0 || x >= size_.width || y >= size_.height) return nullptr;
  return &cells_[static_cast<size_t>(y) * static_cast<size_t>(size_.width) +
                 static_cast<size_t>(x)];
}

/// Writing over one half of a wide character must not leave the other half behind.
void Grid::clear_wide_at(int x, int y) {
  Cell* here = cell(x, y);
  if (here == nullptr) return;
  if (here->code == 0) {
    if (Cell* left = cell(x - 1, y)) *left = Cell{.style = left->style};
  }
  if (Cell* right = cell(x + 1, y); right != nullptr && right->code == 0) {
    *right = Cell{.style = right->style};
  }
}

void Grid::set(int x, int y, char32_t code, Style style) {
  Cell* target = cell(x, y);
  if (target == nullptr) return;
  clear_wide_at(x, y);
  *target = Cell{code, {}, style};
}

int Grid::put(int x, int y, std::string_view text, Style style, int max_width) {
  const int room = std::max(size_.width - x, 0);
  const int limit = max_width < 0 ? room : std::min(max_width, room);
  if (limit <= 0 || y < 0 || y >= size_.height) return 0;
  const std::string safe = sanitize_for_terminal(text);
  const bool cut = text_width(safe) > limit;
  const int last = cut ? limit - 1 : limit;  // cells for text; the ellipsis takes one
  int used = 0;
  int mark_at = -1;  // the cell that a combining mark joins
  for (size_t position = 0; position < safe.size();) {
    char32_t c = next_code_point(safe, position).value_or(U'?');
    int width = code_point_width(c);
    if (ascii_ && c > 0x7e) {
      if (width == 0) continue;
      c = U'?';
    }
    if (width == 0) {
      if (mark_at < 0) continue;  // a mark without a character to join
      if (Cell* base = cell(mark_at, y)) {
        for (char32_t& mark : base->marks) {
          if (mark != 0) continue;
          mark = c;
          break;
        }
      }
      continue;
    }
    if (used + width > last) break;
    if (ascii_ && width == 2) {
      set(x + used, y, c, style);
      set(x + used + 1, y, U' ', style);
    } else if (width == 2) {
      // A wide character that would cross an edge of the grid is replaced by a space.
      const bool whole = x + used >= 0 && x + used + 1 < size_.width;
      set(x + used, y, whole ? c : U' ', style);
      set(x + used + 1, y, whole ? U'\0' : U' ', style);
      if (whole)
        cell(x + used, y)->code = c;  // clear_wide_at() of the right half may have blanked it
    } else {
      set(x + used, y, c, style);
    }
    mark_at = x + used;
    used += width;
  }
  if (cut) {
    while (used < last) set(x + used++, y, U' ', style);
    set(x + used++, y, ascii_ ? U'~' : U'…', style);
  }
  return used;
}

void Grid::put_right(int x, int y, std::string_view text, int width, Style style) {
  const int needed = text_width(sanitize_for_terminal(text));
  put(x + std::max(width - needed, 0), y, text, style, std::min(needed, width));
}

void Grid::put_symbol(int x, int y, char32_t symbol, char stand_in, Style style) {
  set(x, y, ascii_ ? static_cast<char32_t>(stand_in) : symbol, style);
}

void Grid::fill(int x, int y, int width, Style style) {
  for (int i = 0; i < width; ++i) set(x + i, y, U' ', style);
}

void Grid::restyle(int x, int y, int width, Style style) {
  for (int i = 0; i < width; ++i) {
    if (Cell* target = cell(x + i, y)) target->style = style;
  }
}

void Grid::put_grid(int x, int y, const Grid& other) {
  for (int from_y = 0; from_y < other.height(); ++from_y) {
    for (int from_x = 0; from_x < other.width(); ++from_x) {
      if (Cell* target = cell(x + from_x, y + from_y)) *target = other.at(from_x, from_y);
    }
  }
}

void append_utf8(std::string& out, char32_t c) {
  const auto byte = [&](uint32_t value) { out += static_cast<char>(value); };
  if (c < 0x80) {
    byte(c);
  } else if (c < 0x800) {
    byte(0xC0 | (c >> 6));
    byte(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    byte(0xE0 | (c >> 12));
    byte(0x80 | ((c >> 6) & 0x3F));
    byte(0x80 | (c & 0x3F));
  } else {
    byte(0xF0 | (c >> 18));
    byte(0x80 | ((c >> 12) & 0x3F));
    byte(0x80 | ((c >> 6) & 0x3F));
    byte(0x80 | (c & 0x3F));
  }
}

std::string grid_text(const Grid& grid) {
  std::string out;
  for (int y = 0; y < grid.height(); ++y) {
    const size_t line = out.size();
    size_t end = line;  // after the last cell that is not blank
    for (int x = 0; x < grid.width(); ++x) {
      const Cell& cell = grid.at(x, y);
      if (cell.code == 0) continue;
      append_utf8(out, cell.code);
      for (const char32_t mark : cell.marks) {
        if (mark != 0) append_utf8(out, mark);
      }
      if (cell.code != U' ') end = out.size();
    }
    out.resize(end);
    out += '\n';
  }
  return out;
}

}  // namespace topspin
