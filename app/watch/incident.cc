#include "app/watch/incident.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {
namespace {

template <typename T>
void subtract_count(T& now, const T& before) {
  now -= std::min(now, before);
}
void subtract_count(std::optional<uint64_t>& now, const std::optional<uint64_t>& before) {
  if (now && before) *now -= std::min(*now, *before);
}

/// A maximum that did not grow was reached before.
void forget_old_maximum(std::optional<int64_t>& now, const std::optional<int64_t>& before) {
  if (now && before && *now <= *before) now.reset();
}

void subtract_flow_row(FlowRow& row, const FlowRow& base) {
  for (size_t end = 0; end < 2; ++end) {
    subtract_count(row.packets[end], base.packets[end]);
    subtract_count(row.bytes[end], base.bytes[end]);
    subtract_count(row.payload_bytes[end], base.payload_bytes[end]);
  }
  subtract_count(row.missed_ticks, base.missed_ticks);
  subtract_count(row.replies, base.replies);
  subtract_count(row.reply_latency_sum_ns, base.reply_latency_sum_ns);
  subtract_count(row.unanswered, base.unanswered);
  subtract_count(row.retransmissions, base.retransmissions);
  forget_old_maximum(row.lateness_max_ns, base.lateness_max_ns);
  forget_old_maximum(row.reply_latency_max_ns, base.reply_latency_max_ns);
}

void subtract_called_row(CalledRow& row, const CalledRow& base) {
  subtract_count(row.requests, base.requests);
  subtract_count(row.unanswered, base.unanswered);
  subtract_count(row.resets, base.resets);
  subtract_count(row.refused, base.refused);
  subtract_count(row.never_completed, base.never_completed);
  subtract_count(row.http_errors, base.http_errors);
  subtract_count(row.hidden_connections, base.hidden_connections);
  if (base.latency.count() <= row.latency.count()) row.latency.subtract(base.latency);
}

template <typename Map>
void drop_first_beyond(Map& map, size_t most) {
  while (map.size() > most) map.erase(map.begin());
}

}  // namespace

void RingBase::take(const PackedTick& packed) {
  const Sample& plain = packed.plain();
  const bool has_histograms = !plain.changed_threads.empty() || !plain.changed_syscalls.empty() ||
                              !plain.changed_called.empty();
  const Sample tick = has_histograms ? packed.unpack() : plain;
  rows_.take(tick);
  for (const FlowRow& row : tick.changed_flows) {
    if (row.ended)
      flows_.erase(row.id);
    else
      flows_[row.id] = row;
  }
  drop_first_beyond(flows_, kMostFlows);
  for (const CalledRow& row : tick.changed_called) called_[row.number] = row;
  for (const FlowOwner& owner : tick.changed_owners) owners_[owner.number] = owner;
  drop_first_beyond(owners_, kMostOwners);
}

std::vector<std::pair<std::string, std::string>> log_attributes(const IncidentCause& cause) {
  if (cause.rule.empty()) return {{"topspin.incident.rule", "by hand"}};
  return {{"topspin.incident.rule", cause.rule}, {"topspin.incident.measured", cause.measured}};
}

RunInfo incident_run(const Incident& incident, const std::string& id) {
  RunInfo run = incident.recorder;
  run.id = id;
  run.started_wall_ns += incident.begin_ns();
  run.started_monotonic_ns += incident.begin_ns();
  run.settings.duration_ns.reset();
  const bool by_hand = incident.cause.rule.empty();
  run.labels[kIncidentLabel] = by_hand ? "by hand" : incident.cause.rule;
  run.labels[kIncidentTimeLabel] =
      format_utc(incident.recorder.started_wall_ns + incident.cause.at_ns);
  if (!by_hand) run.labels[kIncidentValueLabel] = incident.cause.measured;
  return run;
}

std::vector<RunStage> incident_stages(const Incident& incident) {
  const int64_t begin_ns = incident.begin_ns();
  // At the beginning of a tick, so that each tick is of one stage.
  int64_t from_ns = 0;
  for (const auto& tick : incident.ticks) {
    if (tick->plain().elapsed_ns > incident.cause.judged_from_ns) break;
    from_ns = tick->plain().elapsed_ns - begin_ns;
  }
  if (from_ns <= 0 || from_ns >= incident.end_ns() - begin_ns) return {};
  return {{"before", StageKind::kBefore, 0, from_ns, std::nullopt, std::nullopt},
          {"incident", StageKind::kLoad, from_ns, incident.end_ns() - begin_ns, std::nullopt,
           std::nullopt}};
}

std::vector<IncidentEvent> incident_events(const Incident& incident) {
  const IncidentCause& cause = incident.cause;
  const int64_t begin_ns = incident.begin_ns();
  std::vector<IncidentEvent> events;
  for (const IncidentEvent& event : incident.events) {
    if (event.elapsed_ns > begin_ns) events.push_back({event.elapsed_ns - begin_ns, event.text});
  }
  const int64_t at_ns = std::max<int64_t>(0, cause.at_ns - begin_ns);
  std::string text =
      cause.rule.empty()
          ? std::string("frozen by hand")
          : fmt::format(
                "the rule \"{}\" was met: {}{}", cause.rule, cause.measured,
                cause.at_ns > cause.since_ns
                    ? fmt::format(", true for {}", format_duration(cause.at_ns - cause.since_ns))
                    : "");
  events.push_back({at_ns, std::move(text)});
  if (!incident.shortened.empty()) events.push_back({0, incident.shortened});
  std::stable_sort(events.begin(), events.end(),
                   [](const auto& a, const auto& b) { return a.elapsed_ns < b.elapsed_ns; });
  return events;
}

IncidentRows::IncidentRows(const Incident& incident)
    : incident_(incident),
      rows_(incident.base.rows_),
      begin_ns_(incident.begin_ns()),
      monotonic_begin_ns_(incident.ticks.front()->plain().monotonic_ns -
                          incident.ticks.front()->plain().interval_ns),
      packets_begin_ns_(incident.ticks.front()->plain().flows.begin_ns),
      first_tick_(incident.ticks.front()->plain().tick) {}

/// A flow that is older than the ring, and of which no row left it, counts from its first row on.
void IncidentRows::subtract_flow(FlowRow& row) {
  const auto before = incident_.base.flows_.find(row.id);
  if (before != incident_.base.flows_.end()) {
    subtract_flow_row(row, before->second);
  } else if (row.first_ns < packets_begin_ns_) {
    const auto [base, is_first] = late_bases_.try_emplace(row.id, row);
    subtract_flow_row(row, base->second);
  }
  row.first_ns = std::max(row.first_ns, packets_begin_ns_);
}

Sample IncidentRows::tick(size_t i) {
  Sample sample = incident_.ticks[i]->unpack();
  const bool is_first = sample.tick == first_tick_;
  sample.tick = sample.tick - first_tick_ + 1;
  sample.elapsed_ns -= begin_ns_;
  rows_.apply(sample);
  for (FlowRow& row : sample.changed_flows) subtract_flow(row);
  for (CalledRow& row : sample.changed_called) {
    const auto before = incident_.base.called_.find(row.number);
    if (before != incident_.base.called_.end()) subtract_called_row(row, before->second);
  }
  for (SlowReply& reply : sample.slowest_replies) reply.tick = sample.tick;
  std::erase_if(sample.long_stretches,
                [&](const BusyStretch& stretch) { return stretch.began_ns < monotonic_begin_ns_; });
  for (BusyStretch& stretch : sample.long_stretches) stretch.tick = sample.tick;
  if (is_first) {
    // Owners are told once. Those of the first tick come last, since they may be newer.
    std::vector<FlowOwner> owners;
    for (const auto& [number, owner] : incident_.base.owners_) owners.push_back(owner);
    owners.insert(owners.end(), sample.changed_owners.begin(), sample.changed_owners.end());
    sample.changed_owners = std::move(owners);
  }
  return sample;
}

}  // namespace topspin
