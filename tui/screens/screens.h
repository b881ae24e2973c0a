// The registry of screens. A screen is one file of this folder and one line in screens.cc.
//
// The tabs, the menu, Help, `--screen` and the keys are made from the registry. What a screen draws
// and what keys do to it is pure: the model is read, only the ViewState changes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tui/keys.h"
#include "tui/model/model.h"
#include "tui/terminal/grid.h"
#include "tui/view_state.h"

namespace topspin {

/// A key on its way to the screen that is shown.
struct ScreenPress {
  ViewState& state;
  const Model& model;
  Size size;  // of the terminal
  bool replay = false;
  Key key;
  /// What the table of keys says that it means; nullopt: a click, or a key that is not in it.
  std::optional<Command> command;
  Effect effect = Effect::kNone;
};

/// A key that one screen has for itself, as Help lists it.
struct ScreenKey {
  std::string_view label, what;
};

struct Screen {
  std::string_view name;   // of --screen and of ViewState::screen; unique
  std::string_view title;  // of its tab
  std::string_view short_title;
  char32_t key = 0;  // opens it
  std::string_view what;

  /// Draws the body: below the head and the tabs, above the footer.
  void (*draw)(Grid& grid, Area area, const Model& model, const ViewState& state) = nullptr;

  /// How many rows its list has; nullptr: it has none. The keys that move act on it by
  /// ViewState::list(name): they move a cursor (`selected`), or without one scroll (`top`).
  uint64_t (*rows)(const Model& model, const ViewState& state) = nullptr;
  bool has_cursor = false;
  /// By how many columns its list can be sorted.
  size_t sort_columns = 0;

  /// Its own meaning of a key, asked before the general one; true: the key is dealt with.
  bool (*press)(ScreenPress& press) = nullptr;
  std::span<const ScreenKey> keys = {};
  /// What / and N look for on this screen by state.search_text; nullptr: a flow.
  void (*search)(ViewState& state, const Model& model, bool include_here) = nullptr;

  /// The height of the body in plain text that shows at most `rows` rows of a table; nullptr: 24.
  int (*plain_height)(const Model& model, const ViewState& state, int rows) = nullptr;

  /// Help and the menu: they lie over another screen, and Esc goes back to it.
  bool is_overlay = false;
};

/// In the order of the tabs.
const std::vector<const Screen*>& screens();
/// nullptr: there is none of this name, or with this key.
const Screen* find_screen(std::string_view name);
const Screen* screen_of_key(const Key& key);
/// Shows it; an overlay remembers what it lies over.
void open_screen(ViewState& state, std::string_view name);
/// The one that is shown.
const Screen& shown_screen(const ViewState& state);

/// How far the key moves through a list, upwards below 0; nullopt: it moves nothing.
std::optional<int64_t> rows_moved(const ScreenPress& press);

/// The first row that is visible of a list with a cursor, in so many rows of the terminal.
uint64_t top_of_list(const ListState& list, uint64_t count, uint64_t visible);

}  // namespace topspin
