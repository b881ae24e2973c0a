// The result of a load as JSON: `topspin load --format json`, and `load show`.
#include <fmt/format.h>

#include "ci/metrics/load_waits.h"
#include "core/base/text.h"
#include "report/json/reports.h"
#include "report/json/values.h"

namespace topspin {
namespace {

template <typename T>
Json or_null_if(bool absent, const T& value) {
  return absent ? Json(nullptr) : Json(value);
}

/// Adds accounts and latencies of a stage or of the whole, with the same names for both.
void add_load_part(Json& json, const LoadPart& part, const LoadResult& result) {
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
  json["http_errors"] = or_null_if(!result.http && !result.script, a.http_errors);
  json["latency_intended_ns"] =
      or_null_if(no_replies, latency_json(part.latency_intended.summary()));
  json["latency_actual_ns"] = or_null_if(no_replies, latency_json(part.latency_actual.summary()));
}

Json load_tcp_json(const LoadResult& result) {
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

Json load_http_json(const LoadResult& result) {
  if (!result.http) return nullptr;
  Json statuses = Json::object();
  for (const auto& [status, count] : result.http->statuses)
    statuses[fmt::format("{}", status)] = count;
  Json json = {{"statuses", std::move(statuses)}, {"body_bytes", result.http->body_bytes}};
  result.http->for_each_class(
      [&](std::string_view name, uint64_t count) { json[std::string(name)] = count; });
  json["http_errors"] = result.total.accounts.http_errors;
  json["checks"] = result.http->checks;
  json["failures"] = result.http->failures;
  json["sent_again"] = result.http->sent_again;
  json["cookies_dropped"] = result.http->cookies_dropped;
  return json;
}

Json load_script_json(const LoadResult& result) {
  if (!result.script) return nullptr;
  const ScriptAccounts& script = *result.script;
  Json json;
  ScriptAccounts::for_each_field(
      [&](std::string_view name, auto field) { json[std::string(name)] = script.*field; });
  json["script_ns"] = script.script_ns;
  json["script_delay_ns"] = latency_json(script.script_delay.summary());
  json["steps"] = Json::array();
  for (const LoadPart& part : script.steps) {
    Json step;
    step["name"] = part.name;
    add_load_part(step, part, result);
    step["own_lateness_ns"] = latency_json(part.own_lateness.summary());
    json["steps"].push_back(std::move(step));
  }
  json["checks"] = Json::array();
  for (const ScriptCheck& check : script.checks)
    json["checks"].push_back(
        {{"name", check.name}, {"passed", check.passed}, {"failed", check.failed}});
  json["failures"] = script.failures;
  json["outside_failures"] = script.outside_failures;
  json["errors"] = script.errors;
  return json;
}

Json load_tls_json(const LoadResult& result) {
  if (!result.tls) return nullptr;
  const TlsAccounts& tls = *result.tls;
  return {{"handshakes", tls.handshakes},
          {"resumed", tls.resumed},
          {"failed", tls.failed},
          {"versions", tls.versions},
          {"handshake_ns", latency_json(tls.handshake_latency.summary())}};
}

Json load_find_json(const LoadResult& result) {
  if (!result.find) return nullptr;
  const LoadFind& find = *result.find;
  Json json = {{"by", find_by_name(find.by)},
               {"rules", find.rules},
               {"end", find_end_name(find.end)},
               {"kept", json_or_null(find.kept)},
               {"failed", json_or_null(find.failed)},
               {"answer", find_answer_text(find)},
               {"limits", find.limits},
               {"stages", Json::array()}};
  for (const FindStage& stage : find.stages) {
    Json row = {{"name", stage.name},
                {"level", stage.level},
                {"clients", stage.clients},
                {"messages_per_s", stage.rate()},
                {"measured_ns", stage.measured_ns},
                {"scheduled", stage.scheduled},
                {"sent", stage.sent},
                {"replied", stage.replied},
                {"lost", stage.lost},
                {"http_errors", or_null_if(!result.http && !result.script, stage.http_errors)},
                {"blocked", stage.blocked},
                {"latency_intended_ns", latency_json(stage.latency)},
                {"own_lateness_ns", latency_json(stage.own_lateness)},
                {"own_cpu_share", stage.own_cpu_share},
                {"host_busy_share", json_or_null(stage.host_busy_share)},
                {"subject_cpus", nullptr},
                {"subject_busiest_thread_share", nullptr},
                {"subject_busiest_thread", nullptr},
                {"tcp_listen_overflows", json_or_null(stage.listen_overflows)},
                {"udp_rcvbuf_errors", json_or_null(stage.udp_receive_errors)},
                {"verdict", find_verdict_name(stage.verdict)},
                {"why", stage.why}};
    if (stage.subject) {
      row["subject_cpus"] = stage.subject->cpus;
      row["subject_busiest_thread_share"] = stage.subject->thread_share;
      row["subject_busiest_thread"] = stage.subject->thread;
    }
    json["stages"].push_back(std::move(row));
  }
  return json;
}

/// What each has done of the load, thread or worker.
void add_worker_part(Json& json, const WorkerPart& worker, const LoadResult& result) {
  LoadAccounts::for_each_field(
      [&](std::string_view name, auto field) { json[std::string(name)] = worker.accounts.*field; });
  json["latency_intended_ns"] =
      or_null_if(!result.expects_replies, latency_json(worker.latency_intended.summary()));
  json["own_lateness_ns"] = latency_json(worker.own_lateness.summary());
  json["cpu_ns"] = json_or_null(worker.cpu_ns);
  json["wall_ns"] = json_or_null(worker.wall_ns);
  json["invalid_reasons"] = worker.invalid_reasons;
}

Json load_thread_json(const WorkerPart& thread, const LoadResult& result) {
  Json json;
  json["id"] = thread.id;
  json["planned"] = thread.planned;
  add_worker_part(json, thread, result);
  return json;
}

Json worker_json(const WorkerPart& worker, const LoadResult& result) {
  Json json;
  json["id"] = worker.id;
  json["host"] = worker.host;
  json["labels"] = worker.labels;
  json["addresses"] = worker.addresses;
  json["end"] = worker_end_name(worker.end);
  json["planned"] = worker.planned;
  json["orphaned"] = worker.orphaned;
  json["perhaps_sent"] = worker.perhaps_sent;
  json["store_away"] = worker.store_away;
  add_worker_part(json, worker, result);
  json["cores"] = worker.cores;
  json["clock_offset_ns"] = worker.clock_offset_ns;
  json["clock_error_ns"] = worker.clock_error_ns;
  return json;
}

}  // namespace

std::string load_result_json(const LoadResult& result) {
  Json json;
  json["schema_version"] = kSchemaVersion;
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
  add_load_part(json, result.total, result);
  json["tcp"] = load_tcp_json(result);
  json["http"] = load_http_json(result);
  json["script"] = load_script_json(result);
  json["tls"] = load_tls_json(result);
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
    add_load_part(stage, part, result);
    stage["own_lateness_ns"] = latency_json(part.own_lateness.summary());
    json["stages"].push_back(std::move(stage));
  }
  json["find"] = load_find_json(result);
  json["never_scheduled_reasons"] = result.never_scheduled_reasons;
  json["workers"] = Json::array();
  json["threads"] = Json::array();
  for (const WorkerPart& worker : result.workers) {
    if (result.are_threads)
      json["threads"].push_back(load_thread_json(worker, result));
    else
      json["workers"].push_back(worker_json(worker, result));
  }
  return dump_json(json, 2);
}

}  // namespace topspin
