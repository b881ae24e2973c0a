#include "tui/screens/number_page.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/base/check.h"
#include "core/base/text.h"
#include "tui/terminal/draw.h"
#include "tui/views.h"

namespace topspin {
namespace {

constexpr int kCellWidth = 38;  // "label value" and a gap
constexpr int kCellGap = 2;

int block_columns(int width) { return std::max(width / kCellWidth, 1); }

/// The first visible row: the wanted one, but not beyond the page's end.
int page_top(uint64_t wanted, int page_height, int window_height) {
  const int most = std::max(page_height - window_height, 0);
  return static_cast<int>(std::min<uint64_t>(wanted, static_cast<uint64_t>(most)));
}

bool adds_up(NumberKind kind) {
  return kind == NumberKind::kCount || kind == NumberKind::kMaximum || kind == NumberKind::kState;
}

}  // namespace

std::vector<const RegisteredNumber*> numbers_of_probe(std::string_view probe,
                                                      std::span<const std::string_view> layout) {
  std::vector<const RegisteredNumber*> list;
  for (const std::string_view name : layout) {
    list.push_back(find_number(name));
    CHECK(list.back() != nullptr);
  }
  for (const RegisteredNumber& number : numbers()) {
    const bool named = std::find(layout.begin(), layout.end(), number.name) != layout.end();
    if (number.probe == probe && !number.loss && !named) list.push_back(&number);
  }
  return list;
}

std::string number_text(const Number& number, double value) {
  switch (number_unit(number.name)) {
    case NumberUnit::kNanoseconds: return format_duration(std::llround(value));
    case NumberUnit::kBytes: return format_bytes(std::llround(value));
    case NumberUnit::kOne: break;
  }
  if (number.kind == NumberKind::kState) return value != 0 ? "yes" : "no";
  if (value < 0) return fmt::format("{:.0f}", value);
  return format_exact(static_cast<uint64_t>(std::llround(value)));
}

std::vector<NumberCell> number_cells(std::span<const RegisteredNumber* const> numbers,
                                     const Model& model) {
  std::vector<NumberCell> cells;
  for (const RegisteredNumber* number : numbers) {
    if (!number->value) continue;
    const auto whole = number->value(model.whole());
    if (!whole) continue;
    const auto shown = adds_up(number->kind) ? whole : number->value(model.last());
    const bool little = !shown || *shown == 0;
    cells.push_back({number->name, number->label, shown ? number_text(*number, *shown) : "-",
                     little ? Role::kDim : Role::kStrong});
  }
  return cells;
}

int number_block_height(size_t cells, int width) {
  const auto columns = static_cast<size_t>(block_columns(width));
  return static_cast<int>((cells + columns - 1) / columns);
}

void draw_number_block(Grid& grid, Area area, std::span<const NumberCell> cells) {
  const int columns = block_columns(area.width);
  const int width = area.width / columns;
  for (size_t i = 0; i < cells.size(); ++i) {
    const int row = static_cast<int>(i) / columns, column = static_cast<int>(i) % columns;
    if (row >= area.height) return;
    draw_value(grid, area.x + 1 + column * width, area.y + row, width - kCellGap, cells[i].label,
               cells[i].text, cells[i].role);
  }
}

bool scroll_page(ScreenPress& press, std::string_view screen, int page_height, int window_height) {
  auto rows = rows_moved(press);
  if (!rows) return false;
  // In a replay, Home and End go to the start and end of the run.
  if (press.replay && (press.command == Command::kHome || press.command == Command::kEnd))
    return false;
  // The window may be smaller than the body, and its last row says that the page continues.
  const int64_t most = std::max(window_height - 1, 1);
  if (press.command == Command::kPageUp || press.command == Command::kPageDown)
    rows = std::clamp(*rows, -most, most);
  uint64_t& top = press.state.list(screen).top;
  const int64_t wanted = page_top(top, page_height, window_height) + *rows;
  top = static_cast<uint64_t>(
      page_top(static_cast<uint64_t>(std::max<int64_t>(wanted, 0)), page_height, window_height));
  return true;
}

void draw_page(Grid& grid, Area area, int page_height, uint64_t top, const DrawPage& draw) {
  if (area.width <= 0 || area.height <= 0) return;
  const int first = page_top(top, page_height, area.height);
  Grid window({area.width, area.height}, grid.ascii());
  draw(window, -first);
  grid.put_grid(area.x, area.y, window);
  const int below = page_height - first - area.height;
  if (below <= 0 || area.height < 2) return;
  const int y = area.y + area.height - 1;
  grid.fill(area.x, y, area.width, Role::kDim);
  grid.put(area.x + 1, y, fmt::format("{} more rows: Down, PageDown", below + 1), Role::kDim,
           area.width - 2);
}

}  // namespace topspin
