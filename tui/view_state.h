// ViewState: the screen that the user looks at, and the user's choices. Nothing in it changes what
// is counted. It is a plain value: controller.h turns a ViewState and a key into the next one,
// views.h draws it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tui/flows/colour_rules.h"
#include "tui/flows/flow_columns.h"
#include "tui/flows/flow_table.h"
#include "tui/terminal/theme.h"

namespace topspin {

enum class Prompt : uint8_t { kNone, kSearch, kFilter, kTime };

/// The position and order of a screen's list.
struct ListState {
  uint64_t selected = 0;  // the row under the cursor, if the list has one
  uint64_t top = 0;       // the first visible row, if the list has no cursor
  size_t sort = 0;        // the column by which rows are ordered
  bool reverse = false;
};

/// A moment, or some ticks in a row, that was chosen on the Timeline.
struct ChosenTicks {
  uint64_t first = 0;
  uint64_t last = 0;
  std::string label;  // "00:00:12", "00:00:10-00:00:12": when they ended
};

struct ViewState {
  // The capabilities of the terminal, by which views choose characters and themes choose colours.
  bool ascii = false;
  int colours = 256;  // 256, 8, or 0

  std::string_view screen = "flows";          // its name in the registry (screens/screens.h)
  std::string_view before_overlay = "flows";  // the screen that Help or the menu covers
  ThemeName theme = ThemeName::kDark;
  std::shared_ptr<const ColourRules> colour_rules;  // nullptr: none
  bool frozen = false;
  std::string message;  // the response to the last key; removed by the next

  Prompt prompt = Prompt::kNone;
  std::string input;  // the text typed at the prompt

  // Flows.
  FlowColumn sort = FlowColumn::kSize;
  bool reverse = false;
  FlowColumn amount = FlowColumn::kSize;  // the one of kAmounts that is shown
  bool names = false;                     // names for addresses and ports
  bool swapped = false;                   // seen from the responder
  Grouping grouping = Grouping::kNone;
  FlowFilter filter;
  std::string filter_text;
  std::string search_text;
  std::optional<uint64_t> followed_id;  // the cursor stays on this flow wherever it is sorted to
  std::optional<uint64_t> detail_id;    // one flow's page is open
  bool packets_open = false;            // ... and from it, the flow's packets
  std::optional<uint64_t> packet;       // the number of the selected one; nullopt: the newest
  uint64_t selected = 0;                // position in the order
  uint64_t top = 0;                     // position of the first visible row
  FlowColumnSet hidden_columns = default_hidden_columns();
  FlowColumnSet wanted_columns;  // turned on by the user: shown even if no flow has a period
  bool choosing_columns = false;
  size_t column_cursor = 0;

  std::string wanted_interface;  // with Effect::kSwitchInterface

  int32_t wanted_pid = 0;      // with Effect::kWatchProcess
  int64_t wanted_time_ns = 0;  // with Effect::kToTime

  // Timeline.
  std::optional<uint64_t> cursor_tick;  // nullopt: the newest
  bool whole_run = false;               // fit the whole run: a column has several ticks

  std::optional<ChosenTicks> slowest_of;  // Slowest shows only the replies of these ticks

  // The lists of the other screens, by name.
  std::map<std::string_view, ListState> lists;
  ListState& list(std::string_view screen_name) { return lists[screen_name]; }
  ListState list(std::string_view screen_name) const {
    const auto found = lists.find(screen_name);
    return found == lists.end() ? ListState() : found->second;
  }

  FlowQuery flow_query() const { return {filter, sort, reverse, grouping}; }
  static FlowColumnSet default_hidden_columns();
};

/// The column whose bit of hidden_columns applies to this column. The amounts share one.
size_t shown_by(size_t column);

/// Whether the column is shown: it is not hidden, and there is something to show. That is so for
/// columns of lateness if some flow has a period, and for the one of processes if owners are known.
bool column_is_on(const ViewState& state, const Model& model, FlowColumn column);

/// Late flows first if a period was declared, else the busiest ones, as in trafshow.
ViewState initial_view_state(const Model& model);

}  // namespace topspin
