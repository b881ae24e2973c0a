#include "tui/flows/flow_columns.h"

#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/base/check.h"
#include "core/base/text.h"

namespace topspin {
namespace {

constexpr std::array<FlowColumnInfo, kFlowColumnCount> kColumns = {{
    {FlowColumn::kSource, "Source", 12, true, 0, "the end that sent the first packet"},
    {FlowColumn::kDestination, "Destination", 12, true, 0, "the other end"},
    {FlowColumn::kProtocol, "Prot", 4, true, 3, "tcp, udp or a number"},
    {FlowColumn::kSize, "Size", 8, false, 2, "bytes on the wire, both ways"},
    {FlowColumn::kData, "Data", 8, false, 2, "bytes of payload, both ways"},
    {FlowColumn::kPackets, "Packets", 8, false, 2, "packets, both ways"},
    {FlowColumn::kRate, "Rate", 10, false, 4, "bytes a second in the last tick"},
    {FlowColumn::kPacketRate, "Pkts/s", 7, false, 12, "packets a second in the last tick"},
    {FlowColumn::kSeen, "Seen", 6, false, 8, "time since its last packet"},
    {FlowColumn::kLate, "Late", 7, false, 1, "lateness of its last gap; negative: early"},
    {FlowColumn::kLateMax, "Worst", 7, false, 6, "its greatest lateness so far"},
    {FlowColumn::kMissed, "Missed", 6, false, 5, "ticks of its period without a packet"},
    {FlowColumn::kReply, "Reply", 7, false, 3, "last time from request to reply"},
    {FlowColumn::kReplyMean, "Mean", 7, false, 10, "mean time from request to reply"},
    {FlowColumn::kReplyMax, "Slowest", 7, false, 9, "greatest time from request to reply"},
    {FlowColumn::kUnanswered, "Unans", 5, false, 7, "requests without a reply in time"},
    {FlowColumn::kPeriod, "Period", 7, false, 11, "how often it should send: declared or learned"},
    {FlowColumn::kRetransmissions, "Retr", 5, false, 13, "TCP segments sent again"},
    {FlowColumn::kAge, "Age", 6, false, 14, "time since its first packet"},
    {FlowColumn::kProcess, "Process", 10, true, 5, "process at its ends; + one of several"},
}};

std::string duration(const std::optional<int64_t>& ns) { return ns ? format_duration(*ns) : "-"; }

/// A time to a tenth of a second, which is slow enough to read.
std::string coarse(int64_t ns) {
  const double seconds = static_cast<double>(ns) / 1e9;
  if (seconds < 99.95) return fmt::format("{:.1f}s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f}m", seconds / 60);
  return fmt::format("{:.0f}h", seconds / 3600);
}

std::string end_text(const TableRow& table_row, bool initiator, const Model& model,
                     const CellLook& look) {
  const FlowRow& row = table_row.entry.row;
  const Endpoint& end = initiator ? row.initiator() : row.responder();
  const uint8_t version = row.key.ip_version;
  const auto whole = [&] {
    return look.names ? model.names.endpoint(end, version, row.key.protocol)
                      : format_endpoint(end, version);
  };
  const auto flows = [&] { return fmt::format("{} flows", format_exact(table_row.flows)); };
  switch (look.grouping) {
    case Grouping::kNone: return whole();
    case Grouping::kResponder: return initiator ? flows() : whole();
    case Grouping::kInitiatorHost:
      if (!initiator) return flows();
      return look.names ? model.names.address(end, version) : format_address(end, version);
    case Grouping::kNets:
      return fmt::format("{}/{}", format_address(end, version), version == 4 ? 24 : 64);
  }
  return {};
}

/// The processes, that of the source first. A single name is followed by its pid, which
/// distinguishes processes with the same name.
std::string process_text(const FlowRow& row, const Model& model, bool swapped) {
  const FlowOwner* from = model.owners().find(row.owners[swapped ? 1 : 0]);
  const FlowOwner* to = model.owners().find(row.owners[swapped ? 0 : 1]);
  if (from == nullptr || to == nullptr) return owner_text(from != nullptr ? from : to);
  if (from->pid == to->pid && from->start_time_ns == to->start_time_ns) return owner_text(from);
  if (from->name == to->name) {
    return sanitize_for_terminal(fmt::format("{} {} > {}", from->name, from->pid, to->pid));
  }
  return sanitize_for_terminal(fmt::format("{} > {}", from->name, to->name));
}

std::optional<int64_t> reply_mean(const FlowRow& row) {
  if (row.replies == 0) return std::nullopt;
  return row.reply_latency_sum_ns / static_cast<int64_t>(row.replies);
}

std::optional<double> rate(const Model& model, uint64_t count) {
  if (model.history().empty()) return std::nullopt;
  return per_second(count, model.history().back().flow_interval_ns);
}

/// Columns whose values go up and down from tick to tick.
bool is_of_one_moment(FlowColumn column) {
  return column == FlowColumn::kSeen || column == FlowColumn::kLate || column == FlowColumn::kReply;
}

/// Columns whose values are fixed by a flow's first packet.
bool is_same_all_along(FlowColumn column) {
  return column <= FlowColumn::kProtocol || column == FlowColumn::kProcess ||
         column == FlowColumn::kAge || column == FlowColumn::kPeriod;
}

/// Keeps the order, with negative values before positive ones.
uint64_t ordered(int64_t value) { return static_cast<uint64_t>(value) ^ (uint64_t{1} << 63); }

struct Value {
  bool present = true;
  uint64_t high = 0;
  uint64_t low = 0;
};

Value of(uint64_t number) { return {true, number, 0}; }
Value of(const std::optional<int64_t>& ns) {
  return ns ? Value{true, ordered(*ns), 0} : Value{false, 0, 0};
}
Value of(const Endpoint& end, uint8_t version) {
  const auto bytes = [&](size_t from, size_t count) {
    uint64_t value = 0;
    for (size_t i = from; i < from + count; ++i) value = (value << 8) | end.address[i];
    return value;
  };
  if (version == 4) return {true, 0, (bytes(0, 4) << 16) | end.port};
  return {true, bytes(0, 8), bytes(8, 8)};
}

/// Sorts by the name that process_text() begins with. It has at most 15 bytes, so two words hold
/// it.
Value of_process(const FlowRow& row, const Model& model) {
  const FlowOwner* owner = model.owners().find(row.owners[0]);
  if (owner == nullptr) owner = model.owners().find(row.owners[1]);
  if (owner == nullptr) return {false, 0, 0};
  std::array<uint64_t, 2> words{};
  for (size_t i = 0; i < 16; ++i) {
    const auto byte = i < owner->name.size() ? static_cast<uint8_t>(owner->name[i]) : uint8_t{0};
    words[i / 8] = (words[i / 8] << 8) | byte;
  }
  return {true, words[0], words[1]};
}

inline Value sort_value(FlowColumn column, const FlowEntry& flow, const Model& model) {
  const FlowRow& row = flow.row;
  switch (column) {
    case FlowColumn::kSource: return of(row.initiator(), row.key.ip_version);
    case FlowColumn::kDestination: return of(row.responder(), row.key.ip_version);
    case FlowColumn::kProtocol: return of(uint64_t{row.key.protocol});
    case FlowColumn::kSize: return of(row.bytes[0] + row.bytes[1]);
    case FlowColumn::kData: {
      const auto bytes = payload_total(row);
      return bytes ? of(*bytes) : Value{false, 0, 0};
    }
    case FlowColumn::kPackets: return of(row.packets[0] + row.packets[1]);
    case FlowColumn::kRate: return of(model.bytes_now(flow));
    case FlowColumn::kPacketRate: return of(model.packets_now(flow));
    case FlowColumn::kSeen: return of(std::optional(model.flow_now_ns() - row.last_ns));
    case FlowColumn::kLate: return of(row.lateness_last_ns);
    case FlowColumn::kLateMax: return of(row.lateness_max_ns);
    case FlowColumn::kMissed: return of(row.missed_ticks);
    case FlowColumn::kReply: return of(row.reply_latency_last_ns);
    case FlowColumn::kReplyMean: return of(reply_mean(row));
    case FlowColumn::kReplyMax: return of(row.reply_latency_max_ns);
    case FlowColumn::kUnanswered: return of(row.unanswered);
    case FlowColumn::kPeriod: return of(row.period_ns);
    case FlowColumn::kRetransmissions: return of(row.retransmissions);
    case FlowColumn::kAge: return of(std::optional(model.flow_now_ns() - row.first_ns));
    case FlowColumn::kProcess: return of_process(row, model);
    case FlowColumn::kCount: break;
  }
  return {false, 0, 0};
}

}  // namespace

std::span<const FlowColumnInfo> flow_columns() { return kColumns; }

const FlowColumnInfo& flow_column(FlowColumn column) {
  const FlowColumnInfo& info = kColumns[static_cast<size_t>(column)];
  CHECK(info.column == column);
  return info;
}

std::string_view grouping_name(Grouping grouping) {
  switch (grouping) {
    case Grouping::kNone: return "flows";
    case Grouping::kResponder: return "by responder";
    case Grouping::kInitiatorHost: return "by initiator's host";
    case Grouping::kNets: return "by nets /24, /64";
  }
  return "";
}

std::string format_count(uint64_t count) {
  if (count < 10'000) return fmt::format("{}", count);
  constexpr std::array<char, 6> kUnits = {'k', 'M', 'G', 'T', 'P', 'E'};
  auto value = static_cast<double>(count) / 1000;
  size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", value, decimals, kUnits[unit]);
}

std::optional<uint64_t> payload_total(const FlowRow& row) {
  if (!row.payload_bytes[0] && !row.payload_bytes[1]) return std::nullopt;
  return row.payload_bytes[0].value_or(0) + row.payload_bytes[1].value_or(0);
}

std::string owner_text(const FlowOwner* owner) {
  if (owner == nullptr) return "-";
  return fmt::format("{} {}{}", sanitize_for_terminal(owner->name), owner->pid,
                     owner->quality == OwnerQuality::kShared ? "+" : "");
}

namespace {

/// Of a row, or of its pulse.
template <typename Flow>
bool is_after_now(const Flow& flow, const Model& model) {
  return model.scene.flows_are_final && flow.last_ns > model.flow_now_ns();
}
template <typename Flow>
bool is_silent_now(const Flow& flow, const Model& model) {
  return flow.silent && !flow.ended && !is_after_now(flow, model);
}

}  // namespace

bool is_of_the_future(const FlowRow& row, const Model& model) { return is_after_now(row, model); }

bool is_silent(const FlowRow& row, const Model& model) { return is_silent_now(row, model); }

bool is_silent(size_t flow_index, const Model& model) {
  return is_silent_now(model.pulses()[flow_index], model);
}

std::string flow_cell(FlowColumn column, const TableRow& table_row, const Model& model,
                      const CellLook& look) {
  const FlowRow& row = table_row.entry.row;
  if (model.scene.flows_are_final) {
    // A stored run has no ticks of single flows, only each flow's final state.
    if (column == FlowColumn::kRate || column == FlowColumn::kPacketRate) return "-";
    if (is_of_the_future(row, model) && is_of_one_moment(column)) return "-";
  }
  switch (column) {
    case FlowColumn::kSource: return end_text(table_row, !look.swapped, model, look);
    case FlowColumn::kDestination: return end_text(table_row, look.swapped, model, look);
    case FlowColumn::kProtocol: return format_protocol(row.key.protocol);
    case FlowColumn::kSize: return format_bytes(static_cast<int64_t>(row.bytes[0] + row.bytes[1]));
    case FlowColumn::kData: {
      const auto bytes = payload_total(row);
      return bytes ? format_bytes(static_cast<int64_t>(*bytes)) : "-";
    }
    case FlowColumn::kPackets: return format_count(row.packets[0] + row.packets[1]);
    case FlowColumn::kRate: {
      const auto bytes = rate(model, model.bytes_now(table_row.entry));
      return bytes ? fmt::format("{}/s", format_bytes(static_cast<int64_t>(*bytes))) : "-";
    }
    case FlowColumn::kPacketRate: {
      const auto packets = rate(model, model.packets_now(table_row.entry));
      return packets ? format_count(static_cast<uint64_t>(std::llround(*packets))) : "-";
    }
    case FlowColumn::kSeen:
      return (is_silent(row, model) ? "!" : "") +
             coarse(std::max<int64_t>(model.flow_now_ns() - row.last_ns, 0));
    case FlowColumn::kLate: return duration(row.lateness_last_ns);
    case FlowColumn::kLateMax: return duration(row.lateness_max_ns);
    case FlowColumn::kMissed:
      return row.period_ns || row.missed_ticks > 0 ? format_count(row.missed_ticks) : "-";
    case FlowColumn::kReply: return duration(row.reply_latency_last_ns);
    case FlowColumn::kReplyMean: return duration(reply_mean(row));
    case FlowColumn::kReplyMax: return duration(row.reply_latency_max_ns);
    case FlowColumn::kUnanswered: return format_count(row.unanswered);
    case FlowColumn::kPeriod: return duration(row.period_ns);
    case FlowColumn::kRetransmissions: return format_count(row.retransmissions);
    case FlowColumn::kAge: return coarse(std::max<int64_t>(model.flow_now_ns() - row.first_ns, 0));
    case FlowColumn::kProcess: return process_text(row, model, look.swapped);
    case FlowColumn::kCount: break;
  }
  return {};
}

Role flow_cell_role(FlowColumn column, const FlowEntry& flow, const Model& model) {
  const FlowRow& row = flow.row;
  if (is_of_the_future(row, model) && !is_same_all_along(column)) return Role::kDim;
  const auto lateness = [&](const std::optional<int64_t>& ns) {
    if (!ns || !row.period_ns) return Role::kDim;
    if (*ns > *row.period_ns / 10) return Role::kLate;
    return Role::kNormal;
  };
  const auto bad_above_zero = [](uint64_t count, Role bad) { return count > 0 ? bad : Role::kDim; };
  switch (column) {
    case FlowColumn::kLate: return lateness(row.lateness_last_ns);
    case FlowColumn::kLateMax: return lateness(row.lateness_max_ns);
    case FlowColumn::kMissed: return bad_above_zero(row.missed_ticks, Role::kMissed);
    case FlowColumn::kUnanswered: return bad_above_zero(row.unanswered, Role::kMissed);
    case FlowColumn::kRetransmissions: return bad_above_zero(row.retransmissions, Role::kWarning);
    case FlowColumn::kProtocol:
    case FlowColumn::kPeriod:
    case FlowColumn::kAge: return Role::kDim;
    case FlowColumn::kRate:
    case FlowColumn::kPacketRate: return model.packets_now(flow) == 0 ? Role::kDim : Role::kNormal;
    case FlowColumn::kSource:
    case FlowColumn::kDestination: return is_silent(row, model) ? Role::kDead : Role::kNormal;
    case FlowColumn::kSeen:
      if (is_silent(row, model)) return Role::kDead;
      return row.period_ns && model.flow_now_ns() - row.last_ns > 2 * *row.period_ns
                 ? Role::kMissed
                 : Role::kNormal;
    default: return Role::kNormal;
  }
}

namespace {

SortKey key_of(const Value& value, bool downwards, uint32_t index, bool silent) {
  const uint32_t rank = silent ? 0 : 1;
  if (!value.present) return {UINT64_MAX, UINT64_MAX, index, rank};
  if (!downwards) return {value.high, value.low, index, rank};
  return {~value.high, ~value.low, index, rank};
}

/// sort_value() of a flow of the model, from its pulse if that has it.
template <FlowColumn column>
Value sort_value_at(uint32_t index, const Model& model) {
  const FlowPulse& pulse = model.pulses()[index];
  if constexpr (column == FlowColumn::kSize) return of(pulse.bytes);
  if constexpr (column == FlowColumn::kLateMax)
    return of(pulse.has_lateness ? std::optional(pulse.lateness_max_ns) : std::nullopt);
  if constexpr (column == FlowColumn::kSeen)
    return of(std::optional(model.flow_now_ns() - pulse.last_ns));
  return sort_value(column, model.flows()[index], model);
}

/// A loop per column, because with a million flows a choice for each of them costs more than the
/// key.
template <FlowColumn column>
void keys_of_column(bool downwards, const Model& model, uint32_t first, std::span<SortKey> keys) {
  for (uint32_t i = 0; i < keys.size(); ++i) {
    const uint32_t index = first + i;
    keys[i] =
        key_of(sort_value_at<column>(index, model), downwards, index, is_silent(index, model));
  }
}

using KeysOfColumn = void (*)(bool, const Model&, uint32_t, std::span<SortKey>);
template <size_t... columns>
constexpr std::array<KeysOfColumn, kFlowColumnCount> keys_of_columns(
    std::index_sequence<columns...>) {
  return {&keys_of_column<static_cast<FlowColumn>(columns)>...};
}

bool is_downwards(FlowColumn column, bool reverse) { return !flow_column(column).text != reverse; }

}  // namespace

SortKey flow_sort_key(FlowColumn column, bool reverse, const FlowEntry& flow, bool silent,
                      const Model& model, uint32_t index) {
  return key_of(sort_value(column, flow, model), is_downwards(column, reverse), index, silent);
}

void flow_sort_keys(FlowColumn column, bool reverse, const Model& model, uint32_t first,
                    std::span<SortKey> keys) {
  CHECK(first + keys.size() <= model.flows().size());
  static constexpr auto kKeysOf = keys_of_columns(std::make_index_sequence<kFlowColumnCount>());
  kKeysOf[static_cast<size_t>(column)](is_downwards(column, reverse), model, first, keys);
}

}  // namespace topspin
