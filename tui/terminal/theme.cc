#include "tui/terminal/theme.h"

#include <array>

namespace topspin {
namespace {

struct RoleLook {
  Role role;
  Appearance full;   // 256 colours
  Appearance eight;  // 8 colours
};
using Theme = std::array<RoleLook, static_cast<size_t>(Role::kRule1)>;

constexpr int kBlack = 0, kRed = 1, kGreen = 2, kYellow = 3, kBlue = 4, kMagenta = 5, kCyan = 6,
              kWhite = 7;

constexpr Appearance fg(int colour, bool bold = false) {
  return {.foreground = colour, .bold = bold};
}
constexpr Appearance on(int colour, int background, bool bold = false) {
  return {.foreground = colour, .background = background, .bold = bold};
}

constexpr Theme kDark = {{
    {Role::kNormal, fg(252), fg(-1)},
    {Role::kDim, fg(245), fg(kCyan)},
    {Role::kStrong, fg(255, true), {.bold = true}},
    {Role::kAccent, fg(80, true), fg(kCyan, true)},
    {Role::kBar, on(254, 237), on(kBlack, kWhite)},
    {Role::kBarDim, on(248, 237), on(kBlack, kWhite)},
    {Role::kTab, on(16, 80, true), on(kBlack, kCyan)},
    {Role::kSelected, on(231, 24), on(kWhite, kBlue, true)},
    {Role::kOnTime, fg(71), fg(kGreen)},
    {Role::kLate, fg(220), fg(kYellow)},
    {Role::kMissed, fg(208, true), fg(kMagenta)},
    {Role::kDead, fg(197, true), fg(kRed)},
    {Role::kWarning, fg(220), fg(kYellow)},
    {Role::kLoss, on(231, 160, true), on(kWhite, kRed, true)},
    {Role::kGraph1, fg(74), fg(kCyan)},
    {Role::kGraph2, fg(173), fg(kYellow)},
    {Role::kCursor, on(16, 229), on(kBlack, kYellow)},
    {Role::kHeat1, fg(17), fg(kBlue)},
    {Role::kHeat2, fg(54), fg(kBlue)},
    {Role::kHeat3, fg(90), fg(kMagenta)},
    {Role::kHeat4, fg(126), fg(kMagenta)},
    {Role::kHeat5, fg(168), fg(kRed)},
    {Role::kHeat6, fg(209), fg(kRed)},
    {Role::kHeat7, fg(216), fg(kYellow)},
    {Role::kHeat8, fg(229), fg(kWhite)},
}};

constexpr Theme kLight = {{
    {Role::kNormal, fg(236), fg(-1)},
    {Role::kDim, fg(244), fg(kBlue)},
    {Role::kStrong, fg(16, true), {.bold = true}},
    {Role::kAccent, fg(25, true), fg(kBlue, true)},
    {Role::kBar, on(235, 253), on(kWhite, kBlue)},
    {Role::kBarDim, on(241, 253), on(kWhite, kBlue)},
    {Role::kTab, on(231, 25, true), on(kBlack, kCyan)},
    {Role::kSelected, on(16, 153), on(kBlack, kCyan)},
    {Role::kOnTime, fg(28), fg(kGreen)},
    {Role::kLate, fg(136), fg(kMagenta)},
    {Role::kMissed, fg(166, true), fg(kMagenta, true)},
    {Role::kDead, fg(160, true), fg(kRed, true)},
    {Role::kWarning, fg(136), fg(kMagenta)},
    {Role::kLoss, on(231, 160, true), on(kWhite, kRed, true)},
    {Role::kGraph1, fg(31), fg(kBlue)},
    {Role::kGraph2, fg(130), fg(kMagenta)},
    {Role::kCursor, on(231, 236), on(kWhite, kBlack)},
    {Role::kHeat1, fg(254), fg(kCyan)},
    {Role::kHeat2, fg(223), fg(kCyan)},
    {Role::kHeat3, fg(216), fg(kBlue)},
    {Role::kHeat4, fg(209), fg(kBlue)},
    {Role::kHeat5, fg(168), fg(kMagenta)},
    {Role::kHeat6, fg(126), fg(kMagenta)},
    {Role::kHeat7, fg(90), fg(kRed)},
    {Role::kHeat8, fg(53), fg(kRed)},
}};

// Blue, yellow and vermilion are distinct with red-green blindness, so on time is blue, not green.
constexpr Theme kColourBlind = {{
    {Role::kNormal, fg(252), fg(-1)},
    {Role::kDim, fg(245), fg(kCyan)},
    {Role::kStrong, fg(255, true), {.bold = true}},
    {Role::kAccent, fg(117, true), fg(kCyan, true)},
    {Role::kBar, on(254, 237), on(kBlack, kWhite)},
    {Role::kBarDim, on(248, 237), on(kBlack, kWhite)},
    {Role::kTab, on(16, 117, true), on(kBlack, kCyan)},
    {Role::kSelected, on(231, 24), on(kWhite, kBlue, true)},
    {Role::kOnTime, fg(74), fg(kBlue, true)},
    {Role::kLate, fg(227), fg(kYellow)},
    {Role::kMissed, fg(214, true), fg(kYellow, true)},
    {Role::kDead, on(16, 202, true), on(kBlack, kYellow)},
    {Role::kWarning, fg(227), fg(kYellow)},
    {Role::kLoss, on(16, 214, true), on(kBlack, kYellow)},
    {Role::kGraph1, fg(74), fg(kCyan)},
    {Role::kGraph2, fg(214), fg(kYellow)},
    {Role::kCursor, on(16, 229), on(kBlack, kWhite)},
    // From dark blue to yellow, with steadily increasing lightness.
    {Role::kHeat1, fg(17), fg(kBlue)},
    {Role::kHeat2, fg(18), fg(kBlue)},
    {Role::kHeat3, fg(24), fg(kBlue, true)},
    {Role::kHeat4, fg(60), fg(kBlue, true)},
    {Role::kHeat5, fg(102), fg(kCyan)},
    {Role::kHeat6, fg(143), fg(kCyan, true)},
    {Role::kHeat7, fg(185), fg(kYellow)},
    {Role::kHeat8, fg(228), fg(kYellow, true)},
}};

/// Colours of rules are the terminal's own in every theme. With eight colours, bright ones are
/// bold.
RoleLook rule_look(Role role) {
  const int colour = static_cast<int>(role) - static_cast<int>(Role::kRule1);
  return {role, fg(colour), fg(colour % 8, colour >= 8)};
}

RoleLook look(ThemeName name, Role role) {
  if (is_rule(role)) return rule_look(role);
  const Theme& theme = name == ThemeName::kLight         ? kLight
                       : name == ThemeName::kColourBlind ? kColourBlind
                                                         : kDark;
  return theme[static_cast<size_t>(role)];
}

Appearance without_colours(Role role) {
  switch (role) {
    case Role::kStrong:
    case Role::kAccent: return {.bold = true};
    case Role::kBar:
    case Role::kBarDim:
    case Role::kSelected: return {.reverse = true};
    case Role::kTab: return {.bold = true, .underline = true};
    case Role::kLate:
    case Role::kWarning: return {.underline = true};
    case Role::kMissed: return {.bold = true};
    case Role::kDead: return {.bold = true, .underline = true};
    case Role::kLoss: return {.bold = true, .reverse = true};
    case Role::kCursor: return {.reverse = true};
    case Role::kDim: return {.dim = true};
    default: return {};
  }
}

}  // namespace

Appearance appearance(ThemeName theme, int colours, Style style) {
  if (colours < 8) return without_colours(style.role);
  const bool full = colours >= 256;
  const RoleLook front = look(theme, style.role);
  Appearance result = full ? front.full : front.eight;
  if (style.behind != Role::kNormal) {
    const RoleLook behind = look(theme, style.behind);
    const Appearance& other = full ? behind.full : behind.eight;
    result.background = other.background >= 0 ? other.background : other.foreground;
  }
  return result;
}

std::string_view theme_name(ThemeName theme) {
  switch (theme) {
    case ThemeName::kDark: return "dark";
    case ThemeName::kLight: return "light";
    case ThemeName::kColourBlind: return "colour-blind";
    case ThemeName::kCount: break;
  }
  return "";
}

}  // namespace topspin
