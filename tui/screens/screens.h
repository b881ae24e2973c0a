// The registry of screens. A screen is one file of this folder and one line in screens.cc.
//
// The tabs, the menu, Help, `--screen` and the keys are made from the registry. Drawing and the
// handling of keys are pure: they read the model and change only the ViewState.
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

/// A key for the screen that is shown.
struct ScreenPress {
  ViewState& state;
  const Model& model;
  Size size;  // of the terminal
  bool replay = false;
  Key key;
  /// The key's command in the table of keys; nullopt for a click, or a key that is not in the
  /// table.
  std::optional<Command> command;
  Effect effect = Effect::kNone;
};

/// A key of one screen, as Help lists it.
struct ScreenKey {
  std::string_view label, what;
};

struct Screen {
  std::string_view name;   // for --screen and ViewState::screen; unique
  std::string_view title;  // of its tab
  std::string_view short_title;
  char32_t key = 0;  // opens it
  std::string_view what;

  /// Draws the body, which is below the head and the tabs and above the footer.
  void (*draw)(Grid& grid, Area area, const Model& model, const ViewState& state) = nullptr;

  /// How many rows its list has; nullptr if it has no list. The keys that move use
  /// ViewState::list(name): they move the cursor (`selected`), or scroll (`top`) if there is none.
  uint64_t (*rows)(const Model& model, const ViewState& state) = nullptr;
  bool has_cursor = false;
  /// The number of columns by which its list can be sorted.
  size_t sort_columns = 0;

  /// Handles a key before the general handling. Returns true if the key was handled.
  bool (*press)(ScreenPress& press) = nullptr;
  std::span<const ScreenKey> keys = {};
  /// Searches for state.search_text when / or N is pressed on this screen; nullptr: searches flows.
  void (*search)(ViewState& state, const Model& model, bool include_here) = nullptr;

  /// The height of the body in plain text with at most `rows` rows of a table; nullptr: 24.
  int (*plain_height)(const Model& model, const ViewState& state, int rows) = nullptr;

  /// Help and the menu are overlays: they cover another screen, and Esc goes back to it.
  bool is_overlay = false;
};

/// In the order of the tabs.
const std::vector<const Screen*>& screens();
/// Finds a screen by its name or its key; nullptr if there is none.
const Screen* find_screen(std::string_view name);
const Screen* screen_of_key(const Key& key);
/// Shows a screen. An overlay remembers the screen that it covers.
void open_screen(ViewState& state, std::string_view name);
/// The screen that is shown.
const Screen& shown_screen(const ViewState& state);

/// How far the key moves through a list (negative: upwards); nullopt if it moves nothing.
std::optional<int64_t> rows_moved(const ScreenPress& press);

/// The first visible row of a list with a cursor, given the number of visible rows.
uint64_t top_of_list(const ListState& list, uint64_t count, uint64_t visible);

}  // namespace topspin
