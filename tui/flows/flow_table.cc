#include "tui/flows/flow_table.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "core/base/check.h"

namespace topspin {
namespace {

Endpoint masked(const Endpoint& endpoint, uint8_t ip_version) {
  Endpoint net;
  const size_t bytes = ip_version == 4 ? 3 : 8;
  std::copy_n(endpoint.address.begin(), bytes, net.address.begin());
  return net;
}

/// The key of a flow's group: low is the initiator's part, high the responder's.
FlowKey group_key(const FlowRow& row, Grouping grouping) {
  FlowKey key;
  key.ip_version = row.key.ip_version;
  key.protocol = row.key.protocol;
  switch (grouping) {
    case Grouping::kNone: return row.key;
    case Grouping::kResponder: key.high = row.responder(); break;
    case Grouping::kInitiatorHost:
      key.low = row.initiator();
      key.low.port = 0;
      break;
    case Grouping::kNets:
      key.low = masked(row.initiator(), key.ip_version);
      key.high = masked(row.responder(), key.ip_version);
      break;
  }
  return key;
}

template <typename T>
void keep_greatest(std::optional<T>& greatest, const std::optional<T>& value) {
  if (value && (!greatest || *value > *greatest)) greatest = value;
}

void add_to_group(TableRow& group, const FlowEntry& flow, uint64_t tick) {
  FlowRow& sum = group.entry.row;
  const FlowRow& row = flow.row;
  for (size_t i = 0; i < 2; ++i) {
    sum.packets[i] += row.packets[i];
    sum.bytes[i] += row.bytes[i];
    if (row.payload_bytes[i]) {
      sum.payload_bytes[i] = sum.payload_bytes[i].value_or(0) + *row.payload_bytes[i];
    }
    // A group has an owner only if all its flows have the same one.
    if (group.flows == 0)
      sum.owners[i] = row.owners[i];
    else if (sum.owners[i] != row.owners[i])
      sum.owners[i].reset();
  }
  sum.first_ns = group.flows == 0 ? row.first_ns : std::min(sum.first_ns, row.first_ns);
  sum.last_ns = std::max(sum.last_ns, row.last_ns);
  sum.missed_ticks += row.missed_ticks;
  sum.replies += row.replies;
  sum.reply_latency_sum_ns += row.reply_latency_sum_ns;
  sum.unanswered += row.unanswered;
  sum.retransmissions += row.retransmissions;
  // For values that do not add up, the group shows the worst.
  keep_greatest(sum.period_ns, row.period_ns);
  keep_greatest(sum.lateness_last_ns, row.lateness_last_ns);
  keep_greatest(sum.lateness_max_ns, row.lateness_max_ns);
  keep_greatest(sum.reply_latency_last_ns, row.reply_latency_last_ns);
  keep_greatest(sum.reply_latency_max_ns, row.reply_latency_max_ns);
  if (flow.changed_tick == tick) {
    group.entry.changed_tick = tick;
    group.entry.tick_packets += flow.tick_packets;
    group.entry.tick_bytes += flow.tick_bytes;
  }
  if (is_late(row)) {
    ++group.late_flows;
  }
  ++group.flows;
}

std::vector<TableRow> gather(const Model& model, const FlowQuery& query, uint64_t& matching) {
  std::map<FlowKey, TableRow> groups;
  for (const FlowEntry& flow : model.flows()) {
    if (!query.filter.matches(flow.row, model.owners())) continue;
    ++matching;
    const FlowKey key = group_key(flow.row, query.grouping);
    auto [group, fresh] = groups.try_emplace(key);
    if (fresh) {
      group->second.flows = 0;
      group->second.entry.row.key = key;
    }
    add_to_group(group->second, flow, model.tick());
  }
  std::vector<TableRow> rows;
  rows.reserve(groups.size());
  for (auto& [key, row] : groups) rows.push_back(row);
  return rows;
}

std::vector<SortKey> keys_of_flows(const Model& model, const FlowQuery& query) {
  const std::vector<FlowEntry>& flows = model.flows();
  std::vector<SortKey> keys;
  keys.reserve(flows.size());
  for (uint32_t i = 0; i < flows.size(); ++i) {
    if (!query.filter.empty() && !query.filter.matches(flows[i].row, model.owners())) continue;
    keys.push_back(flow_sort_key(query.sort, query.reverse, flows[i], model, i));
  }
  return keys;
}

/// Partially sorts, so that the keys at [first, first + count) are right and in order.
void select(std::vector<SortKey>& keys, uint64_t first, uint64_t count) {
  const auto begin = keys.begin() + static_cast<std::ptrdiff_t>(first);
  const auto end = begin + static_cast<std::ptrdiff_t>(count);
  if (first > 0) std::nth_element(keys.begin(), begin, keys.end());
  std::partial_sort(begin, end, keys.end());
}

FlowPage find_page(const Model& model, const FlowQuery& query, uint64_t first, uint64_t count) {
  FlowPage result;
  std::vector<TableRow> groups;
  std::vector<SortKey> keys;
  if (query.grouping == Grouping::kNone) {
    keys = keys_of_flows(model, query);
    result.matching = keys.size();
  } else {
    groups = gather(model, query, result.matching);
    for (uint32_t i = 0; i < groups.size(); ++i) {
      keys.push_back(flow_sort_key(query.sort, query.reverse, groups[i].entry, model, i));
    }
  }
  result.rows = keys.size();
  count = std::min(count, result.rows);
  result.first = std::min(first, result.rows - count);
  if (count == 0) return result;
  select(keys, result.first, count);
  for (uint64_t i = result.first; i < result.first + count; ++i) {
    const uint32_t index = keys[i].index;
    if (query.grouping == Grouping::kNone) {
      result.page.push_back({model.flows()[index], 1, 0});
    } else {
      result.page.push_back(groups[index]);
    }
  }
  return result;
}

std::optional<uint64_t> find_position(const Model& model, const FlowQuery& query, uint64_t id) {
  const auto index = model.find_flow(id);
  if (!index || !query.filter.matches(model.flows()[*index].row, model.owners()))
    return std::nullopt;
  const SortKey key = flow_sort_key(query.sort, query.reverse, model.flows()[*index], model,
                                    static_cast<uint32_t>(*index));
  const std::vector<SortKey> keys = keys_of_flows(model, query);
  return static_cast<uint64_t>(
      std::count_if(keys.begin(), keys.end(), [&](const SortKey& other) { return other < key; }));
}

}  // namespace

FlowPage query_flows(const Model& model, const FlowQuery& query, uint64_t first, uint64_t count) {
  if (count == 0 && query.grouping == Grouping::kNone && query.filter.empty()) {
    const uint64_t flows = model.flows().size();  // only the number is wanted
    return {flows, flows, 0, {}};
  }
  // A frame asks for the page, and a key for a number of rows: each has its place.
  return model.derived(count == 0 ? "number of flow rows" : "page of flows",
                       std::tuple(query, first, count),
                       [&] { return find_page(model, query, first, count); });
}

std::optional<uint64_t> position_of(const Model& model, const FlowQuery& query, uint64_t id) {
  CHECK(query.grouping == Grouping::kNone);
  return model.derived("position of a flow", std::tuple(query, id),
                       [&] { return find_position(model, query, id); });
}

std::optional<Found> search_flows(const Model& model, const FlowQuery& query, std::string_view text,
                                  uint64_t from, bool include_from) {
  CHECK(query.grouping == Grouping::kNone);
  std::vector<SortKey> keys = keys_of_flows(model, query);
  if (keys.empty()) return std::nullopt;
  from = std::min<uint64_t>(from, keys.size() - 1);
  const auto start = keys.begin() + static_cast<std::ptrdiff_t>(from);
  std::nth_element(keys.begin(), start, keys.end());
  const SortKey here = *start;
  // The first match after `from`, or else the first of all.
  std::optional<SortKey> after, any;
  for (const SortKey& key : keys) {
    const bool ahead = include_from ? !(key < here) : here < key;
    std::optional<SortKey>& best = ahead ? after : any;
    if (best && !(key < *best)) continue;  // cheaper than searching its text
    if (row_contains(model.flows()[key.index].row, model.owners(), text)) best = key;
  }
  if (!after) after = any;
  if (!after) return std::nullopt;
  Found found;
  found.id = model.flows()[after->index].row.id;
  found.position = static_cast<uint64_t>(
      std::count_if(keys.begin(), keys.end(), [&](const SortKey& key) { return key < *after; }));
  return found;
}

}  // namespace topspin
