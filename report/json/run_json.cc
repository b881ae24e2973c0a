// A run as JSON: its report, and lists of runs.
#include "core/base/text.h"
#include "core/run/source_text.h"
#include "core/tick/numbers.h"
#include "report/json/reports.h"
#include "report/json/rows.h"
#include "report/json/traffic.h"
#include "report/json/values.h"

namespace topspin {
namespace {

Json run_json(const StoredRun& stored, const RunStanding& standing) {
  const RunInfo& info = stored.info;
  Json run;
  run["number"] = stored.number;  // in its database: #12
  run["id"] = info.id;
  run["started_at"] = format_utc(info.started_wall_ns);
  run["started_at_ns"] = info.started_wall_ns;
  run["duration_ns"] = stored.end.duration_ns;
  run["status"] = run_status_name(stored.end.status);
  const std::vector<std::string> reasons = invalid_reasons(stored);
  run["valid"] = reasons.empty();  // the older name of `usable`
  run["invalid_reasons"] = reasons;
  // Complete: it ended normally. Usable: its losses are within the limits. A usable run may be
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

Json losses_json(const Sample& sample) {
  Json json;
  for_each_loss(sample, [&](const Number& number, uint64_t loss) {
    json[LossInterval::bare_name(number)] = loss;
  });
  return json;
}

Json self_json(const SelfInterval& self) {
  return {{"cpu_ns", self.cpu_ns},
          {"rss_bytes", self.rss_bytes},
          {"bpf_ns", json_or_null(self.bpf_ns)}};
}

Json stalls_json(const PlainNumbers& numbers, const std::string& prefix) {
  Json json;
  for (const char* name :
       {"cpu_some_ns", "memory_some_ns", "memory_full_ns", "io_some_ns", "io_full_ns"})
    json[name] = numbers[prefix + name];
  return json;
}

Json pressure_json(const PlainNumbers& numbers) {
  Json json = {{"host", stalls_json(numbers, "host_stall_")},
               {"cgroup", stalls_json(numbers, "cgroup_stall_")}};
  numbers.copy({"cpu_quota_periods", "throttled_periods", "throttled_ns"}, json);
  return json;
}

/// Each count as counted, and scaled to the whole time (null if it never had a turn).
Json counters_json(const CounterInterval& counters) {
  Json json = Json::object();
  CounterInterval::for_each_field([&](const char* name, auto field) {
    const auto& counter = counters.*field;
    json[name] = counter ? Json{{"count", counter->count},
                                {"scaled", json_or_null(counter->scaled())},
                                {"enabled_ns", counter->enabled_ns},
                                {"running_ns", counter->running_ns}}
                         : Json(nullptr);
  });
  return json;
}

void add_socket_counts(const PlainNumbers& numbers, Json& json) {
  numbers.copy({"replies_multiplexed", "accept_queue_max", "accept_queue_limit", "listen_overflows",
                "syn_drops", "host_listen_overflows", "host_listen_drops", "udp_drops"},
               json);
}

Json switches_json(const PlainNumbers& numbers) {
  return {{"voluntary", numbers["voluntary_switches"]},
          {"involuntary", numbers["involuntary_switches"]}};
}

constexpr std::pair<const char*, const char*> kKindsOfFds[] = {{"socket", "socket_fds"},
                                                               {"pipe", "pipe_fds"},
                                                               {"file", "file_fds"},
                                                               {"anonymous", "anonymous_fds"},
                                                               {"other", "other_fds"}};

/// summary.scheduler of a run. Its run_queue_latency_ns is beside this object, not in it.
Json scheduler_json(const SchedulerInterval& scheduler) {
  Json json;
  SchedulerInterval::for_each_histogram(scheduler,
                                        [&](std::string_view name, const auto& histogram) {
                                          if (name != "run_queue_latency_ns")
                                            json[std::string(name)] = json_or_null(histogram);
                                        });
  json["migrations"] = json_or_null(scheduler.migrations);
  for (size_t by = 0; by < kPreemptorCount; ++by) {
    const Preemptions& preemptions = scheduler.preempted_by[by];
    json["preempted_by"][std::string(preemptor_name(static_cast<Preemptor>(by)))] = {
        {"count", json_or_null(preemptions.count)}, {"wait_ns", json_or_null(preemptions.wait_ns)}};
  }
  for (size_t state = 0; state < kOffCpuStateCount; ++state) {
    const OffCpuTime& off = scheduler.off_cpu[state];
    json["off_cpu"][std::string(off_cpu_state_name(static_cast<OffCpuState>(state)))] = {
        {"count", json_or_null(off.count)}, {"ns", json_or_null(off.ns)}};
  }
  json["cpus"] = Json::array();
  for (const CpuScheduling& cpu : scheduler.cpus) {
    json["cpus"].push_back({{"cpu", cpu.cpu},
                            {"switches", cpu.switches},
                            {"waits", cpu.waits},
                            {"wait_ns", cpu.wait_ns},
                            {"queue_length",
                             {{"samples", cpu.queue_samples},
                              {"sum", cpu.queue_length_sum},
                              {"max", cpu.queue_length_max}}}});
  }
  return json;
}

Json reply_split_json(const auto& socket, const auto& cpu_queue, const auto& runtime) {
  return {{"socket", json_or_null(socket)},
          {"cpu_queue", json_or_null(cpu_queue)},
          {"runtime", json_or_null(runtime)}};
}

/// Gauges over a run.
class Gauges {
 public:
  Gauges(const PlainNumbers& greatest, const PlainNumbers& last)
      : greatest_(greatest), last_(last) {}
  Json operator[](const char* name) const {
    return {{"max", greatest_[name]}, {"last", last_[name]}};
  }
  void copy(std::initializer_list<const char*> names, Json& into) const {
    for (const char* name : names) into[name] = (*this)[name];
  }

 private:
  const PlainNumbers& greatest_;
  const PlainNumbers& last_;
};

void add_flows(const FlowInterval& flows, const Gauges& gauges, Json& json) {
  json["active_flows"] = {{"max", flows.active_flows_max}, {"last", flows.active_flows}};
  json["active_is_lower_bound"] = flows.active_is_lower_bound;
  json["flows"] = flows.new_flows;
  json["ended_flows"] = flows.ended_flows;
  json["packets"] = flows.packets;
  json["bytes"] = flows.bytes;
  json["live_flows"] = flows.live_flows;
  json["reply_latency_ns"] = latency_json(flows.reply_latency.summary());
  add_request_counts(json, flows);
  gauges.copy({"periodic_flows", "silent_flows"}, json);
  json["late_flows"] = flows.late_flows;
  json["lateness_ns"] = latency_json(flows.lateness.summary());
  json["missed_ticks"] = flows.missed_ticks;
  json["tcp_handshake_ns"] = latency_json(flows.tcp_handshake.summary());
  add_traffic_counts(json, flows);
}

void add_resources(const PlainNumbers& last, const Gauges& gauges, Json& json) {
  gauges.copy({"rss_bytes", "pss_bytes", "anonymous_bytes", "vsz_bytes", "swap_bytes", "mappings",
               "processes", "threads", "fds"},
              json);
  last.copy({"minor_faults", "major_faults"}, json);
}

Json summary_json(const RunReport& report) {
  const Sample& merged = report.fold.merged;
  const SchedulerInterval scheduler = merged.scheduler.value_or(SchedulerInterval{});
  const SocketInterval sockets = merged.sockets.value_or(SocketInterval{});
  const PlainNumbers last(merged), greatest(report.fold.greatest);
  const Gauges gauges(greatest, last);
  Json json;
  add_flows(merged.flows, gauges, json);
  json["run_queue_latency_ns"] = json_or_null(scheduler.run_queue_latency);
  last.copy({"run_queue_wait_ns", "kernel_run_delay_ns"}, json);
  json["scheduler"] = scheduler_json(scheduler);
  last.copy({"cpu_ns"}, json);
  json["context_switches"] = switches_json(last);
  add_resources(last, gauges, json);
  Json& of_sockets = json["sockets"];
  of_sockets["accept_delay_ns"] = json_or_null(sockets.accept_delay);
  of_sockets["socket_wait_ns"] = json_or_null(sockets.socket_wait);
  add_socket_counts(last, of_sockets);
  json["reply_split_ns"] =
      reply_split_json(sockets.reply_socket, sockets.reply_cpu_queue, sockets.reply_runtime);
  json["reply_tail"] = tail_json(tail_blame(sockets.reply, sockets.reply_parts));
  gauges.copy({"file_bytes", "shared_bytes", "page_table_bytes"}, json);
  for (const auto& [kind, name] : kKindsOfFds) json["fds_by_kind"][kind] = gauges[name];
  gauges.copy({"cgroup_bytes"}, json);
  json["pressure"] = pressure_json(last);
  json["counters"] = counters_json(merged.counters);
  add_growth(report.growth, json);
  json["numbers"] = numbers_json(report.fold);
  return json;
}

/// The sockets' numbers of one tick; null if it has none.
Json tick_sockets_json(const ReportTick& tick, const PlainNumbers& numbers) {
  if (!tick.sample.sockets) return nullptr;
  Json json;
  json["accept_delay_ns"] = json_or_null(tick.accept_delay_ns);
  json["socket_wait_ns"] = json_or_null(tick.socket_wait_ns);
  json["reply_split_ns"] =
      reply_split_json(tick.reply_socket_ns, tick.reply_cpu_queue_ns, tick.reply_runtime_ns);
  add_socket_counts(numbers, json);
  return json;
}

Json tick_json(const ReportTick& tick, int64_t started_wall_ns) {
  const Sample& sample = tick.sample;
  const FlowInterval& f = sample.flows;
  const PlainNumbers numbers(sample);
  Json json;
  // The wall time of the start plus monotonic time since, so a step of the clock moves no tick.
  json["time_ns"] = started_wall_ns + sample.elapsed_ns;
  json["elapsed_ns"] = sample.elapsed_ns;
  json["interval_ns"] = sample.interval_ns;
  json["flow_interval_ns"] = sample.flow_interval_ns();  // the time for rates of packets
  numbers.copy({"active_flows", "active_flows_max", "new_flows", "ended_flows", "live_flows",
                "late_flows", "packets", "bytes"},
               json);
  json["lateness_ns"] = latency_json(tick.lateness_ns);
  numbers.copy({"missed_ticks", "periodic_flows", "silent_flows"}, json);
  json["reply_latency_ns"] = latency_json(tick.reply_latency_ns);
  add_request_counts(json, f);
  json["tcp_handshake_ns"] = latency_json(tick.tcp_handshake_ns);
  add_traffic_counts(json, f);
  json["run_queue_latency_ns"] = json_or_null(tick.run_queue_latency_ns);
  numbers.copy({"run_queue_wait_ns", "kernel_run_delay_ns", "cpu_ns"}, json);
  json["context_switches"] = switches_json(numbers);
  numbers.copy({"migrations", "rss_bytes", "pss_bytes", "anonymous_bytes", "vsz_bytes", "mappings",
                "processes", "threads", "fds"},
               json);
  json["sockets"] = tick_sockets_json(tick, numbers);
  numbers.copy({"swap_bytes", "file_bytes", "shared_bytes", "page_table_bytes"}, json);
  for (const auto& [kind, name] : kKindsOfFds) json["fds_by_kind"][kind] = numbers[name];
  numbers.copy({"cgroup_bytes"}, json);
  json["pressure"] = pressure_json(numbers);
  json["counters"] = counters_json(sample.counters);
  json["losses"] = losses_json(sample);
  json["self"] = self_json(sample.self);
  json["host"] = {{"steal_ns", numbers["host_steal_ns"]}, {"busy_ns", numbers["host_busy_ns"]}};
  return json;
}

std::string_view kind_name(FindingKind kind) {
  switch (kind) {
    case FindingKind::kMeasurement: return "measurement";
    case FindingKind::kFailedWork: return "failed_work";
    case FindingKind::kLateReplies: return "late_replies";
    case FindingKind::kAhead: return "ahead";
  }
  return "";
}

Json list_of_findings(const std::vector<Finding>& findings) {
  Json list = Json::array();
  for (const Finding& finding : findings) {
    Json proofs = Json::array();
    for (const Proof& proof : finding.proofs)
      proofs.push_back({{"number", proof.name}, {"value", json_or_null(proof.value)}});
    list.push_back(
        {{"finding", finding.key},
         {"kind", finding.key == kNothing ? Json(nullptr) : Json(kind_name(finding.kind))},
         {"harm", json_or_null(finding.harm)},
         {"sentence", finding.sentence},
         {"evidence", std::move(proofs)},
         {"refuted_by", text_or_null(finding.refuted_by)},
         {"next_step", text_or_null(finding.next_step)}});
  }
  return list;
}

}  // namespace

std::string findings_json(const StoredRun& run, const std::vector<Finding>& findings) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["run"] = run.info.id;
  json["findings"] = list_of_findings(findings);
  return dump_json(json, 2);
}

std::string slow_moment_json(const SlowMoment& moment) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["run"] = moment.run.info.id;
  json["from_elapsed_ns"] = moment.elapsed.from_ns;
  json["to_elapsed_ns"] = moment.elapsed.to_ns;
  json["replies"] = moment.replies;
  json["slow_replies"] = Json::array();
  for (const SlowReply& reply : moment.slowest)
    json["slow_replies"].push_back(slow_reply_json(reply, moment.run.info.started_monotonic_ns));
  return dump_json(json, 2);
}

namespace {

/// Writes a long object like dump_json(json, 2), but without building it as one tree.
class LongObject {
 public:
  explicit LongObject(const std::function<Status(std::string_view)>& write) : write_(write) {}

  void field(std::string_view name, const Json& value) {
    begin(name);
    add(value, 1);
  }
  /// An array of make(element) for each element of `range`.
  template <typename Range, typename Make>
  void list(std::string_view name, const Range& range, Make make) {
    begin(name);
    out_ += '[';
    bool any = false;
    for (const auto& element : range) {
      out_ += any ? ",\n    " : "\n    ";
      any = true;
      add(make(element), 2);
    }
    out_ += any ? "\n  ]" : "]";
  }
  Status end() {
    out_ += "\n}\n";
    flush();
    return status_;
  }

 private:
  void begin(std::string_view name) {
    out_ += is_empty_ ? "{\n  \"" : ",\n  \"";
    is_empty_ = false;
    out_ += name;
    out_ += "\": ";
  }
  /// Adds a value at `depth` levels. Line ends in texts are escaped.
  void add(const Json& value, size_t depth) {
    const std::string text = value.dump(2, ' ', true, Json::error_handler_t::replace);
    for (const char c : text) {
      out_ += c;
      if (c == '\n') out_.append(2 * depth, ' ');
    }
    if (out_.size() >= kPiece) flush();
  }
  void flush() {
    if (status_.ok()) status_ = write_(out_);
    out_.clear();
  }

  static constexpr size_t kPiece = 1u << 16;
  const std::function<Status(std::string_view)>& write_;
  std::string out_;
  bool is_empty_ = true;
  Status status_;
};

Json probe_json(const ProbeStatus& probe) {
  return {{"name", probe.name},
          {"rung", rung_name(probe.rung)},
          {"reason", text_or_null(probe.reason)}};
}

Json slo_json(const SloResult& slo) {
  return {{"rule", slo.rule},
          {"verdict", slo_verdict_name(slo.verdict)},
          {"value", json_or_null(slo.value)},
          {"bound", json_or_null(slo.bound)},
          {"explanation", slo.explanation}};
}

}  // namespace

Status run_report_json(const RunReport& report,
                       const std::function<Status(std::string_view)>& write) {
  const RunInfo& info = report.run.info;
  LongObject json(write);
  json.field("schema_version", kSchemaVersion);
  json.field("run", run_json(report.run, report.standing));
  json.field("findings", list_of_findings(report.findings));
  json.field("settings", settings_json(info.settings));
  json.field("host", host_json(info.host));
  json.list("probes", info.probes, probe_json);
  json.field("summary", summary_json(report));
  json.field("losses", losses_json(report.fold.merged));
  json.field("self", self_json(report.fold.merged.self));
  json.list("threads", report.threads, thread_json);
  json.list("processes", report.processes, process_json);
  json.list("cpu_holders", report.cpu_holders, cpu_holder_json);
  json.list("sleep_stacks", report.sleep_stacks, sleep_stack_json);
  json.list("busy_stretches", chosen_stretches(report.stretches, kReportStretches),
            [&](const BusyStretch* stretch) {
              return busy_stretch_json(*stretch, report.stretches, info.started_monotonic_ns);
            });
  json.list("sockets", report.sockets, socket_json);
  json.list("syscalls", report.syscalls, syscall_json);
  json.list("called", report.called, called_json);
  json.list("slowest_replies", report.slowest_replies, [&](const SlowReply& reply) {
    return slow_reply_json(reply, info.started_monotonic_ns);
  });
  json.list("busiest_flows", report.busiest_flows,
            [&](const FlowRow& flow) { return flow_json(flow, report.owners); });
  json.field("load", report.load ? load_json(*report.load) : Json(nullptr));
  json.list("rules", report.slos, slo_json);
  json.list("events", report.events, [](const StoredEvent& event) {
    return Json{{"elapsed_ns", event.elapsed_ns}, {"text", event.text}};
  });
  json.list("ticks", report.ticks,
            [&](const ReportTick& tick) { return tick_json(tick, info.started_wall_ns); });
  return json.end();
}

std::string run_list_json(const std::vector<ListedRun>& runs) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["runs"] = Json::array();
  for (const auto& [run, standing] : runs) json["runs"].push_back(run_json(run, standing));
  return dump_json(json, 2);
}

}  // namespace topspin
