#include "core/flow.h"

#include <algorithm>

#include <arpa/inet.h>
#include <fmt/format.h>

namespace topspin {

std::string format_address(const Endpoint& endpoint, uint8_t ip_version) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(ip_version == 6 ? AF_INET6 : AF_INET, endpoint.address.data(), text, sizeof text);
  return text;
}

std::string format_endpoint(const Endpoint& endpoint, uint8_t ip_version) {
  return fmt::format(fmt::runtime(ip_version == 6 ? "[{}]:{}" : "{}:{}"),
                     format_address(endpoint, ip_version), endpoint.port);
}

std::string format_protocol(uint8_t protocol) {
  if (protocol == kProtocolTcp) return "tcp";
  if (protocol == kProtocolUdp) return "udp";
  return fmt::format("{}", protocol);
}

std::string_view skip_reason_name(SkipReason reason) {
  switch (reason) {
    case SkipReason::kArp: return "arp";
    case SkipReason::kIcmp: return "icmp";
    case SkipReason::kIcmpv6: return "icmpv6";
    case SkipReason::kIgmp: return "igmp";
    case SkipReason::kSctp: return "sctp";
    case SkipReason::kGre: return "gre";
    case SkipReason::kEsp: return "esp";
    case SkipReason::kIpInIp: return "ip_in_ip";
    case SkipReason::kOtherIpProtocol: return "other_ip_protocol";
    case SkipReason::kLaterFragment: return "later_fragment";
    case SkipReason::kNotIp: return "not_ip";
    case SkipReason::kTruncatedLink: return "truncated_link";
    case SkipReason::kTruncatedIp: return "truncated_ip";
    case SkipReason::kTruncatedTransport: return "truncated_transport";
    case SkipReason::kMalformedIp: return "malformed_ip";
    case SkipReason::kCount: break;
  }
  return "unknown";
}

void ProtocolCounts::merge(const ProtocolCounts& other) {
  flows += other.flows;
  packets += other.packets;
  bytes += other.bytes;
}

void FlowInterval::merge(const FlowInterval& later) {
  if (begin_ns == 0 && end_ns == 0) begin_ns = later.begin_ns;
  end_ns = later.end_ns;
  active_flows = later.active_flows;
  active_flows_max = std::max(active_flows_max, later.active_flows_max);
  active_is_lower_bound = active_is_lower_bound || later.active_is_lower_bound;
  live_flows = later.live_flows;
  tcp_half_open = later.tcp_half_open;
  periodic_flows = later.periodic_flows;
  silent_flows = later.silent_flows;
  packets += later.packets;
  bytes += later.bytes;
  tcp.merge(later.tcp);
  udp.merge(later.udp);
  ipv4_packets += later.ipv4_packets;
  ipv6_packets += later.ipv6_packets;
  fragments_first += later.fragments_first;
  fragments_later += later.fragments_later;
  initiator_packets += later.initiator_packets;
  initiator_bytes += later.initiator_bytes;
  responder_packets += later.responder_packets;
  responder_bytes += later.responder_bytes;
  new_flows += later.new_flows;
  ended_flows += later.ended_flows;
  evicted_flows += later.evicted_flows;
  for (size_t i = 0; i < kSkipReasonCount; ++i) skipped[i] += later.skipped[i];
  seen_flows_per_second_max = std::max(seen_flows_per_second_max, later.seen_flows_per_second_max);
  lateness.merge(later.lateness);
  reply_latency.merge(later.reply_latency);
  missed_ticks += later.missed_ticks;
  unanswered += later.unanswered;
  late_flows = std::max(late_flows, later.late_flows);
  tcp_handshake.merge(later.tcp_handshake);
  tcp_retransmissions += later.tcp_retransmissions;
  tcp_out_of_order += later.tcp_out_of_order;
  tcp_resets += later.tcp_resets;
  tcp_refused += later.tcp_refused;
  tcp_handshakes += later.tcp_handshakes;
  requests += later.requests;
  late_replies += later.late_replies;
  overlapping_requests += later.overlapping_requests;
  handshake_turns += later.handshake_turns;
  multiplexed_turns += later.multiplexed_turns;
  time_steps += later.time_steps;
  duplicate_packets += later.duplicate_packets;
  time_went_backwards += later.time_went_backwards;
  super_packets += later.super_packets;
  super_packet_segments += later.super_packet_segments;
}

}  // namespace topspin
