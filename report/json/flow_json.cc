#include "report/json/flow_json.h"

#include <fmt/format.h>

#include "core/periods.h"
#include "core/text.h"
#include "report/json/json_parts.h"
#include "report/text/text_parts.h"

namespace topspin {
namespace {

Json owner_json(const FlowOwner* owner) {
  if (owner == nullptr) return nullptr;
  return {{"pid", owner->pid},
          {"start_time_ns", owner->start_time_ns},
          {"name", owner->name},
          {"quality", owner_quality_name(owner->quality)}};
}

}  // namespace

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
  return dump_json(json, 2);
}

std::string super_packets_text(const FlowInterval& flows) {
  if (flows.super_packets == 0) return {};
  return fmt::format(
      "  super-packets  {} of these are frames of segmentation offload; they hold at least {} "
      "segments or datagrams\n",
      flows.super_packets, flows.super_packet_segments);
}

std::string file_reading_text(const FileReading& reading) {
  const FlowInterval& t = reading.totals;
  std::string out;
  out += fmt::format("{} ({})\n", sanitize_for_terminal(reading.file), reading.link_type);
  if (reading.error)
    out += fmt::format("  INCOMPLETE: {}\n", sanitize_for_terminal(*reading.error));
  for (const std::string& doubt : reading.doubts) {
    out += fmt::format("  DOUBTFUL: {}\n", sanitize_for_terminal(doubt));
  }
  if (reading.hidden_by_tag > 0) {
    out += fmt::format(
        "  HIDDEN: {} frames match the filter but for their VLAN tag; write FILTER or (vlan and "
        "(FILTER)) to see them too\n",
        reading.hidden_by_tag);
  }
  out += fmt::format("  packets {}  bytes {}  from {} to {}\n", t.packets, t.bytes,
                     format_utc(t.begin_ns), format_utc(t.end_ns));
  out += fmt::format("  tcp     {} flows, {} packets, {} bytes\n", t.tcp.flows, t.tcp.packets,
                     t.tcp.bytes);
  out += fmt::format("  udp     {} flows, {} packets, {} bytes\n", t.udp.flows, t.udp.packets,
                     t.udp.bytes);
  out += fmt::format("  active  at most {}{} flows within the window; at most {} in one second\n",
                     t.active_is_lower_bound ? "at least " : "", t.active_flows_max,
                     t.seen_flows_per_second_max);
  if (t.fragments_first + t.fragments_later > 0) {
    out += fmt::format("  fragments  {} first, {} later\n", t.fragments_first, t.fragments_later);
  }
  out += super_packets_text(t);
  if (t.duplicate_packets > 0) {
    out += fmt::format("  seen twice  {} more sightings of these packets on other interfaces\n",
                       t.duplicate_packets);
  }
  std::string skipped;
  for (size_t i = 0; i < kSkipReasonCount; ++i) {
    if (t.skipped[i] != 0) {
      skipped += fmt::format("  {} {}", skip_reason_name(static_cast<SkipReason>(i)), t.skipped[i]);
    }
  }
  if (!skipped.empty()) out += fmt::format("  in no flow:{}\n", skipped);
  if (t.evicted_flows > 0)
    out += fmt::format("  EVICTED {} flows: more than --max-flows at once\n", t.evicted_flows);
  out += latency_table_header();
  const bool periods = has_lateness(t, reading.period_ns);
  if (periods) out += latency_table_row("lateness", t.lateness.summary());
  out += reply_latency_rows(t, reading.reply_timeout_ns);
  if (!t.tcp_handshake.empty())
    out += latency_table_row("tcp handshake", t.tcp_handshake.summary());
  if (periods) {
    out += fmt::format("  missed ticks {}; silent at the end {} of {}\n", t.missed_ticks,
                       t.silent_flows, t.periodic_flows);
  }
  return out + traffic_notes_text(t, "  ");
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

std::string flow_json_line(const FlowRow& flow, const OwnerTable& owners) {
  return dump_json(flow_json(flow, owners), -1);
}

}  // namespace topspin
