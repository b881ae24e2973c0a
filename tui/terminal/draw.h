// Shapes that several views draw: sparklines, graphs, digits three rows tall, label and value.
//
// Each can be drawn in UTF-8 and in ASCII. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tui/terminal/grid.h"

namespace topspin {

/// Draws one column per value, the last one at the right end. An absent value leaves a gap. The
/// scale goes from 0 to `top` (0: the greatest value). y is the upper row.
struct Graph {
  int x = 0, y = 0, width = 0, height = 1;
  double top = 0;
  Role role = Role::kGraph1;
};
void draw_graph(Grid& grid, const Graph& graph, std::span<const std::optional<double>> values);

/// Draws digits and commas, kBigHeight rows tall. Returns the width used. Draws nothing and returns
/// 0 if they do not fit or if only ASCII is allowed.
inline constexpr int kBigHeight = 3;
int big_width(std::string_view text);
int draw_big(Grid& grid, int x, int y, std::string_view text, Style style, int max_width);

/// "label value" in `width` cells, with the value right-aligned. A value that does not fit is
/// replaced by an ellipsis, because a cut number would be wrong.
void draw_value(Grid& grid, int x, int y, int width, std::string_view label, std::string_view value,
                Style value_style = Role::kStrong);

/// `text` if it fits into `width`, else an ellipsis. For numbers.
std::string whole_or_ellipsis(const Grid& grid, std::string text, int width);

/// A horizontal rule.
void draw_rule(Grid& grid, int x, int y, int width, Style style);

std::string duration_or_dash(const std::optional<int64_t>& ns);
std::string bytes_or_dash(const std::optional<int64_t>& bytes);
std::string share_text(const std::optional<double>& share);  // "0.3%"
/// "00:01:23"; with more than 99 hours "123:00:01".
std::string clock_text(int64_t elapsed_ns);

}  // namespace topspin
