// What `topspin read` and `topspin doctor` found, as JSON.
#include "report/json/reports.h"
#include "report/json/rows.h"
#include "report/json/traffic.h"

namespace topspin {

std::string file_reading_json(const FileReading& reading) {
  const FlowInterval& t = reading.totals;
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["file"] = reading.file;
  json["link_type"] = reading.link_type;
  json["packets"] = t.packets;
  json["bytes"] = t.bytes;
  json["complete"] = reading.complete;
  json["error"] = json_or_null(reading.error);
  json["doubts"] = reading.doubts;
  json["hidden_by_vlan_tag"] = reading.hidden_by_tag;
  json["begin_ns"] = t.begin_ns;
  json["end_ns"] = t.end_ns;
  json["tcp"] = protocol_json(t.tcp);
  json["udp"] = protocol_json(t.udp);
  json["ipv4_packets"] = t.ipv4_packets;
  json["ipv6_packets"] = t.ipv6_packets;
  json["fragments_first"] = t.fragments_first;
  json["fragments_later"] = t.fragments_later;
  json["skipped"] = skipped_json(t);
  json["active_flows_max"] = t.active_flows_max;
  json["active_is_lower_bound"] = t.active_is_lower_bound;
  json["seen_flows_per_second_max"] = t.seen_flows_per_second_max;
  json["reply_latency_ns"] = latency_json(t.reply_latency.summary());
  json["reply_timeout_ns"] = reading.reply_timeout_ns;
  add_request_counts(json, t);
  json["lateness_ns"] = latency_json(t.lateness.summary());
  json["missed_ticks"] = t.missed_ticks;
  json["periodic_flows"] = t.periodic_flows;
  json["silent_flows"] = t.silent_flows;
  json["evicted_flows"] = t.evicted_flows;
  json["time_went_backwards"] = t.time_went_backwards;
  json["time_steps"] = t.time_steps;
  json["duplicate_packets"] = t.duplicate_packets;
  json["super_packets"] = t.super_packets;
  json["super_packet_segments"] = t.super_packet_segments;
  json["tcp_handshake_ns"] = latency_json(t.tcp_handshake.summary());
  json["tcp_handshakes"] = t.tcp_handshakes;
  json["tcp_half_open"] = t.tcp_half_open;
  json["tcp_retransmissions"] = t.tcp_retransmissions;
  json["tcp_out_of_order"] = t.tcp_out_of_order;
  json["tcp_resets"] = t.tcp_resets;
  json["tcp_refused"] = t.tcp_refused;
  json["tcp_never_completed"] = json_or_null(t.tcp_never_completed);
  return dump_json(json, 2);
}

std::string flow_json_line(const FlowRow& flow, const OwnerTable& owners) {
  return dump_json(flow_json(flow, owners), -1);
}

namespace {

/// The first fields of every doctor report.
Json of_this_host(const HostInfo& host, const std::string& versions) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["versions"] = versions;
  json["host"] = {{"os", host.os}, {"kernel", host.kernel}, {"cpu_model", host.cpu_model}};
  return json;
}

}  // namespace

std::string doctor_json(const DoctorReport& report) {
  Json json = of_this_host(report.host, report.versions);
  json["findings"] = Json::array();
  for (const DoctorFinding& f : report.findings) {
    json["findings"].push_back({{"feature", f.feature},
                                {"rung", f.rung},
                                {"works", f.works},
                                {"reason", f.reason.empty() ? Json(nullptr) : Json(f.reason)},
                                {"remedy", f.remedy.empty() ? Json(nullptr) : Json(f.remedy)}});
  }
  return dump_json(json, 2);
}

std::string proof_json(const ProofReport& report) {
  Json json = of_this_host(report.host, report.versions);
  json["right"] = report.is_right();
  json["faults"] = Json::array();
  for (const FaultProof& p : report.proofs) {
    Json one = {{"fault", p.fault}, {"inflicted", p.inflicted}};
    one["skipped"] = p.skipped.empty() ? Json(nullptr) : Json(p.skipped);
    if (p.skipped.empty()) {
      one["number"] = p.number;
      one["expected"] = p.expected;
      one["measured"] = json_or_null(p.measured);
      one["tolerance"] = p.tolerance;
      one["number_is_right"] = p.number_is_right();
      one["expected_finding"] = p.expected_finding;
      one["finding"] = p.finding;
      one["finding_is_right"] = p.finding_is_right();
      one["sentence"] = p.sentence;
    }
    json["faults"].push_back(std::move(one));
  }
  return dump_json(json, 2);
}

}  // namespace topspin
