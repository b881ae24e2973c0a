// Themes: the look of each role with 256, 8 or no colours, one table per theme.
//
// Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "tui/terminal/grid.h"

namespace topspin {

enum class ThemeName : uint8_t { kDark, kLight, kColourBlind, kCount };

struct Appearance {
  int foreground = -1;  // an xterm colour number; -1: the terminal's own
  int background = -1;
  bool bold = false;
  bool dim = false;
  bool reverse = false;
  bool underline = false;
};

/// `colours` is 256, 8 or 0. Without colours, roles that must be distinguished are bold, reversed
/// or underlined.
Appearance appearance(ThemeName theme, int colours, Style style);

std::string_view theme_name(ThemeName theme);

}  // namespace topspin
