#include "tui/screens/flows_keys.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/base/check.h"
#include "core/base/text.h"
#include "tui/views.h"

namespace topspin {
namespace {

/// A followed flow may have moved since the last key, so keys start from its current position.
void pin_position(ViewState& state, const Model& model, Size size) {
  if (!state.followed_id || state.grouping != Grouping::kNone) return;
  const auto position = position_of(model, state.flow_query(), *state.followed_id);
  if (!position) return;
  state.selected = *position;
  const auto rows = static_cast<uint64_t>(std::max(flow_rows_visible(size), 1));
  if (state.selected < state.top) state.top = state.selected;
  if (state.selected >= state.top + rows) state.top = state.selected - rows + 1;
}

/// Sorts by a column. Choosing the same column again reverses the order.
void sort_by(ViewState& state, const Model& model, Size size, FlowColumn column) {
  pin_position(state, model, size);
  state.reverse = column == state.sort && !state.reverse;
  state.sort = column;
  if (!state.followed_id) state.selected = state.top = 0;
}

void choose_column(ViewState& state, const Model& model, const Key& key) {
  const bool character = key.code == KeyCode::kCharacter;
  const auto is = [&](KeyCode code, char32_t c) {
    return character ? key.character == c : key.code == code;
  };
  if (is(KeyCode::kUp, U'k') && state.column_cursor > 0) --state.column_cursor;
  if (is(KeyCode::kDown, U'j') && state.column_cursor + 1 < kFlowColumnCount) {
    ++state.column_cursor;
  }
  if (character && key.character == U' ') {
    const size_t column = shown_by(state.column_cursor);
    const bool on = column_is_on(state, model, static_cast<FlowColumn>(column));
    state.hidden_columns.set(column, on);
    state.wanted_columns.set(column, !on);
  }
  if (is(KeyCode::kEnter, U'c') || is(KeyCode::kEscape, U'q')) state.choosing_columns = false;
}

void scroll_flows(ViewState& state, const Model& model, Size size, int64_t rows) {
  pin_position(state, model, size);
  state.followed_id.reset();
  const FlowPage page = query_flows(model, state.flow_query(), 0, 0);
  const uint64_t last = page.rows > 0 ? page.rows - 1 : 0;
  const auto moved = static_cast<int64_t>(std::min(state.selected, last)) + rows;
  state.selected = std::min(static_cast<uint64_t>(std::max<int64_t>(moved, 0)), last);
  const auto visible = static_cast<uint64_t>(std::max(flow_rows_visible(size), 1));
  if (state.selected < state.top) state.top = state.selected;
  if (state.selected >= state.top + visible) state.top = state.selected - visible + 1;
  state.top = std::min(state.top, last + 1 > visible ? last + 1 - visible : 0);
}

/// Moves the cursor in the packets. At the newest packet it follows new ones.
void move_packets(ViewState& state, const Model& model, int64_t rows) {
  const FlowPackets& all = model.packets;
  if (all.packets().empty()) return;
  const auto first = static_cast<int64_t>(all.first_number());
  const int64_t last = first + static_cast<int64_t>(all.packets().size()) - 1;
  const int64_t to =
      std::clamp(static_cast<int64_t>(selected_packet(model, state)) + rows, first, last);
  if (to == last)
    state.packet.reset();
  else
    state.packet = static_cast<uint64_t>(to);
}

/// Shows the flows of a group by setting a filter, which Esc removes.
void enter_group(ViewState& state, const FlowRow& row) {
  switch (state.grouping) {
    case Grouping::kNone: return;
    case Grouping::kResponder:
      state.filter_text =
          fmt::format("dst host {} and dst port {}",
                      format_address(row.responder(), row.key.ip_version), row.responder().port);
      break;
    case Grouping::kInitiatorHost:
      state.filter_text =
          fmt::format("src host {}", format_address(row.initiator(), row.key.ip_version));
      break;
    case Grouping::kNets: {
      const int bits = row.key.ip_version == 4 ? 24 : 64;
      state.filter_text = fmt::format("src net {}/{} and dst net {}/{}",
                                      format_address(row.initiator(), row.key.ip_version), bits,
                                      format_address(row.responder(), row.key.ip_version), bits);
      break;
    }
  }
  // A group has only one protocol.
  state.filter_text = fmt::format("proto {} and {}", row.key.protocol, state.filter_text);
  auto filter = FlowFilter::parse(state.filter_text);
  CHECK(filter.ok());
  state.filter = std::move(filter).value();
  state.grouping = Grouping::kNone;
  state.selected = state.top = 0;
  state.message = fmt::format("shown: {}", state.filter_text);
}

void enter(ViewState& state, const Model& model, Size size) {
  if (state.detail_id) {
    state.packets_open = true;
    state.packet.reset();
    return;
  }
  pin_position(state, model, size);
  const FlowPage page = query_flows(model, state.flow_query(), state.selected, 1);
  if (page.page.empty()) return;
  const FlowRow& row = page.page.front().entry.row;
  if (state.grouping == Grouping::kNone) {
    state.detail_id = row.id;
    state.packets_open = false;
    state.followed_id = row.id;
  } else {
    enter_group(state, row);
  }
}

void sort_next(ViewState& state, const Model& model, Size size) {
  pin_position(state, model, size);
  // Skip hidden columns, because the sorted column must be visible.
  for (size_t step = 1; step <= kFlowColumnCount; ++step) {
    const size_t next = (static_cast<size_t>(state.sort) + step) % kFlowColumnCount;
    const auto column = static_cast<FlowColumn>(next);
    if (is_amount(column) && column != state.amount) continue;
    if (!column_is_on(state, model, static_cast<FlowColumn>(shown_by(next)))) continue;
    state.sort = column;
    break;
  }
  state.reverse = false;
  if (!state.followed_id) state.selected = state.top = 0;
}

void rotate_amount(ViewState& state, bool right) {
  const size_t count = kAmounts.size();
  const size_t at = static_cast<size_t>(state.amount) - static_cast<size_t>(kAmounts[0]);
  state.amount = kAmounts[(at + (right ? 1 : count - 1)) % count];
  // If the table was sorted by the replaced column, sort by the new one.
  if (is_amount(state.sort)) state.sort = state.amount;
}

void click(ViewState& state, const Model& model, Size size, const Key& key) {
  if (state.detail_id) return;
  const ScreenLayout layout = screen_layout(size);
  const int table_head = layout.body_height >= 3 ? 1 : 0;
  const int row = key.y - layout.body_y - table_head;
  if (row == -1 && table_head == 1) {
    if (const auto column = flow_column_at(model, state, size, key.x))
      sort_by(state, model, size, *column);
    return;
  }
  if (row < 0 || row >= flow_rows_visible(size)) return;
  pin_position(state, model, size);
  state.followed_id.reset();
  const FlowPage page = query_flows(model, state.flow_query(), state.top,
                                    static_cast<uint64_t>(flow_rows_visible(size)));
  if (static_cast<uint64_t>(row) < page.page.size()) {
    state.top = page.first;
    state.selected = page.first + static_cast<uint64_t>(row);
    enter(state, model, size);
  }
}

/// Closes what was opened last. False if nothing is open.
bool back(ViewState& state, const Model& model, Size size, bool may_quit) {
  if (state.detail_id && state.packets_open) {
    state.packets_open = false;
  } else if (state.detail_id) {
    state.detail_id.reset();
  } else if (may_quit) {
    return false;
  } else if (!state.filter.empty()) {
    state.filter = FlowFilter();
    state.filter_text.clear();
    state.selected = state.top = 0;
  } else if (state.grouping != Grouping::kNone) {
    state.grouping = Grouping::kNone;
    state.selected = state.top = 0;
  } else if (state.followed_id) {
    pin_position(state, model, size);
    state.followed_id.reset();
  }
  return true;
}

void move(ViewState& state, const Model& model, Size size, int64_t rows) {
  if (state.detail_id && state.packets_open)
    move_packets(state, model, rows);
  else if (!state.detail_id)
    scroll_flows(state, model, size, rows);
}

}  // namespace

bool press_flows(ScreenPress& press) {
  ViewState& state = press.state;
  const Model& model = press.model;
  const Size size = press.size;
  if (press.key.code == KeyCode::kClick) {
    if (!state.choosing_columns) click(state, model, size, press.key);
    return true;
  }
  if (state.choosing_columns) {
    choose_column(state, model, press.key);
    return true;
  }
  if (!press.command) return false;
  if (const auto rows = rows_moved(press)) {
    move(state, model, size, *rows);
    return true;
  }
  switch (*press.command) {
    case Command::kEnter: enter(state, model, size); return true;
    case Command::kBack: return back(state, model, size, false);
    case Command::kQuit: return back(state, model, size, true);
    case Command::kSortNext: sort_next(state, model, size); return true;
    case Command::kSortReverse: state.reverse = !state.reverse; return true;
    case Command::kLeft:
    case Command::kRight:
      // In a replay the arrow keys step.
      if (press.replay && press.key.code != KeyCode::kCharacter) return false;
      rotate_amount(state, *press.command == Command::kRight);
      return true;
    default: return false;
  }
}

void search_flow(ViewState& state, const Model& model, Size size, bool include_here) {
  if (state.search_text.empty()) {
    state.message = "nothing to search for yet; / asks";
    return;
  }
  open_screen(state, "flows");
  state.grouping = Grouping::kNone;
  state.detail_id.reset();
  pin_position(state, model, size);
  const auto found =
      search_flows(model, state.flow_query(), state.search_text, state.selected, include_here);
  if (!found) {
    state.message = fmt::format("not found: {}", state.search_text);
    return;
  }
  state.followed_id = found->id;
  state.selected = found->position;
  pin_position(state, model, size);
  state.message = fmt::format("follows: {}  (N: the next)", state.search_text);
}

}  // namespace topspin
