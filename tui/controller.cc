#include "tui/controller.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "core/base/clock.h"
#include "core/base/text.h"
#include "tui/screens/flows_keys.h"
#include "tui/screens/screens.h"
#include "tui/views.h"

namespace topspin {
namespace {

constexpr size_t kMaxInput = 200;

/// Handles one key.
class Press {
 public:
  Press(ViewState state, const Key& key, const Model& model, Size size, bool replay)
      : state_(std::move(state)), key_(key), model_(model), size_(size), replay_(replay) {}

  Pressed run() {
    state_.message.clear();
    if (state_.prompt != Prompt::kNone)
      type();
    else if (!click_on_tab())
      press_screen();
    return {std::move(state_), effect_};
  }

 private:
  void type();
  void finish_input();
  void search(bool include_here);
  void finish_time(std::string_view input);
  bool click_on_tab();
  void press_screen();
  void click_on_row(const Screen& screen, ScreenPress& press);
  bool move(const Screen& screen, const ScreenPress& press);
  void command(const Screen& screen, Command command);
  void command_of_flows(Command command);
  void back(bool may_quit);
  void step_screen(bool forward);
  void toggle(std::string_view overlay);

  ViewState state_;
  const Key& key_;
  const Model& model_;
  Size size_;
  bool replay_;
  Effect effect_ = Effect::kNone;
};

void Press::type() {
  switch (key_.code) {
    case KeyCode::kEscape:
      state_.prompt = Prompt::kNone;
      state_.input.clear();
      break;
    case KeyCode::kEnter: finish_input(); break;
    case KeyCode::kBackspace:
      // Removes one character, not one byte.
      while (!state_.input.empty()) {
        const auto byte = static_cast<uint8_t>(state_.input.back());
        state_.input.pop_back();
        if ((byte & 0xC0) != 0x80) break;
      }
      break;
    case KeyCode::kCharacter:
      if (key_.character >= U' ' && key_.character != 0x7F && state_.input.size() < kMaxInput) {
        append_utf8(state_.input, key_.character);
      }
      break;
    default: break;
  }
}

void Press::finish_input() {
  const Prompt prompt = std::exchange(state_.prompt, Prompt::kNone);
  const std::string input = std::exchange(state_.input, {});
  if (prompt == Prompt::kSearch) {
    if (!input.empty()) state_.search_text = input;
    if (!state_.search_text.empty()) search(true);
    return;
  }
  if (prompt == Prompt::kTime) {
    finish_time(input);
    return;
  }
  auto filter = FlowFilter::parse(input);
  if (!filter.ok()) {
    state_.message = filter.error().message;
    return;
  }
  state_.filter = std::move(filter).value();
  state_.filter_text = state_.filter.empty() ? "" : input;
  state_.selected = state_.top = 0;
  if (!state_.filter.empty())
    state_.message = fmt::format("shown: {}; what is counted stays the same", input);
}

void Press::search(bool include_here) {
  const Screen& screen = shown_screen(state_);
  if (screen.search != nullptr && !state_.search_text.empty())
    screen.search(state_, model_, include_here);
  else
    search_flow(state_, model_, size_, include_here);
}

/// Parses seconds, minutes:seconds or hours:minutes:seconds after the start.
void Press::finish_time(std::string_view input) {
  if (input.empty()) return;
  int64_t seconds = 0;
  int parts = 0;
  for (std::string_view rest = input; parts < 3; ++parts) {
    const size_t colon = std::min(rest.find(':'), rest.size());
    int64_t part = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + colon, part);
    if (error != std::errc() || end != rest.data() + colon || part < 0 || part > 1'000'000) break;
    seconds = seconds * 60 + part;
    if (colon == rest.size()) {
      state_.wanted_time_ns = seconds * kNanosPerSecond;
      effect_ = Effect::kToTime;
      return;
    }
    rest.remove_prefix(colon + 1);
  }
  state_.message = "a time is seconds, minutes:seconds or hours:minutes:seconds: 1:30";
}

bool Press::click_on_tab() {
  if (key_.code != KeyCode::kClick || key_.y != screen_layout(size_).tabs_y) return false;
  if (const Screen* screen = tab_at(key_.x, size_.width)) open_screen(state_, screen->name);
  return true;
}

/// Passes the key first to the screen, then handles the keys that all screens share.
void Press::press_screen() {
  const Screen& screen = shown_screen(state_);
  ScreenPress press{state_, model_, size_, replay_, key_, std::nullopt, Effect::kNone};
  const KeyBinding* binding = find_binding(key_, replay_);
  if (binding != nullptr) press.command = binding->command;
  const bool done = screen.press != nullptr && screen.press(press);
  effect_ = press.effect;
  if (done) return;
  if (key_.code == KeyCode::kClick)
    click_on_row(screen, press);
  else if (binding != nullptr && !move(screen, press))
    command(screen, binding->command);
  else if (const Screen* other = screen_of_key(key_); binding == nullptr && other != nullptr)
    open_screen(state_, other->name);
}

/// A click on a row of a list acts like Enter on that row.
void Press::click_on_row(const Screen& screen, ScreenPress& press) {
  if (!screen.has_cursor || screen.press == nullptr) return;
  const ScreenLayout layout = screen_layout(size_);
  const int table_head = layout.body_height >= 3 ? 1 : 0;
  const int visible = std::max(layout.body_height - table_head, 0);
  const int row = key_.y - layout.body_y - table_head;
  const uint64_t count = screen.rows(model_, state_);
  ListState& list = state_.list(screen.name);
  const uint64_t at = top_of_list(list, count, static_cast<uint64_t>(visible)) +
                      static_cast<uint64_t>(std::max(row, 0));
  if (row < 0 || row >= visible || at >= count) return;
  list.selected = at;
  press.command = Command::kEnter;
  (void)screen.press(press);
  effect_ = press.effect;
}

/// Moves through the screen's list. False if the key moves nothing here.
bool Press::move(const Screen& screen, const ScreenPress& press) {
  const auto rows = rows_moved(press);
  if (!rows || screen.rows == nullptr) return false;
  const uint64_t count = screen.rows(model_, state_);
  ListState& list = state_.list(screen.name);
  uint64_t& place = screen.has_cursor ? list.selected : list.top;
  const uint64_t most = screen.has_cursor && count > 0 ? count - 1 : count;
  const int64_t to = static_cast<int64_t>(std::min(place, most)) + *rows;
  place = std::min(static_cast<uint64_t>(std::max<int64_t>(to, 0)), most);
  return true;
}

void Press::back(bool may_quit) {
  if (shown_screen(state_).is_overlay)
    state_.screen = state_.before_overlay;
  else if (may_quit)
    effect_ = Effect::kQuit;
  else if (state_.screen != "flows")
    state_.screen = "flows";
}

void Press::step_screen(bool forward) {
  const auto& all = screens();
  const auto at = std::find(all.begin(), all.end(), &shown_screen(state_)) - all.begin();
  const auto count = static_cast<std::ptrdiff_t>(all.size());
  const auto next = (at + (forward ? 1 : count - 1)) % count;
  open_screen(state_, all[static_cast<size_t>(next)]->name);
}

void Press::toggle(std::string_view overlay) {
  if (state_.screen == overlay)
    back(false);
  else
    open_screen(state_, overlay);
}

/// Handles commands that show or change the table of flows, from any screen.
void Press::command_of_flows(Command command) {
  switch (command) {
    case Command::kSearch:
      state_.prompt = Prompt::kSearch;
      state_.input.clear();
      break;
    case Command::kSearchNext: search(false); break;
    case Command::kFilter:
      state_.prompt = Prompt::kFilter;
      state_.input = state_.filter_text;
      break;
    case Command::kAggregate:
      open_screen(state_, "flows");
      state_.detail_id.reset();
      state_.grouping = static_cast<Grouping>((static_cast<int>(state_.grouping) + 1) % 4);
      state_.selected = state_.top = 0;
      state_.message = fmt::format("rows: {}", grouping_name(state_.grouping));
      break;
    case Command::kColumns:
      open_screen(state_, "flows");
      state_.detail_id.reset();
      state_.choosing_columns = true;
      break;
    case Command::kSwap: state_.swapped = !state_.swapped; break;
    case Command::kPurge:
      effect_ = Effect::kPurge;
      state_.selected = state_.top = 0;
      state_.followed_id.reset();
      break;
    default: break;
  }
}

void Press::command(const Screen& screen, Command command) {
  switch (command) {
    case Command::kUp:
    case Command::kDown:
    case Command::kPageUp:
    case Command::kPageDown:
    case Command::kEnter: break;
    case Command::kHome:
      if (replay_) effect_ = Effect::kToStart;
      break;
    case Command::kEnd:
      if (replay_) effect_ = Effect::kToEnd;
      break;
    case Command::kBack: back(false); break;
    case Command::kQuit: back(true); break;
    case Command::kLeft:
      if (replay_ && key_.code != KeyCode::kCharacter) effect_ = Effect::kStepBack;
      break;
    case Command::kRight:
      if (replay_ && key_.code != KeyCode::kCharacter) effect_ = Effect::kStepOn;
      break;
    case Command::kSortNext:
      if (ListState& list = state_.list(screen.name); screen.sort_columns > 0) {
        list.sort = (list.sort + 1) % screen.sort_columns;
        list.reverse = false;
      }
      break;
    case Command::kSortReverse:
      if (ListState& list = state_.list(screen.name); screen.sort_columns > 0)
        list.reverse = !list.reverse;
      break;
    case Command::kNames:
      state_.names = !state_.names;
      state_.message = state_.names ? "names, as they are found; n shows numbers" : "numbers";
      break;
    case Command::kFreeze: state_.frozen = !state_.frozen; break;
    case Command::kZoom:
      open_screen(state_, "timeline");
      state_.whole_run = true;
      break;
    case Command::kRefresh: effect_ = Effect::kRefresh; break;
    case Command::kExport: effect_ = Effect::kExport; break;
    case Command::kKeep: effect_ = Effect::kKeep; break;
    case Command::kTheme:
      state_.theme = static_cast<ThemeName>((static_cast<int>(state_.theme) + 1) %
                                            static_cast<int>(ThemeName::kCount));
      break;
    case Command::kHelp: toggle("help"); break;
    case Command::kMenu: toggle("menu"); break;
    case Command::kNextScreen: step_screen(true); break;
    case Command::kPreviousScreen: step_screen(false); break;
    case Command::kSlower: effect_ = Effect::kSlower; break;
    case Command::kFaster: effect_ = Effect::kFaster; break;
    case Command::kNextLoss: effect_ = Effect::kNextLoss; break;
    case Command::kWorstLateness: effect_ = Effect::kWorstLateness; break;
    case Command::kToTime:
      state_.prompt = Prompt::kTime;
      state_.input.clear();
      break;
    default: command_of_flows(command); break;
  }
}

}  // namespace

Pressed press(ViewState state, const Key& key, const Model& model, Size size, bool replay) {
  return Press(std::move(state), key, model, size, replay).run();
}

}  // namespace topspin
