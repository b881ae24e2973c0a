// Sockets: how long data and connections wait for the subject, where the time of its replies goes,
// and the queues of its listening and UDP sockets.
#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "core/text.h"
#include "tui/screens/parts.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"
#include "tui/terminal/number_table.h"

namespace topspin {
namespace {

constexpr std::array<NumberColumn, 5> kSocketColumns = {{
    {"Queue", 9},
    {"Fullest", 9},
    {"Limit", 9},
    {"Drops", 8},
    {"Process", 8},
}};
constexpr std::array<NumberColumn, 5> kLatencyColumns = {{
    {"p50", 8},
    {"p90", 8},
    {"p99", 8},
    {"max", 8},
    {"count", 8},
}};

std::string queue_text(const SocketRow& row, const std::optional<uint64_t>& connections,
                       const std::optional<uint64_t>& bytes) {
  if (row.protocol == kProtocolTcp) return connections ? format_count(*connections) : "-";
  return bytes ? format_bytes(static_cast<int64_t>(*bytes)) : "-";
}

std::string cell(size_t column, const SocketRow& row, bool final_rows) {
  switch (column) {
    case 0: return final_rows ? "-" : queue_text(row, row.accept_queue, row.receive_queue_bytes);
    case 1: return queue_text(row, row.accept_queue_max, row.receive_queue_bytes_max);
    case 2: return queue_text(row, row.accept_queue_limit, row.receive_queue_bytes_limit);
    case 3: return format_count(row.drops);
    default: return fmt::format("{}", row.pid);
  }
}

struct Line {
  std::string_view name;
  const std::optional<LatencyPoint>& latency;
};

/// Returns the rows used.
int draw_waits(Grid& grid, Area area, const SocketPoint& point) {
  const std::array<Line, 5> lines = {{
      {"connections wait to be accepted", point.accept_delay},
      {"data waits to be read", point.socket_wait},
      {"replies: unread in the socket", point.reply_socket},
      {"replies: waiting for a CPU", point.reply_cpu_queue},
      {"replies: in the runtime", point.reply_runtime},
  }};
  const int name_width = std::clamp(area.width - 30, 12, 34);
  NumberTable table(grid, area, name_width, kLatencyColumns);
  int row = 0;
  for (const Line& line : lines) {
    if (!line.latency || row + 1 >= area.height) continue;
    const LatencyPoint& latency = *line.latency;
    table.draw_row(row++, line.name, [&](size_t column) -> std::string {
      switch (column) {
        case 0: return duration_or_dash(latency.p50);
        case 1: return duration_or_dash(latency.p90);
        case 2: return duration_or_dash(latency.p99);
        case 3: return duration_or_dash(latency.max);
        default: return format_count(latency.count);
      }
    });
  }
  if (row == 0) return 0;
  table.draw_titles("in the last tick", std::nullopt, false);
  return row + 1;
}

std::string refusals_text(const Model& model) {
  std::string text;
  const auto add = [&](std::string_view what, const std::optional<uint64_t>& count) {
    if (!count) return;
    text += fmt::format("{}{} {}", text.empty() ? "" : "   ", what, format_exact(*count));
  };
  add("refused, queue full", model.socket_totals().listen_overflows);
  add("refused otherwise", model.socket_totals().syn_drops);
  add("datagrams dropped", model.socket_totals().udp_drops);
  return text;
}

}  // namespace

void draw_why_not(Grid& grid, Area area, const Model& model, std::string_view probe,
                  std::string_view nothing_yet) {
  std::string text(nothing_yet);
  if (model.scene.subject.empty()) {
    text = "no subject: add --pid, --cgroup or -- COMMAND to see what it does";
  } else {
    for (const ProbeStatus& status : model.scene.probes) {
      if (status.name == probe && status.rung == Rung::kNone) {
        text = fmt::format("not measured: {}", status.reason);
      }
    }
  }
  grid.put(area.x + 1, area.y, text, Role::kDim, area.width - 2);
}

static void draw_sockets(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const std::optional<SocketPoint> point =
      model.history().empty() ? std::nullopt : model.history().back().sockets;
  const std::vector<SocketEntry>& sockets = model.sockets();
  if (!point && sockets.empty()) {
    draw_why_not(grid, area, model, "sockets", "no socket of the subject was seen yet");
    return;
  }
  int y = area.y;
  const int bottom = area.y + area.height;
  if (point && (area.height >= 8 || sockets.empty())) {
    y += draw_waits(grid, {area.x, y, area.width, area.height / 2}, *point);
    const std::string refusals = refusals_text(model);
    if (!refusals.empty() && y + 2 < bottom) {
      if (y > area.y) ++y;
      const auto& totals = model.socket_totals();
      const bool any = totals.listen_overflows.value_or(0) + totals.syn_drops.value_or(0) +
                           totals.udp_drops.value_or(0) >
                       0;
      grid.put(area.x + 1, y++, refusals, any ? Role::kWarning : Role::kDim, area.width - 2);
    }
    if (y > area.y) ++y;
  }
  if (y >= bottom) return;
  const Area rest{area.x, y, area.width, bottom - y};
  if (sockets.empty()) {
    grid.put(rest.x + 1, rest.y, "no listening and no UDP socket", Role::kDim, rest.width - 2);
    return;
  }
  // The fullest first; what dropped before what did not.
  std::vector<uint32_t> order(sockets.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto fullness = [&](const SocketRow& row) {
    const auto share = [](const std::optional<uint64_t>& used,
                          const std::optional<uint64_t>& limit) {
      if (!used || !limit || *limit == 0) return 0.0;
      return static_cast<double>(*used) / static_cast<double>(*limit);
    };
    return std::max(share(row.accept_queue_max, row.accept_queue_limit),
                    share(row.receive_queue_bytes_max, row.receive_queue_bytes_limit));
  };
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    const SocketRow &left = sockets[a].row, &right = sockets[b].row;
    if (left.drops != right.drops) return left.drops > right.drops;
    const double fuller = fullness(left), other = fullness(right);
    if (fuller != other) return fuller > other;
    return left.cookie < right.cookie;
  });
  NumberTable table(grid, rest, std::clamp(rest.width / 3, 16, 34), kSocketColumns);
  // A stored run keeps each socket as it stood last.
  const bool final_rows = model.scene.flows_are_final;
  table.draw_titles(fmt::format("Socket ({}){}", format_exact(sockets.size()),
                                final_rows ? ", of the whole run" : ""),
                    std::nullopt, false);
  const auto rows = static_cast<uint64_t>(std::max(rest.height - 1, 0));
  const uint64_t top = std::min<uint64_t>(state.list("sockets").top,
                                          order.size() - std::min<uint64_t>(rows, order.size()));
  for (uint64_t i = 0; i < rows && top + i < order.size(); ++i) {
    const SocketRow& row = sockets[order[top + i]].row;
    const std::string name = fmt::format(
        "{} {}", row.protocol == kProtocolTcp ? "listen" : format_protocol(row.protocol),
        format_endpoint(row.local, row.ip_version));
    const Role role = row.closed ? Role::kDim : row.drops > 0 ? Role::kWarning : Role::kNormal;
    table.draw_row(
        static_cast<int>(i), name, [&](size_t column) { return cell(column, row, final_rows); },
        role);
  }
}

namespace {

uint64_t sockets_rows(const Model& model, const ViewState&) { return model.sockets().size(); }

}  // namespace

const Screen& sockets_screen() {
  static const Screen kScreen = {
      .name = "sockets",
      .title = "Sockets",
      .short_title = "Sock",
      .key = U'8',
      .what = "how long data and connections wait; queues and drops",
      .draw = draw_sockets,
      .rows = sockets_rows,
  };
  return kScreen;
}

}  // namespace topspin
