#include "app/commands/load_output.h"

#include <fmt/format.h>

#include "core/base/text.h"
#include "report/json/values.h"

namespace topspin {
namespace {

template <typename T>
Json or_null_if(bool absent, const T& value) {
  return absent ? Json(nullptr) : Json(value);
}

/// How long the messages that were sent had waited, in all, for an earlier one of their own client.
/// Each message is in all three histograms, whose sums are exact.
uint64_t blocked_ns(const LoadPart& part) {
  const uint64_t all = part.latency_intended.sum();
  const uint64_t others = part.latency_actual.sum() + part.own_lateness.sum();
  return all - std::min(all, others);
}

/// Accounts and latencies of a stage or of the whole, with the same names in both.
void add_part(Json& json, const LoadPart& part, const LoadResult& result) {
  const LoadAccounts& a = part.accounts;
  const bool no_replies = !result.expects_replies;
  json["scheduled"] = a.scheduled;
  json["sent"] = a.sent;
  json["sent_late"] = a.sent_late;
  json["send_errors"] = a.send_errors;
  json["replied"] = or_null_if(no_replies, a.replied);
  json["late_replies"] = or_null_if(no_replies, a.late_replies);
  json["duplicates"] = or_null_if(no_replies, a.duplicates);
  json["lost"] = or_null_if(no_replies, a.lost);
  json["never_scheduled"] = a.never_scheduled;
  json["blocked"] = a.blocked;
  json["blocked_ns"] = or_null_if(no_replies, blocked_ns(part));
  json["unexpected"] = a.unexpected;
  json["dead_clients"] = a.dead_clients;
  json["http_errors"] = or_null_if(!result.http, a.http_errors);
  json["latency_intended_ns"] =
      or_null_if(no_replies, latency_json(part.latency_intended.summary()));
  json["latency_actual_ns"] = or_null_if(no_replies, latency_json(part.latency_actual.summary()));
}

Json tcp_json(const LoadResult& result) {
  if (!result.tcp) return nullptr;
  const TcpAccounts& tcp = *result.tcp;
  return {{"connected", tcp.connected},
          {"refused", tcp.refused},
          {"syn_retries", tcp.syn_retries},
          {"reset_before_bytes", tcp.reset_before_bytes},
          {"reset_after_bytes", tcp.reset_after_bytes},
          {"truncated", tcp.truncated},
          {"timeouts", tcp.timeouts},
          {"failed", tcp.failed},
          {"closed_by_peer", tcp.closed_by_peer},
          {"connect_ns", latency_json(result.connect_latency.summary())}};
}

Json http_json(const LoadResult& result) {
  if (!result.http) return nullptr;
  Json statuses = Json::object();
  for (const auto& [status, count] : result.http->statuses)
    statuses[fmt::format("{}", status)] = count;
  Json json = {{"statuses", std::move(statuses)}, {"body_bytes", result.http->body_bytes}};
  result.http->for_each_class(
      [&](std::string_view name, uint64_t count) { json[std::string(name)] = count; });
  json["http_errors"] = result.http->errors();
  return json;
}

std::string value_or_dash(const std::optional<int64_t>& ns) {
  return ns ? format_duration(*ns) : "-";
}

std::string latency_text(const HistogramSummary& s) {
  return fmt::format("min {} p50 {} p90 {} p99 {} p99.9 {} max {}", value_or_dash(s.min),
                     value_or_dash(s.p50), value_or_dash(s.p90), value_or_dash(s.p99),
                     value_or_dash(s.p999), value_or_dash(s.max));
}

double percent(int64_t part, int64_t whole) {
  return whole <= 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::string load_progress_line(const LoadProgress& progress) {
  const LoadAccounts& a = progress.accounts;
  return fmt::format(
      "{:6.1f}s {:<12} clients {:>6}  sent {:>9}  replied {:>9}  lost {:>6}  {}"
      "latency p50 {} p99 {}  own lateness p99 {}",
      static_cast<double>(progress.elapsed_ns) / 1e9, progress.stage, progress.clients, a.sent,
      a.replied + a.late_replies, a.lost,
      a.http_errors > 0 ? fmt::format("http errors {:>6}  ", a.http_errors) : std::string(),
      value_or_dash(progress.latency_intended.summary().p50),
      value_or_dash(progress.latency_intended.summary().p99),
      value_or_dash(progress.own_lateness.summary().p99));
}

std::string load_result_text(const LoadResult& result) {
  const LoadAccounts& a = result.total.accounts;
  std::string out;
  const auto line = [&](std::string_view name, const std::string& text) {
    out += fmt::format("{:<20} {}\n", name, text);
  };
  line("workload", fmt::format("{} to {}", workload_name(result.workload),
                               sanitize_for_terminal(result.target)));
  line("result", result.valid() ? "valid" : "INVALID");
  for (const std::string& reason : result.invalid_reasons) line("", sanitize_for_terminal(reason));
  line("time", fmt::format("{} from {}{}", format_duration(result.own.wall_ns),
                           format_utc(result.started_wall_ns),
                           result.stopped_early ? ", stopped early" : ""));
  line("clients",
       fmt::format("{} at most at once, {} in all{}", result.clients_max, result.clients_joined,
                   result.own.shared_sockets ? ", on shared sockets" : ""));
  line("scheduled", fmt::format("{} = sent {} + send errors {} + never scheduled {} (blocked {})",
                                a.scheduled, a.sent, a.send_errors, a.never_scheduled, a.blocked));
  if (result.expects_replies) {
    line("sent", fmt::format("{} = replied {} + late replies {} + lost {}", a.sent, a.replied,
                             a.late_replies, a.lost));
    line("beside that", fmt::format("sent late {}, duplicates {}, unexpected {}, dead clients {}",
                                    a.sent_late, a.duplicates, a.unexpected, a.dead_clients));
    line("latency", fmt::format("{}  (from the intended moment)",
                                latency_text(result.total.latency_intended.summary())));
    line("", fmt::format("{}  (from the actual sending)",
                         latency_text(result.total.latency_actual.summary())));
    if (const uint64_t waited = blocked_ns(result.total); waited > 0)
      line("blocked", fmt::format("what was sent waited {} in all for an earlier message of its "
                                  "own client",
                                  format_duration(static_cast<int64_t>(waited))));
  } else {
    line("sent", fmt::format("{:.0f} packets/s{}",
                             static_cast<double>(a.sent) * 1e9 /
                                 static_cast<double>(std::max<int64_t>(1, result.own.wall_ns)),
                             result.gso ? ", segmented by the kernel (GSO)" : ""));
  }
  if (result.tcp) {
    const TcpAccounts& t = *result.tcp;
    line("tcp",
         fmt::format("connected {}, refused {}, SYN retries {}, reset before bytes {}, reset "
                     "after {}, truncated {}, timeouts {}, failed {}",
                     t.connected, t.refused, t.syn_retries, t.reset_before_bytes,
                     t.reset_after_bytes, t.truncated, t.timeouts, t.failed));
    if (result.connect_latency.count() > 0)
      line("connect", latency_text(result.connect_latency.summary()));
  }
  if (result.http) {
    line("http", fmt::format("{}; bodies {}", http_statuses_text(*result.http),
                             format_bytes(static_cast<int64_t>(result.http->body_bytes))));
    if (result.http->malformed > 0)
      line("", sanitize_for_terminal(http_malformed_text(*result.http)));
    if (const uint64_t errors = result.http->errors(); errors > 0)
      line("",
           fmt::format("{} of {} answers were errors ({:.1f}%)", errors, a.replied + a.late_replies,
                       percent(static_cast<int64_t>(errors),
                               static_cast<int64_t>(a.replied + a.late_replies))));
  }
  for (const auto& [name, count] : result.errors)
    line("send error", fmt::format("{} {}", name, count));
  if (result.port_unreachable > 0) {
    line("port unreachable", fmt::format("{}: nobody listens there", result.port_unreachable));
  }
  std::string kernel;
  const auto counter = [&](std::string_view name, const std::optional<uint64_t>& value) {
    if (value && *value > 0)
      kernel += fmt::format("{}{} {}", kernel.empty() ? "" : ", ", name, *value);
  };
  counter("UDP receive buffer errors", result.kernel.udp_rcvbuf_errors);
  counter("UDP no port", result.kernel.udp_no_ports);
  if (result.tcp) counter("passive opens", result.kernel.tcp_passive_opens);
  counter("listen overflows", result.kernel.tcp_listen_overflows);
  if (!kernel.empty()) line("host", kernel);
  line("own", fmt::format("CPU {:.1f}% of a core, memory {}, lateness {}",
                          percent(result.own.cpu_ns, result.own.wall_ns),
                          format_bytes(result.own.rss_bytes),
                          latency_text(result.total.own_lateness.summary())));
  if (result.stages.size() > 1) {
    for (const LoadPart& part : result.stages) {
      if (part.accounts.scheduled == 0) continue;
      const HistogramSummary latency = part.latency_intended.summary();
      line("stage",
           fmt::format("{:<14} {}:{} in {}: scheduled {}, sent {}, lost {}{}, latency p50 {} "
                       "p99 {}",
                       sanitize_for_terminal(part.name), part.clients_from, part.clients_to,
                       format_duration(part.end_ns - part.begin_ns), part.accounts.scheduled,
                       part.accounts.sent, part.accounts.lost,
                       result.http ? fmt::format(", http errors {}", part.accounts.http_errors)
                                   : std::string(),
                       value_or_dash(latency.p50), value_or_dash(latency.p99)));
    }
  }
  return out;
}

std::string load_result_json(const LoadResult& result) {
  Json json;
  json["schema_version"] = kLoadSchemaVersion;
  json["workload"] = workload_name(result.workload);
  json["target"] = result.target;
  json["valid"] = result.valid();
  json["invalid_reasons"] = result.invalid_reasons;
  json["started_at"] = format_utc(result.started_wall_ns);
  json["started_monotonic_ns"] = result.started_monotonic_ns;
  json["duration_ns"] = result.own.wall_ns;
  json["stopped_early"] = result.stopped_early;
  json["closed_loop"] = result.closed_loop;
  json["clients_max"] = result.clients_max;
  json["clients_joined"] = result.clients_joined;
  json["planned"] = or_null_if(!result.has_plan, result.planned);
  add_part(json, result.total, result);
  json["tcp"] = tcp_json(result);
  json["http"] = http_json(result);
  json["bytes_received"] = result.bytes_received;
  json["port_unreachable"] = result.port_unreachable;
  json["errors"] = result.errors;
  json["gso"] = result.gso;
  json["kernel"] = {{"udp_rcvbuf_errors", json_or_null(result.kernel.udp_rcvbuf_errors)},
                    {"udp_no_ports", json_or_null(result.kernel.udp_no_ports)},
                    {"tcp_passive_opens", json_or_null(result.kernel.tcp_passive_opens)},
                    {"tcp_listen_overflows", json_or_null(result.kernel.tcp_listen_overflows)},
                    {"tcp_listen_drops", json_or_null(result.kernel.tcp_listen_drops)}};
  json["own"] = {{"cpu_ns", result.own.cpu_ns},
                 {"lateness_ns", latency_json(result.total.own_lateness.summary())},
                 {"receive_drops", result.own.receive_drops},
                 {"rss_bytes", result.own.rss_bytes},
                 {"descriptors_max", result.own.descriptors_max},
                 {"sockets_opened", result.own.sockets_opened},
                 {"shared_sockets", result.own.shared_sockets},
                 {"host_busy_ns", json_or_null(result.own.host_busy_ns)},
                 {"host_steal_ns", json_or_null(result.own.host_steal_ns)},
                 {"cpus", result.own.cpus}};
  json["stages"] = Json::array();
  for (const LoadPart& part : result.stages) {
    Json stage;
    stage["name"] = part.name;
    stage["start_ns"] = part.begin_ns;
    stage["end_ns"] = part.end_ns;
    stage["clients_from"] = part.clients_from;
    stage["clients_to"] = part.clients_to;
    add_part(stage, part, result);
    stage["own_lateness_ns"] = latency_json(part.own_lateness.summary());
    json["stages"].push_back(std::move(stage));
  }
  return dump_json(json, 2);
}

}  // namespace topspin
