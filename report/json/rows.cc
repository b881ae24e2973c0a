#include "report/json/rows.h"

#include <array>

namespace topspin {
namespace {

/// A thread's distribution, or only its sum if there is none.
Json times_json(const std::optional<CoarseHistogram>& times, const std::optional<uint64_t>& sum) {
  if (times) return latency_json(times->summary());
  if (!sum) return nullptr;
  Json json = latency_json(HistogramSummary{});
  json["count"] = nullptr;
  json["sum"] = *sum;
  return json;
}

Json owner_json(const FlowOwner* owner) {
  if (owner == nullptr) return nullptr;
  return {{"pid", owner->pid},
          {"start_time_ns", owner->start_time_ns},
          {"name", owner->name},
          {"quality", owner_quality_name(owner->quality)}};
}

Json sleeps_json(const std::array<OffCpuTime, kBlockedByCount>& blocked_by) {
  Json json;
  for (size_t i = 0; i < kBlockedByCount; ++i) {
    json[std::string(blocked_by_name(static_cast<BlockedBy>(i)))] = {
        {"count", json_or_null(blocked_by[i].count)}, {"ns", json_or_null(blocked_by[i].ns)}};
  }
  return json;
}

}  // namespace

Json thread_json(const ThreadRow& t) {
  Json preempted_by;
  for (size_t by = 0; by < kPreemptorCount; ++by)
    preempted_by[std::string(preemptor_name(static_cast<Preemptor>(by)))] =
        json_or_null(t.preempted_by[by]);
  return {{"pid", t.pid},
          {"tid", t.tid},
          {"start_time_ns", t.start_time_ns},
          {"name", t.name},
          {"exited", t.exited},
          {"cpu_ns", json_or_null(t.cpu_ns)},
          {"run_queue_wait_ns", times_json(t.run_queue_wait, t.run_queue_wait_ns)},
          {"on_cpu_ns", times_json(t.on_cpu, std::nullopt)},
          {"voluntary_switches", json_or_null(t.voluntary_switches)},
          {"involuntary_switches", json_or_null(t.involuntary_switches)},
          {"migrations", json_or_null(t.migrations)},
          {"preempted_by", preempted_by},
          {"blocked_by", sleeps_json(t.blocked_by)},
          {"busy_stretch_max_ns", json_or_null(t.busy_stretch_max_ns)}};
}

Json process_json(const ProcessSleeps& p) {
  return {{"pid", p.pid},
          {"name", p.name},
          {"threads", p.threads},
          {"blocked_by", sleeps_json(p.blocked_by)},
          {"busy_stretch_max_ns", json_or_null(p.busy_stretch_max_ns)}};
}

Json sleep_stack_json(const SleepStackRow& s) {
  return {{"thread", text_or_null(s.thread)},
          {"frames", text_or_null(s.frames)},
          {"blocked_by", blocked_by_name(s.reason)},
          {"woken_by", text_or_null(s.woken_by)},
          {"sleeps", s.sleeps},
          {"slept_ns", s.slept_ns}};
}

Json busy_stretch_json(const BusyStretch& s, const LongStretches& of,
                       int64_t started_monotonic_ns) {
  const StretchSum sum = sum_of(of, std::array{&s});
  Json stacks = Json::array();
  for (const StretchStack& stack : s.stacks)
    stacks.push_back({{"frames", text_or_null(std::string(of.frames_of(stack.stack)))},
                      {"samples", stack.samples}});
  return {{"tick", s.tick},
          {"began_elapsed_ns", s.began_ns - started_monotonic_ns},
          {"length_ns", s.length_ns},
          {"cpu_ns", s.cpu_ns},
          {"pid", s.pid},
          {"tid", s.tid},
          {"thread", text_or_null(s.thread)},
          {"samples", s.samples},
          {"samples_cut", s.samples_cut},
          {"most", sum.most ? Json{{"function", text_or_null(sum.most->name)},
                                   {"samples", sum.most->samples}}
                            : Json(nullptr)},
          {"stacks", std::move(stacks)}};
}

Json cpu_holder_json(const CpuHolderRow& h) {
  return {{"kind", cpu_holder_name(h.kind)},  {"name", text_or_null(h.name)},
          {"cgroup", text_or_null(h.cgroup)}, {"pid", h.pid},
          {"processes", h.processes},         {"held_ns", h.held_ns}};
}

/// "unread_busy".
std::string_view part_key(ReplyPart part) { return without_unit(names_of(part).field); }

Json socket_json(const SocketRow& s) {
  return {{"protocol", format_protocol(s.protocol)},
          {"local", format_endpoint(s.local, s.ip_version)},
          {"pid", s.pid},
          {"closed", s.closed},
          {"accept_queue", json_or_null(s.accept_queue)},
          {"accept_queue_max", json_or_null(s.accept_queue_max)},
          {"accept_queue_limit", json_or_null(s.accept_queue_limit)},
          {"receive_queue_bytes", json_or_null(s.receive_queue_bytes)},
          {"receive_queue_bytes_max", json_or_null(s.receive_queue_bytes_max)},
          {"receive_queue_bytes_limit", json_or_null(s.receive_queue_bytes_limit)},
          {"drops", s.drops}};
}

Json syscall_json(const SyscallRow& s) {
  return {{"number", s.number},
          {"name", s.name},
          {"count", s.count},
          {"errors", s.errors},
          {"latency_ns", latency_json(s.latency.summary())},
          {"blocked_ns", s.blocked_ns},
          {"working_ns", s.working_ns()}};
}

Json called_json(const CalledRow& c) {
  const bool is_one = c.address.port != 0;  // otherwise all addresses beyond the limit
  return {{"protocol", is_one ? Json(format_protocol(c.protocol)) : Json(nullptr)},
          {"address", is_one ? Json(format_endpoint(c.address, c.ip_version)) : Json(nullptr)},
          {"requests", c.requests},
          {"failures", c.failures()},
          {"unanswered", c.unanswered},
          {"reset", c.resets},
          {"refused", c.refused},
          {"never_completed", c.never_completed},
          {"http_errors", c.http_errors},
          {"latency_ns", latency_json(c.latency.summary())},
          {"hidden_connections", c.hidden_connections},
          {"hidden_by", c.hidden_connections == 0 ? Json(nullptr)
                        : c.hidden_by_interface   ? Json("interface")
                                                  : Json("filter")}};
}

Json slow_reply_json(const SlowReply& r, int64_t started_monotonic_ns) {
  Json json = {{"tick", r.tick},
               {"ready_elapsed_ns", r.ready_ns - started_monotonic_ns},
               {"total_ns", r.total_ns},
               {"mostly", part_key(r.mostly())},
               {"protocol", format_protocol(r.protocol)},
               {"local", format_endpoint(r.local, r.ip_version)},
               {"remote", nullptr},
               {"reader_tid", r.reader_tid},
               {"sender_tid", r.sender_tid},
               {"sender", text_or_null(r.sender)}};
  if (r.remote.port != 0) json["remote"] = format_endpoint(r.remote, r.ip_version);
  for (size_t i = 0; i < kReplyPartCount; ++i)
    json["parts_ns"][std::string(part_key(static_cast<ReplyPart>(i)))] = r.parts[i];
  return json;
}

Json tail_json(const std::optional<TailBlame>& tail) {
  if (!tail) return nullptr;
  Json json = {{"percentile", tail->percentile},
               {"percentile_ns", tail->percentile_ns},
               {"limit_ns", tail->limit_ns},
               {"replies", tail->replies},
               {"parts", Json::array()}};
  for (const TailBlame::Part& part : tail->parts) {
    json["parts"].push_back({{"part", part_key(part.part)},
                             {"mostly", part.mostly},
                             {"percentile_without_ns", part.without_ns}});
  }
  return json;
}

Json flow_json(const FlowRow& flow, const OwnerTable& owners) {
  Json json;
  json["flow"] = flow.id;
  json["protocol"] = format_protocol(flow.key.protocol);
  json["initiator"] = format_endpoint(flow.initiator(), flow.key.ip_version);
  json["responder"] = format_endpoint(flow.responder(), flow.key.ip_version);
  if (flow.key.vlan[0] != 0 || flow.key.vlan[1] != 0) json["vlan"] = flow.key.vlan;
  json["first_ns"] = flow.first_ns;
  json["last_ns"] = flow.last_ns;
  json["ended"] = flow.ended;
  json["initiator_packets"] = flow.packets[0];
  json["initiator_bytes"] = flow.bytes[0];
  json["responder_packets"] = flow.packets[1];
  json["responder_bytes"] = flow.bytes[1];
  json["period_ns"] = json_or_null(flow.period_ns);
  json["lateness_last_ns"] = json_or_null(flow.lateness_last_ns);
  json["lateness_max_ns"] = json_or_null(flow.lateness_max_ns);
  json["missed_ticks"] = flow.missed_ticks;
  json["replies"] = flow.replies;
  json["reply_latency_sum_ns"] = flow.reply_latency_sum_ns;
  json["reply_latency_max_ns"] = json_or_null(flow.reply_latency_max_ns);
  json["reply_latency_last_ns"] = json_or_null(flow.reply_latency_last_ns);
  json["unanswered"] = flow.unanswered;
  json["retransmissions"] = flow.retransmissions;
  json["silent"] = flow.silent;
  json["initiator_payload_bytes"] = json_or_null(flow.payload_bytes[0]);
  json["responder_payload_bytes"] = json_or_null(flow.payload_bytes[1]);
  json["initiator_owner"] = owner_json(owners.find(flow.owners[0]));
  json["responder_owner"] = owner_json(owners.find(flow.owners[1]));
  return json;
}

Json load_json(const LoadResult& load) {
  Json json = {{"workload", workload_name(load.workload)},
               {"target", load.target},
               {"invalid_reasons", load.invalid_reasons}};
  LoadAccounts::for_each_field(
      [&](const char* name, auto field) { json[name] = load.total.accounts.*field; });
  json["tcp"] = nullptr;
  if (load.tcp) {
    json["tcp"] = Json::object();
    TcpAccounts::for_each_field(
        [&](const char* name, auto field) { json["tcp"][name] = (*load.tcp).*field; });
  }
  json["http"] = nullptr;
  if (load.http) {
    Json statuses = Json::object();
    for (const auto& [status, count] : load.http->statuses)
      statuses[std::to_string(status)] = count;
    json["http"] = {{"statuses", std::move(statuses)}};
    load.http->for_each_class(
        [&](const char* name, uint64_t count) { json["http"][name] = count; });
    json["http"]["http_errors"] = load.total.accounts.http_errors;
    json["http"]["checks"] = load.http->checks;
    json["http"]["failures"] = load.http->failures;
  } else {
    json["http_errors"] = nullptr;  // not an HTTP load, so there are no statuses
  }
  json["tls"] = nullptr;
  if (load.tls) {
    json["tls"] = {{"handshakes", load.tls->handshakes},
                   {"resumed", load.tls->resumed},
                   {"failed", load.tls->failed},
                   {"handshake_ns", latency_json(load.tls->handshake_latency.summary())}};
  }
  json["latency_intended_ns"] = latency_json(load.total.latency_intended.summary());
  json["latency_actual_ns"] = latency_json(load.total.latency_actual.summary());
  json["own_lateness_ns"] = latency_json(load.total.own_lateness.summary());
  return json;
}

}  // namespace topspin
