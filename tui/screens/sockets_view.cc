// Sockets: how long data and connections wait for the subject, where the time of its replies goes,
// the queues of its listening and UDP sockets, and all other numbers of that probe.
#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "core/base/text.h"
#include "core/tick/reply_parts.h"
#include "tui/screens/number_page.h"
#include "tui/screens/parts.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"
#include "tui/terminal/number_table.h"
#include "tui/views.h"

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

// The numbers above the sockets: connections and datagrams that the subject lost. All other numbers
// of the probe are below the sockets, in the registry's order.
constexpr std::array<std::string_view, 3> kRefusals = {"listen_overflows", "syn_drops",
                                                       "udp_drops"};

/// What is drawn, from the last tick.
struct SocketsPage {
  std::vector<const RegisteredNumber*> waits;  // distributions
  std::vector<NumberCell> refusals, others;

  explicit SocketsPage(const Model& model);
  bool empty() const { return waits.empty() && refusals.empty() && others.empty(); }
  int height(int width, size_t sockets) const;
};

/// Whether it belongs to the tail of replies and their parts, which only reports show.
bool is_of_tail(std::string_view name) {
  const auto& parts = reply_part_names();
  return std::any_of(parts.begin(), parts.end(), [&](const ReplyPartNames& part) {
    return name == part.with || name == part.without || name == part.mostly;
  });
}

/// Whether a distribution is shown. Parts of replies are shown only if they occurred.
bool is_shown(const RegisteredNumber& number, const Histogram* waits) {
  if (waits == nullptr || is_of_tail(number.name)) return false;
  return !number.name.starts_with("reply_") || waits->sum() > 0;
}

SocketsPage::SocketsPage(const Model& model) {
  if (model.history().empty()) return;
  const auto all = numbers_of_probe("sockets", kRefusals);
  for (const RegisteredNumber* number : all) {
    if (number->histogram && is_shown(*number, number->histogram(model.last())))
      waits.push_back(number);
  }
  const std::span list(all);
  refusals = number_cells(list.first(kRefusals.size()), model);
  others = number_cells(list.subspan(kRefusals.size()), model);
  for (NumberCell& cell : refusals) {
    if (cell.role != Role::kDim) cell.role = Role::kWarning;
  }
}

/// Includes a line between the parts of the page.
int SocketsPage::height(int width, size_t sockets) const {
  int rows = static_cast<int>(sockets) + 1;
  if (!waits.empty()) rows += static_cast<int>(waits.size()) + 2;
  for (const auto* cells : {&refusals, &others}) {
    if (!cells->empty()) rows += number_block_height(cells->size(), width) + 1;
  }
  return rows;
}

/// Returns the number of rows used.
int draw_waits(Grid& grid, Area area, std::span<const RegisteredNumber* const> waits,
               const Sample& last) {
  if (waits.empty()) return 0;
  const int name_width = std::clamp(area.width - 30, 12, 40);
  NumberTable table(grid, area, name_width, kLatencyColumns);
  table.draw_titles("in the last tick", std::nullopt, false);
  int row = 0;
  for (const RegisteredNumber* wait : waits) {
    const HistogramSummary summary = wait->histogram(last)->summary();
    table.draw_row(row++, wait->label, [&](size_t column) -> std::string {
      switch (column) {
        case 0: return duration_or_dash(summary.p50);
        case 1: return duration_or_dash(summary.p90);
        case 2: return duration_or_dash(summary.p99);
        case 3: return duration_or_dash(summary.max);
        default: return format_count(summary.count);
      }
    });
  }
  return row + 1;
}

double fullness(const SocketRow& row) {
  const auto share = [](const std::optional<uint64_t>& used, const std::optional<uint64_t>& limit) {
    if (!used || !limit || *limit == 0) return 0.0;
    return static_cast<double>(*used) / static_cast<double>(*limit);
  };
  return std::max(share(row.accept_queue_max, row.accept_queue_limit),
                  share(row.receive_queue_bytes_max, row.receive_queue_bytes_limit));
}

/// Sockets with the most drops come first, then the fullest ones.
std::vector<uint32_t> order_of_sockets(const std::vector<SocketEntry>& sockets) {
  std::vector<uint32_t> order(sockets.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    const SocketRow &left = sockets[a].row, &right = sockets[b].row;
    if (left.drops != right.drops) return left.drops > right.drops;
    const double fuller = fullness(left), other = fullness(right);
    if (fuller != other) return fuller > other;
    return left.cookie < right.cookie;
  });
  return order;
}

/// Draws the rows that fit into the grid, and returns how many rows the whole list takes.
int draw_socket_list(Grid& grid, Area area, const Model& model) {
  const std::vector<SocketEntry>& sockets = model.sockets();
  if (sockets.empty()) {
    grid.put(area.x + 1, area.y, "no listening and no UDP socket", Role::kDim, area.width - 2);
    return 1;
  }
  const std::vector<uint32_t> order = order_of_sockets(sockets);
  NumberTable table(grid, area, std::clamp(area.width / 3, 16, 34), kSocketColumns);
  // A stored run has only the last state of each socket.
  const bool final_rows = model.scene.flows_are_final;
  table.draw_titles(fmt::format("Socket ({}){}", format_exact(sockets.size()),
                                final_rows ? ", of the whole run" : ""),
                    std::nullopt, false);
  const int count = static_cast<int>(order.size());
  for (int i = std::max(-area.y - 1, 0); i < count && area.y + 1 + i < grid.height(); ++i) {
    const SocketRow& row = sockets[order[static_cast<size_t>(i)]].row;
    const std::string name = fmt::format(
        "{} {}", row.protocol == kProtocolTcp ? "listen" : format_protocol(row.protocol),
        format_endpoint(row.local, row.ip_version));
    const Role role = row.closed ? Role::kDim : row.drops > 0 ? Role::kWarning : Role::kNormal;
    table.draw_row(
        i, name, [&](size_t column) { return cell(column, row, final_rows); }, role);
  }
  return count + 1;
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
  const SocketsPage page(model);
  if (page.empty() && model.sockets().empty()) {
    draw_why_not(grid, area, model, "sockets", "no socket of the subject was seen yet");
    return;
  }
  const int height = page.height(area.width, model.sockets().size());
  draw_page(grid, area, height, state.list("sockets").top, [&](Grid& window, int y) {
    const auto rest = [&] { return Area{0, y, area.width, height}; };
    const auto draw_block = [&](const std::vector<NumberCell>& cells) {
      if (cells.empty()) return;
      draw_number_block(window, rest(), cells);
      y += number_block_height(cells.size(), area.width) + 1;
    };
    const auto draw_list = [&] { y += draw_socket_list(window, rest(), model) + 1; };
    // If there is little room, the sockets come first.
    const bool low = area.height < 8 && !model.sockets().empty();
    if (low) draw_list();
    if (const int used = draw_waits(window, rest(), page.waits, model.last())) y += used + 1;
    draw_block(page.refusals);
    if (!low) draw_list();
    draw_block(page.others);
  });
}

namespace {

int sockets_height(const Model& model, int width) {
  return SocketsPage(model).height(width, model.sockets().size());
}

bool press_sockets(ScreenPress& press) {
  if (!rows_moved(press)) return false;
  return scroll_page(press, "sockets", sockets_height(press.model, press.size.width),
                     screen_layout(press.size).body_height);
}

/// The height at a width of 80 cells; wider ones need no more.
int sockets_plain_height(const Model& model, const ViewState&, int rows) {
  return std::max(sockets_height(model, 80) - static_cast<int>(model.sockets().size()) +
                      std::min(static_cast<int>(model.sockets().size()), rows),
                  24);
}

}  // namespace

const Screen& sockets_screen() {
  static const Screen kScreen = {
      .name = "sockets",
      .title = "Sockets",
      .short_title = "Sock",
      .key = U'8',
      .what = "how long data and connections wait; queues and drops",
      .draw = draw_sockets,
      .press = press_sockets,
      .plain_height = sockets_plain_height,
  };
  return kScreen;
}

}  // namespace topspin
