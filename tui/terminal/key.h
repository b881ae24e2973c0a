// A key, a click or a turn of the wheel, as the terminal reports it.
#pragma once

#include <cstdint>

namespace topspin {

enum class KeyCode : uint8_t {
  kCharacter,
  kUp,
  kDown,
  kLeft,
  kRight,
  kPageUp,
  kPageDown,
  kHome,
  kEnd,
  kEnter,
  kEscape,
  kTab,
  kBackspace,
  kF1,
  kCtrlL,
  kWheelUp,
  kWheelDown,
  kClick,
};

struct Key {
  KeyCode code = KeyCode::kCharacter;
  char32_t character = 0;  // for kCharacter
  int x = 0, y = 0;        // for kClick
  bool operator==(const Key&) const = default;
};

inline Key character_key(char32_t c) { return {KeyCode::kCharacter, c, 0, 0}; }

}  // namespace topspin
