#include "report/json/socket_json.h"

namespace topspin {
namespace {

Json latency_or_null(const std::optional<Histogram>& histogram) {
  return histogram ? latency_json(histogram->summary()) : Json(nullptr);
}
Json summary_or_null(const std::optional<HistogramSummary>& summary) {
  return summary ? latency_json(*summary) : Json(nullptr);
}

void add_counts(const SocketInterval& sockets, Json& json) {
  json["replies_multiplexed"] = json_or_null(sockets.replies_multiplexed);
  json["accept_queue_max"] = json_or_null(sockets.accept_queue_max);
  json["accept_queue_limit"] = json_or_null(sockets.accept_queue_limit);
  json["listen_overflows"] = json_or_null(sockets.listen_overflows);
  json["syn_drops"] = json_or_null(sockets.syn_drops);
  json["host_listen_overflows"] = json_or_null(sockets.host_listen_overflows);
  json["host_listen_drops"] = json_or_null(sockets.host_listen_drops);
  json["udp_drops"] = json_or_null(sockets.udp_drops);
}

}  // namespace

Json sockets_summary_json(const std::optional<SocketInterval>& sockets) {
  const SocketInterval s = sockets.value_or(SocketInterval{});
  Json json;
  json["accept_delay_ns"] = latency_or_null(s.accept_delay);
  json["socket_wait_ns"] = latency_or_null(s.socket_wait);
  add_counts(s, json);
  return json;
}

Json reply_split_json(const std::optional<SocketInterval>& sockets) {
  const SocketInterval s = sockets.value_or(SocketInterval{});
  return {{"socket", latency_or_null(s.reply_socket)},
          {"cpu_queue", latency_or_null(s.reply_cpu_queue)},
          {"runtime", latency_or_null(s.reply_runtime)}};
}

Json tick_sockets_json(const ReportTick& tick) {
  if (!tick.sample.sockets) return nullptr;
  Json json;
  json["accept_delay_ns"] = summary_or_null(tick.accept_delay_ns);
  json["socket_wait_ns"] = summary_or_null(tick.socket_wait_ns);
  json["reply_split_ns"] = {{"socket", summary_or_null(tick.reply_socket_ns)},
                            {"cpu_queue", summary_or_null(tick.reply_cpu_queue_ns)},
                            {"runtime", summary_or_null(tick.reply_runtime_ns)}};
  add_counts(*tick.sample.sockets, json);
  return json;
}

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

}  // namespace topspin
