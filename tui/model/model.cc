#include "tui/model/model.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/base/check.h"
#include "core/flow/periods.h"
#include "core/tick/numbers.h"
#include "core/tick/thread_wait.h"

namespace topspin {
namespace {

bool by_id(const FlowEntry& a, const FlowEntry& b) { return a.row.id < b.row.id; }

/// A counter's growth; 0 if it shrank (because another process took its place).
uint64_t growth(uint64_t before, uint64_t after) { return after > before ? after - before : 0; }

std::optional<uint64_t> growth(const std::optional<uint64_t>& before,
                               const std::optional<uint64_t>& after) {
  if (!before || !after) return std::nullopt;
  return growth(*before, *after);
}

std::optional<uint64_t> switches(const ThreadRow& row) {
  if (!row.voluntary_switches || !row.involuntary_switches) return std::nullopt;
  return *row.voluntary_switches + *row.involuntary_switches;
}

Liveness judge_change(const FlowRow& before, const FlowRow& after, int64_t now_ns) {
  LivenessFacts facts;
  facts.ended = after.ended;
  facts.sent = after.packets[0] > before.packets[0];
  facts.missed = after.missed_ticks > before.missed_ticks;
  // If there are several gaps in a tick, the row has the last one, and the worst if it is a new
  // maximum.
  facts.late_ns = after.lateness_max_ns > before.lateness_max_ns ? after.lateness_max_ns
                                                                 : after.lateness_last_ns;
  facts.period_ns = after.period_ns;
  facts.silent_ns = now_ns - after.last_ns;
  return judge_liveness(facts);
}

FlowPulse pulse_of(const FlowRow& row, uint64_t tick, Liveness liveness) {
  return {.last_ns = row.last_ns,
          .period_ns = row.period_ns.value_or(0),
          .lateness_max_ns = row.lateness_max_ns.value_or(0),
          .bytes = row.bytes[0] + row.bytes[1],
          .changed_tick = tick,
          .tick_liveness = liveness,
          .has_lateness = row.lateness_max_ns.has_value(),
          .ended = row.ended,
          .silent = row.silent};
}

}  // namespace

std::optional<size_t> Model::find_flow(uint64_t id) const {
  if (ids_.empty() || id < ids_.front() || id > ids_.back()) return std::nullopt;
  // Ids grow with few gaps, so guess by interpolation, then widen until the id is enclosed.
  const double share = static_cast<double>(id - ids_.front()) /
                       static_cast<double>(std::max<uint64_t>(ids_.back() - ids_.front(), 1));
  size_t low =
      std::min(static_cast<size_t>(share * static_cast<double>(ids_.size() - 1)), ids_.size() - 1);
  size_t high = low + 1;
  for (size_t step = 1; low > 0 && ids_[low] > id; step *= 2) low = low > step ? low - step : 0;
  for (size_t step = 1; high < ids_.size() && ids_[high - 1] < id; step *= 2) {
    high = std::min(high + step, ids_.size());
  }
  const auto found = std::lower_bound(ids_.begin() + static_cast<std::ptrdiff_t>(low),
                                      ids_.begin() + static_cast<std::ptrdiff_t>(high), id);
  if (found == ids_.end() || *found != id) return std::nullopt;
  return static_cast<size_t>(found - ids_.begin());
}

const Growth& Model::growth_of_run() const {
  if (!growth_) {
    std::vector<GrowthPoint> series;
    series.reserve(history_.size());
    for (size_t i = 0; i < history_.size(); ++i) {
      const TickPoint& point = history_.at(i);
      series.push_back({point.elapsed_ns, static_cast<int64_t>(point.active_flows),
                        static_cast<int64_t>(point.live_flows), point.resources});
    }
    growth_ = judge_growth(series);
  }
  return *growth_;
}

namespace {

/// Replaces the entry with the same key, or adds it while there are fewer than `most`. `entries` is
/// in the order of the keys.
template <typename Entry, typename Key>
void put_entry(std::vector<Entry>& entries, Entry entry, Key key_of, size_t most = SIZE_MAX) {
  const auto key = std::invoke(key_of, entry);
  const auto at = std::ranges::lower_bound(entries, key, {}, key_of);
  if (at != entries.end() && std::invoke(key_of, *at) == key)
    *at = std::move(entry);
  else if (entries.size() < most)
    entries.insert(at, std::move(entry));
}

}  // namespace

void Model::add(const Sample& sample) {
  growth_.reset();
  rows_changed();
  tick_ = sample.tick;
  flow_now_ns_ = sample.flows.end_ns;
  packets_total_ += sample.flows.packets;
  bytes_total_ += sample.flows.bytes;
  flows_total_ += sample.flows.new_flows;
  TickPoint point = make_tick_point(sample, scene.period_ns);
  recent_.add(sample, scene.period_ns);
  point.lateness_recent_p99 = recent_.lateness.p99();
  point.reply_recent_p99 = recent_.reply.p99();
  point.reply_recent_max = recent_.reply.max();
  point.run_queue_recent_p99 = recent_.run_queue.p99();
  failed_.add(sample);
  had_periods_ = had_periods_ || has_lateness(sample.flows, scene.period_ns);
  missed_total_ += point.missed_ticks;
  unanswered_total_ += sample.flows.unanswered;
  late_replies_total_ =
      std::min(late_replies_total_ + sample.flows.late_replies, unanswered_total_);
  losses_total_.merge(sample.losses);
  history_.add(point);
  for (const FlowOwner& owner : sample.changed_owners) owners_.set(owner);
  for_each_part(
      [&](std::string_view, auto part) { std::invoke(part, last_) = std::invoke(part, sample); });
  merge_tick(whole_, last_);
  recent_ticks_.add(last_);
  add_flows(sample);
  judge_and_drop_flows();
  add_threads(sample);
  drop_threads();
  add_syscalls(sample);
  add_sockets(sample);
  for (const CalledRow& row : sample.changed_called) put_entry(called_, row, &CalledRow::number);
  for (const CpuHolderRow& row : sample.changed_cpu_holders)
    put_entry(cpu_holders_, row, &CpuHolderRow::number);
  add_slowest(sample);
}

void Model::add_flows(const Sample& sample) {
  const size_t known = flows_.size();
  size_t next = 0;  // the index of the next row, if rows come in the order of their flows
  bool in_order = true;
  for (const FlowRow& row : sample.changed_flows) {
    const std::optional<size_t> index =
        next < known && ids_[next] == row.id ? std::optional(next) : find_flow(row.id);
    if (index) {
      FlowEntry& entry = flows_[*index];
      const FlowRow& before = entry.row;
      entry.tick_packets =
          growth(before.packets[0] + before.packets[1], row.packets[0] + row.packets[1]);
      entry.tick_bytes = growth(before.bytes[0] + before.bytes[1], row.bytes[0] + row.bytes[1]);
      entry.tick_bytes_of = {growth(before.bytes[0], row.bytes[0]),
                             growth(before.bytes[1], row.bytes[1])};
      entry.changed_tick = tick_;
      pulses_[*index] = pulse_of(row, tick_, judge_change(before, row, flow_now_ns_));
      entry.row = row;
      next = *index + 1;
      continue;
    }
    if (flows_.size() >= limits_.max_flow_rows) continue;
    FlowEntry entry;
    entry.row = row;
    entry.changed_tick = tick_;
    // A flow older than the tick is only new to this table, so it is not known which part of its
    // counts is from this tick.
    if (row.first_ns >= sample.flows.begin_ns) {
      entry.tick_packets = row.packets[0] + row.packets[1];
      entry.tick_bytes = row.bytes[0] + row.bytes[1];
      entry.tick_bytes_of = row.bytes;
    }
    pulses_.push_back(pulse_of(row, tick_, row.ended ? Liveness::kNone : Liveness::kOnTime));
    in_order = in_order && (flows_.empty() || flows_.back().row.id < row.id);
    flows_.push_back(entry);
  }
  if (flows_.size() == known) return;
  liveness_.resize(flows_.size());
  if (!in_order) sort_new_flows();
  // find_flow() must not see the new flows before all rows are in.
  ids_.resize(flows_.size());
  for (size_t i = in_order ? known : 0; i < flows_.size(); ++i) ids_[i] = flows_[i].row.id;
}

/// Rows came in another order than their flows (after a purge, or because of the limit of rows per
/// tick). Sorts the new ones in, together with what belongs to them.
void Model::sort_new_flows() {
  struct Companion {
    uint64_t id;
    FlowPulse pulse;
    LivenessHistory liveness;
  };
  std::vector<Companion> companions;
  companions.reserve(flows_.size());
  for (size_t i = 0; i < flows_.size(); ++i)
    companions.push_back({flows_[i].row.id, pulses_[i], liveness_[i]});
  std::stable_sort(companions.begin(), companions.end(),
                   [](const Companion& a, const Companion& b) { return a.id < b.id; });
  std::stable_sort(flows_.begin(), flows_.end(), by_id);
  for (size_t i = 0; i < flows_.size(); ++i) {
    pulses_[i] = companions[i].pulse;
    liveness_[i] = companions[i].liveness;
  }
}

void Model::rows_changed() {
  ++version_;
  derived_.clear();
}

void Model::judge_and_drop_flows() {
  const auto state_of = [&](const FlowPulse& flow) {
    if (flow.changed_tick == tick_) return flow.tick_liveness;
    LivenessFacts facts;
    facts.ended = flow.ended;
    facts.period_ns = flow.period_ns;
    facts.silent_ns = flow_now_ns_ - flow.last_ns;
    return judge_liveness(facts);
  };
  const auto gone = [&](const FlowPulse& flow) {
    if (flow.ended) return tick_ - flow.changed_tick > limits_.ended_linger_ticks;
    if (flow.silent) return false;  // keep it until its row says that it has ended
    return limits_.silent_drop_ns > 0 && flow_now_ns_ - flow.last_ns > limits_.silent_drop_ns;
  };
  size_t kept = 0;
  for (size_t i = 0; i < flows_.size(); ++i) {
    if (gone(pulses_[i])) continue;
    liveness_[i].push(state_of(pulses_[i]));
    if (kept != i) {
      flows_[kept] = flows_[i];
      pulses_[kept] = pulses_[i];
      liveness_[kept] = liveness_[i];
      ids_[kept] = ids_[i];
    }
    ++kept;
  }
  flows_.resize(kept);
  pulses_.resize(kept);
  liveness_.resize(kept);
  ids_.resize(kept);
}

void Model::purge_flows() {
  rows_changed();
  flows_.clear();
  pulses_.clear();
  liveness_.clear();
  ids_.clear();
}

void Model::add_threads(const Sample& sample) {
  for (const ThreadRow& row : sample.changed_threads) {
    const ThreadKey key{row.pid, row.tid, row.start_time_ns};
    const auto found = thread_index_.find(key);
    if (found == thread_index_.end()) {
      if (threads_.size() >= limits_.max_thread_rows) continue;
      thread_index_[key] = threads_.size();
      threads_.push_back({row, tick_, {}, {}, {}});
      continue;
    }
    ThreadEntry& entry = threads_[found->second];
    entry.tick_cpu_ns = growth(entry.row.cpu_ns, row.cpu_ns);
    entry.tick_wait_ns = growth(waited_ns(entry.row), waited_ns(row));
    entry.tick_switches = growth(switches(entry.row), switches(row));
    entry.changed_tick = tick_;
    entry.row = row;
  }
}

void Model::add_syscalls(const Sample& sample) {
  for (const SyscallRow& row : sample.changed_syscalls) {
    const auto at = std::lower_bound(
        syscalls_.begin(), syscalls_.end(), row.number,
        [](const SyscallEntry& entry, int32_t number) { return entry.row.number < number; });
    if (at == syscalls_.end() || at->row.number != row.number) {
      // Seen for the first time: except in tick 1, it is not known how much is from this tick.
      const bool whole = sample.tick == 1;
      syscalls_.insert(at, {row, tick_, whole ? row.count : 0, whole ? row.latency.sum() : 0});
      continue;
    }
    at->tick_count = growth(at->row.count, row.count);
    at->tick_ns = growth(at->row.latency.sum(), row.latency.sum());
    at->changed_tick = tick_;
    at->row = row;
  }
}

void Model::add_slowest(const Sample& sample) {
  if (sample.slowest_replies.empty()) return;
  for (const SlowReply& reply : sample.slowest_replies) {
    slowest_replies_.push_back(reply);
    slowest_replies_.back().tick = tick_;
  }
  std::stable_sort(slowest_replies_.begin(), slowest_replies_.end(),
                   [](const SlowReply& a, const SlowReply& b) { return a.total_ns > b.total_ns; });
  if (slowest_replies_.size() > limits_.max_slow_replies)
    slowest_replies_.resize(limits_.max_slow_replies);
}

void Model::add_sockets(const Sample& sample) {
  const auto cookie = [](const SocketEntry& entry) { return entry.row.cookie; };
  for (const SocketRow& row : sample.changed_sockets)
    put_entry(sockets_, {row, tick_}, cookie, limits_.max_socket_rows);
  std::erase_if(sockets_, [&](const SocketEntry& entry) {
    return !scene.flows_are_final && entry.row.closed &&
           tick_ - entry.changed_tick > limits_.ended_linger_ticks;
  });
}

void Model::drop_threads() {
  const auto gone = [&](const ThreadEntry& thread) {
    return thread.row.exited && tick_ - thread.changed_tick > limits_.ended_linger_ticks;
  };
  if (std::erase_if(threads_, gone) == 0) return;
  thread_index_.clear();
  for (size_t i = 0; i < threads_.size(); ++i) {
    const ThreadRow& row = threads_[i].row;
    thread_index_[{row.pid, row.tid, row.start_time_ns}] = i;
  }
}

}  // namespace topspin
