// The keys that mean the same on every screen, in one table for the controller, Help and tests. The
// keys that open screens are in the registry of screens (screens/screens.h).
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
  kZoom,
  kRefresh,
  kExport,
  kKeep,
  kTheme,
  kHelp,
  kMenu,
  kNextScreen,
  kPreviousScreen,
  kQuit,
  // Replay.
  kSlower,
  kFaster,
  kNextLoss,
  kWorstLateness,
  kToTime,
};

/// What the owner of the model and the terminal must do for a key.
enum class Effect : uint8_t {
  kNone,
  kQuit,
  kRefresh,          // draw every cell again
  kPurge,            // Model::purge_flows
  kExport,           // write the screen to a file
  kKeep,             // keep the last minute as a run
  kSwitchInterface,  // to state.wanted_interface
  kWatchProcess,     // state.wanted_pid becomes the subject
  // Replay.
  kStepBack,
  kStepOn,
  kToStart,
  kToEnd,
  kSlower,
  kFaster,
  kNextLoss,
  kWorstLateness,
  kToTime,  // state.wanted_time_ns after the start
};

struct KeyBinding {
  Command command;
  std::vector<Key> keys;
  std::string_view label;  // "Up k"
  std::string_view what;
  bool replay_only = false;
};
std::span<const KeyBinding> key_bindings();

/// The command of a key; nullptr if it has none.
const KeyBinding* find_binding(const Key& key, bool replay);

}  // namespace topspin
