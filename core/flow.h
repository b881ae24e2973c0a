// The words of a flow as types: ends, key, what one tick of all flows says, what one flow says.
//
// A flow is the packets in both directions of one 5-tuple of the outermost IP header, its two ends
// ordered on (address, port) together. The initiator sent the first packet (TCP: the SYN, if seen).
// Plain values; thread-agnostic.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/flow_owner.h"
#include "core/histogram.h"

namespace topspin {

inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolUdp = 17;

/// One end of a flow. An IPv4 address stands in the first 4 bytes, the rest is 0.
struct Endpoint {
  std::array<uint8_t, 16> address{};
  uint16_t port = 0;  // host byte order

  auto operator<=>(const Endpoint&) const = default;
};

/// A canonical two-way key: low <= high. `vlan` is 0 unless VLAN tags were asked into the key.
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

/// Why a packet is in no flow. It was captured and counted, and this is its kind.
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

/// Bytes are as on the wire (the frame's original length), link-layer header included.
struct ProtocolCounts {
  uint64_t flows = 0;  // flows first seen in this interval
  uint64_t packets = 0;
  uint64_t bytes = 0;

  void merge(const ProtocolCounts& other);
};

/// What the flow table says of one interval (a tick, or a whole file). Counts are of the interval,
/// gauges are at its end. Times are on the clock that the packets' stamps were given on.
struct FlowInterval {
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  /// 0 if the times contradict each other, as those of a hostile file may.
  int64_t length_ns() const {
    int64_t length = 0;
    return __builtin_sub_overflow(end_ns, begin_ns, &length) || length < 0 ? 0 : length;
  }

  // Gauges.
  uint64_t active_flows = 0;  // at end_ns: flows with a packet in the last window, exact to 1 ms
  uint64_t active_flows_max = 0;       // the highest that the gauge stood within the interval
  bool active_is_lower_bound = false;  // flows were evicted while still active
  uint64_t live_flows = 0;             // in the table at end_ns: seen, and not ended or evicted
  uint64_t tcp_half_open = 0;          // SYN seen, not answered yet
  uint64_t periodic_flows = 0;         // live flows that have a period, declared or learned
  uint64_t silent_flows = 0;           // of these, those that missed at least their last two ticks

  // Counts.
  uint64_t packets = 0;  // all that were captured, those in no flow too
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
  uint64_t late_replies = 0;  // came after the timeout; also in reply_latency, and in unanswered
  uint64_t overlapping_requests = 0;  // not measured: too many were open on their flow already
  uint64_t handshake_turns = 0;       // answered messages of a TLS handshake; not in reply_latency
  uint64_t multiplexed_turns = 0;     // likewise, of HTTP/2 and others that answer in any order

  // TCP.
  Histogram tcp_handshake;  // SYN to the handshake's last ACK
  uint64_t tcp_retransmissions = 0;
  uint64_t tcp_out_of_order = 0;
  uint64_t tcp_resets = 0;
  uint64_t tcp_refused = 0;  // RST as the answer to a SYN
  uint64_t tcp_handshakes = 0;

  uint64_t time_went_backwards = 0;  // packets stamped earlier than one before them
  uint64_t time_steps = 0;         // of these, and of jumps ahead: by more than any delay explains
  uint64_t duplicate_packets = 0;  // seen once more on another interface; in no other count

  // Segmentation offload: `packets` counts frames, and one frame may hold many segments or
  // datagrams. Frames of which the lengths prove it, and the fewest segments that these can hold.
  uint64_t super_packets = 0;
  uint64_t super_packet_segments = 0;

  /// Adds the interval that follows this one: counts add up, gauges are the later ones, maxima the
  /// greater.
  void merge(const FlowInterval& later);
};

/// One flow as it stands, for tables, the database and exports. Counts are since its first packet.
struct FlowRow {
  uint64_t id = 0;  // unique within the run; grows with the first packet's order
  FlowKey key;
  bool initiator_is_low = true;
  bool ended = false;
  int64_t first_ns = 0;
  int64_t last_ns = 0;
  std::array<uint64_t, 2> packets{};  // [0] of the initiator, [1] of the responder
  std::array<uint64_t, 2> bytes{};
  // Of the transport, by the headers' lengths, what was sent again included; absent: not counted.
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

/// Whether the initiator's last message came more than a tenth of the period late.
inline bool is_late(const FlowRow& row) {
  return row.period_ns && row.lateness_last_ns && *row.lateness_last_ns > *row.period_ns / 10;
}

}  // namespace topspin
