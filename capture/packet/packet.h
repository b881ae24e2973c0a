// The values that pass from a source to the flow table: a borrowed view of one packet, and the
// parser's result. Plain values; thread-agnostic.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "core/flow/flow.h"

namespace topspin {

/// One captured packet, borrowed from its source until the visitor returns.
struct PacketView {
  int64_t stamp_ns = 0;  // live: CLOCK_MONOTONIC; files: wall clock
  const uint8_t* bytes = nullptr;
  uint32_t captured = 0;  // valid bytes at `bytes`
  uint32_t length = 0;    // bytes on the wire, link-layer header included
};

/// A FlowKey in 40 bytes without padding, compared and hashed as five words.
///
/// The low end is the lesser one by (address, port). An IPv4 address is in the first 4 bytes, and
/// the rest is 0. `kind` is the protocol number, plus 0x80 for IPv6, so no flow has a key of zeros.
/// `vlan` holds two 12-bit tags, which are 0 unless they are part of the key.
struct PacketKey {
  std::array<uint8_t, 16> low{};
  std::array<uint8_t, 16> high{};
  uint16_t low_port = 0;
  uint16_t high_port = 0;
  uint8_t kind = 0;
  std::array<uint8_t, 3> vlan{};

  static constexpr uint8_t kIpv6 = 0x80;

  uint8_t protocol() const { return kind & 0x7f; }
  uint8_t ip_version() const { return (kind & kIpv6) != 0 ? 6 : 4; }
  // One word at a time: a copy of all five would be written and read in different widths, which
  // stalls the processor (store forwarding fails).
  static constexpr size_t kWords = 5;
  uint64_t word(size_t i) const {
    uint64_t word;
    std::memcpy(&word, reinterpret_cast<const char*>(this) + i * sizeof word, sizeof word);
    return word;
  }
  void set_word(size_t i, uint64_t word) {
    std::memcpy(reinterpret_cast<char*>(this) + i * sizeof word, &word, sizeof word);
  }
  bool operator==(const PacketKey& other) const {
    return ((word(0) ^ other.word(0)) | (word(1) ^ other.word(1)) | (word(2) ^ other.word(2)) |
            (word(3) ^ other.word(3)) | (word(4) ^ other.word(4))) == 0;
  }
  FlowKey to_flow_key() const;
};
static_assert(sizeof(PacketKey) == PacketKey::kWords * sizeof(uint64_t));

/// Bits of the TCP header's flag byte.
inline constexpr uint8_t kTcpFin = 0x01;
inline constexpr uint8_t kTcpSyn = 0x02;
inline constexpr uint8_t kTcpRst = 0x04;
inline constexpr uint8_t kTcpAck = 0x10;

/// Whether a payload holds only memcached commands with "noreply", which nothing answers.
enum class Noreply : uint8_t {
  kNone,    // it does not, or another command follows
  kBegins,  // what was captured does, and the last command continues after it
  kWhole,
};

struct ParsedPacket {
  int64_t stamp_ns = 0;
  PacketKey key;
  uint32_t wire_bytes = 0;
  uint32_t payload_bytes = 0;  // of the transport, by the lengths in the headers
  /// The first 8 bytes of the payload as they lie in memory. Bytes that were not captured, or are
  /// past the payload's end, are 0. Set for TCP and UDP, also in first fragments.
  uint64_t payload_head = 0;
  uint32_t tcp_sequence = 0;
  uint32_t tcp_acknowledgment = 0;
  uint8_t tcp_flags = 0;
  bool has_tcp_header = false;   // sequences and flags were captured
  bool tcp_zero_window = false;  // the sender of this packet cannot receive more for now
  bool from_low = false;         // sent by the key's low end
  uint8_t ip_version = 0;        // of the outermost IP header; 0: none
  uint16_t ip_offset = 0;        // of the IP header that was read last; 0: none, or too far
  bool first_fragment = false;
  bool later_fragment = false;
  bool lengths_left_out = false;  // 0 in the IP header (segmentation offload): the frame's is used
  /// TCP: NNN if the payload begins with "HTTP/1.1 NNN", else 0.
  uint16_t http_status = 0;
  Noreply memcached_noreply = Noreply::kNone;  // TCP
  /// kCount: the packet is in a flow, and `key` says which.
  SkipReason skip = SkipReason::kNotIp;
  /// Shared by the fragments of one datagram; 0 if the packet is not a fragment.
  uint64_t datagram_id = 0;

  bool in_flow() const { return skip == SkipReason::kCount; }
  bool operator==(const ParsedPacket&) const = default;
};

}  // namespace topspin
