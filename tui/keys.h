// The keys: one table that the controller, Help, the manual page and tests read.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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
  char32_t character = 0;  // of kCharacter
  int x = 0, y = 0;        // of kClick
  bool operator==(const Key&) const = default;
};

inline Key character_key(char32_t c) { return {KeyCode::kCharacter, c, 0, 0}; }

enum class Command : uint8_t {
  kUp,
  kDown,
  kPageUp,
  kPageDown,
  kHome,
  kEnd,
  kEnter,
  kBack,
  kLeft,
  kRight,
  kSwap,
  kSearch,
  kSearchNext,
  kFilter,
  kAggregate,
  kSortNext,
  kSortReverse,
  kColumns,
  kNames,
  kFreeze,
  kPurge,
  kRefresh,
  kExport,
  kTheme,
  kHelp,
  kScreen,
  kQuit,
  // Replay.
  kSlower,
  kFaster,
  kNextLoss,
  kWorstLateness,
  kToTime,
};

struct KeyBinding {
  Command command;
  std::vector<Key> keys;
  std::string_view label;  // "Up k"
  std::string_view what;
  bool replay_only = false;
};
std::span<const KeyBinding> key_bindings();

/// The command of a key, nullptr: none.
const KeyBinding* find_binding(const Key& key, bool replay);

}  // namespace topspin
