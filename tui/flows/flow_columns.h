// The columns of the flow table: their titles, the text of a cell, and how rows are sorted by them.
// The screen, the column chooser, plain text and Help share this table.
//
// Pure.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tui/model/model.h"
#include "tui/terminal/grid.h"

namespace topspin {

enum class FlowColumn : uint8_t {
  kSource,
  kDestination,
  kProtocol,
  kSize,
  kData,
  kPackets,
  kRate,
  kPacketRate,
  kSeen,
  kLate,
  kLateMax,
  kMissed,
  kReply,
  kReplyMean,
  kReplyMax,
  kUnanswered,
  kPeriod,
  kRetransmissions,
  kAge,
  kProcess,
  kCount,
};
inline constexpr size_t kFlowColumnCount = static_cast<size_t>(FlowColumn::kCount);
using FlowColumnSet = std::bitset<kFlowColumnCount>;

/// Size, Data and Packets share one place and rotate, as in trafshow.
inline constexpr std::array<FlowColumn, 3> kAmounts = {FlowColumn::kSize, FlowColumn::kData,
                                                       FlowColumn::kPackets};
inline bool is_amount(FlowColumn column) {
  return column >= FlowColumn::kSize && column <= FlowColumn::kPackets;
}

struct FlowColumnInfo {
  FlowColumn column;
  std::string_view title;
  int width;     // cells; for text columns the least width
  bool text;     // left-aligned, grows with its content, sorts upwards
  int priority;  // the column with the greatest is dropped first on a narrow terminal
  std::string_view what;
};
std::span<const FlowColumnInfo> flow_columns();
const FlowColumnInfo& flow_column(FlowColumn column);

/// How rows are grouped. The count of flows does not depend on it.
enum class Grouping : uint8_t { kNone, kResponder, kInitiatorHost, kNets };
std::string_view grouping_name(Grouping grouping);

/// A row of the table: a flow, or the sum of a group.
struct TableRow {
  FlowEntry entry;
  uint64_t flows = 1;
  uint64_t late_flows = 0;  // for a group: flows whose last gap was late
};

/// Lateness, and the columns that depend on it. They are shown if some flow has a period.
inline bool is_of_periods(FlowColumn column) {
  return column == FlowColumn::kLate || column == FlowColumn::kLateMax ||
         column == FlowColumn::kMissed || column == FlowColumn::kPeriod;
}

/// How the cells of a table are written.
struct CellLook {
  Grouping grouping = Grouping::kNone;
  bool swapped = false;  // seen from the responder (Tab)
  bool names = false;    // names instead of numbers, if the model's table has them
};

/// Whether a row of a replayed run contains counts from after the moment that is shown. A stored
/// run keeps only the final state of each flow.
bool is_of_the_future(const FlowRow& row, const Model& model);

/// Whether the flow is silent at the moment that is shown. Such rows come first.
bool is_silent(const FlowRow& row, const Model& model);
/// The same of the flow at this index of model.flows(), without reading its row.
bool is_silent(size_t flow_index, const Model& model);

/// A cell's text, fit for a terminal.
std::string flow_cell(FlowColumn column, const TableRow& row, const Model& model,
                      const CellLook& look);

/// The payload of both directions; nullopt if not counted.
std::optional<uint64_t> payload_total(const FlowRow& row);
/// "node 812", with a + if it is one of several; "-" if not known.
std::string owner_text(const FlowOwner* owner);
/// The tone of a cell's number.
Role flow_cell_role(FlowColumn column, const FlowEntry& flow, const Model& model);

/// Orders rows. Silent flows come first, whatever the sort order is. Absent values come last in
/// either direction. Ties are ordered by id.
struct SortKey {
  uint64_t high = 0;
  uint64_t low = 0;
  uint32_t index = 0;
  uint32_t rank = 1;  // 0: silent
  bool operator<(const SortKey& other) const {
    if (rank != other.rank) return rank < other.rank;
    if (high != other.high) return high < other.high;
    if (low != other.low) return low < other.low;
    return index < other.index;
  }
};
SortKey flow_sort_key(FlowColumn column, bool reverse, const FlowEntry& flow, bool silent,
                      const Model& model, uint32_t index);

/// The keys of the flows at model.flows()[first] and after it, as many as there is room for.
void flow_sort_keys(FlowColumn column, bool reverse, const Model& model, uint32_t first,
                    std::span<SortKey> keys);

/// "1.25M": three significant digits in powers of 1000.
std::string format_count(uint64_t count);

}  // namespace topspin
