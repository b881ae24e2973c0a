// Flows: the first screen, with one row per flow for both directions.
#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "core/base/text.h"
#include "core/base/text_width.h"
#include "tui/screens/flows_keys.h"
#include "tui/screens/parts.h"
#include "tui/terminal/draw.h"
#include "tui/views.h"

namespace topspin {
namespace {

struct PlacedColumn {
  FlowColumn column;
  int x = 0;
  int width = 0;
  bool text = false;
};

CellLook cell_look(const ViewState& state) { return {state.grouping, state.swapped, state.names}; }

std::vector<FlowColumn> wanted_columns(const ViewState& state, const Model& model) {
  std::vector<FlowColumn> columns;
  for (const FlowColumnInfo& info : flow_columns()) {
    // Size, Data and Packets share one place and rotate; the sorted column is always visible.
    if (is_amount(info.column)) {
      if (info.column == state.amount && column_is_on(state, model, FlowColumn::kSize))
        columns.push_back(info.column);
      continue;
    }
    const bool files_know_none = info.column == FlowColumn::kProcess && model.owners().empty();
    if (files_know_none) continue;
    if (column_is_on(state, model, info.column) || info.column == state.sort) {
      columns.push_back(info.column);
    }
  }
  return columns;
}

/// Drops the least important columns until the others fit. Then gives the remaining room to the
/// text columns, as far as their content needs it.
std::vector<PlacedColumn> place_columns(const ViewState& state, const FlowPage& page,
                                        const Model& model, int width) {
  std::vector<FlowColumn> columns = wanted_columns(state, model);
  // How many cells beyond its least width a text column needs for the visible rows.
  const auto want_of = [&](FlowColumn column) {
    const FlowColumnInfo& info = flow_column(column);
    int want = 0;
    if (!info.text || column == FlowColumn::kProtocol) return want;
    for (const TableRow& row : page.page) {
      const std::string text = flow_cell(column, row, model, cell_look(state));
      want = std::max(want, text_width(text) - info.width);
    }
    return want;
  };
  const std::array<int, 2> end_wants = {want_of(FlowColumn::kSource),
                                        want_of(FlowColumn::kDestination)};
  constexpr int kProcessMost = 32;
  const auto extra_of = [&](FlowColumn column) {
    if (column <= FlowColumn::kDestination) return end_wants[static_cast<size_t>(column)];
    if (column != FlowColumn::kProcess) return 0;
    return std::min(want_of(column), kProcessMost - flow_column(column).width);
  };
  // Whole IPv4 addresses are more important than the lesser columns. Longer addresses get the same
  // width.
  constexpr int kWholeEnd = 21;
  constexpr int kLesserPriority = 5;
  const auto least_of = [&] {
    return std::max_element(columns.begin(), columns.end(), [&](FlowColumn a, FlowColumn b) {
      const auto rank = [&](FlowColumn c) { return c == state.sort ? 0 : flow_column(c).priority; };
      return rank(a) < rank(b);
    });
  };
  const auto total = [&](bool with_wants) {
    int sum = -1;
    for (const FlowColumn column : columns) {
      const int width_least = flow_column(column).width;
      sum += width_least + 1;
      if (!with_wants || column > FlowColumn::kDestination) continue;
      sum += std::min(end_wants[static_cast<size_t>(column)], kWholeEnd - width_least);
    }
    return sum;
  };
  while (columns.size() > 1 && total(true) > width &&
         flow_column(*least_of()).priority >= kLesserPriority && *least_of() != state.sort) {
    columns.erase(least_of());
  }
  while (columns.size() > 1 && total(false) > width) columns.erase(least_of());
  std::vector<PlacedColumn> placed;
  int spare = std::max(width - total(false), 0);
  std::vector<int> wants;
  for (const FlowColumn column : columns) {
    const FlowColumnInfo& info = flow_column(column);
    placed.push_back({column, 0, info.width, info.text});
    wants.push_back(extra_of(column));
  }
  // Add one cell at a time in turn, so that both ends get the same.
  for (bool given = true; given && spare > 0;) {
    given = false;
    for (size_t i = 0; i < placed.size() && spare > 0; ++i) {
      if (wants[i] <= 0) continue;
      --wants[i];
      ++placed[i].width;
      --spare;
      given = true;
    }
  }
  // The remaining room goes between the numbers, at most two cells each.
  const int gaps = std::max(static_cast<int>(placed.size()) - 1, 1);
  const int extra_gap = std::min(spare / gaps, 2);
  int x = 0;
  for (PlacedColumn& column : placed) {
    column.x = x;
    column.width = std::min(column.width, std::max(width - x, 0));
    x += column.width + 1 + extra_gap;
  }
  return placed;
}

void draw_table_head(Grid& grid, Area area, const std::vector<PlacedColumn>& columns,
                     const ViewState& state) {
  for (const PlacedColumn& column : columns) {
    std::string title(flow_column(column.column).title);
    const bool sorted = column.column == state.sort;
    if (sorted) {
      const bool downwards = !flow_column(column.column).text != state.reverse;
      const std::string_view arrow =
          grid.ascii() ? (downwards ? "v" : "^") : (downwards ? "▼" : "▲");
      title = column.text ? fmt::format("{} {}", title, arrow) : fmt::format("{}{}", arrow, title);
    }
    const Style style = sorted ? Role::kAccent : Role::kDim;
    if (column.text)
      grid.put(area.x + column.x, area.y, title, style, column.width);
    else
      grid.put_right(area.x + column.x, area.y, title, column.width, style);
  }
}

void draw_nothing(Grid& grid, Area area, const Model& model, const ViewState& state) {
  std::string text = "no flows yet";
  if (!model.flows().empty())
    text = "no flow is let through by the filter; f changes it, Esc drops it";
  else if (model.history().empty())
    text = "waiting for the first tick";
  else if (model.scene.filter.empty() && model.packets_total() == 0)
    text = "no packets yet: is this the right interface?";
  else if (model.packets_total() == 0)
    text = fmt::format("no packets yet match: {}", model.scene.filter);
  (void)state;
  grid.put(area.x + 1, area.y + std::min(1, area.height - 1), text, Role::kDim, area.width - 2);
}

void draw_column_chooser(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const int width = std::min(area.width, 60);
  const int height = std::min(area.height, static_cast<int>(kFlowColumnCount) + 2);
  const int x = area.x + (area.width - width) / 2;
  const int rows = std::max(height - 2, 1);
  for (int y = 0; y < height; ++y) grid.fill(x, area.y + y, width, Role::kBar);
  grid.put(x + 1, area.y, "Columns: arrows, space turns on or off, c done", Role::kTab, width - 2);
  const int first = std::clamp(static_cast<int>(state.column_cursor) - rows + 1, 0,
                               std::max(static_cast<int>(kFlowColumnCount) - rows, 0));
  for (int row = 0; row < rows; ++row) {
    const auto index = static_cast<size_t>(first) + static_cast<size_t>(row);
    if (index >= kFlowColumnCount) break;
    const FlowColumnInfo& info = flow_columns()[index];
    const Style style = index == state.column_cursor ? Role::kSelected : Role::kBar;
    grid.fill(x, area.y + 1 + row, width, style);
    grid.put(x + 1, area.y + 1 + row,
             fmt::format(
                 "[{}] {:<12} {}",
                 column_is_on(state, model, static_cast<FlowColumn>(shown_by(index))) ? 'x' : ' ',
                 info.title, info.what),
             style, width - 2);
  }
}

std::string_view quality_text(OwnerQuality quality) {
  switch (quality) {
    case OwnerQuality::kExact: return "seen to connect";
    case OwnerQuality::kSnapshot: return "holds the socket";
    case OwnerQuality::kShared: return "one of several that hold it";
  }
  return "";
}

/// A rule's colour applies to a flow's identity. Numbers keep the colours of their state.
Style cell_style(FlowColumn column, const TableRow& row, const Model& model,
                 const ViewState& state) {
  const FlowRow& flow = row.entry.row;
  if (state.colour_rules && state.grouping == Grouping::kNone && !flow.ended &&
      (column <= FlowColumn::kProtocol || column == FlowColumn::kProcess)) {
    if (const auto style = state.colour_rules->style(flow)) return *style;
  }
  return flow.ended ? Role::kDim : flow_cell_role(column, row.entry, model);
}

/// The positions of the cursor and of the first row. The cursor stays on a followed flow, even if
/// the order has changed since the last key.
struct VisibleTop {
  uint64_t selected, top;
};
VisibleTop visible_top(const Model& model, const ViewState& state, uint64_t rows) {
  VisibleTop at{state.selected, state.top};
  if (!state.followed_id || state.grouping != Grouping::kNone) return at;
  const auto position = position_of(model, state.flow_query(), *state.followed_id);
  if (!position) return at;
  at.selected = *position;
  if (at.selected < at.top) at.top = at.selected;
  if (at.selected >= at.top + rows) at.top = at.selected - rows + 1;
  return at;
}

}  // namespace

size_t shown_by(size_t column) {
  return is_amount(static_cast<FlowColumn>(column)) ? static_cast<size_t>(FlowColumn::kSize)
                                                    : column;
}

FlowColumnSet ViewState::default_hidden_columns() {
  FlowColumnSet hidden;
  for (const FlowColumn column :
       {FlowColumn::kPacketRate, FlowColumn::kRetransmissions, FlowColumn::kAge}) {
    hidden.set(static_cast<size_t>(column));
  }
  return hidden;
}

bool column_is_on(const ViewState& state, const Model& model, FlowColumn column) {
  const auto index = static_cast<size_t>(column);
  if (state.hidden_columns[index]) return false;
  if (column == FlowColumn::kProcess) return !model.owners().empty();
  return !is_of_periods(column) || model.has_periods() || state.wanted_columns[index];
}

ViewState initial_view_state(const Model& model) {
  ViewState state;
  state.sort = model.scene.period_ns ? FlowColumn::kLateMax : FlowColumn::kSize;
  return state;
}

int flow_rows_visible(Size size) {
  const int height = screen_layout(size).body_height;
  return height >= 3 ? height - 1 : height;
}

static void draw_flows(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const bool with_head = area.height >= 3;
  const int rows = with_head ? area.height - 1 : area.height;
  const FlowQuery query = state.flow_query();
  auto [selected, top] = visible_top(model, state, static_cast<uint64_t>(rows));
  const FlowPage page = query_flows(model, query, top, static_cast<uint64_t>(rows));
  if (page.rows > 0) selected = std::min(selected, page.rows - 1);
  const std::vector<PlacedColumn> columns = place_columns(state, page, model, area.width);
  if (with_head) draw_table_head(grid, area, columns, state);
  const int y0 = area.y + (with_head ? 1 : 0);
  if (page.page.empty()) {
    draw_nothing(grid, {area.x, y0, area.width, rows}, model, state);
  }
  for (size_t i = 0; i < page.page.size(); ++i) {
    const TableRow& row = page.page[i];
    const int y = y0 + static_cast<int>(i);
    const bool under_cursor = page.first + i == selected;
    for (const PlacedColumn& column : columns) {
      const std::string text = flow_cell(column.column, row, model, cell_look(state));
      const Style style = cell_style(column.column, row, model, state);
      if (column.text)
        grid.put(area.x + column.x, y, text, style, column.width);
      else
        grid.put_right(area.x + column.x, y, whole_or_ellipsis(grid, text, column.width),
                       column.width, style);
    }
    if (under_cursor) grid.restyle(area.x, y, area.width, Role::kSelected);
  }
  if (state.choosing_columns) draw_column_chooser(grid, area, model, state);
}

NameWants missing_names(const Model& model, const ViewState& state, Size size) {
  NameWants wants;
  if (!state.names || state.screen != "flows") return wants;
  const auto want = [&](const FlowRow& row) {
    for (const Endpoint* end : {&row.key.low, &row.key.high}) {
      const HostKey host{end->address, row.key.ip_version};
      if (model.names.host(host) == nullptr) wants.hosts.push_back(host);
      const ServiceKey service{end->port, row.key.protocol};
      if (model.names.service(service) == nullptr) wants.services.push_back(service);
    }
  };
  if (state.detail_id) {
    if (const auto index = model.find_flow(*state.detail_id)) want(model.flows()[*index].row);
    return wants;
  }
  const auto rows = static_cast<uint64_t>(std::max(flow_rows_visible(size), 0));
  const uint64_t top = visible_top(model, state, rows).top;
  for (const TableRow& row : query_flows(model, state.flow_query(), top, rows).page) {
    want(row.entry.row);
  }
  return wants;
}

std::optional<FlowColumn> flow_column_at(const Model& model, const ViewState& state, Size size,
                                         int x) {
  const auto rows = static_cast<uint64_t>(std::max(flow_rows_visible(size), 0));
  const uint64_t top = visible_top(model, state, rows).top;
  const FlowPage page = query_flows(model, state.flow_query(), top, rows);
  for (const PlacedColumn& column : place_columns(state, page, model, size.width)) {
    if (x >= column.x && x < column.x + column.width) return column.column;
  }
  return std::nullopt;
}

void draw_flow_detail(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const auto index = model.find_flow(*state.detail_id);
  if (!index) {
    grid.put(area.x + 1, area.y, "this flow has gone; Esc goes back", Role::kDim, area.width - 2);
    return;
  }
  const TableRow row{model.flows()[*index], 1, 0};
  const FlowRow& flow = row.entry.row;
  int y = area.y;
  const int bottom = area.y + area.height;
  const std::string_view arrow = grid.ascii() ? "->" : "→";
  const CellLook look{Grouping::kNone, state.swapped, state.names};
  grid.put(area.x + 1, y++,
           fmt::format("{} {} {}  {}{}", flow_cell(FlowColumn::kSource, row, model, look), arrow,
                       flow_cell(FlowColumn::kDestination, row, model, look),
                       format_protocol(flow.key.protocol),
                       flow.ended               ? "  ended"
                       : is_silent(flow, model) ? "  SILENT"
                                                : ""),
           Role::kAccent, area.width - 2);
  ++y;
  const auto value = [&](std::string_view label, const std::string& text,
                         Role role = Role::kStrong) {
    if (y >= bottom) return;
    grid.put(area.x + 1, y, label, Role::kDim, std::min(area.width - 2, 24));
    grid.put(area.x + 26, y, text, text == "-" ? Role::kDim : role, area.width - 27);
    ++y;
  };
  const size_t out = state.swapped ? 1 : 0;
  const auto direction = [&](size_t way) {
    std::string text = fmt::format("{} packets, {}", format_exact(flow.packets[way]),
                                   format_bytes(static_cast<int64_t>(flow.bytes[way])));
    if (const auto& payload = flow.payload_bytes[way]) {
      text += fmt::format(", {} of it data", format_bytes(static_cast<int64_t>(*payload)));
    }
    return text;
  };
  value(fmt::format("sent {}", arrow), direction(out));
  value(grid.ascii() ? "came back <-" : "came back ←", direction(1 - out));
  const auto owner = [&](std::string_view label, size_t way) {
    if (const FlowOwner* process = model.owners().find(flow.owners[way])) {
      value(label, fmt::format("{}  ({})", owner_text(process), quality_text(process->quality)));
    }
  };
  owner("process that sent", out);
  owner("process that answers", 1 - out);
  if (is_of_the_future(flow, model)) {
    grid.put(area.x + 1, y++, "counts are of the run's end: a stored run keeps each flow once",
             Role::kWarning, area.width - 2);
  }
  value("rate", flow_cell(FlowColumn::kRate, row, model, {}));
  value("first packet", fmt::format("{} ago", flow_cell(FlowColumn::kAge, row, model, {})));
  value("last packet", fmt::format("{} ago", flow_cell(FlowColumn::kSeen, row, model, {})));
  value("period", flow.period_ns ? fmt::format("{} {}", format_duration(*flow.period_ns),
                                               model.scene.period_ns ? "declared" : "learned")
                                 : "-");
  if (flow.period_ns) {
    value("lateness, last gap", flow_cell(FlowColumn::kLate, row, model, {}),
          flow_cell_role(FlowColumn::kLate, row.entry, model));
    value("lateness, worst", duration_or_dash(flow.lateness_max_ns),
          flow_cell_role(FlowColumn::kLateMax, row.entry, model));
    value("missed ticks", format_exact(flow.missed_ticks),
          flow_cell_role(FlowColumn::kMissed, row.entry, model));
  }
  value("replies", format_exact(flow.replies));
  value("reply, last", flow_cell(FlowColumn::kReply, row, model, {}));
  value("reply, mean", flow_cell(FlowColumn::kReplyMean, row, model, {}));
  value("reply, slowest", duration_or_dash(flow.reply_latency_max_ns));
  value("unanswered", format_exact(flow.unanswered),
        flow_cell_role(FlowColumn::kUnanswered, row.entry, model));
  if (flow.key.protocol == kProtocolTcp)
    value("retransmissions", format_exact(flow.retransmissions));
  if (y < bottom) grid.put(area.x + 1, y, "Enter shows its packets", Role::kDim, area.width - 2);
  if (y + 3 >= bottom) return;
  y += 2;
  grid.put(area.x + 1, y++, "each tick, the newest at the right", Role::kDim, area.width - 2);
  draw_liveness_strip(grid, area.x + 1, y, std::min(area.width - 2, kLivenessTicks),
                      model.liveness(*index));
}

namespace {

/// Draws the table, or the page that was opened from it.
void draw_body(Grid& grid, Area area, const Model& model, const ViewState& state) {
  if (state.detail_id && state.packets_open)
    draw_packets(grid, area, model, state);
  else if (state.detail_id)
    draw_flow_detail(grid, area, model, state);
  else
    draw_flows(grid, area, model, state);
}

int flows_height(const Model& model, const ViewState& state, int rows) {
  constexpr int kDetailHeight = 24;
  if (state.detail_id) return kDetailHeight;
  const uint64_t flows = query_flows(model, state.flow_query(), 0, 0).rows;
  return std::max(1 + static_cast<int>(std::min<uint64_t>(flows, static_cast<uint64_t>(rows))), 2);
}

}  // namespace

const Screen& flows_screen() {
  static const Screen kScreen = {
      .name = "flows",
      .title = "Flows",
      .short_title = "Flow",
      .key = U'1',
      .what = "each flow: rates, lateness, replies, whose it is",
      .draw = draw_body,
      .press = press_flows,
      .plain_height = flows_height,
  };
  return kScreen;
}

}  // namespace topspin
