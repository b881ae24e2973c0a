// Grid: a screen as cells. Views draw into it; it is shown on a terminal or as plain text.
//
// A cell is one character with its combining marks and a style. A wide character takes its own cell
// and the one to its right, which has code 0. A style names a role, and the theme gives it a
// colour. Everything outside the grid is clipped. Plain values; pure.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace topspin {

struct Size {
  int width = 0;
  int height = 0;
  bool operator==(const Size&) const = default;
};

/// A rectangle of the grid.
struct Area {
  int x = 0, y = 0, width = 0, height = 0;
};

/// The role of a cell. Themes give each role a look for 256, 8 and no colours (theme.h).
enum class Role : uint8_t {
  kNormal,
  kDim,       // labels, unimportant text
  kStrong,    // headline numbers
  kAccent,    // the number that the screen is about, the sorted column
  kBar,       // title bar, footer: drawn on a background
  kBarDim,    // less important text on that background
  kTab,       // the chosen tab, on that background
  kSelected,  // the row under the cursor
  kOnTime,
  kLate,
  kMissed,
  kDead,
  kWarning,
  kLoss,    // losses above 0
  kGraph1,  // series in graphs
  kGraph2,
  kCursor,  // the moment under the cursor
  kHeat1,   // run-queue heat, from little to much
  kHeat2,
  kHeat3,
  kHeat4,
  kHeat5,
  kHeat6,
  kHeat7,
  kHeat8,
  kRule1,                 // the terminal's own eight colours, for colour rules (colour_rules.h) ...
  kRule16 = kRule1 + 15,  // ... and the bright ones
  kCount,
};
inline constexpr size_t kRoleCount = static_cast<size_t>(Role::kCount);
inline constexpr int kHeatLevels = 8;

/// The role of heat 1 to kHeatLevels.
inline Role heat_role(int level) {
  return static_cast<Role>(static_cast<int>(Role::kHeat1) + level - 1);
}

/// The role of terminal colour 0 to 15.
inline Role rule_role(size_t colour) {
  return static_cast<Role>(static_cast<size_t>(Role::kRule1) + colour);
}
inline bool is_rule(Role role) { return role >= Role::kRule1 && role <= Role::kRule16; }

/// A foreground role, and for cells with two values (half blocks) a background role.
struct Style {
  Role role = Role::kNormal;
  Role behind = Role::kNormal;  // kNormal: the role's own background

  Style() = default;
  Style(Role r) : role(r) {}  // NOLINT(google-explicit-constructor)
  Style(Role r, Role b) : role(r), behind(b) {}
  bool operator==(const Style&) const = default;
};

struct Cell {
  static constexpr size_t kMarks = 2;  // more combining marks on one character are dropped

  char32_t code = U' ';  // 0: the right half of a wide character
  std::array<char32_t, kMarks> marks{};
  Style style;
  bool operator==(const Cell&) const = default;
};

class Grid {
 public:
  /// With `ascii`, code points beyond ASCII become '?' (or their stand-in, see put_symbol).
  Grid(Size size, bool ascii);

  Size size() const { return size_; }
  int width() const { return size_.width; }
  int height() const { return size_.height; }
  bool ascii() const { return ascii_; }
  const Cell& at(int x, int y) const;

  /// Writes text from outside: sanitises it and cuts it to `max_width` cells with an ellipsis.
  /// Returns the number of cells used. max_width < 0 means up to the right edge.
  int put(int x, int y, std::string_view text, Style style = {}, int max_width = -1);
  /// The same, ending at cell x + width - 1.
  void put_right(int x, int y, std::string_view text, int width, Style style = {});
  /// Writes one of our own characters, of width 1, or its stand-in if only ASCII is allowed.
  void put_symbol(int x, int y, char32_t symbol, char stand_in, Style style = {});

  /// Blanks a row, or part of it, and gives it a style.
  void fill(int x, int y, int width, Style style);
  /// Changes only the style.
  void restyle(int x, int y, int width, Style style);
  /// Copies another grid with its upper left corner to (x, y).
  void put_grid(int x, int y, const Grid& other);

 private:
  Cell* cell(int x, int y);
  void clear_wide_at(int x, int y);
  void set(int x, int y, char32_t code, Style style);

  Size size_;
  bool ascii_;
  std::vector<Cell> cells_;
};

/// The grid as text, one line per row, without trailing blanks and without style.
std::string grid_text(const Grid& grid);

/// One code point as UTF-8.
void append_utf8(std::string& out, char32_t c);

}  // namespace topspin
