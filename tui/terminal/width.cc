#include "tui/terminal/width.h"

#include <algorithm>
#include <span>

#include "core/base/text.h"
#include "tui/terminal/width_table.h"

namespace topspin {
namespace {

bool contains(std::span<const CodePointRange> table, char32_t c) {
  const auto range =
      std::upper_bound(table.begin(), table.end(), c,
                       [](char32_t v, const CodePointRange& r) { return v < r.first; });
  return range != table.begin() && c <= std::prev(range)->last;
}

}  // namespace

int code_point_width(char32_t c) {
  if (c < kCombining.front().first) return 1;
  if (contains(kCombining, c)) return 0;
  return contains(kWide, c) ? 2 : 1;
}

int text_width(std::string_view text) {
  int cells = 0;
  for (size_t position = 0; position < text.size();) {
    const auto c = next_code_point(text, position);
    cells += c ? code_point_width(*c) : 1;
  }
  return cells;
}

}  // namespace topspin
