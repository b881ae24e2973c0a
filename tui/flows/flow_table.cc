#include "tui/flows/flow_table.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <span>
#include <tuple>
#include <type_traits>
#include <unordered_map>

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

/// Seeded, because the keys come from the network.
struct GroupHash {
  uint64_t seed = uint64_t{std::random_device()()} << 32 | std::random_device()();

  size_t operator()(const FlowKey& key) const {
    static_assert(sizeof(FlowKey) == 42 && std::has_unique_object_representations_v<FlowKey>);
    std::array<uint64_t, 6> words{};
    std::memcpy(words.data(), &key, sizeof key);
    uint64_t hash = seed;
    for (const uint64_t word : words) {
      __extension__ using Wide = unsigned __int128;
      const Wide product = static_cast<Wide>(hash ^ word) * (seed | 1);
      hash = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
    }
    return hash;
  }
};

/// In the order of their keys.
std::vector<TableRow> gather(const Model& model, const FlowQuery& query, uint64_t& matching) {
  std::unordered_map<FlowKey, uint32_t, GroupHash> groups;
  std::vector<TableRow> rows;
  for (const FlowEntry& flow : model.flows()) {
    if (!query.filter.matches(flow.row, model.owners())) continue;
    ++matching;
    const FlowKey key = group_key(flow.row, query.grouping);
    const auto [group, fresh] = groups.try_emplace(key, static_cast<uint32_t>(rows.size()));
    if (fresh) {
      rows.emplace_back().flows = 0;
      rows.back().entry.row.key = key;
    }
    add_to_group(rows[group->second], flow, model.tick());
  }
  std::sort(rows.begin(), rows.end(),
            [](const TableRow& a, const TableRow& b) { return a.entry.row.key < b.entry.row.key; });
  return rows;
}

/// Calls `visit` with the key of each flow that the filter lets through.
template <typename Visit>
void for_each_key(const Model& model, const FlowQuery& query, Visit visit) {
  const std::vector<FlowEntry>& flows = model.flows();
  if (!query.filter.empty()) {
    for (uint32_t i = 0; i < flows.size(); ++i) {
      if (!query.filter.matches(flows[i].row, model.owners())) continue;
      visit(flow_sort_key(query.sort, query.reverse, flows[i], is_silent(i, model), model, i));
    }
    return;
  }
  std::array<SortKey, 256> keys;
  for (size_t first = 0; first < flows.size(); first += keys.size()) {
    const auto some = std::span(keys).first(std::min(keys.size(), flows.size() - first));
    flow_sort_keys(query.sort, query.reverse, model, static_cast<uint32_t>(first), some);
    for (const SortKey& key : some) visit(key);
  }
}

/// The first `most` of all keys that are added, and some that may be among them. A page near the
/// top needs few of a million.
class FirstKeys {
 public:
  /// `all`: how many keys will come at most.
  FirstKeys(uint64_t most, uint64_t all) : most_(most) {
    keys_.reserve(std::min(all, 2 * most_ + kSlack + 1));
  }

  void add(const SortKey& key) {
    ++added_;
    if (is_cut_ && !(key < last_)) return;
    keys_.push_back(key);
    if (keys_.size() > 2 * most_ + kSlack) cut();
  }
  uint64_t added() const { return added_; }
  std::vector<SortKey>& keys() { return keys_; }

 private:
  static constexpr uint64_t kSlack = 256;  // so that a cut pays for short pages

  void cut() {
    if (most_ == 0) return keys_.clear();
    const auto last = keys_.begin() + static_cast<std::ptrdiff_t>(most_ - 1);
    std::nth_element(keys_.begin(), last, keys_.end());
    last_ = *last;
    is_cut_ = true;
    keys_.resize(most_);
  }

  uint64_t most_;
  uint64_t added_ = 0;
  bool is_cut_ = false;
  SortKey last_;
  std::vector<SortKey> keys_;
};

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
  // A page of more rows than there are begins further up, never further down.
  const uint64_t most = std::min<uint64_t>(first, model.flows().size()) +
                        std::min<uint64_t>(count, model.flows().size());
  FirstKeys top(count == 0 ? 0 : most, model.flows().size());
  const auto add = [&](const SortKey& key) { top.add(key); };
  if (query.grouping == Grouping::kNone) {
    for_each_key(model, query, add);
    result.matching = top.added();
  } else {
    groups = gather(model, query, result.matching);
    for (uint32_t i = 0; i < groups.size(); ++i) {
      const FlowEntry& group = groups[i].entry;
      add(flow_sort_key(query.sort, query.reverse, group, is_silent(group.row, model), model, i));
    }
  }
  result.rows = top.added();
  count = std::min(count, result.rows);
  result.first = std::min(first, result.rows - count);
  if (count == 0) return result;
  std::vector<SortKey>& keys = top.keys();
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
  const SortKey key = flow_sort_key(query.sort, query.reverse, model.flows()[*index],
                                    is_silent(*index, model), model, static_cast<uint32_t>(*index));
  uint64_t before = 0;
  for_each_key(model, query, [&](const SortKey& other) { before += other < key; });
  return before;
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
  std::vector<SortKey> keys;
  keys.reserve(model.flows().size());
  for_each_key(model, query, [&](const SortKey& key) { keys.push_back(key); });
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
