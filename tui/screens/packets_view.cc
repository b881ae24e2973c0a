// Packets of one flow: time, direction and length of each, and its bytes in hex and as text.
#include <algorithm>

#include <fmt/format.h>

#include "core/base/clock.h"
#include "core/base/text.h"
#include "tui/screens/parts.h"
#include "tui/terminal/draw.h"
#include "tui/views.h"

namespace topspin {
namespace {

constexpr int kHexColumns = 16;
constexpr int kHexWidth = 7 + 3 * kHexColumns + 1 + kHexColumns;  // "0000   ", hex, text

std::string tcp_flags_text(const PacketCopy& packet) {
  if (!packet.has_tcp_header) return "";
  std::string text;
  constexpr std::string_view kLetters = "FSRPAUEC";  // from the lowest bit
  for (size_t i = 0; i < kLetters.size(); ++i) {
    if ((packet.tcp_flags >> i & 1) != 0) text += kLetters[i];
  }
  return text.empty() ? "." : text;
}

std::string seconds_text(int64_t ns) {
  return fmt::format("{}{}.{:06}", ns < 0 ? "-" : "", std::abs(ns) / kNanosPerSecond,
                     std::abs(ns) % kNanosPerSecond / 1000);
}

void draw_bytes(Grid& grid, Area area, const PacketCopy& packet, int columns) {
  const auto& bytes = packet.bytes;
  grid.put(area.x + 1, area.y,
           bytes.size() < packet.wire_bytes
               ? fmt::format("{} of {} bytes were captured; -s takes more of each", bytes.size(),
                             packet.wire_bytes)
               : fmt::format("{} bytes", bytes.size()),
           Role::kDim, area.width - 2);
  const bool with_text = area.width >= kHexWidth + 2;
  size_t at = 0;
  for (int y = area.y + 1; y < area.y + area.height && at < bytes.size(); ++y) {
    grid.put(area.x + 1, y, fmt::format("{:04x}", at), Role::kDim, area.width - 2);
    for (int i = 0; i < columns && at < bytes.size(); ++i, ++at) {
      const uint8_t byte = bytes[at];
      grid.put(area.x + 8 + 3 * i, y, fmt::format("{:02x}", byte),
               byte == 0 ? Role::kDim : Role::kNormal, area.width - 8 - 3 * i);
      if (!with_text) continue;
      const bool printable = byte >= 0x20 && byte < 0x7f;
      const char text = printable ? static_cast<char>(byte) : '.';
      grid.put(area.x + 8 + 3 * columns + 1 + i, y, std::string_view(&text, 1),
               printable ? Role::kStrong : Role::kDim);
    }
  }
}

}  // namespace

uint64_t selected_packet(const Model& model, const ViewState& state) {
  const FlowPackets& all = model.packets;
  if (all.packets().empty()) return 0;
  const uint64_t last = all.first_number() + all.packets().size() - 1;
  return std::clamp(state.packet.value_or(last), all.first_number(), last);
}

void draw_packets(Grid& grid, Area area, const Model& model, const ViewState& state) {
  const auto index = model.find_flow(*state.detail_id);
  const FlowPackets& all = model.packets;
  int y = area.y;
  const int bottom = area.y + area.height;
  if (index) {
    const TableRow row{model.flows()[*index], 1, 0};
    const CellLook look{Grouping::kNone, state.swapped, state.names};
    const int used =
        grid.put(area.x + 1, y,
                 fmt::format("{} {} {}  {}", flow_cell(FlowColumn::kSource, row, model, look),
                             grid.ascii() ? "->" : "→",
                             flow_cell(FlowColumn::kDestination, row, model, look),
                             format_protocol(row.entry.row.key.protocol)),
                 Role::kAccent, area.width - 2);
    if (all.flow_id() == *state.detail_id && all.dropped() > 0) {
      grid.put_right(area.x + used + 2, y,
                     fmt::format("{} more had no room", format_exact(all.dropped())),
                     area.width - used - 3, Role::kWarning);
    }
    ++y;
  }
  if (all.flow_id() != *state.detail_id || all.packets().empty()) {
    std::string text = "its packets from now on are shown here; none yet";
    if (!index) text = "this flow has gone; Esc goes back";
    if (state.frozen) text = "the picture is frozen; space goes on";
    if (all.flow_id() == *state.detail_id && !all.note.empty()) text = all.note;
    if (y < bottom) grid.put(area.x + 1, y, text, Role::kDim, area.width - 2);
    return;
  }
  const FlowRow* row = index ? &model.flows()[*index].row : nullptr;
  const auto& packets = all.packets();
  const size_t selected = selected_packet(model, state) - all.first_number();
  // The list gets the room that the packet's bytes leave, but at least a third.
  const int room = bottom - y;
  // Narrow terminals get fewer bytes per row, and no text beside them.
  const int hex_columns =
      area.width >= kHexWidth + 2 ? kHexColumns : std::max((area.width - 9) / 3, 1);
  const int hex_rows = static_cast<int>(packets[selected].bytes.size()) / hex_columns + 3;
  const int list = std::max(room / 3, std::max(room - hex_rows, 1));
  const bool with_head = list >= 3;
  if (with_head) {
    grid.put_right(area.x, y, "Time", 14, Role::kDim);
    grid.put_right(area.x + 14, y, "Gap", 13, Role::kDim);
    grid.put_right(area.x + 31, y, "Length", 7, Role::kDim);
    grid.put_right(area.x + 38, y, "Data", 7, Role::kDim);
    if (area.width >= 52) grid.put(area.x + 47, y, "Flags", Role::kDim, area.width - 47);
    if (area.width >= 70) grid.put_right(area.x + 54, y, "Sequence", 11, Role::kDim);
    ++y;
  }
  const auto rows = static_cast<size_t>(std::max(list - (with_head ? 1 : 0), 1));
  size_t top = packets.size() > rows ? packets.size() - rows : 0;
  if (selected < top) top = selected;
  for (size_t i = 0; i < rows && top + i < packets.size(); ++i, ++y) {
    const PacketCopy& packet = packets[top + i];
    const bool from_initiator = row == nullptr || packet.from_low == row->initiator_is_low;
    const bool out = from_initiator != state.swapped;
    const int64_t since = packet.stamp_ns - (row != nullptr ? row->first_ns : packets[0].stamp_ns);
    grid.put_right(area.x, y, seconds_text(since), 14);
    if (top + i > 0) {
      grid.put_right(area.x + 14, y, seconds_text(packet.stamp_ns - packets[top + i - 1].stamp_ns),
                     13, Role::kDim);
    }
    grid.put(area.x + 29, y, grid.ascii() ? (out ? "->" : "<-") : (out ? "→" : "←"),
             out ? Role::kGraph1 : Role::kGraph2, area.width - 29);
    grid.put_right(area.x + 31, y, fmt::format("{}", packet.wire_bytes), 7);
    grid.put_right(area.x + 38, y, fmt::format("{}", packet.payload_bytes), 7,
                   packet.payload_bytes == 0 ? Role::kDim : Role::kStrong);
    if (area.width >= 52) grid.put(area.x + 47, y, tcp_flags_text(packet), {}, area.width - 47);
    if (area.width >= 70 && packet.has_tcp_header) {
      grid.put_right(area.x + 54, y, fmt::format("{}", packet.tcp_sequence), 11, Role::kDim);
    }
    if (top + i == selected) grid.restyle(area.x, y, area.width, Role::kSelected);
  }
  if (bottom - y >= 2) {
    y = std::min(y + 1, bottom - 2);
    draw_bytes(grid, {area.x, y, area.width, bottom - y}, packets[selected], hex_columns);
  }
}

}  // namespace topspin
