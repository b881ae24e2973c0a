#include "report/json/run_json.h"

#include "core/source_text.h"
#include "core/text.h"
#include "report/document/number_views.h"
#include "report/json/flow_json.h"
#include "report/json/json_parts.h"
#include "report/json/resource_json.h"
#include "report/json/scheduler_json.h"
#include "report/json/socket_json.h"

namespace topspin {
namespace {

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json run_json(const StoredRun& stored, const RunStanding& standing) {
  const RunInfo& info = stored.info;
  Json run;
  run["id"] = info.id;
  run["started_at"] = format_utc(info.started_wall_ns);
  run["started_at_ns"] = info.started_wall_ns;
  run["duration_ns"] = stored.end.duration_ns;
  run["status"] = run_status_name(stored.end.status);
  const std::vector<std::string> reasons = invalid_reasons(stored);
  run["valid"] = reasons.empty();  // the older name of the same
  run["invalid_reasons"] = reasons;
  // Complete: it ended as it should. Usable: its losses stay within limits. A usable run may be
  // judged unless some of its numbers are doubtful, or its host was busy.
  run["complete"] = standing.complete;
  run["usable"] = standing.usable;
  run["may_be_judged"] = standing.may_be_judged;
  run["not_judged_reasons"] = standing.reasons;
  run["not_judged_numbers"] = standing.notes;
  run["doubts"] = stored.end.doubts;
  run["commit"] = text_or_null(info.source.commit);
  run["commit_state"] = text_or_null(std::string(commit_state_name(info.source)));
  run["branch"] = text_or_null(info.source.branch);
  run["labels"] = Json::object();
  for (const auto& [key, value] : info.labels) run["labels"][key] = value;
  run["command"] = info.command;
  run["exit_status"] = json_or_null(stored.end.exit_status);
  run["ticks"] = stored.ticks;
  run["topspin_version"] = info.topspin_version;
  return run;
}

Json settings_json(const RunSettings& s) {
  return {{"interface", s.interface},
          {"filter", s.filter},
          {"link_type", s.link_type},
          {"subject", s.subject},
          {"stack_samples_per_second", json_or_null(s.stack_samples_per_second)},
          {"period_ns", json_or_null(s.period_ns)},
          {"window_ns", s.window_ns},
          {"interval_ns", s.interval_ns},
          {"reply_timeout_ns", s.reply_timeout_ns},
          {"duration_ns", json_or_null(s.duration_ns)},
          {"max_flows", s.max_flows},
          {"max_stored_flows", s.max_stored_flows}};
}

Json host_json(const HostInfo& h) {
  return {{"hostname", h.hostname},
          {"kernel", h.kernel},
          {"architecture", h.architecture},
          {"os", h.os},
          {"cpu_model", h.cpu_model},
          {"cpus_online", json_or_null(h.cpus_online)},
          {"memory_bytes", json_or_null(h.memory_bytes)},
          {"hypervisor", text_or_null(h.hypervisor)},
          {"fingerprint", h.fingerprint}};
}

Json latency_or_null(const std::optional<Histogram>& histogram) {
  return histogram ? latency_json(histogram->summary()) : Json(nullptr);
}

Json gauge_json(const GaugeSummary& g) {
  return {{"max", json_or_null(g.max)}, {"last", json_or_null(g.last)}};
}

Json switches_json(const SchedulerInterval& s) {
  return {{"voluntary", json_or_null(s.voluntary_switches)},
          {"involuntary", json_or_null(s.involuntary_switches)}};
}

Json losses_json(const LossInterval& losses) {
  Json json;
  LossInterval::for_each_field([&](const char* name, auto field) { json[name] = losses.*field; });
  return json;
}

Json summary_json(const RunReport& report) {
  const RunSummary& s = report.summary;
  const SchedulerInterval scheduler = s.scheduler.value_or(SchedulerInterval{});
  Json json;
  json["active_flows"] = {{"max", s.flows.active_flows_max}, {"last", s.flows.active_flows}};
  json["active_is_lower_bound"] = s.flows.active_is_lower_bound;
  json["flows"] = s.flows.new_flows;
  json["ended_flows"] = s.flows.ended_flows;
  json["packets"] = s.flows.packets;
  json["bytes"] = s.flows.bytes;
  json["live_flows"] = s.flows.live_flows;
  json["reply_latency_ns"] = latency_json(s.flows.reply_latency.summary());
  add_request_counts(json, s.flows);
  json["periodic_flows"] = {{"max", s.periodic_flows_max}, {"last", s.flows.periodic_flows}};
  json["silent_flows"] = {{"max", s.silent_flows_max}, {"last", s.flows.silent_flows}};
  json["late_flows"] = s.flows.late_flows;
  json["lateness_ns"] = latency_json(s.flows.lateness.summary());
  json["missed_ticks"] = s.flows.missed_ticks;
  json["tcp_handshake_ns"] = latency_json(s.flows.tcp_handshake.summary());
  add_traffic_counts(json, s.flows);
  json["run_queue_latency_ns"] = latency_or_null(scheduler.run_queue_latency);
  json["run_queue_wait_ns"] = json_or_null(scheduler.run_queue_wait_ns);
  json["kernel_run_delay_ns"] = json_or_null(scheduler.kernel_run_delay_ns);
  json["scheduler"] = scheduler_json(scheduler);
  json["cpu_ns"] = json_or_null(scheduler.cpu_ns);
  json["context_switches"] = switches_json(scheduler);
  json["rss_bytes"] = gauge_json(s.rss_bytes);
  json["pss_bytes"] = gauge_json(s.pss_bytes);
  json["anonymous_bytes"] = gauge_json(s.anonymous_bytes);
  json["vsz_bytes"] = gauge_json(s.vsz_bytes);
  json["swap_bytes"] = gauge_json(s.swap_bytes);
  json["mappings"] = gauge_json(s.mappings);
  json["processes"] = gauge_json(s.processes);
  json["threads"] = gauge_json(s.threads);
  json["fds"] = gauge_json(s.fds);
  json["minor_faults"] = json_or_null(s.minor_faults);
  json["major_faults"] = json_or_null(s.major_faults);
  json["sockets"] = sockets_summary_json(s.sockets);
  json["reply_split_ns"] = reply_split_json(s.sockets);
  add_resources_summary(json, report);
  json["numbers"] = numbers_json(s.fold);
  return json;
}

Json tick_json(const ReportTick& tick, int64_t started_wall_ns) {
  const Sample& sample = tick.sample;
  const FlowInterval& f = sample.flows;
  const SchedulerInterval scheduler = sample.scheduler.value_or(SchedulerInterval{});
  const ResourceReading resources = sample.resources.value_or(ResourceReading{});
  Json json;
  // The start's wall time plus monotonic time since: a step of the clock moves no tick.
  json["time_ns"] = started_wall_ns + sample.elapsed_ns;
  json["elapsed_ns"] = sample.elapsed_ns;
  json["interval_ns"] = sample.interval_ns;
  json["flow_interval_ns"] = sample.flow_interval_ns();  // what rates of packets are over
  json["active_flows"] = f.active_flows;
  json["active_flows_max"] = f.active_flows_max;
  json["new_flows"] = f.new_flows;
  json["ended_flows"] = f.ended_flows;
  json["live_flows"] = f.live_flows;
  json["late_flows"] = f.late_flows;
  json["packets"] = f.packets;
  json["bytes"] = f.bytes;
  json["lateness_ns"] = latency_json(tick.lateness_ns);
  json["missed_ticks"] = f.missed_ticks;
  json["periodic_flows"] = f.periodic_flows;
  json["silent_flows"] = f.silent_flows;
  json["reply_latency_ns"] = latency_json(tick.reply_latency_ns);
  add_request_counts(json, f);
  json["tcp_handshake_ns"] = latency_json(tick.tcp_handshake_ns);
  add_traffic_counts(json, f);
  json["run_queue_latency_ns"] =
      tick.run_queue_latency_ns ? latency_json(*tick.run_queue_latency_ns) : Json(nullptr);
  json["run_queue_wait_ns"] = json_or_null(scheduler.run_queue_wait_ns);
  json["kernel_run_delay_ns"] = json_or_null(scheduler.kernel_run_delay_ns);
  json["cpu_ns"] = json_or_null(scheduler.cpu_ns);
  json["context_switches"] = switches_json(scheduler);
  json["migrations"] = json_or_null(scheduler.migrations);
  json["rss_bytes"] = json_or_null(resources.rss_bytes);
  json["pss_bytes"] = json_or_null(resources.pss_bytes);
  json["anonymous_bytes"] = json_or_null(resources.anonymous_bytes);
  json["vsz_bytes"] = json_or_null(resources.vsz_bytes);
  json["mappings"] = json_or_null(resources.mappings);
  json["processes"] = json_or_null(resources.processes);
  json["threads"] = json_or_null(resources.threads);
  json["fds"] = json_or_null(resources.fds);
  json["sockets"] = tick_sockets_json(tick);
  add_tick_resources(json, sample);
  json["losses"] = losses_json(sample.losses);
  json["self"] = {{"cpu_ns", sample.self.cpu_ns},
                  {"rss_bytes", sample.self.rss_bytes},
                  {"bpf_ns", json_or_null(sample.self.bpf_ns)}};
  json["host"] = {{"steal_ns", json_or_null(sample.self.host_steal_ns)},
                  {"busy_ns", json_or_null(sample.self.host_busy_ns)}};
  return json;
}

/// The whole of a load; `topspin export` has its stages and buckets.
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
    json["http"]["http_errors"] = load.http->errors();
  } else {
    json["http_errors"] = nullptr;  // nothing that has a status was asked for
  }
  json["latency_intended_ns"] = latency_json(load.total.latency_intended.summary());
  json["latency_actual_ns"] = latency_json(load.total.latency_actual.summary());
  json["own_lateness_ns"] = latency_json(load.total.own_lateness.summary());
  return json;
}

}  // namespace

std::string run_report_json(const RunReport& report) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["run"] = run_json(report.run, report.standing);
  json["settings"] = settings_json(report.run.info.settings);
  json["host"] = host_json(report.run.info.host);
  json["probes"] = Json::array();
  for (const ProbeStatus& probe : report.run.info.probes) {
    json["probes"].push_back({{"name", probe.name},
                              {"rung", rung_name(probe.rung)},
                              {"reason", text_or_null(probe.reason)}});
  }
  json["summary"] = summary_json(report);
  json["losses"] = losses_json(report.summary.losses);
  json["self"] = {{"cpu_ns", report.summary.self_cpu_ns},
                  {"rss_bytes", report.summary.self_rss_bytes_max},
                  {"bpf_ns", json_or_null(report.summary.self_bpf_ns)}};
  json["threads"] = Json::array();
  for (const ThreadRow& thread : report.threads) json["threads"].push_back(thread_json(thread));
  json["sockets"] = Json::array();
  for (const SocketRow& socket : report.sockets) json["sockets"].push_back(socket_json(socket));
  json["syscalls"] = Json::array();
  for (const SyscallRow& syscall : report.syscalls)
    json["syscalls"].push_back(syscall_json(syscall));
  json["busiest_flows"] = Json::array();
  for (const FlowRow& flow : report.busiest_flows) {
    json["busiest_flows"].push_back(flow_json(flow, report.owners));
  }
  json["load"] = report.load ? load_json(*report.load) : Json(nullptr);
  json["rules"] = Json::array();
  for (const SloResult& slo : report.slos) {
    json["rules"].push_back({{"rule", slo.rule},
                             {"verdict", slo_verdict_name(slo.verdict)},
                             {"value", json_or_null(slo.value)},
                             {"bound", json_or_null(slo.bound)},
                             {"explanation", slo.explanation}});
  }
  json["events"] = Json::array();
  for (const StoredEvent& event : report.events) {
    json["events"].push_back({{"elapsed_ns", event.elapsed_ns}, {"text", event.text}});
  }
  json["ticks"] = Json::array();
  for (const ReportTick& tick : report.ticks) {
    json["ticks"].push_back(tick_json(tick, report.run.info.started_wall_ns));
  }
  return dump_json(json, 2);
}

std::string run_list_json(const std::vector<ListedRun>& runs) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["runs"] = Json::array();
  for (const auto& [run, standing] : runs) json["runs"].push_back(run_json(run, standing));
  return dump_json(json, 2);
}

}  // namespace topspin
