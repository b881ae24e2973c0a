// Interfaces: what can be captured, and the traffic of each; Enter moves the capture there.
#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "core/base/text.h"
#include "tui/screens/screens.h"
#include "tui/terminal/draw.h"

namespace topspin {
namespace {

struct InterfaceColumn {
  std::string_view title;
  int width;
  std::string (*cell)(const InterfaceTable::Entry&);
};

std::string count_rate(const std::optional<InterfaceTable::Rates>& rates,
                       double InterfaceTable::Rates::*member) {
  return rates ? format_count(static_cast<uint64_t>(std::llround(*rates.*member))) : "-";
}
std::string byte_rate(const std::optional<InterfaceTable::Rates>& rates,
                      double InterfaceTable::Rates::*member) {
  return rates ? fmt::format("{}/s", format_bytes(std::llround(*rates.*member))) : "-";
}

/// In order of importance. If they do not fit, the last ones are left out.
constexpr std::array<InterfaceColumn, 8> kInterfaceColumns = {{
    {"State", 5,
     [](const InterfaceTable::Entry& e) -> std::string { return e.reading.up ? "up" : "down"; }},
    {"In", 10,
     [](const InterfaceTable::Entry& e) {
       return byte_rate(e.rates, &InterfaceTable::Rates::received_bytes);
     }},
    {"Out", 10,
     [](const InterfaceTable::Entry& e) {
       return byte_rate(e.rates, &InterfaceTable::Rates::sent_bytes);
     }},
    {"In pkts/s", 9,
     [](const InterfaceTable::Entry& e) {
       return count_rate(e.rates, &InterfaceTable::Rates::received_packets);
     }},
    {"Out pkts/s", 10,
     [](const InterfaceTable::Entry& e) {
       return count_rate(e.rates, &InterfaceTable::Rates::sent_packets);
     }},
    {"Dropped", 8,
     [](const InterfaceTable::Entry& e) {
       return format_count(e.reading.received_dropped + e.reading.sent_dropped);
     }},
    {"In total", 9,
     [](const InterfaceTable::Entry& e) {
       return format_bytes(static_cast<int64_t>(e.reading.received_bytes));
     }},
    {"Out total", 9,
     [](const InterfaceTable::Entry& e) {
       return format_bytes(static_cast<int64_t>(e.reading.sent_bytes));
     }},
}};

}  // namespace

static void draw_interfaces(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const auto& entries = model.interfaces.entries();
  if (entries.empty()) {
    grid.put(area.x + 1, area.y, "no interfaces to show: they are listed by the live monitor alone",
             Role::kDim, area.width - 2);
    return;
  }
  const bool with_head = area.height >= 3;
  const int name_width = std::clamp(area.width / 4, std::min(10, area.width), 18);
  std::vector<const InterfaceColumn*> columns;
  int x = name_width;
  for (const InterfaceColumn& column : kInterfaceColumns) {
    if (x + 1 + column.width > area.width) break;
    columns.push_back(&column);
    x += 1 + column.width;
  }
  int y = area.y;
  if (with_head) {
    grid.put(area.x + 1, y, "Interface", Role::kDim, name_width - 1);
    x = name_width;
    for (const InterfaceColumn* column : columns) {
      grid.put_right(area.x + x + 1, y, column->title, column->width, Role::kDim);
      x += 1 + column->width;
    }
    ++y;
  }
  const auto rows = static_cast<size_t>(area.y + area.height - y);
  const ListState list = state.list("interfaces");
  const size_t selected = std::min<size_t>(list.selected, entries.size() - 1);
  const size_t top = top_of_list(list, entries.size(), rows);
  for (size_t i = 0; i < rows && top + i < entries.size(); ++i, ++y) {
    const InterfaceTable::Entry& entry = entries[top + i];
    const bool watched = entry.reading.name == model.scene.source;
    const Role role = watched ? Role::kAccent : entry.reading.up ? Role::kNormal : Role::kDim;
    if (watched) grid.put_symbol(area.x, y, U'▸', '>', Role::kAccent);
    grid.put(area.x + 1, y, entry.reading.name, role, name_width - 1);
    x = name_width;
    for (const InterfaceColumn* column : columns) {
      const std::string text = column->cell(entry);
      const bool idle = text == "-" || text == "0" || text == "0 B/s";
      grid.put_right(area.x + x + 1, y, whole_or_ellipsis(grid, text, column->width), column->width,
                     idle ? Role::kDim : role);
      x += 1 + column->width;
    }
    if (top + i == selected) grid.restyle(area.x, y, area.width, Role::kSelected);
  }
}

namespace {

uint64_t interfaces_rows(const Model& model, const ViewState&) {
  return model.interfaces.entries().size();
}

bool press_interfaces(ScreenPress& press) {
  if (press.command != Command::kEnter) return false;
  const auto& entries = press.model.interfaces.entries();
  const uint64_t row = press.state.list("interfaces").selected;
  if (row >= entries.size()) return true;
  press.state.wanted_interface = entries[row].reading.name;
  press.effect = Effect::kSwitchInterface;
  return true;
}

}  // namespace

const Screen& interfaces_screen() {
  static const Screen kScreen = {
      .name = "interfaces",
      .title = "Interfaces",
      .short_title = "Intf",
      .key = U'9',
      .what = "what there is to capture on; Enter moves the capture",
      .draw = draw_interfaces,
      .rows = interfaces_rows,
      .has_cursor = true,
      .press = press_interfaces,
  };
  return kScreen;
}

}  // namespace topspin
