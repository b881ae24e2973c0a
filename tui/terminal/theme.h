// Themes: what each role looks like with 256, 8 or no colours. One table for each kind of eye.
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

/// `colours`: 256, 8, or 0. Without colours every role that must be told apart is so by bold,
/// reverse or underline.
Appearance appearance(ThemeName theme, int colours, Style style);

std::string_view theme_name(ThemeName theme);

}  // namespace topspin
