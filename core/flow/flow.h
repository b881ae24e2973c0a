// The types of flows: ends, keys, the counts of a tick over all flows, and the row of one flow.
//
// A flow is all packets, in both directions, of one 5-tuple of the outermost IP header. Its two
// ends are ordered by (address, port). The initiator sent the first packet (TCP: the SYN, if it was
// seen). Plain values; thread-agnostic.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/flow/flow_owner.h"
#include "core/number/histogram.h"
#include "core/number/number.h"

namespace topspin {

inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolUdp = 17;

/// One end of a flow. An IPv4 address is in the first 4 bytes; the rest is 0.
struct Endpoint {
  std::array<uint8_t, 16> address{};
  uint16_t port = 0;  // host byte order

  auto operator<=>(const Endpoint&) const = default;
};

/// A key that is the same in both directions: low <= high. `vlan` is 0 unless the key includes VLAN
/// tags.
struct FlowKey {
  Endpoint low;
  Endpoint high;
  uint8_t ip_version = 4;          // 4 or 6
  uint8_t protocol = 0;            // IANA number: 6 TCP, 17 UDP
  std::array<uint16_t, 2> vlan{};  // outer and inner tag control information, 12-bit ids

  auto operator<=>(const FlowKey&) const = default;
};

/// "127.0.0.1:8888", "[::1]:8888".
std::string format_endpoint(const Endpoint& endpoint, uint8_t ip_version);
std::string format_address(const Endpoint& endpoint, uint8_t ip_version);
/// "tcp", "udp", or the number.
std::string format_protocol(uint8_t protocol);

/// Why a packet belongs to no flow. Such packets are captured and counted by this kind.
enum class SkipReason : uint8_t {
  kArp,
  kIcmp,
  kIcmpv6,
  kIgmp,
  kSctp,
  kGre,
  kEsp,
  kIpInIp,           // IPv4 or IPv6 directly inside IP, when the outer header is the key
  kOtherIpProtocol,  // any other IP protocol
  kLaterFragment,    // a fragment after the first carries no ports; also counted in fragments_later
  kNotIp,            // some other link-layer payload
  kTruncatedLink,    // the capture ends inside the link-layer header
  kTruncatedIp,      // ... inside the IP header or its extension chain
  kTruncatedTransport,  // ... before both ports
  kMalformedIp,         // version, header length or total length contradict each other
  kCount,
};
inline constexpr size_t kSkipReasonCount = static_cast<size_t>(SkipReason::kCount);
std::string_view skip_reason_name(SkipReason reason);  // snake_case, as in JSON

/// The name of the number that counts a reason, and its label; indexed by SkipReason.
struct SkipNames {
  std::string_view number;  // "skipped_" + skip_reason_name()
  std::string_view label;
};
inline constexpr std::array<SkipNames, kSkipReasonCount> kSkipNames = {{
    {"skipped_arp", "skipped: ARP"},
    {"skipped_icmp", "skipped: ICMP"},
    {"skipped_icmpv6", "skipped: ICMPv6"},
    {"skipped_igmp", "skipped: IGMP"},
    {"skipped_sctp", "skipped: SCTP"},
    {"skipped_gre", "skipped: GRE"},
    {"skipped_esp", "skipped: ESP"},
    {"skipped_ip_in_ip", "skipped: IP in IP"},
    {"skipped_other_ip_protocol", "skipped: another IP protocol"},
    {"skipped_later_fragment", "skipped: later fragment"},
    {"skipped_not_ip", "skipped: not IP"},
    {"skipped_truncated_link", "skipped: cut off in the link-layer header"},
    {"skipped_truncated_ip", "skipped: cut off in the IP header"},
    {"skipped_truncated_transport", "skipped: cut off before the ports"},
    {"skipped_malformed_ip", "skipped: malformed IP"},
}};

/// Bytes are those on the wire (the frame's original length), including the link-layer header.
struct ProtocolCounts {
  uint64_t flows = 0;  // flows first seen in this interval
  uint64_t packets = 0;
  uint64_t bytes = 0;
};

/// The flow table's numbers for one interval (a tick, or a whole file). Counts are of the interval,
/// gauges are at its end. Times are on the clock of the packets' timestamps.
struct FlowInterval {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  /// 0 if the times contradict each other, as they may in a hostile file.
  int64_t length_ns() const {
    int64_t length = 0;
    return __builtin_sub_overflow(end_ns, begin_ns, &length) || length < 0 ? 0 : length;
  }

  // Gauges.
  uint64_t active_flows = 0;  // at end_ns: flows with a packet in the last window, exact to 1 ms
  uint64_t active_flows_max = 0;       // the highest value within the interval
  bool active_is_lower_bound = false;  // flows were evicted while still active
  uint64_t live_flows = 0;             // in the table at end_ns: seen, and not ended or evicted
  uint64_t tcp_half_open = 0;          // SYN seen, not answered yet
  uint64_t periodic_flows = 0;         // live flows that have a period, declared or learned
  uint64_t silent_flows = 0;           // of these, those that missed at least their last two ticks

  // Counts.
  uint64_t packets = 0;  // all captured packets, including those in no flow
  uint64_t bytes = 0;
  ProtocolCounts tcp;
  ProtocolCounts udp;
  uint64_t ipv4_packets = 0;
  uint64_t ipv6_packets = 0;
  uint64_t fragments_first = 0;
  uint64_t fragments_later = 0;
  uint64_t initiator_packets = 0;
  uint64_t initiator_bytes = 0;
  uint64_t responder_packets = 0;
  uint64_t responder_bytes = 0;
  uint64_t new_flows = 0;
  uint64_t ended_flows = 0;    // FIN both ways, RST, or idle timeout
  uint64_t evicted_flows = 0;  // pushed out by max_flows; also a loss
  std::array<uint64_t, kSkipReasonCount> skipped{};
  uint64_t seen_flows_per_second_max = 0;  // distinct TCP+UDP flows in one whole epoch second

  // Lateness and replies, all flows together.
  SignedHistogram lateness;
  Histogram reply_latency;
  uint64_t missed_ticks = 0;
  uint64_t unanswered = 0;
  uint64_t late_flows = 0;    // flows with at least one gap late by more than a tenth of its period
  uint64_t requests = 0;      // opened; each is answered, unanswered, or still open
  uint64_t late_replies = 0;  // came after the timeout; also in reply_latency and unanswered
  uint64_t overlapping_requests = 0;  // not measured: too many were already open on their flow
  std::optional<uint64_t> repeated_replies;  // absent in runs that did not count them
  uint64_t handshake_turns = 0;    // answered messages of a TLS handshake; not in reply_latency
  uint64_t multiplexed_turns = 0;  // likewise, of HTTP/2 and others that answer in any order

  // TCP.
  Histogram tcp_handshake;  // SYN to the handshake's last ACK
  uint64_t tcp_retransmissions = 0;
  uint64_t tcp_out_of_order = 0;
  uint64_t tcp_resets = 0;
  uint64_t tcp_refused = 0;  // RST in reply to a SYN
  uint64_t tcp_handshakes = 0;
  std::optional<uint64_t> tcp_zero_windows;     // absent in runs that did not count them
  std::optional<uint64_t> tcp_server_resets;    // the same
  std::optional<uint64_t> tcp_turned_away;      // the same
  std::optional<uint64_t> tcp_never_completed;  // likewise; does not include refused ones

  uint64_t time_went_backwards = 0;  // packets stamped earlier than one before them
  uint64_t time_steps = 0;  // of these and of jumps ahead, those larger than any delay explains
  uint64_t duplicate_packets = 0;  // seen again on another interface; in no other count

  // Segmentation offload: `packets` counts frames, and one frame may hold many segments or
  // datagrams. These count the frames whose lengths prove it, and the fewest segments they can
  // hold.
  uint64_t super_packets = 0;
  uint64_t super_packet_segments = 0;

  /// Merges the interval that follows this one, each number by its kind.
  void merge(const FlowInterval& later);

  /// The numbers of this struct (core/number/number.h).
  template <typename Visit>
  static void for_each_number(Visit visit);
};

template <typename Visit>
void FlowInterval::for_each_number(Visit visit) {
  using F = FlowInterval;
  using N = Number;
  visit(N::gauge("active_flows", "active flows",
                 "Flows with a packet in the last window, exact to 1 ms."),
        &F::active_flows);
  visit(N::maximum("active_flows_max", "most active flows",
                   "The most flows that were active at once within the interval."),
        &F::active_flows_max);
  visit(N::state("active_is_lower_bound", "active flows are a lower bound",
                 "Whether flows were evicted while still active."),
        &F::active_is_lower_bound);
  visit(N::gauge("live_flows", "live flows", "Flows in the table: seen, not ended, not evicted."),
        &F::live_flows);
  visit(N::gauge("tcp_half_open", "half-open TCP connections", "SYNs not answered yet."),
        &F::tcp_half_open);
  visit(N::gauge("periodic_flows", "flows with a period",
                 "Live flows that have a period, declared or learned."),
        &F::periodic_flows);
  visit(N::gauge("silent_flows", "silent flows",
                 "Flows with a period that missed at least their last two ticks.")
            .of_periods(),
        &F::silent_flows);
  visit(N::count("packets", "packets", "Packets captured, those in no flow included."),
        &F::packets);
  visit(N::count("bytes", "bytes", "Bytes on the wire of all packets captured."), &F::bytes);
  visit(
      N::count("tcp_flows", "TCP flows", "TCP flows first seen."),
      [](auto& f) -> auto& { return f.tcp.flows; });
  visit(
      N::count("tcp_packets", "TCP packets", "Packets of TCP flows."),
      [](auto& f) -> auto& { return f.tcp.packets; });
  visit(
      N::count("tcp_bytes", "TCP bytes", "Bytes on the wire of TCP flows."),
      [](auto& f) -> auto& { return f.tcp.bytes; });
  visit(
      N::count("udp_flows", "UDP flows", "UDP flows first seen."),
      [](auto& f) -> auto& { return f.udp.flows; });
  visit(
      N::count("udp_packets", "UDP packets", "Packets of UDP flows."),
      [](auto& f) -> auto& { return f.udp.packets; });
  visit(
      N::count("udp_bytes", "UDP bytes", "Bytes on the wire of UDP flows."),
      [](auto& f) -> auto& { return f.udp.bytes; });
  visit(N::count("ipv4_packets", "IPv4 packets", "Packets of IPv4."), &F::ipv4_packets);
  visit(N::count("ipv6_packets", "IPv6 packets", "Packets of IPv6."), &F::ipv6_packets);
  visit(N::count("fragments_first", "first fragments", "First fragments of IP packets."),
        &F::fragments_first);
  visit(N::count("fragments_later", "later fragments",
                 "Later fragments of IP packets, which carry no ports."),
        &F::fragments_later);
  visit(N::count("initiator_packets", "packets of initiators",
                 "Packets that initiators sent: the end that sent a flow's first packet."),
        &F::initiator_packets);
  visit(N::count("initiator_bytes", "bytes of initiators", "Bytes that initiators sent."),
        &F::initiator_bytes);
  visit(N::count("responder_packets", "packets of responders", "Packets that responders sent."),
        &F::responder_packets);
  visit(N::count("responder_bytes", "bytes of responders", "Bytes that responders sent."),
        &F::responder_bytes);
  visit(N::count("new_flows", "new flows", "Flows first seen."), &F::new_flows);
  visit(N::count("ended_flows", "ended flows", "Flows ended by FIN both ways, RST or timeout."),
        &F::ended_flows);
  visit(N::count("evicted_flows", "evicted flows", "Flows pushed out by --max-flows."),
        &F::evicted_flows);
  for (size_t i = 0; i < kSkipReasonCount; ++i) {
    const SkipNames& names = kSkipNames[i];
    visit(
        N::count(names.number, names.label, names.label), [i](auto& f) -> auto& {
          return f.skipped[i];
        });
  }
  visit(N::maximum("seen_flows_per_second_max", "most flows seen in a second",
                   "The most distinct TCP and UDP flows seen in one whole second of the clock."),
        &F::seen_flows_per_second_max);
  visit(N::distribution("lateness_ns", "lateness",
                        "How late an initiator's message came, compared with its flow's period; "
                        "early is negative.")
            .of_periods(),
        &F::lateness);
  visit(N::distribution("reply_latency_ns", "reply latency", "From a request to its reply."),
        &F::reply_latency);
  visit(N::count("missed_ticks", "missed ticks", "Periods in which a flow sent nothing.")
            .of_periods(),
        &F::missed_ticks);
  visit(N::count("unanswered", "unanswered requests",
                 "Requests without a reply within the reply timeout."),
        &F::unanswered);
  visit(N::maximum("late_flows", "late flows",
                   "Flows with at least one gap late by more than a tenth of their period.")
            .of_periods(),
        &F::late_flows);
  visit(N::count("requests", "requests", "Requests opened: answered, unanswered, or still open."),
        &F::requests);
  visit(N::count("late_replies", "late replies",
                 "Replies after the timeout; they count in the reply latency and as unanswered."),
        &F::late_replies);
  visit(N::count("overlapping_requests", "overlapping requests",
                 "Requests not measured, since too many were open on their flow."),
        &F::overlapping_requests);
  visit(
      N::count(
          "repeated_replies", "repeated replies",
          "UDP replies that were repeated while another request was open; they do not answer it."),
      &F::repeated_replies);
  visit(N::count("handshake_turns", "turns of TLS handshakes",
                 "Answered messages of TLS handshakes; they do not count as replies."),
        &F::handshake_turns);
  visit(N::count("multiplexed_turns", "multiplexed turns",
                 "Turns of connections that answer in any order, such as HTTP/2; they do not count "
                 "as replies."),
        &F::multiplexed_turns);
  visit(N::distribution("tcp_handshake_ns", "TCP handshake",
                        "From the SYN to the last ACK of the handshake."),
        &F::tcp_handshake);
  visit(N::count("tcp_retransmissions", "TCP retransmissions",
                 "Segments that repeat bytes already seen."),
        &F::tcp_retransmissions);
  visit(N::count("tcp_out_of_order", "TCP segments out of order",
                 "Segments that fill a gap left by later ones."),
        &F::tcp_out_of_order);
  visit(N::count("tcp_resets", "TCP resets", "RST segments."), &F::tcp_resets);
  visit(N::count("tcp_server_resets", "TCP connections reset by the server",
                 "Open connections that the responder ended with a RST segment."),
        &F::tcp_server_resets);
  visit(N::count("tcp_turned_away", "TCP connections turned away",
                 "Connections that the responder ended within a second, before the initiator had "
                 "sent anything, or by a reset after its first message."),
        &F::tcp_turned_away);
  visit(N::count("tcp_refused", "TCP connections refused", "RST segments that answer a SYN."),
        &F::tcp_refused);
  visit(N::count("tcp_handshakes", "TCP handshakes", "Handshakes completed."), &F::tcp_handshakes);
  visit(
      N::count(
          "tcp_zero_windows", "TCP zero windows",
          "Segments other than resets that advertise a window of 0: their sender cannot receive."),
      &F::tcp_zero_windows);
  visit(N::count("tcp_never_completed", "TCP connections never completed",
                 "Connections whose SYN was never answered, counted when they are given up: the "
                 "flow is purged, the ports are used anew, or the run ends."),
        &F::tcp_never_completed);
  visit(N::count("time_went_backwards", "packets stamped earlier",
                 "Packets stamped earlier than one before them."),
        &F::time_went_backwards);
  visit(N::count("time_steps", "clock steps",
                 "Steps of the packets' clock, back or ahead, by more than any delay explains."),
        &F::time_steps);
  visit(N::count("duplicate_packets", "packets seen twice",
                 "Packets seen once more on another interface; in no other count."),
        &F::duplicate_packets);
  visit(N::count("super_packets", "frames of several segments",
                 "Frames whose lengths prove that they hold several segments (offload)."),
        &F::super_packets);
  visit(N::count("super_packet_segments", "segments in them",
                 "The fewest segments that these frames can hold."),
        &F::super_packet_segments);
}

/// The current state of one flow, for tables, the database and exports. Counts are since its first
/// packet.
struct FlowRow {
  uint64_t id = 0;  // unique within the run; in the order of first packets
  FlowKey key;
  bool initiator_is_low = true;
  bool ended = false;
  int64_t first_ns = 0;
  int64_t last_ns = 0;
  std::array<uint64_t, 2> packets{};  // [0] of the initiator, [1] of the responder
  std::array<uint64_t, 2> bytes{};
  // Transport payload by the headers' lengths, retransmissions included; absent: not counted.
  std::array<std::optional<uint64_t>, 2> payload_bytes{};
  std::optional<int64_t> period_ns;  // declared or learned
  std::optional<int64_t> lateness_last_ns;
  std::optional<int64_t> lateness_max_ns;
  uint64_t missed_ticks = 0;
  uint64_t replies = 0;
  int64_t reply_latency_sum_ns = 0;
  std::optional<int64_t> reply_latency_max_ns;
  std::optional<int64_t> reply_latency_last_ns;
  uint64_t unanswered = 0;
  uint64_t retransmissions = 0;
  bool silent = false;  // has a period, and missed at least its last two ticks
  OwnerNumbers owners;  // of [0] the initiator's end, [1] the responder's; absent: not known

  const Endpoint& initiator() const { return initiator_is_low ? key.low : key.high; }
  const Endpoint& responder() const { return initiator_is_low ? key.high : key.low; }
};

/// Whether the initiator's last message was late by more than a tenth of the period.
inline bool is_late(const FlowRow& row) {
  return row.period_ns && row.lateness_last_ns && *row.lateness_last_ns > *row.period_ns / 10;
}

}  // namespace topspin
