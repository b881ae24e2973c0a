// The packed record of one flow: 128 bytes that every packet touches, and 48 that some packets do.
//
// A million flows are accessed in random order, so the size of a record decides the speed of the
// table as well as its memory. 176 bytes, with at most 12.5 of index, stay below 192. Packed are:
//  - packets in 48 bits (9 years at a million per second), bytes in 56, the flow's id in 40;
//  - durations that are only shown, in 32 bits (PackedDuration);
//  - counts of events, which saturate: missed ticks, replies and unanswered at 2^32,
//    retransmissions at 2^24;
//  - the fields that only TCP or only UDP needs, which share their memory (TcpHot, UdpHot).
// Plain values; owned by FlowTable.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "capture/packet/packet.h"

namespace topspin {

/// A duration below 2^58 ns (9 years) in 32 bits: 27 of mantissa, 5 of exponent. Exact below 134
/// ms, within 1e-8 of its value above; exact for all usual round numbers.
class PackedDuration {
 public:
  static uint32_t pack(uint64_t value) {
    constexpr uint64_t kMantissaMax = (1u << kMantissaBits) - 1;
    int shift = std::max(0, static_cast<int>(std::bit_width(value)) - kMantissaBits);
    uint64_t mantissa = value >> shift;
    if (shift > 0) mantissa += (value >> (shift - 1)) & 1;  // rounds to the nearest
    if (mantissa > kMantissaMax) {
      mantissa >>= 1;
      ++shift;
    }
    if (shift > 31) return UINT32_MAX;
    return static_cast<uint32_t>(shift) << kMantissaBits | static_cast<uint32_t>(mantissa);
  }
  static int64_t unpack(uint32_t packed) {
    const uint64_t mantissa = packed & ((1u << kMantissaBits) - 1);
    return static_cast<int64_t>(mantissa << (packed >> kMantissaBits));
  }

 private:
  static constexpr int kMantissaBits = 27;
};

/// The same with a sign: 26 bits of mantissa, exact below 67 ms. Packed values compare like the
/// values they stand for.
class PackedSignedDuration {
 public:
  static int32_t pack(int64_t value) {
    const auto magnitude = static_cast<uint64_t>(value < 0 ? -value : value);
    int shift = std::max(0, static_cast<int>(std::bit_width(magnitude)) - kMantissaBits);
    uint64_t mantissa = magnitude >> shift;
    if (shift > 0) mantissa += (magnitude >> (shift - 1)) & 1;
    if (mantissa >> kMantissaBits != 0) {
      mantissa >>= 1;
      ++shift;
    }
    const auto packed = shift > 31
                            ? INT32_MAX
                            : static_cast<int32_t>(static_cast<uint32_t>(shift) << kMantissaBits |
                                                   static_cast<uint32_t>(mantissa));
    return value < 0 ? -packed : packed;
  }
  static int64_t unpack(int32_t packed) {
    const auto magnitude = static_cast<uint32_t>(packed < 0 ? -packed : packed);
    const uint64_t mantissa = magnitude & ((1u << kMantissaBits) - 1);
    const auto value = static_cast<int64_t>(mantissa << (magnitude >> kMantissaBits));
    return packed < 0 ? -value : value;
  }

 private:
  static constexpr int kMantissaBits = 26;
};

inline constexpr int32_t kNoLateness = INT32_MIN;  // pack() never returns this

/// Bits of HotRecord::flags. TCP and UDP share some: a flow is one of the two for good.
enum FlowFlag : uint16_t {
  kInitiatorIsLow = 1 << 0,
  kRequestOpen = 1 << 1,
  kChanged = 1 << 2,   // queued to be handed over
  kLateEver = 1 << 3,  // had a gap late by more than a tenth of its period
  kLateInInterval = 1 << 4,
  kEnded = 1 << 5,
  kHalfOpen = 1 << 6,  // SYN seen, not answered
  kSynOpen = 1 << 7,   // request_ns holds the time of the SYN: a handshake is under way
  kSynAckSeen = 1 << 8,
  kFinInitiator = 1 << 9,
  kFinResponder = 1 << 10,
  kSequenceInitiator = 1 << 11,  // next_sequence[0] is known
  kSequenceResponder = 1 << 12,
  kRequestDeferred = 1 << 13,  // the open request is not counted yet: its answer decides
  kEndsGuessed = 1 << 14,      // the initiator is a guess so far: the first sender
  kSynSeen = 1 << 15,          // the initiator is known by its SYN

  // UDP.
  kTagsMatch = kSynAckSeen,  // replies name their requests by their first bytes
};

/// The kind of a flow's turns, by the first bytes of the payload: HotRecord::turn_kind.
enum TurnKind : uint8_t {
  kUnseen,         // the initiator has sent no payload yet
  kPlain,          // a request and its reply
  kTls,            // the same inside TLS, where alerts are not requests
  kTlsHello,       // TLS: the ClientHello is not answered yet
  kTlsHandshake,   // TLS: answered, and the client has sent no application data yet
  kTlsFinished13,  // as kTlsHandshake, and the client's messages are those of TLS 1.3
  kTlsTickets,     // TLS 1.3, first application data: session tickets may come before the reply
  kMultiplexed,    // HTTP/2, QUIC, SSH, ..., multicast: the next payload answers no one request
};

/// The fields that only TCP flows need.
class TcpHot {
 public:
  /// Bytes of one direction that were skipped and not seen since. Saturates.
  uint32_t missing_bytes(size_t side) const { return words_[side] & kMissingMax; }
  void set_missing_bytes(size_t side, uint64_t bytes) {
    const auto kept = static_cast<uint32_t>(std::min<uint64_t>(bytes, kMissingMax));
    words_[side] = (words_[side] & ~kMissingMax) | kept;
  }
  /// For when the other end turns out to be the initiator.
  void swap_missing_bytes() {
    const uint32_t of_first = missing_bytes(0);
    set_missing_bytes(0, missing_bytes(1));
    set_missing_bytes(1, of_first);
  }
  /// How long the handshake took, rounded up by at most an eighth and 2 us. 0: it was not seen, or
  /// took longer than 0.5 s.
  int64_t handshake_ns() const {
    return int64_t{words_[0] >> kMissingBits} << (words_[1] >> kMissingBits) << kUnitShift;
  }
  /// REQUIRES: ns >= 0.
  void set_handshake_ns(int64_t ns) {
    uint64_t mantissa = (static_cast<uint64_t>(ns) >> kUnitShift) + 1;
    uint32_t exponent = 0;
    for (; mantissa > 15 && exponent < 15; ++exponent) mantissa = (mantissa + 1) / 2;
    if (mantissa > 15) mantissa = exponent = 0;
    words_[0] = missing_bytes(0) | static_cast<uint32_t>(mantissa) << kMissingBits;
    words_[1] = missing_bytes(1) | exponent << kMissingBits;
  }

 private:
  static constexpr int kMissingBits = 28, kUnitShift = 10;
  static constexpr uint32_t kMissingMax = (1u << kMissingBits) - 1;
  std::array<uint32_t, 2> words_;
};
struct UdpHot {
  uint32_t more_requests;  // OpenRequests::Queue of all open requests but the oldest; 0: none
  uint32_t request_tag;    // of the oldest open request
};

/// Evidence for whether a timer or the replies trigger the requests. While a period is being
/// learned, it is stored in place of the latenesses. HotRecord::misfits holds how many gaps the
/// averages cover; 15 means 15 or more.
struct TimerEvidence {
  uint16_t wait_mean;     // from a reply to the next request, in 65,536ths of the gap
  uint16_t wait_spread;   // mean deviation from wait_mean, in 262,144ths of the gap
  int16_t phase;          // of the latest message against an even grid, in 65,536ths of the gap
  uint16_t phase_spread;  // mean distance of messages from that grid, in 262,144ths of the gap
};
static_assert(sizeof(TimerEvidence) == 2 * sizeof(int32_t));

struct alignas(64) HotRecord {
  PacketKey key;       // all zero: the slot is free
  int64_t last_ns;     // the latest stamp of any packet
  int64_t request_ns;  // of the oldest unanswered request, or of the SYN
  uint32_t link;       // next in the silence lists, or in the list of free slots
  uint16_t flags;
  uint16_t retransmissions_low;

  // The fields from here on decide whether a flow is silent, and share one cache line.
  int64_t message_ns;  // when the initiator's latest message began; kNoMessage: none, or ended
  // Index 0 is the initiator and 1 the responder, so that counting needs no branch on the sender.
  std::array<uint64_t, 2> packets_and_id;  // 48 bits of packets, 16 of the id
  std::array<uint64_t, 2> bytes_and_more;  // 56 bits of bytes, 8 of the id and of retransmissions
  uint32_t message_span : 29;  // from message_ns to its latest segment, in units of 1,024 ns
  uint32_t spoke_again : 1;    // the initiator's latest message is not the connection's first
  uint32_t is_http : 1;        // TCP: the latest request began with an HTTP request line
  // TCP: closing may answer the open request (a goodbye). If deferred, it asks for no reply.
  uint32_t is_goodbye : 1;
  uint32_t gap_mean;    // PackedDuration; the period, once `gaps` reached kGapsToLearn
  uint16_t gap_spread;  // mean deviation from gap_mean, in 65,536ths of it
  uint8_t gaps : 4;     // regular gaps in a row, up to kGapsToLearn
  uint8_t misfits : 4;  // gaps in a row off every multiple of the period; see TimerEvidence
  TurnKind turn_kind : 3;
  bool is_answered : 1;     // TCP: the connection's server has answered a request
  bool has_backlog : 1;     // TCP: has an entry in FlowTable::backlogs_
  bool is_passed_over : 1;  // a later request was answered while the oldest stayed open
  bool is_chain : 1;        // the latest message holds requests that waited for replies
  bool is_steady_late : 1;  // the last reply was late, and by as much as the one before
  int32_t lateness_max;     // PackedSignedDuration or kNoLateness; TimerEvidence if no period
  union {
    TcpHot tcp;
    UdpHot udp;
  };

  uint64_t packets(size_t side) const { return packets_and_id[side] & kPacketsMask; }
  uint64_t bytes(size_t side) const { return bytes_and_more[side] & kBytesMask; }
  void count_packet(size_t side, uint32_t wire_bytes) {
    packets_and_id[side] += 1;
    bytes_and_more[side] += wire_bytes;
  }
  void swap_counts() {
    const auto exchange = [](std::array<uint64_t, 2>& words, uint64_t mask) {
      const uint64_t differing = (words[0] ^ words[1]) & mask;
      words[0] ^= differing;
      words[1] ^= differing;
    };
    exchange(packets_and_id, kPacketsMask);
    exchange(bytes_and_more, kBytesMask);
  }

  uint64_t id() const {
    return packets_and_id[0] >> kPacketsBits | (packets_and_id[1] >> kPacketsBits) << 16 |
           (bytes_and_more[0] >> kBytesBits) << 32;
  }
  /// REQUIRES: nothing was counted yet.
  void set_id(uint64_t id) {
    packets_and_id = {(id & 0xffff) << kPacketsBits, (id >> 16 & 0xffff) << kPacketsBits};
    bytes_and_more[0] = (id >> 32 & 0xff) << kBytesBits;
  }
  bool has(FlowFlag flag) const { return (flags & flag) != 0; }
  void set(FlowFlag flag) { flags = static_cast<uint16_t>(flags | flag); }
  void clear(FlowFlag flag) { flags = static_cast<uint16_t>(flags & ~flag); }
  bool is_free() const { return key.kind == 0; }
  /// 0: no period was learned.
  int64_t learned_period_ns() const {
    return gaps == kGapsToLearn ? PackedDuration::unpack(gap_mean) : 0;
  }
  void forget_period() {
    gaps = 0;
    misfits = 0;
  }
  int64_t message_span_ns() const { return int64_t{message_span} << kSpanShift; }
  void set_message_span(int64_t ns) {
    message_span = static_cast<uint32_t>(std::min<int64_t>(ns >> kSpanShift, kSpanMax)) & kSpanMax;
  }
  uint32_t retransmissions() const {
    return static_cast<uint32_t>(bytes_and_more[1] >> kBytesBits) << 16 | retransmissions_low;
  }
  void count_retransmission() {
    const uint32_t n = retransmissions() + 1;
    if (n >> 24 != 0) return;
    retransmissions_low = static_cast<uint16_t>(n);
    bytes_and_more[1] = bytes(1) | static_cast<uint64_t>(n >> 16) << kBytesBits;
  }

  static constexpr int64_t kNoMessage = INT64_MIN;
  static constexpr unsigned kGapsToLearn = 10;
  static constexpr int kSpanShift = 10;
  static constexpr uint32_t kSpanMax = (1u << 29) - 1;
  static constexpr int kPacketsBits = 48, kBytesBits = 56;
  static constexpr uint64_t kPacketsMask = (uint64_t{1} << kPacketsBits) - 1;
  static constexpr uint64_t kBytesMask = (uint64_t{1} << kBytesBits) - 1;
};
static_assert(sizeof(HotRecord) == 128);

/// The tags of the latest answered request of a UDP flow and of its reply.
struct AnsweredTags {
  uint32_t request;
  uint32_t reply;
};

struct ColdRecord {
  int64_t first_ns;
  uint32_t missed_ticks;
  uint32_t unanswered;
  union {                                   // most packets touch the fields from here on
    std::array<uint32_t, 2> next_sequence;  // TCP: of the initiator, of the responder
    AnsweredTags answered;                  // UDP
  };
  int64_t reply_sum_ns;
  int32_t lateness_last;  // as HotRecord::lateness_max
  uint32_t replies;
  uint32_t reply_max;   // PackedDuration
  uint32_t reply_last;  // PackedDuration
};
static_assert(sizeof(ColdRecord) == 48);
inline constexpr size_t kColdOftenAt = 16;  // the offset of next_sequence

}  // namespace topspin
