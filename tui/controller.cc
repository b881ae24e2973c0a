#include "tui/controller.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "core/check.h"
#include "core/clock.h"
#include "core/text.h"
#include "tui/views.h"

namespace topspin {
namespace {

constexpr size_t kMaxInput = 200;

/// One key, on its way through.
class Press {
 public:
  Press(ViewState state, const Key& key, const Model& model, Size size, bool replay)
      : state_(std::move(state)), key_(key), model_(model), size_(size), replay_(replay) {}

  Pressed run() {
    state_.message.clear();
    if (state_.prompt != Prompt::kNone)
      type();
    else if (key_.code == KeyCode::kClick)
      click();
    else if (state_.choosing_columns)
      choose_column();
    else if (const KeyBinding* binding = find_binding(key_, replay_))
      command(*binding);
    return {std::move(state_), effect_};
  }

 private:
  void type();
  void finish_input();
  void click();
  void choose_column();
  void command(const KeyBinding& binding);
  void move(int64_t rows);
  void move_to(bool end);
  void scroll_flows(int64_t rows);
  void enter();
  void back(bool may_quit);
  void rotate(bool right);
  void search(bool include_here);
  void sort_next();
  void sort_by(FlowColumn column);
  void move_packets(int64_t rows);
  void finish_time(std::string_view input);
  void go(Screen screen);
  void pin_position();
  int64_t page_rows() const { return std::max<int64_t>(screen_layout(size_).body_height - 1, 1); }

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
      // One character, not one byte.
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

/// Seconds, minutes:seconds or hours:minutes:seconds after the start.
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

void Press::click() {
  const ScreenLayout layout = screen_layout(size_);
  if (key_.y == layout.tabs_y) {
    const Screen screen = tab_at(key_.x, size_.width);
    if (screen != Screen::kCount) go(screen);
    return;
  }
  const int table_head = layout.body_height >= 3 ? 1 : 0;
  const int row = key_.y - layout.body_y - table_head;
  if (row >= layout.body_height - table_head) return;
  if (state_.screen == Screen::kInterfaces) {
    const size_t count = model_.interfaces.entries().size();
    const auto rows = static_cast<size_t>(std::max(layout.body_height - table_head, 0));
    if (row < 0 || interface_top(state_, count, rows) + static_cast<size_t>(row) >= count) return;
    state_.interface_selected = interface_top(state_, count, rows) + static_cast<size_t>(row);
    enter();
    return;
  }
  if (state_.screen != Screen::kFlows || state_.detail_id || state_.choosing_columns) return;
  if (row == -1 && table_head == 1) {
    if (const auto column = flow_column_at(model_, state_, size_, key_.x)) sort_by(*column);
    return;
  }
  if (row < 0 || row >= flow_rows_visible(size_)) return;
  pin_position();
  state_.followed_id.reset();
  const FlowPage page = query_flows(model_, state_.flow_query(), state_.top,
                                    static_cast<uint64_t>(flow_rows_visible(size_)));
  if (static_cast<uint64_t>(row) < page.page.size()) {
    state_.top = page.first;
    state_.selected = page.first + static_cast<uint64_t>(row);
    enter();
  }
}

/// Once more on the same column turns the order round.
void Press::sort_by(FlowColumn column) {
  pin_position();
  state_.reverse = column == state_.sort && !state_.reverse;
  state_.sort = column;
  if (!state_.followed_id) state_.selected = state_.top = 0;
}

void Press::choose_column() {
  const bool character = key_.code == KeyCode::kCharacter;
  const auto is = [&](KeyCode code, char32_t c) {
    return character ? key_.character == c : key_.code == code;
  };
  if (is(KeyCode::kUp, U'k') && state_.column_cursor > 0) --state_.column_cursor;
  if (is(KeyCode::kDown, U'j') && state_.column_cursor + 1 < kFlowColumnCount) {
    ++state_.column_cursor;
  }
  if (character && key_.character == U' ') {
    const size_t column = shown_by(state_.column_cursor);
    const bool on = column_is_on(state_, model_, static_cast<FlowColumn>(column));
    state_.hidden_columns.set(column, on);
    state_.wanted_columns.set(column, !on);
  }
  if (is(KeyCode::kEnter, U'c') || is(KeyCode::kEscape, U'q')) state_.choosing_columns = false;
}

void Press::go(Screen screen) {
  if (screen == Screen::kHelp && state_.screen != Screen::kHelp) state_.before_help = state_.screen;
  state_.screen = screen;
  state_.choosing_columns = false;
}

/// A followed flow may have moved since the last key: its place now is where keys start from.
void Press::pin_position() {
  if (!state_.followed_id || state_.grouping != Grouping::kNone) return;
  const auto position = position_of(model_, state_.flow_query(), *state_.followed_id);
  if (!position) return;
  state_.selected = *position;
  const auto rows = static_cast<uint64_t>(std::max(flow_rows_visible(size_), 1));
  if (state_.selected < state_.top) state_.top = state_.selected;
  if (state_.selected >= state_.top + rows) state_.top = state_.selected - rows + 1;
}

void Press::scroll_flows(int64_t rows) {
  pin_position();
  state_.followed_id.reset();
  const FlowPage page = query_flows(model_, state_.flow_query(), 0, 0);
  const uint64_t last = page.rows > 0 ? page.rows - 1 : 0;
  const auto moved = static_cast<int64_t>(std::min(state_.selected, last)) + rows;
  state_.selected = std::min(static_cast<uint64_t>(std::max<int64_t>(moved, 0)), last);
  const auto visible = static_cast<uint64_t>(std::max(flow_rows_visible(size_), 1));
  if (state_.selected < state_.top) state_.top = state_.selected;
  if (state_.selected >= state_.top + visible) state_.top = state_.selected - visible + 1;
  state_.top = std::min(state_.top, last + 1 > visible ? last + 1 - visible : 0);
}

void Press::move(int64_t rows) {
  const auto shifted = [&](uint64_t from, uint64_t most) {
    const int64_t to = static_cast<int64_t>(std::min(from, most)) + rows;
    return std::min(static_cast<uint64_t>(std::max<int64_t>(to, 0)), most);
  };
  switch (state_.screen) {
    case Screen::kFlows:
      if (state_.detail_id && state_.packets_open)
        move_packets(rows);
      else if (!state_.detail_id)
        scroll_flows(rows);
      break;
    case Screen::kSyscalls:
      state_.syscall_top = shifted(state_.syscall_top, model_.syscalls().size());
      break;
    case Screen::kSockets:
      state_.socket_top = shifted(state_.socket_top, model_.sockets().size());
      break;
    case Screen::kInterfaces: {
      const uint64_t count = model_.interfaces.entries().size();
      if (count > 0) state_.interface_selected = shifted(state_.interface_selected, count - 1);
      break;
    }
    case Screen::kScheduler:
      state_.thread_top = shifted(state_.thread_top, model_.threads().size());
      break;
    case Screen::kHelp: {
      const int body = screen_layout(size_).body_height;
      state_.help_top =
          shifted(state_.help_top, static_cast<uint64_t>(std::max(help_lines() - body, 0)));
      break;
    }
    default: break;
  }
}

/// At the newest one the cursor goes along with what comes.
void Press::move_packets(int64_t rows) {
  const FlowPackets& all = model_.packets;
  if (all.packets().empty()) return;
  const auto first = static_cast<int64_t>(all.first_number());
  const int64_t last = first + static_cast<int64_t>(all.packets().size()) - 1;
  const int64_t to =
      std::clamp(static_cast<int64_t>(selected_packet(model_, state_)) + rows, first, last);
  if (to == last)
    state_.packet.reset();
  else
    state_.packet = static_cast<uint64_t>(to);
}

void Press::move_to(bool end) {
  if (state_.screen == Screen::kTimeline && !replay_) {
    if (end || model_.history().empty())
      state_.cursor_tick.reset();
    else
      state_.cursor_tick = model_.history().at(0).tick;
    return;
  }
  const bool has_rows = state_.screen == Screen::kFlows || state_.screen == Screen::kHelp ||
                        state_.screen == Screen::kSyscalls || state_.screen == Screen::kSockets ||
                        state_.screen == Screen::kInterfaces;
  if (replay_ && !has_rows) {
    effect_ = end ? Effect::kToEnd : Effect::kToStart;
    return;
  }
  constexpr int64_t kFar = int64_t{1} << 40;
  move(end ? kFar : -kFar);
}

void Press::rotate(bool right) {
  if (state_.screen == Screen::kTimeline && !replay_ && !model_.history().empty()) {
    const uint64_t newest = model_.history().back().tick;
    const uint64_t oldest = model_.history().at(0).tick;
    const uint64_t from = std::clamp(state_.cursor_tick.value_or(newest), oldest, newest);
    if (right && from + 1 >= newest)
      state_.cursor_tick.reset();  // at the right end it goes along with time again
    else
      state_.cursor_tick = right ? from + 1 : std::max(from, oldest + 1) - 1;
    return;
  }
  if (replay_ && key_.code != KeyCode::kCharacter) {
    effect_ = right ? Effect::kStepOn : Effect::kStepBack;
    return;
  }
  if (state_.screen == Screen::kFlows) {
    const size_t count = kAmounts.size();
    const size_t at = static_cast<size_t>(state_.amount) - static_cast<size_t>(kAmounts[0]);
    state_.amount = kAmounts[(at + (right ? 1 : count - 1)) % count];
    // The order goes along if it was by what is rotated away.
    if (is_amount(state_.sort)) state_.sort = state_.amount;
  }
}

void Press::enter() {
  if (state_.screen == Screen::kInterfaces) {
    const auto& entries = model_.interfaces.entries();
    if (state_.interface_selected >= entries.size()) return;
    state_.wanted_interface = entries[state_.interface_selected].reading.name;
    effect_ = Effect::kSwitchInterface;
    return;
  }
  if (state_.screen != Screen::kFlows) return;
  if (state_.detail_id) {
    state_.packets_open = true;
    state_.packet.reset();
    return;
  }
  pin_position();
  const FlowPage page = query_flows(model_, state_.flow_query(), state_.selected, 1);
  if (page.page.empty()) return;
  const FlowRow& row = page.page.front().entry.row;
  switch (state_.grouping) {
    case Grouping::kNone:
      state_.detail_id = row.id;
      state_.packets_open = false;
      state_.followed_id = row.id;
      return;
    case Grouping::kResponder:
      state_.filter_text =
          fmt::format("dst host {} and dst port {}",
                      format_address(row.responder(), row.key.ip_version), row.responder().port);
      break;
    case Grouping::kInitiatorHost:
      state_.filter_text =
          fmt::format("src host {}", format_address(row.initiator(), row.key.ip_version));
      break;
    case Grouping::kNets: {
      const int bits = row.key.ip_version == 4 ? 24 : 64;
      state_.filter_text = fmt::format("src net {}/{} and dst net {}/{}",
                                       format_address(row.initiator(), row.key.ip_version), bits,
                                       format_address(row.responder(), row.key.ip_version), bits);
      break;
    }
  }
  // A group's flows are a filter's, so that Esc drops it. Groups are of one protocol.
  state_.filter_text = fmt::format("proto {} and {}", row.key.protocol, state_.filter_text);
  auto filter = FlowFilter::parse(state_.filter_text);
  CHECK(filter.ok());
  state_.filter = std::move(filter).value();
  state_.grouping = Grouping::kNone;
  state_.selected = state_.top = 0;
  state_.message = fmt::format("shown: {}", state_.filter_text);
}

void Press::back(bool may_quit) {
  if (state_.screen == Screen::kHelp) {
    state_.screen = state_.before_help;
  } else if (state_.screen == Screen::kTimeline && state_.cursor_tick) {
    state_.cursor_tick.reset();
  } else if (state_.screen != Screen::kFlows) {
    state_.screen = Screen::kFlows;
  } else if (state_.detail_id && state_.packets_open) {
    state_.packets_open = false;
  } else if (state_.detail_id) {
    state_.detail_id.reset();
  } else if (may_quit) {
    effect_ = Effect::kQuit;
  } else if (!state_.filter.empty()) {
    state_.filter = FlowFilter();
    state_.filter_text.clear();
    state_.selected = state_.top = 0;
  } else if (state_.grouping != Grouping::kNone) {
    state_.grouping = Grouping::kNone;
    state_.selected = state_.top = 0;
  } else if (state_.followed_id) {
    pin_position();
    state_.followed_id.reset();
  }
}

void Press::search(bool include_here) {
  if (state_.search_text.empty()) {
    state_.message = "nothing to search for yet; / asks";
    return;
  }
  state_.screen = Screen::kFlows;
  state_.grouping = Grouping::kNone;
  state_.detail_id.reset();
  pin_position();
  const auto found =
      search_flows(model_, state_.flow_query(), state_.search_text, state_.selected, include_here);
  if (!found) {
    state_.message = fmt::format("not found: {}", state_.search_text);
    return;
  }
  state_.followed_id = found->id;
  state_.selected = found->position;
  pin_position();
  state_.message = fmt::format("follows: {}  (N: the next)", state_.search_text);
}

void Press::sort_next() {
  if (state_.screen == Screen::kScheduler) {
    state_.thread_sort = static_cast<ThreadColumn>((static_cast<size_t>(state_.thread_sort) + 1) %
                                                   static_cast<size_t>(ThreadColumn::kCount));
    state_.thread_reverse = false;
    return;
  }
  if (state_.screen == Screen::kSyscalls) {
    state_.syscall_sort =
        static_cast<SyscallColumn>((static_cast<size_t>(state_.syscall_sort) + 1) %
                                   static_cast<size_t>(SyscallColumn::kCount));
    state_.syscall_reverse = false;
    return;
  }
  if (state_.screen != Screen::kFlows) return;
  pin_position();
  // Hidden columns are skipped: what is sorted by is to be seen.
  for (size_t step = 1; step <= kFlowColumnCount; ++step) {
    const size_t next = (static_cast<size_t>(state_.sort) + step) % kFlowColumnCount;
    const auto column = static_cast<FlowColumn>(next);
    if (is_amount(column) && column != state_.amount) continue;
    if (!column_is_on(state_, model_, static_cast<FlowColumn>(shown_by(next)))) continue;
    state_.sort = column;
    break;
  }
  state_.reverse = false;
  if (!state_.followed_id) state_.selected = state_.top = 0;
}

void Press::command(const KeyBinding& binding) {
  switch (binding.command) {
    case Command::kUp: move(key_.code == KeyCode::kWheelUp ? -3 : -1); break;
    case Command::kDown: move(key_.code == KeyCode::kWheelDown ? 3 : 1); break;
    case Command::kPageUp: move(-page_rows()); break;
    case Command::kPageDown: move(page_rows()); break;
    case Command::kHome: move_to(false); break;
    case Command::kEnd: move_to(true); break;
    case Command::kEnter: enter(); break;
    case Command::kBack: back(false); break;
    case Command::kQuit: back(true); break;
    case Command::kLeft: rotate(false); break;
    case Command::kRight: rotate(true); break;
    case Command::kSwap: state_.swapped = !state_.swapped; break;
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
      state_.screen = Screen::kFlows;
      state_.detail_id.reset();
      state_.grouping = static_cast<Grouping>((static_cast<int>(state_.grouping) + 1) % 4);
      state_.selected = state_.top = 0;
      state_.message = fmt::format("rows: {}", grouping_name(state_.grouping));
      break;
    case Command::kSortNext: sort_next(); break;
    case Command::kSortReverse:
      if (state_.screen == Screen::kScheduler)
        state_.thread_reverse = !state_.thread_reverse;
      else if (state_.screen == Screen::kSyscalls)
        state_.syscall_reverse = !state_.syscall_reverse;
      else
        state_.reverse = !state_.reverse;
      break;
    case Command::kColumns:
      state_.screen = Screen::kFlows;
      state_.detail_id.reset();
      state_.choosing_columns = true;
      break;
    case Command::kNames:
      state_.names = !state_.names;
      state_.message = state_.names ? "names, as they are found; n shows numbers" : "numbers";
      break;
    case Command::kFreeze: state_.frozen = !state_.frozen; break;
    case Command::kPurge:
      effect_ = Effect::kPurge;
      state_.selected = state_.top = 0;
      state_.followed_id.reset();
      break;
    case Command::kRefresh: effect_ = Effect::kRefresh; break;
    case Command::kExport: effect_ = Effect::kExport; break;
    case Command::kTheme:
      state_.theme = static_cast<ThemeName>((static_cast<int>(state_.theme) + 1) %
                                            static_cast<int>(ThemeName::kCount));
      break;
    case Command::kHelp:
      if (state_.screen == Screen::kHelp)
        back(false);
      else
        go(Screen::kHelp);
      break;
    case Command::kScreen: {
      const auto index = static_cast<size_t>(key_.character - U'1');
      if (index < static_cast<size_t>(Screen::kHelp)) go(static_cast<Screen>(index));
      break;
    }
    case Command::kSlower: effect_ = Effect::kSlower; break;
    case Command::kFaster: effect_ = Effect::kFaster; break;
    case Command::kNextLoss: effect_ = Effect::kNextLoss; break;
    case Command::kToTime:
      state_.prompt = Prompt::kTime;
      state_.input.clear();
      break;
    case Command::kWorstLateness: effect_ = Effect::kWorstLateness; break;
  }
}

}  // namespace

Pressed press(ViewState state, const Key& key, const Model& model, Size size, bool replay) {
  return Press(std::move(state), key, model, size, replay).run();
}

}  // namespace topspin
