// The keys: one table that the controller, Help, the manual page and tests read.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tui/terminal/key.h"

namespace topspin {

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
