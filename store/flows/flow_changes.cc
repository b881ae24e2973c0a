#include "store/flows/flow_changes.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <type_traits>

#include <fmt/format.h>

#include "core/base/check.h"
#include "core/base/varint.h"
#include "store/sqlite/columns.h"

namespace topspin {
namespace {

constexpr char kFormat = 1;
/// A writer keeps far fewer (FlowWriter::kFoldBytes).
constexpr size_t kMostBytes = size_t{1} << 30;

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

uint64_t zigzag(uint64_t difference) { return (difference << 1) ^ (0 - (difference >> 63)); }
uint64_t from_zigzag(uint64_t code) { return (code >> 1) ^ (0 - (code & 1)); }

template <typename T>
uint64_t stored(T value) {
  if constexpr (std::is_same_v<T, uint64_t>)
    return std::min(value, kMostStored);
  else
    return static_cast<uint64_t>(value);
}

/// What a row holds, without its number.
struct RowValues {
  uint64_t flags = 0;
  FlowChanges::Values values{};
  std::array<bool, FlowChanges::kColumns> present{};  // has a value that is no flag
};

RowValues values_of(const FlowRow& flow) {
  RowValues row;
  size_t column = 0;
  int flag = 0;
  const auto set_flag = [&](bool value) { row.flags |= uint64_t{value} << flag++; };
  set_flag(flow.initiator_is_low);
  for_each_changing_flow_column(flow, [&](auto, auto, const auto& value) {
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<T, bool>) {
      set_flag(value);
    } else if constexpr (IsOptional<T>::value) {
      set_flag(value.has_value());
      row.present[column] = value.has_value();
      if (value) row.values[column] = stored(*value);
    } else {
      row.present[column] = true;
      row.values[column] = stored(value);
    }
    ++column;
  });
  CHECK(column == FlowChanges::kColumns);
  return row;
}

/// The values of a row from its bytes; false if they are damaged.
bool read_row(std::string_view bytes, const FlowChanges::Values& base, FlowRow& flow,
              FlowChanges::Values* values) {
  const auto flags = take_varint(bytes);
  if (!flags) return false;
  size_t column = 0;
  int flag = 0;
  const auto take_flag = [&] { return (*flags >> flag++ & 1) != 0; };
  bool sound = true;
  const auto take = [&](auto& value) {
    using T = std::decay_t<decltype(value)>;
    const auto code = take_varint(bytes);
    if (!code) {
      sound = false;
      return;
    }
    const uint64_t number = base[column] + from_zigzag(*code);
    if (values != nullptr) (*values)[column] = number;
    if constexpr (std::is_same_v<T, int64_t>) {
      value = static_cast<int64_t>(number);
    } else {
      if (number > std::min<uint64_t>(std::numeric_limits<T>::max(), kMostStored)) sound = false;
      value = static_cast<T>(number);
    }
  };
  flow.initiator_is_low = take_flag();
  for_each_changing_flow_column(flow, [&](auto, auto, auto& value) {
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<T, bool>) {
      value = take_flag();
    } else if constexpr (IsOptional<T>::value) {
      if (take_flag())
        take(value.emplace());
      else
        value.reset();
    } else {
      take(value);
    }
    ++column;
  });
  return sound && bytes.empty() && *flags >> flag == 0;
}

}  // namespace

std::string encode_flow_changes(std::span<const NumberedFlow> flows) {
  std::string out(1, kFormat), one;
  put_varint(out, flows.size());
  FlowChanges::Values base{};
  uint32_t before = 0;
  for (size_t i = 0; i < flows.size(); ++i) {
    const RowValues row = values_of(*flows[i].flow);
    one.clear();
    put_varint(one, flows[i].number - before);
    put_varint(one, row.flags);
    for (size_t column = 0; column < FlowChanges::kColumns; ++column) {
      if (row.present[column]) put_varint(one, zigzag(row.values[column] - base[column]));
    }
    put_varint(out, one.size());
    out += one;
    before = flows[i].number;
    if (i == 0) base = row.values;
  }
  return out;
}

Result<FlowChanges> FlowChanges::load(Connection& connection, int64_t run, uint32_t first,
                                      uint32_t last) {
  TOPSPIN_ASSIGN(Statement select,
                 connection.prepare(
                     "SELECT changes FROM flow_change WHERE row BETWEEN ?1 AND ?2 ORDER BY row"));
  select.bind_int(1, (run << 32) | first);
  select.bind_int(2, (run << 32) | last);
  FlowChanges changes;
  size_t bytes = 0;
  while (true) {
    TOPSPIN_ASSIGN(const bool row, select.step());
    if (!row) break;
    if (!select.is_blob(0)) return damaged(connection, "a change of flows");
    bytes += select.bytes_at(0).size();
    if (bytes > kMostBytes || !changes.add(std::string(select.bytes_at(0))))
      return damaged(connection, "a change of flows");
  }
  changes.sort();
  return changes;
}

Result<FlowChanges> FlowChanges::load(Connection& connection, int64_t run) {
  return load(connection, run, 0, std::numeric_limits<uint32_t>::max());
}

bool FlowChanges::add(std::string blob) {
  if (blob.empty() || blob.front() != kFormat || blob.size() > kMostBytes) return false;
  std::string_view left = blob;
  left.remove_prefix(1);
  const auto count = take_varint(left);
  if (!count || *count > left.size()) return false;
  const size_t places_before = places_.size();
  const auto index = static_cast<uint32_t>(blobs_.size());
  Values first{};
  uint32_t first_offset = 0;
  uint64_t number = 0;
  for (uint64_t i = 0; i < *count; ++i) {
    const auto size = take_varint(left);
    if (!size || *size > left.size()) break;
    std::string_view row = left.substr(0, *size);
    left.remove_prefix(*size);
    const auto step = take_varint(row);
    if (!step || *step > std::numeric_limits<uint32_t>::max() - number || (i > 0 && *step == 0))
      break;
    number += *step;
    if (i == 0) {
      FlowRow flow;
      if (!read_row(row, {}, flow, &first)) break;
      first_offset = static_cast<uint32_t>(row.data() - blob.data());
    }
    places_.push_back({static_cast<uint32_t>(number), index,
                       static_cast<uint32_t>(row.data() - blob.data()),
                       static_cast<uint32_t>(row.size())});
  }
  if (places_.size() - places_before != *count || !left.empty()) {
    places_.resize(places_before);
    return false;
  }
  blobs_.push_back({std::move(blob), first, first_offset});
  return true;
}

void FlowChanges::sort() {
  std::sort(places_.begin(), places_.end(), [](const Place& a, const Place& b) {
    return a.number != b.number ? a.number < b.number : a.blob > b.blob;
  });
  const auto end = std::unique(places_.begin(), places_.end(),
                               [](const Place& a, const Place& b) { return a.number == b.number; });
  places_.erase(end, places_.end());
}

bool FlowChanges::read(size_t position, FlowRow& flow) const {
  const Place& place = places_[position];
  const Blob& blob = blobs_[place.blob];
  const bool is_first = place.offset == blob.first_offset;
  return read_row(std::string_view(blob.bytes).substr(place.offset, place.size),
                  is_first ? Values{} : blob.first, flow, nullptr);
}

bool FlowChanges::apply(uint32_t number, FlowRow& flow) const {
  const auto place =
      std::lower_bound(places_.begin(), places_.end(), number,
                       [](const Place& a, uint32_t wanted) { return a.number < wanted; });
  if (place == places_.end() || place->number != number) return true;
  FlowRow changed = flow;
  if (!read(static_cast<size_t>(place - places_.begin()), changed)) return false;
  // While it was read, the writer has found that the other end is the initiator.
  if (changed.initiator_is_low != flow.initiator_is_low) return true;
  for_each_changing_flow_column(changed, [](auto, auto, auto& value) { bound_time(value); });
  flow = changed;
  return true;
}

Status read_flows_as_last_changed(Connection& connection) {
  std::vector<int64_t> runs;
  {
    TOPSPIN_ASSIGN(Statement select,
                   connection.prepare("SELECT DISTINCT row >> 32 FROM flow_change"));
    while (true) {
      TOPSPIN_ASSIGN(const bool row, select.step());
      if (!row) break;
      runs.push_back(select.int_at(0));
    }
  }
  if (runs.empty()) return {};
  TOPSPIN_TRY(
      connection.execute("CREATE TEMP TABLE changed_flow AS SELECT * FROM main.flow WHERE 0;"
                         "CREATE UNIQUE INDEX temp.changed_flow_row ON changed_flow (row)"));
  {
    TOPSPIN_ASSIGN(
        Statement copy,
        connection.prepare("INSERT INTO changed_flow SELECT * FROM main.flow WHERE row = ?1"));
    TOPSPIN_ASSIGN(Statement update, connection.prepare(changed_flow_sql("temp.changed_flow")));
    for (const int64_t run : runs) {
      TOPSPIN_ASSIGN(const FlowChanges changes, FlowChanges::load(connection, run));
      for (size_t i = 0; i < changes.size(); ++i) {
        TOPSPIN_TRY(run_with(copy, (run << 32) | changes.number(i)));
        TOPSPIN_TRY(changes.store(connection, i, run, update));
      }
    }
  }
  return connection.execute(
      "CREATE TEMP VIEW flow AS SELECT * FROM main.flow WHERE row NOT IN"
      " (SELECT row FROM temp.changed_flow) UNION ALL SELECT * FROM temp.changed_flow");
}

ColumnNames flow_table_columns() {
  const FlowRow flow;
  ColumnNames columns;
  for_each_changing_flow_column(flow, [&](auto... column) { columns(column...); });
  for_each_fixed_flow_column(flow, [&](auto... column) { columns(column...); });
  for (const char* name :
       {"initiator_address", "initiator_port", "responder_address", "responder_port", "row"}) {
    columns.add(name);
  }
  return columns;
}

std::string changed_flow_sql(std::string_view table) {
  const FlowRow flow;
  ColumnNames columns;
  for_each_changing_flow_column(flow, [&](auto... column) { columns(column...); });
  return fmt::format("UPDATE {} SET {} WHERE row = ?{}", table, columns.assignments(),
                     columns.count() + 1);
}

Status FlowChanges::store(const Connection& connection, size_t position, int64_t run,
                          Statement& update) const {
  FlowRow flow;
  if (!read(position, flow)) return damaged(connection, "a change of flows");
  ParameterBinder bind(update);
  for_each_changing_flow_column(
      flow, [&](auto prefix, auto name, const auto& v) { bind(prefix, name, v); });
  bind.bind((run << 32) | number(position));
  return update.run();
}

}  // namespace topspin
