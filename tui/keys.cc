#include "tui/keys.h"

#include <algorithm>
#include <array>

namespace topspin {
namespace {

Key of(KeyCode code) { return {code, 0, 0, 0}; }
Key of(char32_t c) { return character_key(c); }

}  // namespace

std::span<const KeyBinding> key_bindings() {
  static const std::vector<KeyBinding> kBindings = {
      {Command::kUp, {of(KeyCode::kUp), of(U'k'), of(KeyCode::kWheelUp)}, "Up k", "one row up"},
      {Command::kDown,
       {of(KeyCode::kDown), of(U'j'), of(KeyCode::kWheelDown)},
       "Down j",
       "one row down"},
      {Command::kPageUp, {of(KeyCode::kPageUp)}, "PgUp", "a page up"},
      {Command::kPageDown, {of(KeyCode::kPageDown)}, "PgDn", "a page down"},
      {Command::kHome, {of(KeyCode::kHome)}, "Home", "to the first row, or the oldest tick"},
      {Command::kEnd, {of(KeyCode::kEnd)}, "End", "to the last row, or the newest tick"},
      {Command::kEnter,
       {of(KeyCode::kEnter)},
       "Enter",
       "into a flow, its packets, a group; onto an interface"},
      {Command::kBack, {of(KeyCode::kEscape)}, "Esc", "back out; drops search, filter, grouping"},
      {Command::kLeft,
       {of(KeyCode::kLeft), of(U'[')},
       "Left [",
       "rotate Size, Data, Packets; Timeline: one tick back"},
      {Command::kRight,
       {of(KeyCode::kRight), of(U']')},
       "Right ]",
       "rotate Size, Data, Packets; Timeline: one tick on"},
      {Command::kSwap, {of(KeyCode::kTab)}, "Tab", "see flows from their other end"},
      {Command::kSearch, {of(U'/')}, "/", "search an address, port or process, follow it"},
      {Command::kSearchNext, {of(U'N')}, "N", "search again"},
      {Command::kFilter, {of(U'f')}, "f", "show some flows: tcp and port 443, late; counts stay"},
      {Command::kAggregate, {of(U'a')}, "a", "gather flows: by responder, by host, by nets"},
      {Command::kSortNext, {of(U's')}, "s", "sort by the next column"},
      {Command::kSortReverse, {of(U'S')}, "S", "turn the order round"},
      {Command::kColumns, {of(U'c')}, "c", "choose columns"},
      {Command::kNames, {of(U'n')}, "n", "names of hosts and ports, or their numbers"},
      {Command::kFreeze, {of(U' ')}, "Space", "freeze the picture; counting goes on"},
      {Command::kPurge, {of(U'p')}, "p", "purge the rows; flows come back with their packets"},
      {Command::kZoom, {of(U'z')}, "z", "Timeline of the whole run, and back"},
      {Command::kRefresh, {of(U'r'), of(KeyCode::kCtrlL)}, "r ^L", "draw the screen again"},
      {Command::kExport, {of(U'e')}, "e", "write what is shown to a text file here"},
      {Command::kKeep, {of(U'F')}, "F", "keep the last minute as a run in the database"},
      {Command::kTheme, {of(U't')}, "t", "theme: dark, light, colour-blind"},
      {Command::kHelp, {of(U'h'), of(U'?'), of(KeyCode::kF1)}, "h F1", "this page, and back"},
      {Command::kMenu, {of(U'm')}, "m", "the menu of all screens, and back"},
      {Command::kNextScreen, {of(U'>')}, ">", "the next screen"},
      {Command::kPreviousScreen, {of(U'<')}, "<", "the screen before"},
      {Command::kQuit, {of(U'q')}, "q", "quit; closes a flow's page, help and the menu"},
      {Command::kSlower, {of(U'-')}, "-", "replay at half the speed", true},
      {Command::kFaster, {of(U'+'), of(U'=')}, "+", "replay at twice the speed", true},
      {Command::kNextLoss, {of(U'l')}, "l", "replay: to the next loss", true},
      {Command::kToTime, {of(U'g')}, "g", "replay: to a time, as 90 or 1:30", true},
      {Command::kWorstLateness, {of(U'w')}, "w", "replay: to the worst lateness", true},
  };
  return kBindings;
}

const KeyBinding* find_binding(const Key& key, bool replay) {
  for (const KeyBinding& binding : key_bindings()) {
    if (binding.replay_only && !replay) continue;
    if (std::find(binding.keys.begin(), binding.keys.end(), key) != binding.keys.end()) {
      return &binding;
    }
  }
  return nullptr;
}

}  // namespace topspin
