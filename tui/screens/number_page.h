// The numbers of a probe on its screen, from the registry (core/tick/numbers.h), and a page of them
// that may be taller than the screen. Numbers that the layout of a screen does not name come last,
// so that every number is on a screen. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tick/numbers.h"
#include "tui/model/model.h"
#include "tui/screens/screens.h"
#include "tui/terminal/grid.h"

namespace topspin {

/// The numbers of a probe except its losses, which have their own screen: first those in `layout`,
/// in its order, then the others in the order of the registry.
/// REQUIRES: each name of `layout` is in the registry.
std::vector<const RegisteredNumber*> numbers_of_probe(std::string_view probe,
                                                      std::span<const std::string_view> layout);

/// A value in the unit of the number: "1.20ms", "4.00 MiB", "yes", "1,234".
std::string number_text(const Number& number, double value);

/// One "label value" of a block.
struct NumberCell {
  std::string_view name;  // of the registry
  std::string_view label;
  std::string text;  // "-" if not measured in this tick
  Role role = Role::kStrong;
};

/// Those of `numbers` that were measured in any tick and are not distributions. Counts and maxima
/// are since the first tick, everything else is from the last one.
std::vector<NumberCell> number_cells(std::span<const RegisteredNumber* const> numbers,
                                     const Model& model);

/// A block of cells in as many columns as fit, filled row by row.
int number_block_height(size_t cells, int width);
void draw_number_block(Grid& grid, Area area, std::span<const NumberCell> cells);

/// For Screen::press: scrolls a page of this height. Returns false if the key does not scroll.
bool scroll_page(ScreenPress& press, std::string_view screen, int page_height, int window_height);

/// Draws the part of a page that fits into `area`, from row `top` on. draw(window, y) draws the
/// page into the grid `window` with its first row at y, which is negative if the page is scrolled;
/// the grid clips. If the page continues below, the last row says so.
using DrawPage = std::function<void(Grid& window, int y)>;
void draw_page(Grid& grid, Area area, int page_height, uint64_t top, const DrawPage& draw);

}  // namespace topspin
