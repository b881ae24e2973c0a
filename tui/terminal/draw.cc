#include "tui/terminal/draw.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "core/base/text.h"
#include "core/base/text_width.h"

namespace topspin {
namespace {

constexpr std::array<char32_t, 9> kEighths = {U' ', U'▁', U'▂', U'▃', U'▄', U'▅', U'▆', U'▇', U'█'};

/// A column's `eighths` (0 to 8) of one cell.
void put_eighths(Grid& grid, int x, int y, int eighths, Style style) {
  const char stand_in = eighths <= 0 ? ' ' : eighths <= 2 ? '_' : eighths <= 5 ? ':' : '#';
  grid.put_symbol(x, y, kEighths[static_cast<size_t>(eighths)], stand_in, style);
}

/// A glyph is three pixels wide and five high. A cell holds two pixel rows, so three cells hold
/// six.
struct Glyph {
  char character;
  std::array<std::string_view, 5> rows;
};
constexpr std::array<Glyph, 14> kGlyphs = {{
    {'0', {"###", "# #", "# #", "# #", "###"}},
    {'1', {" # ", "## ", " # ", " # ", "###"}},
    {'2', {"###", "  #", "###", "#  ", "###"}},
    {'3', {"###", "  #", "###", "  #", "###"}},
    {'4', {"# #", "# #", "###", "  #", "  #"}},
    {'5', {"###", "#  ", "###", "  #", "###"}},
    {'6', {"###", "#  ", "###", "# #", "###"}},
    {'7', {"###", "  #", "  #", "  #", "  #"}},
    {'8', {"###", "# #", "###", "# #", "###"}},
    {'9', {"###", "# #", "###", "  #", "###"}},
    {',', {" ", " ", " ", " ", "#"}},
    {'>', {"#  ", " # ", "  #", " # ", "#  "}},
    {'=', {"   ", "###", "   ", "###", "   "}},
    {'-', {"   ", "   ", "###", "   ", "   "}},
}};

const Glyph* find_glyph(char c) {
  for (const Glyph& glyph : kGlyphs) {
    if (glyph.character == c) return &glyph;
  }
  return nullptr;
}

}  // namespace

void draw_graph(Grid& grid, const Graph& graph, std::span<const std::optional<double>> values) {
  if (graph.width <= 0 || graph.height <= 0) return;
  const size_t shown = std::min(values.size(), static_cast<size_t>(graph.width));
  values = values.last(shown);
  double top = graph.top;
  if (top <= 0) {
    for (const auto& value : values) top = std::max(top, value.value_or(0));
  }
  const int left = graph.x + graph.width - static_cast<int>(shown);
  for (size_t i = 0; i < shown; ++i) {
    if (!values[i]) continue;
    const double share = top > 0 ? std::clamp(*values[i] / top, 0.0, 1.0) : 0;
    int eighths = static_cast<int>(std::lround(share * 8 * graph.height));
    // Even a small value is visible; 0 is the lowest line.
    eighths = std::max(eighths, 1);
    for (int row = graph.height - 1; row >= 0; --row) {
      const int here = std::clamp(eighths, 0, 8);
      put_eighths(grid, left + static_cast<int>(i), graph.y + row, here, graph.role);
      eighths -= here;
    }
  }
}

int big_width(std::string_view text) {
  int width = 0;
  for (const char c : text) {
    const Glyph* glyph = find_glyph(c);
    if (glyph == nullptr) return 0;
    width += static_cast<int>(glyph->rows[0].size()) + 1;
  }
  return std::max(width - 1, 0);
}

int draw_big(Grid& grid, int x, int y, std::string_view text, Style style, int max_width) {
  const int width = big_width(text);
  if (grid.ascii() || width == 0 || width > max_width || y + kBigHeight > grid.height()) return 0;
  for (const char c : text) {
    const Glyph& glyph = *find_glyph(c);
    for (int row = 0; row < kBigHeight; ++row) {
      // The first of the six pixel rows stays free, below the bar.
      const int upper_row = 2 * row - 1;
      for (size_t column = 0; column < glyph.rows[0].size(); ++column) {
        const auto pixel = [&](int pixel_row) {
          return pixel_row >= 0 && glyph.rows[static_cast<size_t>(pixel_row)][column] == '#';
        };
        const bool upper = pixel(upper_row);
        const bool lower = pixel(upper_row + 1);
        const char32_t symbol = upper && lower ? U'█' : upper ? U'▀' : lower ? U'▄' : U' ';
        grid.put_symbol(x + static_cast<int>(column), y + row, symbol, '#', style);
      }
    }
    x += static_cast<int>(glyph.rows[0].size()) + 1;
  }
  return width;
}

std::string whole_or_ellipsis(const Grid& grid, std::string text, int width) {
  if (text_width(text) <= width) return text;
  return grid.ascii() ? "~" : "…";
}

void draw_value(Grid& grid, int x, int y, int width, std::string_view label, std::string_view value,
                Style value_style) {
  const std::string whole = whole_or_ellipsis(grid, std::string(value), width);
  const int value_width = text_width(whole);
  const int label_width = width - value_width - 1;
  if (label_width > 0) grid.put(x, y, label, Role::kDim, label_width);
  grid.put_right(x, y, whole, width, value_style);
}

void draw_rule(Grid& grid, int x, int y, int width, Style style) {
  for (int i = 0; i < width; ++i) grid.put_symbol(x + i, y, U'─', '-', style);
}

std::string duration_or_dash(const std::optional<int64_t>& ns) {
  return ns ? format_duration(*ns) : "-";
}

std::string bytes_or_dash(const std::optional<int64_t>& bytes) {
  return bytes ? format_bytes(*bytes) : "-";
}

std::string share_text(const std::optional<double>& share) {
  if (!share) return "-";
  const double percent = 100 * *share;
  // A small share is not shown as 0.
  if (percent > 0 && percent < 0.05) return "<0.1%";
  return fmt::format("{:.{}f}%", percent, percent < 99.95 ? 1 : 0);
}

std::string clock_text(int64_t elapsed_ns) {
  const int64_t seconds = std::max<int64_t>(elapsed_ns, 0) / 1'000'000'000;
  return fmt::format("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

}  // namespace topspin
