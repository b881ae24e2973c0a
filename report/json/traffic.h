// The counts of an interval on the wire, as JSON. A run, a tick and a file have the same members.
// Private to the room.
#pragma once

#include "core/flow/flow.h"
#include "report/json/values.h"

namespace topspin {

inline Json protocol_json(const ProtocolCounts& counts) {
  return {{"flows", counts.flows}, {"packets", counts.packets}, {"bytes", counts.bytes}};
}

inline Json skipped_json(const FlowInterval& flows) {
  Json skipped = Json::object();
  for (size_t i = 0; i < kSkipReasonCount; ++i) {
    if (flows.skipped[i] != 0)
      skipped[std::string(skip_reason_name(static_cast<SkipReason>(i)))] = flows.skipped[i];
  }
  return skipped;
}

/// Adds how requests ended. These members are beside every distribution of reply latency.
inline void add_request_counts(Json& json, const FlowInterval& flows) {
  json["requests"] = flows.requests;
  json["unanswered"] = flows.unanswered;
  json["late_replies"] = flows.late_replies;
  json["overlapping_requests"] = flows.overlapping_requests;
  json["handshake_turns"] = flows.handshake_turns;
  json["multiplexed_turns"] = flows.multiplexed_turns;
}

/// Adds the other counts of an interval: those of TCP and of the capture.
inline void add_traffic_counts(Json& json, const FlowInterval& flows) {
  json["tcp"] = protocol_json(flows.tcp);
  json["udp"] = protocol_json(flows.udp);
  json["ipv4_packets"] = flows.ipv4_packets;
  json["ipv6_packets"] = flows.ipv6_packets;
  json["fragments_first"] = flows.fragments_first;
  json["fragments_later"] = flows.fragments_later;
  json["initiator"] = {{"packets", flows.initiator_packets}, {"bytes", flows.initiator_bytes}};
  json["responder"] = {{"packets", flows.responder_packets}, {"bytes", flows.responder_bytes}};
  json["skipped"] = skipped_json(flows);
  json["seen_flows_per_second_max"] = flows.seen_flows_per_second_max;
  json["tcp_handshakes"] = flows.tcp_handshakes;
  json["tcp_half_open"] = flows.tcp_half_open;
  json["tcp_retransmissions"] = flows.tcp_retransmissions;
  json["tcp_out_of_order"] = flows.tcp_out_of_order;
  json["tcp_resets"] = flows.tcp_resets;
  json["tcp_refused"] = flows.tcp_refused;
  json["tcp_never_completed"] = json_or_null(flows.tcp_never_completed);
  json["time_went_backwards"] = flows.time_went_backwards;
  json["time_steps"] = flows.time_steps;
  json["duplicate_packets"] = flows.duplicate_packets;
  json["super_packets"] = flows.super_packets;
  json["super_packet_segments"] = flows.super_packet_segments;
}

}  // namespace topspin
