#include "capture/flows/flow_table.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>

#include <sys/random.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace topspin {
namespace {

constexpr uint64_t kFlowsMax = UINT32_MAX - 1;  // slots are 32 bits, and one of them means none
constexpr int64_t kReorderNs = 3 * kNanosPerMilli;
constexpr uint32_t kDuplicateAcks = 2;             // after this many the sender sends again
constexpr int64_t kBurstNs = kNanosPerMilli;       // the longest gap within a message
constexpr int64_t kLeaveNs = 20 * kNanosPerMilli;  // a client that is done closes within this, even
                                                   // if it has to wait for a CPU in between
constexpr int64_t kPeriodMinNs = kNanosPerMilli;   // of a learned period
/// A segment with this much payload, while the connection's request is unanswered, continues an
/// upload.
constexpr uint32_t kUploadSegmentBytes = 1200;
/// A server that ends a connection later than this has tried to serve it, or has lost patience.
constexpr int64_t kTurnAwayNs = kNanosPerSecond;
constexpr uint16_t kHttpSwitchingProtocols = 101, kHttpServerError = 500;
constexpr int64_t kUsualOffNs = 5 * kNanosPerMilli;
/// A half-open flow stays this long, because its SYN may be sent again: Linux doubles the gaps up
/// to 120 s, and its timers may be late by a sixteenth.
constexpr int64_t kSynPatienceNs = 130 * kNanosPerSecond;
/// A SYN at most this far below the expected sequence number is a copy of the connection's own.
constexpr uint32_t kBehindSynMax = 65'535;
constexpr int64_t kTimeoutsLate = 5;  // a first reply is assumed to be at most this late
constexpr unsigned kMisfitsMax = 8;
constexpr int64_t kTimeStepNs = kNanosPerSecond;  // no network delay explains a larger step back
constexpr uint32_t kSpreadOne = 1 << 16;          // unit of HotRecord::gap_spread
constexpr double kFineOne = 1 << 18;              // unit of the spreads of TimerEvidence
constexpr unsigned kGapsKnown = 15;               // the highest HotRecord::misfits as evidence
constexpr size_t kDatagrams = 1024;               // datagrams whose later fragments may still come
/// UDP has no SYN. If a flow's first packet comes later than this, the flow is assumed to be new,
/// so its first sender is the initiator.
constexpr int64_t kJoinedMidwayNs = 10 * kNanosPerSecond;
constexpr uint64_t kPacketsToTell =
    16;  // after this many packets, those of the guessed initiator are not examined any more

/// GCC takes a function that only prefetches for one without effects, and drops its calls. The
/// empty statement is an effect, and no instruction.
void prefetch(const void* address) {
  asm volatile("");
  __builtin_prefetch(address, 1, 3);
}

void prefetch_record(const HotRecord& hot, const ColdRecord& cold) {
  const auto* bytes = reinterpret_cast<const char*>(&hot);
  prefetch(bytes);
  prefetch(bytes + 64);
  // Cold records may cross cache lines; the fields that most packets touch are at the end.
  bytes = reinterpret_cast<const char*>(&cold);
  prefetch(bytes + kColdOftenAt);
  prefetch(bytes + sizeof(ColdRecord) - 1);
}

/// Recognises protocols by the first bytes of a payload (ParsedPacket::payload_head).
class Head {
 public:
  explicit Head(uint64_t head) : bytes_(std::bit_cast<std::array<uint8_t, 8>>(head)) {}

  bool is(size_t at, std::string_view text) const {
    return std::memcmp(&bytes_[at], text.data(), text.size()) == 0;  // REQUIRES: within the 8
  }
  /// A TLS record of this type; `version` is 3.0 to 3.4.
  bool is_tls(uint8_t type) const { return bytes_[0] == type && bytes_[1] == 3 && bytes_[2] <= 4; }
  /// 1 or more in TLS. 0 would be SSL 3.0, or the length field of another protocol.
  uint8_t tls_minor_version() const { return bytes_[2]; }
  bool is_tls_hello() const { return is_tls(kTlsRecordHandshake) && bytes_[5] == 1; }
  /// change_cipher_spec and an encrypted record in one flight, as a TLS 1.3 client sends them.
  bool is_tls13_finished() const { return is_tls(0x14) && bytes_[6] == kTlsRecordData; }
  /// An alert in the clear, or as TLS 1.3 encrypts it: 2 bytes, their type and the tag.
  bool is_tls_alert(uint32_t payload_bytes) const {
    return is_tls(0x15) ||
           (is_tls(kTlsRecordData) && bytes_[3] == 0 && bytes_[4] == 19 && payload_bytes == 24);
  }
  /// An HTTP request line. Not CONNECT, after which the connection does not carry HTTP.
  bool is_http_request() const {
    return is(0, "GET ") || is(0, "POST ") || is(0, "PUT ") || is(0, "HEAD ") || is(0, "PATCH ") ||
           is(0, "DELETE ") || is(0, "OPTIONS ");
  }
  /// A word in capitals, as at the beginning of any HTTP request line.
  bool is_method() const {
    const auto* end = std::find_if(bytes_.begin(), bytes_.end(),
                                   [](uint8_t byte) { return byte < 'A' || byte > 'Z'; });
    return end == bytes_.end() || (end - bytes_.begin() >= 3 && *end == ' ');
  }
  /// A client's closing message, which many servers answer by closing: a word such as QUIT, or the
  /// message of PostgreSQL, MySQL, LDAP, STOMP, XMPP or memcached.
  bool is_goodbye(uint32_t payload_bytes) const {
    using namespace std::string_view_literals;
    if (payload_bytes > kGoodbyeBytesMax) return false;
    switch (bytes_[0]) {
      case 'X': return payload_bytes == 5 && is(1, "\0\0\0\4"sv);
      case 0x01: return payload_bytes == 5 && is(1, "\0\0\0\1"sv);
      case 0x30:
        return payload_bytes >= 7 && payload_bytes <= 8 && is(payload_bytes - 2, "\x42\0"sv);
      case 0x80: return payload_bytes == 24 && (bytes_[1] == 0x07 || bytes_[1] == 0x17);
      case '<': return is(0, "</stream");
      default:
        return is_word("quit") || is_word("exit") || is_word("bye") || is_word("logout") ||
               is(0, "DISCONNE");
    }
  }
  bool is_multiplexed_tcp() const {
    using namespace std::string_view_literals;
    return is(0, "PRI * HT") || is(0, "SSH-") || is(0, "AMQP") ||
           is(0, "INFO {\"") ||  // the last: NATS
           is(0,
              "\x13"
              "BitTorr"sv) ||
           (bytes_[0] == 0x10 && (is(2, "\0\4MQTT"sv) || is(3, "\0\4MQT"sv) ||
                                  is(2, "\0\6MQIs"sv) || is(3, "\0\6MQI"sv)));
  }
  /// A whole message of such a connection that is not its first, for connections joined midway.
  bool is_multiplexed_midway(uint32_t payload_bytes) const {
    return is_mqtt(payload_bytes) || is_http2(payload_bytes) ||
           is_masked_websocket(payload_bytes) || is_nats();
  }
  /// The first message of WireGuard's handshake; a tunnel follows it.
  bool is_wireguard(uint32_t payload_bytes) const {
    using namespace std::string_view_literals;
    return payload_bytes == 148 && is(0, "\1\0\0\0"sv);
  }
  /// The long header of a first packet of QUIC 1 or 2, which is never a short datagram.
  bool is_quic(uint32_t payload_bytes) const {
    using namespace std::string_view_literals;
    return (bytes_[0] & 0xc0) == 0xc0 && payload_bytes >= 1200 &&
           (is(1, "\0\0\0\1"sv) || is(1, "\x6b\x33\x43\xcf"sv));
  }

  static constexpr uint8_t kTlsRecordHandshake = 0x16, kTlsRecordData = 0x17;
  static constexpr uint32_t kGoodbyeBytesMax = 64;

 private:
  /// Whether the payload begins with this word of at most 7 lower-case letters, ignoring case.
  bool is_word(std::string_view word) const {
    for (size_t i = 0; i < word.size(); ++i)
      if ((bytes_[i] | 0x20) != word[i]) return false;
    return (bytes_[word.size()] | 0x20) < 'a' || (bytes_[word.size()] | 0x20) > 'z';
  }
  uint32_t byte(size_t i) const { return bytes_[i]; }
  /// PINGREQ and PINGRESP; PUBLISH with a topic within its length; the four answers to one;
  /// SUBSCRIBE and UNSUBSCRIBE.
  bool is_mqtt(uint32_t payload_bytes) const {
    const uint32_t type = byte(0) >> 4, flags = byte(0) & 15, length = byte(1);
    if (length >= 128 || payload_bytes != 2 + length) return false;
    if (type == 12 || type == 13) return flags == 0 && length == 0;
    if (type == 3) {
      const uint32_t topic = byte(2) << 8 | byte(3);
      return (flags & 6) != 6 && topic > 0 && topic + 2 <= length && byte(4) >= 0x20;
    }
    if (type >= 4 && type <= 7) return flags == (type == 6 ? 2u : 0u) && length == 2;
    return (type == 8 || type == 10) && flags == 2 && length >= 5;
  }
  /// Messages that publish, subscribe or deliver.
  bool is_nats() const {
    return is(0, "PUB ") || is(0, "HPUB ") || is(0, "SUB ") || is(0, "MSG ") || is(0, "HMSG ");
  }
  /// HEADERS, SETTINGS, PING or WINDOW_UPDATE.
  bool is_http2(uint32_t payload_bytes) const {
    const uint32_t length = byte(0) << 16 | byte(1) << 8 | byte(2), type = byte(3), flags = byte(4);
    if (payload_bytes < 9 || length > payload_bytes - 9 || byte(5) != 0 || byte(6) != 0)
      return false;
    switch (type) {
      case 1: return length > 0 && (flags & 4) != 0 && (flags & ~0x2du) == 0;
      case 4: return length % 6 == 0 && (flags == 1) == (length == 0) && byte(7) == 0;
      case 6: return length == 8 && flags <= 1 && byte(7) == 0;
      case 8: return length == 4 && flags == 0;
      default: return false;
    }
  }
  /// Text, binary, ping or pong. The frame is a client's: only those are masked.
  bool is_masked_websocket(uint32_t payload_bytes) const {
    const uint32_t first = byte(0) & 0xbf, length = byte(1) & 0x7f;
    if ((byte(1) & 0x80) == 0 ||
        !(first == 0x81 || first == 0x82 || first == 0x89 || first == 0x8a))
      return false;
    if (length < 126) return payload_bytes == 6 + length;
    return length == 126 && payload_bytes == 8 + (byte(2) << 8 | byte(3));
  }

  std::array<uint8_t, 8> bytes_;
};

bool is_one_of(uint16_t port, std::initializer_list<uint16_t> ports) {
  return std::find(ports.begin(), ports.end(), port) != ports.end();
}
/// A port of tunnels. In many of them each direction is a separate flow.
bool is_tunnel(uint8_t protocol, uint16_t port) {
  // GTP-U, IPsec, VXLAN, GENEVE
  return protocol == kProtocolUdp && is_one_of(port, {2152, 4500, 4789, 6081, 8472});
}
/// A port for one-way reports, which nothing answers. If something does answer, the port serves
/// another protocol.
bool takes_reports(uint8_t protocol, uint16_t port) {
  if (protocol == kProtocolTcp) return is_one_of(port, {514, 2003});  // syslog, Graphite
  // SNMP traps, syslog, NetFlow, IPFIX, sFlow, statsd, collectd
  return is_one_of(port, {162, 514, 2055, 4739, 6343, 8125, 25826});
}
bool goes_one_way(const ParsedPacket& p) {
  const uint16_t port = p.from_low ? p.key.high_port : p.key.low_port;
  return is_tunnel(p.key.protocol(), port) || takes_reports(p.key.protocol(), port);
}

/// A socket that is connected to itself. Both directions look alike.
bool is_to_itself(const PacketKey& key) {
  return key.low_port == key.high_port && key.low == key.high;
}

TurnKind first_turn_kind(const ParsedPacket& p, bool is_midway) {
  if (is_to_itself(p.key)) return kMultiplexed;
  const Head head(p.payload_head);
  if (p.key.protocol() != kProtocolTcp) {
    const bool is_known = head.is_quic(p.payload_bytes) || head.is_wireguard(p.payload_bytes);
    return is_known || goes_one_way(p) ? kMultiplexed : kPlain;
  }
  if (head.is_tls_hello()) return kTlsHello;
  if (head.is_tls(Head::kTlsRecordHandshake)) return kTlsHandshake;  // joined midway
  if (head.is_tls(Head::kTlsRecordData)) return kTls;
  const bool is_multiplexed = head.is_multiplexed_tcp() || goes_one_way(p) ||
                              (is_midway && head.is_multiplexed_midway(p.payload_bytes));
  return is_multiplexed ? kMultiplexed : kPlain;
}

/// Whether a turn of this kind counts as unanswered if no reply comes.
bool expects_reply(TurnKind kind) {
  return kind != kMultiplexed && kind != kTlsHandshake && kind != kTlsFinished13;
}

/// Whether a request may be a goodbye, which closing answers. Inside TLS only its length shows.
bool may_be_goodbye(const HotRecord& flow, const ParsedPacket& p) {
  constexpr uint32_t kSealedBytesMax = 40;  // 5 bytes in a record; no HTTP request is as short
  if (flow.turn_kind == kTls) return flow.is_answered && p.payload_bytes <= kSealedBytesMax;
  return flow.turn_kind == kPlain && Head(p.payload_head).is_goodbye(p.payload_bytes);
}

/// Whether the payload is only "100 Continue", which asks the client to send on.
bool is_only_continue(const ParsedPacket& p) {
  constexpr uint32_t kContinueBytesMax = 64;  // 25 bytes, and perhaps a header or two
  return p.http_status == 100 && p.payload_bytes <= kContinueBytesMax;
}

/// Whether this end is a multicast group or the local network's broadcast address.
bool is_group(const PacketKey& key, const std::array<uint8_t, 16>& address) {
  if (key.ip_version() == 6) return address[0] == 0xff;
  constexpr std::array<uint8_t, 4> kBroadcast{255, 255, 255, 255};
  return address[0] >> 4 == 14 || std::memcmp(address.data(), kBroadcast.data(), 4) == 0;
}

/// Identifies a request and its reply: the first two bytes (the id in DNS), and a digest of the
/// first eight (for a ping that is echoed).
uint32_t request_tag(uint64_t head) {
  return static_cast<uint32_t>(head & 0xffff) << 16 |
         static_cast<uint32_t>((head * 0x9e3779b97f4a7c15) >> 48);
}

/// How a reply names its request: not at all, by the first two bytes, or by the whole tag.
enum class Naming : uint8_t { kNone, kById, kWhole };

bool is_named(Naming by, uint32_t request_tag, uint32_t reply_tag) {
  if (by == Naming::kWhole) return request_tag == reply_tag;
  return by == Naming::kById && request_tag >> 16 == reply_tag >> 16;
}

Naming naming(uint32_t request_tag, uint32_t reply_tag) {
  if (request_tag == reply_tag) return Naming::kWhole;
  return request_tag >> 16 == reply_tag >> 16 ? Naming::kById : Naming::kNone;
}

/// The ticks in a gap: max(1, round(gap / period)).
uint64_t ticks_in(int64_t gap_ns, int64_t period_ns) {
  const uint64_t k = (static_cast<uint64_t>(gap_ns) * 2 / static_cast<uint64_t>(period_ns) + 1) / 2;
  return std::max<uint64_t>(k, 1);
}

uint32_t& saturating_add(uint32_t& counter, uint64_t n) {
  counter = static_cast<uint32_t>(std::min<uint64_t>(counter + n, UINT32_MAX));
  return counter;
}

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

}  // namespace

HashSeed HashSeed::random() {
  HashSeed seed;
  // Up to 256 bytes are never cut short once the kernel's generator is ready, and it is by now.
  CHECK(getrandom(seed.words.data(), sizeof seed.words, 0) == sizeof seed.words);
  return seed;
}

HashSeed HashSeed::fixed(uint64_t number) {
  HashSeed seed;
  for (uint64_t& word : seed.words) {
    number += 0x9e3779b97f4a7c15;
    word = multiply_fold(number ^ 0xd6e8feb86659fd93, number | 1) ^ number;
  }
  return seed;
}

Result<std::unique_ptr<FlowTable>> FlowTable::create(const FlowTableOptions& options,
                                                     uint64_t rows_per_interval,
                                                     const HashSeed& seed) {
  const auto usage = [](const char* message) { return make_error(ErrorCode::kUsage, message); };
  constexpr int64_t kDurationMax = 366 * 86'400 * kNanosPerSecond;
  const auto sane = [](int64_t ns) { return ns > 0 && ns <= kDurationMax; };
  if (!sane(options.window_ns)) {
    return usage("the window (--window) must be longer than 0 and at most a year");
  }
  if (options.period_ns && !sane(*options.period_ns)) {
    return usage("the period (--period) must be longer than 0 and at most a year");
  }
  if (!sane(options.reply_timeout_ns)) {
    return usage("the reply timeout must be longer than 0 and at most a year");
  }
  if (options.segment_bytes && *options.segment_bytes == 0) {
    return usage("the longest payload of a segment (--segment-size) must be at least 1 byte");
  }
  if (options.idle_timeout_ns != 0 && !sane(options.idle_timeout_ns)) {
    return usage("the idle timeout must be 0 (never) or at most a year");
  }
  if (options.max_flows < 1 || options.max_flows > kFlowsMax) {
    return usage("the limit of flows (--max-flows) must be between 1 and 4294967294");
  }
  TOPSPIN_ASSIGN(auto hot, MappedArray<HotRecord>::create(options.max_flows));
  TOPSPIN_ASSIGN(auto cold, MappedArray<ColdRecord>::create(options.max_flows));
  MappedArray<PayloadRecord> payload;
  if (options.count_payload) {
    TOPSPIN_ASSIGN(payload, MappedArray<PayloadRecord>::create(options.max_flows));
  }
  TOPSPIN_ASSIGN(auto index, MappedArray<IndexEntry>::create(index_size_max(options.max_flows)));
  TOPSPIN_ASSIGN(auto calls, CallBook::create(options.subject_parts, options.max_flows,
                                              options.reply_timeout_ns, empty_interval()));
  return std::unique_ptr<FlowTable>(new FlowTable(options, rows_per_interval, seed, std::move(hot),
                                                  std::move(cold), std::move(payload),
                                                  std::move(index), std::move(calls)));
}

FlowTable::FlowTable(const FlowTableOptions& options, uint64_t rows_per_interval,
                     const HashSeed& seed, MappedArray<HotRecord> hot, MappedArray<ColdRecord> cold,
                     MappedArray<PayloadRecord> payload, MappedArray<IndexEntry> index,
                     CallBook calls)
    : options_(options),
      declared_period_ns_(options.period_ns.value_or(0)),
      rows_per_interval_(rows_per_interval),
      seed_(seed),
      hot_(std::move(hot)),
      cold_(std::move(cold)),
      payload_(std::move(payload)),
      index_(std::move(index)),
      index_lines_(kIndexMin / kLineEntries),
      segment_max_{options.segment_bytes.value_or(UINT32_MAX),
                   options.segment_bytes.value_or(UINT32_MAX)},
      active_(options.window_ns),
      requests_(options.reply_timeout_ns, 1),
      calls_(std::move(calls)),
      wheels_{SilenceWheel(hot_.data(), kNanosPerMilli),
              SilenceWheel(hot_.data(), kNanosPerMilli)} {
  if (options_.idle_timeout_ns != 0) {
    options_.idle_timeout_ns = std::max(options_.idle_timeout_ns, options_.window_ns);
    const int64_t tick_ns = std::max(options_.idle_timeout_ns / 256, kNanosPerMilli);
    wheels_ = {SilenceWheel(hot_.data(), tick_ns), SilenceWheel(hot_.data(), tick_ns)};
    wheels_on_ = true;
  }
}

// --- time ---

void FlowTable::begin(int64_t begin_ns) {
  interval_.begin_ns = begin_ns;
  interval_.end_ns = begin_ns;
  seen_from_ns_ = clamp_stamp(begin_ns);
  begun_ = true;
  advance(begin_ns);
}

void FlowTable::advance(int64_t now_ns) {
  if (now_ns > now_ns_) move_time(clamp_stamp(now_ns));
}

void FlowTable::set_mtu(uint32_t mtu) {
  constexpr uint32_t kUdpHeaders = 28, kTcpHeaders = 40;  // the least, of IPv4
  const auto room = [mtu](uint32_t headers) { return mtu > headers ? mtu - headers : 1; };
  if (options_.segment_bytes) return;
  segment_max_ = {room(kUdpHeaders), room(kTcpHeaders)};
}

void FlowTable::set_wall_offset(int64_t offset_ns) {
  wall_offset_ns_ = offset_ns;
  second_end_ns_ = second_begin_ns_ = 0;  // look it up again
}

inline void FlowTable::move_time(int64_t now_ns) {
  const uint64_t served_ran_out = calls_.advance(now_ns_, now_ns);
  now_ns_ = now_ns;
  active_.advance(now_ns);
  if (const uint64_t ran_out = requests_.advance(now_ns) + served_ran_out; ran_out != 0)
      [[unlikely]] {
    interval_.unanswered += ran_out;
    run_out_ = true;
  }
  if (options_.idle_timeout_ns != 0) expire(now_ns);
}

// --- packets ---

void FlowTable::observe(std::span<const ParsedPacket> packets) {
  std::array<Lookup, kBatch> lookups;
  while (!packets.empty()) {
    const size_t n = std::min(packets.size(), kBatch);
    for (size_t i = 0; i < n; ++i) prepare(packets[i], lookups[i]);
    for (size_t i = 0; i < n; ++i) locate(packets[i], lookups[i]);
    observe(packets.first(n), std::span(lookups).first(n));
    packets = packets.subspan(n);
  }
}

inline FlowTable::LineMatch FlowTable::match_line(const IndexEntry* line, uint32_t hash) {
#ifdef __SSE2__
  const auto* words = reinterpret_cast<const float*>(line);
  const __m128i wanted = _mm_set1_epi32(static_cast<int>(hash));
  const __m128i zero = _mm_setzero_si128();
  const auto compare = [&](const float* four, __m128i& same, __m128i& none) {
    const __m128 a = _mm_load_ps(four), b = _mm_load_ps(four + 4);
    same = _mm_cmpeq_epi32(_mm_castps_si128(_mm_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0))), wanted);
    none = _mm_cmpeq_epi32(_mm_castps_si128(_mm_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1))), zero);
  };
  __m128i same_low, same_high, none_low, none_high;
  compare(words, same_low, none_low);
  compare(words + 8, same_high, none_high);
  const int bits = _mm_movemask_epi8(
      _mm_packs_epi16(_mm_packs_epi32(same_low, same_high), _mm_packs_epi32(none_low, none_high)));
  const auto empty = static_cast<uint32_t>(bits) >> 8;
  return {static_cast<uint32_t>(bits) & ~empty & 0xff, empty};
#else
  LineMatch match{0, 0};
  for (uint32_t i = 0; i < kLineEntries; ++i) {
    const bool empty = line[i].slot_plus_one == 0;
    match.empty |= uint32_t{empty} << i;
    match.matches |= uint32_t{!empty && line[i].hash == hash} << i;
  }
  return match;
#endif
}

void FlowTable::locate(const ParsedPacket& packet, Lookup& lookup) const {
  if (!packet.in_flow()) return;
  lookup.candidate = SilenceWheel::kNone;
  size_t at = index_home(lookup.hash);
  while (true) {
    const LineMatch match = match_line(&index_[at], lookup.hash);
    if (match.matches != 0) [[likely]] {
      const auto first = static_cast<size_t>(std::countr_zero(match.matches));
      lookup.candidate = index_[at + first].slot_plus_one - 1;
      fetch(packet, lookup);
      return;
    }
    if (match.empty != 0) return;
    if ((at += kLineEntries) == index_size()) at = 0;
  }
}

void FlowTable::fetch(const ParsedPacket& packet, const Lookup& lookup) const {
  if (!packet.in_flow() || lookup.candidate == SilenceWheel::kNone) return;
  prefetch_record(hot_[lookup.candidate], cold_[lookup.candidate]);
  if (payload_.size() != 0) prefetch(&payload_[lookup.candidate]);
}

/// Looks at one line only: most flows are in the line that their hash says.
void FlowTable::guess(const ParsedPacket& packet, Lookup& lookup) const {
  if (!packet.in_flow()) return;
  lookup.candidate = SilenceWheel::kNone;
  auto* const line = const_cast<IndexEntry*>(&index_[index_home(lookup.hash)]);
  for (size_t i = 0; i < kLineEntries; ++i) {
    const IndexEntry entry = std::atomic_ref(line[i]).load(std::memory_order_relaxed);
    if (entry.hash == lookup.hash && entry.slot_plus_one != 0) {
      lookup.candidate = entry.slot_plus_one - 1;
      return;
    }
  }
}

void FlowTable::observe(std::span<const ParsedPacket> packets, std::span<const Lookup> lookups) {
  if (!begun_ && !packets.empty()) begin(clamp_stamp(packets.front().stamp_ns));
  GroupCounts group;
  uint64_t bytes = 0, ipv4 = 0, ipv6 = 0, backwards = 0;
  for (size_t i = 0; i < packets.size(); ++i) {
    const ParsedPacket& p = packets[i];
    if (p.stamp_ns > now_ns_) move_time(clamp_stamp(p.stamp_ns));
    if (p.stamp_ns < latest_stamp_ns_) [[unlikely]] {
      ++backwards;
      // With a stamp before the epoch, the difference would overflow an int64_t.
      const bool is_step = p.stamp_ns < std::max<int64_t>(latest_stamp_ns_ - kTimeStepNs, 0);
      interval_.time_steps += is_step && !stepped_back_;
      stepped_back_ = is_step;
    } else {
      latest_stamp_ns_ = p.stamp_ns;
      stepped_back_ = false;
    }
    bytes += p.wire_bytes;
    ipv4 += p.ip_version == 4;
    ipv6 += p.ip_version == 6;
    if (p.in_flow()) [[likely]] {
      observe_flow(p, lookups[i].hash, lookups[i].candidate, group);
    } else {
      ++interval_.skipped[static_cast<size_t>(p.skip)];
      if (p.later_fragment) observe_later_fragment(p);
      interval_.fragments_first += p.first_fragment;
      interval_.fragments_later += p.later_fragment;
    }
  }
  interval_.packets += packets.size();
  interval_.bytes += bytes;
  interval_.ipv4_packets += ipv4;
  interval_.ipv6_packets += ipv6;
  interval_.time_went_backwards += backwards;
  const auto& n = group.packets;
  const auto& b = group.bytes;
  interval_.udp.packets += n[0] + n[1];
  interval_.udp.bytes += b[0] + b[1];
  interval_.tcp.packets += n[2] + n[3];
  interval_.tcp.bytes += b[2] + b[3];
  interval_.initiator_packets += n[0] + n[2];
  interval_.initiator_bytes += b[0] + b[2];
  interval_.responder_packets += n[1] + n[3];
  interval_.responder_bytes += b[1] + b[3];
}

inline void FlowTable::observe_flow(const ParsedPacket& p, uint32_t hash, uint32_t candidate,
                                    GroupCounts& group) {
  const int64_t stamp_ns = clamp_stamp(p.stamp_ns);
  uint32_t slot = candidate;
  if (slot == SilenceWheel::kNone || !(hot_[slot].key == p.key)) slot = find(p.key, hash);
  const bool is_new = slot == SilenceWheel::kNone;
  if (is_new) slot = insert(p, hash);
  HotRecord& flow = hot_[slot];
  const bool is_tcp = p.key.protocol() == kProtocolTcp;

  // A SYN without ACK from the other end of a flow joined midway shows the initiator.
  if (is_tcp && (p.tcp_flags & (kTcpSyn | kTcpAck)) == kTcpSyn && !flow.has(kSynSeen) &&
      p.from_low != flow.has(kInitiatorIsLow)) {
    swap_ends(flow, slot);
  }
  if (flow.has(kEndsGuessed) && !is_new && p.payload_bytes != 0) [[unlikely]]
    look_at_ends(flow, slot, p, group);
  const bool from_initiator = p.from_low == flow.has(kInitiatorIsLow);

  const size_t side = from_initiator ? 0 : 1;
  flow.count_packet(side, p.wire_bytes);
  ++group.packets[side + (is_tcp ? 2 : 0)];
  group.bytes[side + (is_tcp ? 2 : 0)] += p.wire_bytes;
  if (payload_.size() != 0) payload_[slot][side] += p.payload_bytes;

  const int64_t previous_ns = flow.last_ns;
  if (is_new) [[unlikely]] {
    ++(is_tcp ? interval_.tcp : interval_.udp).flows;
    ++interval_.new_flows;
    active_.add(stamp_ns);
  } else {
    touch(flow, stamp_ns);
  }
  interval_.active_flows_max = std::max(interval_.active_flows_max, active_.count());
  if (rows_per_interval_ != 0) note_changed(flow, slot);

  if (stamp_ns < second_begin_ns_ || stamp_ns >= second_end_ns_) [[unlikely]] {
    second_ = floor_div(stamp_ns + wall_offset_ns_, kNanosPerSecond);
    second_begin_ns_ = second_ * kNanosPerSecond - wall_offset_ns_;
    second_end_ns_ = second_begin_ns_ + kNanosPerSecond;
  }
  interval_.seen_flows_per_second_max =
      std::max(interval_.seen_flows_per_second_max, seconds_.mark(second_, slot));

  if (p.payload_bytes > segment_max_[is_tcp ? 1 : 0] || p.lengths_left_out) [[unlikely]] {
    count_super_packet(p, is_tcp);
  }
  if (p.first_fragment) [[unlikely]] {
    remember_datagram(p, slot);
    ++interval_.fragments_first;
  }
  interval_.fragments_later += p.later_fragment;
  bool is_repeat = false;
  if (is_tcp) {
    is_repeat = observe_tcp(flow, slot, p, from_initiator);
    if (!is_repeat) is_repeat = observe_sequence(flow, slot, p, from_initiator, previous_ns);
  }
  if (p.payload_bytes != 0 && !is_repeat) [[likely]] {
    if (from_initiator) {
      observe_request(flow, slot, p, stamp_ns, previous_ns);
    } else {
      if (!is_only_continue(p)) [[likely]]
        observe_reply(flow, slot, p, stamp_ns);
      // WebSocket, HTTP/2, ...: either end may send at any time.
      if (p.http_status == kHttpSwitchingProtocols) [[unlikely]]
        flow.turn_kind = kMultiplexed;
    }
  }
  if (is_tcp && (p.tcp_flags & (kTcpFin | kTcpRst)) != 0) [[unlikely]] {
    observe_end(flow, slot, p, from_initiator);
  }
}

/// Notes a packet of the flow: moves its mark in the window.
inline void FlowTable::touch(HotRecord& flow, int64_t stamp_ns) {
  if (stamp_ns <= flow.last_ns) return;
  active_.move(flow.last_ns, stamp_ns);
  flow.last_ns = stamp_ns;
}

// --- messages and periods ---

void FlowTable::start_messages(HotRecord& flow) {
  flow.message_ns = HotRecord::kNoMessage;
  flow.message_span = 0;
  flow.spoke_again = 0;
  flow.lateness_max = kNoLateness;
  flow.forget_period();
}

/// Notes payload of the initiator. True: a message began, and the flow has a period to judge it by.
inline bool FlowTable::observe_message(HotRecord& flow, uint32_t slot, int64_t stamp_ns,
                                       int64_t previous_ns, Piece piece) {
  const int64_t began_ns = flow.message_ns;
  if (began_ns == HotRecord::kNoMessage) [[unlikely]] {
    flow.message_ns = stamp_ns;
    flow.message_span = 0;
    return false;
  }
  const int64_t gap = stamp_ns - began_ns;
  if (gap <= 0) {
    // The clock was set back, or this one stamp is wrong. After a step, messages begin anew.
    if (gap < -kTimeStepNs) flow.message_ns = HotRecord::kNoMessage;
    return false;
  }
  const int64_t period = period_ns(flow);
  const int64_t burst = period == 0 ? kBurstNs : std::min(kBurstNs, period / 8);
  const bool goes_on = piece == Piece::kOfHttp || gap - flow.message_span_ns() < burst;
  if (goes_on && (period == 0 || gap < period)) [[unlikely]] {
    flow.set_message_span(gap);
    // The request was answered, so this one waited for the reply.
    flow.is_chain |= !flow.has(kRequestOpen) && piece != Piece::kOfHttp;
    return false;
  }
  const bool is_loop = flow.is_chain && flow.message_span_ns() > gap / 4;
  flow.is_chain = false;
  if (period == 0) [[unlikely]]
    learn_period(flow, slot, stamp_ns, previous_ns, is_loop || piece == Piece::kOfUpload);
  flow.message_ns = stamp_ns;
  flow.message_span = 0;
  flow.spoke_again = 1;
  if (period == 0) [[unlikely]]
    return false;

  // k = max(1, round(gap / period)); only flows that missed a tick need the division.
  int64_t lateness = gap - period;
  if (lateness >= period - lateness) [[unlikely]] {
    const uint64_t k = ticks_in(gap, period);
    lateness = gap - static_cast<int64_t>(k) * period;
    // Some of the ticks were counted when earlier intervals ended.
    const int64_t silent_ns = interval_.begin_ns - began_ns;
    const uint64_t counted = silent_ns >= period ? ticks_in(silent_ns, period) - 1 : 0;
    interval_.missed_ticks += k - 1 - std::min(counted, k - 1);
    saturating_add(cold_[slot].missed_ticks, k - 1);
  }
  interval_.lateness.record(lateness);
  const int32_t packed = PackedSignedDuration::pack(lateness);
  cold_[slot].lateness_last = packed;
  flow.lateness_max = std::max(flow.lateness_max, packed);
  if (lateness > period / 10 && !flow.has(kLateInInterval)) {
    flow.set(kLateInInterval);
    late_slots_.push_back(slot);
    ++interval_.late_flows;
    if (!flow.has(kLateEver)) {
      flow.set(kLateEver);
      ++late_flows_total_;
    }
  }
  if (declared_period_ns_ == 0) judge_fit(flow, period, gap, lateness);
  return true;
}

/// The time since the reply to the latest message, or since the message if no reply came.
int64_t FlowTable::wait_for_message(const HotRecord& flow, uint32_t slot, int64_t stamp_ns,
                                    int64_t previous_ns) const {
  if (flow.has(kRequestOpen)) return stamp_ns - flow.message_ns;
  int64_t reply_ns = previous_ns;
  if (flow.turn_kind == kPlain || flow.turn_kind == kTls) {  // others have no known replies
    // A delayed ACK may have come after the reply.
    reply_ns = std::min(reply_ns, flow.request_ns + PackedDuration::unpack(cold_[slot].reply_last));
  }
  return stamp_ns - std::clamp(reply_ns, flow.message_ns, stamp_ns);
}

/// Adds one more regular gap, with `wait_ns` between the reply and its end, and returns whether all
/// gaps look like a timer's. After a slow reply a timer waits less, so its deviations do not add
/// up. A client that works on each reply waits regardless of the reply's latency, so each deviation
/// shifts all later messages.
bool FlowTable::is_of_timer(HotRecord& flow, ColdRecord& cold, int64_t gap_ns,
                            int64_t wait_ns) const {
  const auto mean_ns = static_cast<double>(PackedDuration::unpack(flow.gap_mean));
  const double wait = static_cast<double>(wait_ns) / static_cast<double>(gap_ns) * kSpreadOne;
  const auto fit = [](double value) {  // to the nearest; std::lround is a call
    const double within = std::clamp(value, 0.0, 65535.0);
    const auto whole = static_cast<int32_t>(within);
    return static_cast<uint16_t>(whole + (within - whole >= 0.5));
  };
  TimerEvidence known{fit(wait), 0, 0, 0};
  if (flow.misfits != 0) {
    known = std::bit_cast<TimerEvidence>(std::array{flow.lateness_max, cold.lateness_last});
    const double share = flow.misfits < kGapsKnown ? 1.0 / flow.misfits : 1.0 / 64;
    const auto follow = [&](uint16_t& spread, double off) {
      const double now = std::abs(off) / kSpreadOne * kFineOne;
      spread = fit(spread + (now - spread) * share);
    };
    if (flow.gaps <= 1) known.phase = 0;  // the grid begins with this row of gaps
    const double off_wait = static_cast<double>(wait_ns) / mean_ns * kSpreadOne - known.wait_mean;
    follow(known.wait_spread, off_wait);
    known.wait_mean = fit(known.wait_mean + off_wait * share / (1 + share));
    const double phase =
        known.phase + (static_cast<double>(gap_ns) - mean_ns) / mean_ns * kSpreadOne;
    follow(known.phase_spread, phase);
    known.phase = static_cast<int16_t>(std::clamp(phase * 3 / 4, -32767.0, 32767.0));
  }
  if (flow.misfits < kGapsKnown) flow.misfits = (flow.misfits + 1u) & 0xf;
  const auto packed = std::bit_cast<std::array<int32_t, 2>>(known);
  flow.lateness_max = packed[0];
  cold.lateness_last = packed[1];

  if (known.wait_mean >= kSpreadOne / 50 * 49) return true;  // replies take almost no time
  if (flow.gap_spread <= kSpreadOne / 512) return true;      // no work is that steady
  const double margin = flow.misfits < kGapsKnown ? 1.5 : 1.25;
  return known.wait_spread >= known.phase_spread * margin;
}

/// A message ends a gap of a flow that has no period yet. `is_no_timer`: the gap was ended by
/// replies or by the pace of an upload.
void FlowTable::learn_period(HotRecord& flow, uint32_t slot, int64_t stamp_ns, int64_t previous_ns,
                             bool is_no_timer) {
  const int64_t gap_ns = stamp_ns - flow.message_ns;
  if (gap_ns < kPeriodMinNs || is_no_timer || stamp_ns - previous_ns < gap_ns / 4) {
    flow.gaps = 0;
    return;
  }
  ColdRecord& cold = cold_[slot];
  const int64_t wait_ns = wait_for_message(flow, slot, stamp_ns, previous_ns);
  int64_t mean = PackedDuration::unpack(flow.gap_mean);
  const int64_t off = std::abs(gap_ns - mean);
  if (flow.gaps == 0 || off > mean / 5) {
    flow.gaps = 1;
    flow.gap_mean = PackedDuration::pack(static_cast<uint64_t>(gap_ns));
    flow.gap_spread = 0;
    if (flow.misfits == 0) is_of_timer(flow, cold, gap_ns, wait_ns);
    return;
  }
  constexpr double kOneIn[] = {1,      1,      1 / 2., 1 / 3., 1 / 4., 1 / 5.,
                               1 / 6., 1 / 7., 1 / 8., 1 / 9., 1 / 10.};
  const int n = flow.gaps + 1;
  mean += static_cast<int64_t>(static_cast<double>(gap_ns - mean) * kOneIn[n]);
  flow.gap_mean = PackedDuration::pack(static_cast<uint64_t>(mean));
  const double share = kSpreadOne * static_cast<double>(off) / static_cast<double>(mean);
  flow.gap_spread = static_cast<uint16_t>(flow.gap_spread + (share - flow.gap_spread) * kOneIn[n]);
  const bool is_timer = is_of_timer(flow, cold, gap_ns, wait_ns);
  if (n < static_cast<int>(HotRecord::kGapsToLearn)) {
    flow.gaps = static_cast<unsigned>(n) & 0xf;
  } else if (flow.gap_spread <= kSpreadOne / 10 && is_timer) {
    flow.gaps = HotRecord::kGapsToLearn;
    flow.misfits = 0;
    flow.lateness_max = kNoLateness;
    cold.lateness_last = kNoLateness;
    learned_any_ = true;
  }
}

/// For a gap of a flow with a learned period: adjusts the period, or forgets it.
inline void FlowTable::judge_fit(HotRecord& flow, int64_t period_ns, int64_t gap_ns,
                                 int64_t lateness_ns) {
  if (std::abs(lateness_ns) <= period_ns / 4) [[likely]] {
    flow.misfits = 0;
    if (gap_ns - period_ns == lateness_ns) {
      flow.gap_mean = PackedDuration::pack(static_cast<uint64_t>(period_ns + lateness_ns / 16));
    }
    return;
  }
  flow.misfits = (flow.misfits + 1u) & 0xf;
  if (flow.misfits == kMisfitsMax) flow.forget_period();
}

/// The ticks missed between the flow's latest message and `now_ns`.
uint64_t FlowTable::missed_since_message(const HotRecord& flow, int64_t period_ns,
                                         int64_t now_ns) const {
  if (period_ns == 0 || flow.message_ns == HotRecord::kNoMessage) return 0;
  const int64_t silent_ns = now_ns - flow.message_ns;
  return silent_ns < period_ns ? 0 : ticks_in(silent_ns, period_ns) - 1;
}

/// The flow ends or leaves: counts the ticks that it missed up to now.
void FlowTable::settle_silence(HotRecord& flow, uint32_t slot) {
  const int64_t period = period_ns(flow);
  const uint64_t missed = missed_since_message(flow, period, now_ns_);
  if (missed != 0) {
    const uint64_t counted = missed_since_message(flow, period, interval_.begin_ns);
    interval_.missed_ticks += missed - std::min(counted, missed);
    saturating_add(cold_[slot].missed_ticks, missed);
    if (missed > counted && rows_per_interval_ != 0) note_changed(flow, slot);
  }
  flow.message_ns = HotRecord::kNoMessage;
}

/// Adds the ticks that flows missed in the interval since their latest message. One pass over half
/// of each record: 10 ms at a million flows.
void FlowTable::count_silence(int64_t end_ns) {
  for (uint32_t slot = 0; slot < slots_used_; ++slot) {
    HotRecord& flow = hot_[slot];
    const int64_t period = period_ns(flow);
    if (period == 0 || flow.message_ns == HotRecord::kNoMessage) continue;
    ++interval_.periodic_flows;
    const uint64_t missed = missed_since_message(flow, period, end_ns);
    if (missed == 0) continue;
    interval_.silent_flows += missed >= kSilentTicks;
    const uint64_t counted = missed_since_message(flow, period, interval_.begin_ns);
    if (missed <= counted) continue;
    interval_.missed_ticks += missed - counted;
    if (rows_per_interval_ != 0) note_changed(flow, slot);
  }
}

// --- requests and replies ---

/// The open requests except the oldest; 0: none.
inline OpenRequests::Queue FlowTable::queue_of(const HotRecord& flow) const {
  if (flow.key.protocol() == kProtocolUdp) return flow.udp.more_requests;
  return flow.has_backlog ? backlogs_.at(slot_of(flow)).more_requests : 0;
}

/// The same, for writing. Gives a TCP flow a backlog, which it keeps until no request is open.
inline OpenRequests::Queue& FlowTable::queue_of(HotRecord& flow) {
  if (flow.key.protocol() == kProtocolUdp) return flow.udp.more_requests;
  flow.has_backlog = true;
  return backlogs_[slot_of(flow)].more_requests;
}

inline OpenRequest FlowTable::first_request(const HotRecord& flow) {
  return {flow.request_ns, flow.key.protocol() == kProtocolUdp ? flow.udp.request_tag : 0,
          flow.has(kRequestDeferred), flow.key.protocol() == kProtocolUdp && flow.is_passed_over};
}

inline bool FlowTable::ran_out(const OpenRequest& request) const {
  return !request.deferred && !requests_.covers(request.stamp_ns);
}

/// When the latest segment of the initiator's latest message came; `otherwise` if it sent none.
inline int64_t FlowTable::sent_ns(const HotRecord& flow, int64_t otherwise) {
  if (flow.message_ns == HotRecord::kNoMessage) return otherwise;
  return flow.message_ns + flow.message_span_ns();
}

inline void FlowTable::observe_request(HotRecord& flow, uint32_t slot, const ParsedPacket& p,
                                       int64_t stamp_ns, int64_t previous_ns) {
  if (flow.has(kEnded)) [[unlikely]]
    return;  // it was in flight when the connection ended
  if (calls_.is_unasked(slot)) [[unlikely]]
    ask_side(flow, slot);
  const bool is_udp = p.key.protocol() == kProtocolUdp;
  Piece piece = Piece::kNone;
  if (!is_udp && p.payload_bytes >= kUploadSegmentBytes && flow.has(kRequestOpen))
    piece = Piece::kOfUpload;
  bool is_message = true, is_request = true;
  if (flow.turn_kind != kPlain || begins_tls(flow, p)) [[unlikely]] {
    is_request = is_ordinary_turn(flow, p, stamp_ns, is_message);
  }
  if (flow.is_http && flow.turn_kind == kPlain && !Head(p.payload_head).is_method())
    piece = Piece::kOfHttp;
  const int64_t sent_before_ns = sent_ns(flow, stamp_ns);
  const bool is_tick = is_message && observe_message(flow, slot, stamp_ns, previous_ns, piece);
  if (!is_request || piece == Piece::kOfHttp) [[unlikely]]
    return;
  if (asks_no_reply(flow) && stamp_ns - sent_before_ns > kBurstNs) [[unlikely]]
    close_first(flow);
  if (p.memcached_noreply != Noreply::kNone && !flow.has(kRequestOpen)) [[unlikely]] {
    if (p.memcached_noreply == Noreply::kWhole) return;
    open_turn(flow, stamp_ns);
    flow.is_goodbye = true;
    return;
  }
  if (!flow.has(kRequestOpen)) [[likely]] {
    open_request(flow, stamp_ns);
    if (is_udp) {
      flow.udp.request_tag = request_tag(p.payload_head);
    } else {
      flow.is_http = flow.turn_kind == kPlain && Head(p.payload_head).is_http_request();
      flow.is_goodbye = !flow.has(kRequestDeferred) && may_be_goodbye(flow, p);
    }
  } else if (is_udp) {
    queue_request(flow, slot, stamp_ns, request_tag(p.payload_head));
  } else if (flow.has(kRequestDeferred)) {
    return;
  } else if (stamp_ns - sent_before_ns >= options_.reply_timeout_ns / 4 &&
             (is_tick || flow.has_backlog ||
              (piece == Piece::kNone && stamp_ns - flow.request_ns >= options_.reply_timeout_ns))) {
    queue_request(flow, slot, stamp_ns, 0);
  } else if (is_tick) {
    ++count_request(slot).overlapping_requests;
  }
}

inline void FlowTable::observe_reply(HotRecord& flow, uint32_t slot, const ParsedPacket& p,
                                     int64_t stamp_ns) {
  const bool is_udp = p.key.protocol() == kProtocolUdp;
  if (!flow.has(kRequestOpen)) {
    if (is_udp) return note_unasked(flow, cold_[slot], request_tag(p.payload_head));
    // A server that sends first, and whose banner shows the protocol.
    if (flow.turn_kind == kUnseen && Head(p.payload_head).is_multiplexed_tcp())
      flow.turn_kind = kMultiplexed;
    return;
  }
  if (is_udp && is_repeated_reply(flow, cold_[slot], request_tag(p.payload_head))) [[unlikely]] {
    ++*account(slot).repeated_replies;
    // Only once: if all replies are alike and the first seemed to name its request by chance, the
    // others must still count.
    cold_[slot].answered.reply = ~request_tag(p.payload_head);
    return;
  }
  if (flow.has_backlog && continues_reply(flow, stamp_ns)) [[unlikely]]
    return;
  if (p.http_status >= kHttpServerError && !flow.has(kRequestDeferred)) [[unlikely]]
    calls_.note_http_error(slot);
  if (has_queue(flow)) [[unlikely]]
    return match_reply(flow, slot, p, stamp_ns);
  const OpenRequest request = first_request(flow);
  close_first(flow);
  answer(flow, slot, request, stamp_ns);
  if (is_udp) note_answered(flow, cold_[slot], request.tag, p);
}

/// Whether a datagram is a copy of the latest reply and belongs to no open request.
inline bool FlowTable::is_repeated_reply(const HotRecord& flow, const ColdRecord& cold,
                                         uint32_t tag) const {
  if (!flow.has(kTagsMatch) || cold.answered.reply != tag) return false;
  const Naming by = naming(cold.answered.request, tag);
  if (is_named(by, flow.udp.request_tag, tag)) return false;
  bool is_asked = false;
  more_requests_.for_each(flow.udp.more_requests, [&](const OpenRequest& request) {
    is_asked |= is_named(by, request.tag, tag);
  });
  return !is_asked;
}

/// Learns whether the flow's replies name their requests. They do if two in a row name requests
/// that differ, or if one reply begins with the first eight bytes of its request.
inline void FlowTable::note_answered(HotRecord& flow, ColdRecord& cold, uint32_t request,
                                     const ParsedPacket& reply) {
  const uint32_t tag = request_tag(reply.payload_head);
  const AnsweredTags before = std::exchange(cold.answered, {request, tag});
  const Naming by = naming(request, tag);
  if (by == Naming::kNone) return flow.clear(kTagsMatch);
  const bool is_long = reply.payload_bytes >= sizeof reply.payload_head && reply.payload_head != 0;
  const bool was_named_too = cold.replies > 1 && naming(before.request, before.reply) == by &&
                             !is_named(by, before.request, request);
  if ((by == Naming::kWhole && is_long) || was_named_too) flow.set(kTagsMatch);
}

/// Notes a datagram of the responder while no request is open. If it names the latest request, and
/// that request's answer did not, then the answer was a repeated reply and this is the real one.
inline void FlowTable::note_unasked(HotRecord& flow, ColdRecord& cold, uint32_t tag) {
  AnsweredTags& latest = cold.answered;
  if (cold.replies == 0 || naming(latest.request, latest.reply) != Naming::kNone ||
      naming(latest.request, tag) == Naming::kNone)
    return;
  latest.reply = tag;
  flow.set(kTagsMatch);
}

/// Whether a plain connection turns to TLS here: the hello may follow the answer to PostgreSQL's
/// SSLRequest, to STARTTLS or to CONNECT.
inline bool FlowTable::begins_tls(HotRecord& flow, const ParsedPacket& p) {
  if (p.key.protocol() != kProtocolTcp || flow.has(kRequestOpen)) return false;
  const Head head(p.payload_head);
  if (!head.is_tls_hello() || head.tls_minor_version() == 0) [[likely]]
    return false;
  flow.turn_kind = kUnseen;
  return true;
}

/// Whether the initiator's payload begins or continues a request that a reply will answer. If not,
/// opens a turn of another kind. REQUIRES: turn_kind is not kPlain.
bool FlowTable::is_ordinary_turn(HotRecord& flow, const ParsedPacket& p, int64_t stamp_ns,
                                 bool& is_message) {
  const Head head(p.payload_head);
  const auto is_opened_as = [&](bool message) {
    is_message = message;
    if (!flow.has(kRequestOpen)) open_turn(flow, stamp_ns);
    return false;
  };
  switch (flow.turn_kind) {
    case kUnseen:
      flow.turn_kind = first_turn_kind(p, !flow.has(kSynSeen));
      if (flow.turn_kind == kPlain || flow.turn_kind == kTls) return true;
      return is_opened_as(flow.turn_kind == kMultiplexed);
    case kTls:
    case kTlsTickets:
      if (head.is_tls_alert(p.payload_bytes)) {
        is_message = false;
        return false;
      }
      return flow.turn_kind == kTls ? true : is_opened_as(true);
    case kTlsHandshake:
    case kTlsFinished13:
      if (head.is_tls(Head::kTlsRecordData)) {
        drop_requests(flow, false);  // the client's last flight needs no answer
        if (flow.turn_kind == kTlsHandshake) {
          flow.turn_kind = kTls;
          return true;
        }
        flow.turn_kind = kTlsTickets;
        return is_opened_as(true);
      }
      if (head.is_tls13_finished()) flow.turn_kind = kTlsFinished13;
      return is_opened_as(false);
    case kTlsHello: return is_opened_as(false);
    case kMultiplexed: return is_opened_as(true);
    case kPlain: break;
  }
  return true;
}

/// Marks the request as pending and counts it.
inline void FlowTable::mark_request(uint32_t slot, int64_t stamp_ns) {
  calls_.marks(slot, requests_).add(stamp_ns);
  calls_.note_marked(slot, stamp_ns);
  count_request(slot);
}

/// Counts one request, and returns where the flow's requests and replies are counted.
inline FlowInterval& FlowTable::count_request(uint32_t slot) {
  if (calls_.is_on()) [[unlikely]]
    calls_.count_request(slot);
  FlowInterval& counts = account(slot);
  ++counts.requests;
  return counts;
}

/// Asks whether the flow is a call of the subject, and moves its pending requests accordingly.
void FlowTable::ask_side(HotRecord& flow, uint32_t slot) {
  SlidingCount& before = calls_.marks(slot, requests_);
  calls_.ask(slot, flow.key.to_flow_key(), flow.has(kInitiatorIsLow));
  SlidingCount& after = calls_.marks(slot, requests_);
  if (&before == &after || !flow.has(kRequestOpen)) return;
  const auto move = [&](const OpenRequest& request) {
    if (request.deferred || !requests_.covers(request.stamp_ns)) return;
    before.remove(request.stamp_ns);
    after.add(request.stamp_ns);
  };
  move(first_request(flow));
  if (has_queue(flow)) more_requests_.for_each(std::as_const(*this).queue_of(flow), move);
  calls_.forget_lone();
}

inline void FlowTable::open_request(HotRecord& flow, int64_t stamp_ns) {
  if (!requests_.covers(stamp_ns)) [[unlikely]]  // its timeout has already passed
    return open_turn(flow, stamp_ns);
  flow.request_ns = stamp_ns;
  flow.set(kRequestOpen);
  mark_request(slot_of(flow), stamp_ns);
}

/// Opens a request that is counted only when it is answered or given up.
void FlowTable::open_turn(HotRecord& flow, int64_t stamp_ns) {
  flow.request_ns = stamp_ns;
  flow.set(kRequestOpen);
  flow.set(kRequestDeferred);
}

/// Adds a request to a flow that has one open.
void FlowTable::queue_request(HotRecord& flow, uint32_t slot, int64_t stamp_ns, uint32_t tag) {
  const auto give_up_first = [&] {
    give_up(slot, first_request(flow));
    close_first(flow);
  };
  const int64_t patience_ns = options_.reply_timeout_ns * (flow.has(kTagsMatch) ? 4 : 1);
  while (flow.has(kRequestOpen) && flow.is_passed_over && is_overdue(first_request(flow)) &&
         now_ns_ - flow.request_ns > patience_ns) {
    give_up_first();
  }
  const OpenRequest request{stamp_ns, tag, !requests_.covers(stamp_ns), false};
  if (flow.has(kRequestOpen) && !more_requests_.push(queue_of(flow), request)) {
    if (!is_overdue(first_request(flow))) {
      ++count_request(slot).overlapping_requests;
      return;
    }
    give_up_first();  // this makes room in the queue or in the record
    if (flow.has(kRequestOpen)) CHECK(more_requests_.push(queue_of(flow), request));
  }
  if (!flow.has(kRequestOpen)) {
    open_request(flow, stamp_ns);
    if (flow.key.protocol() == kProtocolUdp) flow.udp.request_tag = tag;
    return;
  }
  if (!request.deferred) mark_request(slot, stamp_ns);
}

/// Whether the responder's payload on a TCP flow with a backlog continues the previous reply.
bool FlowTable::continues_reply(HotRecord& flow, int64_t stamp_ns) {
  const int64_t before_ns = std::exchange(backlogs_.at(slot_of(flow)).reply_ns, stamp_ns);
  return before_ns != kNoTime && stamp_ns - before_ns < kBurstNs;
}

/// A reply on a flow that has several requests open.
void FlowTable::match_reply(HotRecord& flow, uint32_t slot, const ParsedPacket& p,
                            int64_t stamp_ns) {
  const uint32_t tag = request_tag(p.payload_head);
  std::array<OpenRequest, OpenRequests::kFlowMax + 1> open;
  size_t n = 0;
  open[n++] = first_request(flow);
  more_requests_.for_each(std::as_const(*this).queue_of(flow),
                          [&](const OpenRequest& r) { open[n++] = r; });

  // The requests that begin like the reply; all of them if that does not single any out.
  uint64_t same = 0, same_id = 0;
  for (size_t i = 0; i < n; ++i) {
    same |= uint64_t{open[i].tag == tag} << i;
    same_id |= uint64_t{open[i].tag >> 16 == tag >> 16} << i;
  }
  const uint64_t all = UINT64_MAX >> (64 - n);
  const uint64_t wanted = same != 0 ? same : std::has_single_bit(same_id) ? same_id : all;
  const size_t matched = choose_request(flow, cold_[slot], {open.data(), n}, wanted, stamp_ns);
  if (matched == 0) {
    close_first(flow);
  } else {
    OpenRequests::Queue& more = queue_of(flow);
    more_requests_.take(more, static_cast<uint32_t>(matched - 1));
    more_requests_.mark_passed(more, static_cast<uint32_t>(matched - 1));
    flow.is_passed_over = true;
  }
  answer(flow, slot, open[matched], stamp_ns);
  if (flow.key.protocol() != kProtocolUdp) return;
  note_answered(flow, cold_[slot], open[matched].tag, p);
  if (std::has_single_bit(wanted)) flow.set(kTagsMatch);  // it named one of several
}

/// Which of the open requests in `wanted` the reply belongs to. Also notes whether consecutive
/// replies are late by the same time.
size_t FlowTable::choose_request(HotRecord& flow, const ColdRecord& cold,
                                 std::span<const OpenRequest> open, uint64_t wanted,
                                 int64_t stamp_ns) const {
  const int64_t timeout_ns = options_.reply_timeout_ns;
  const int64_t usual = cold.replies == 0 ? -1 : PackedDuration::unpack(cold.reply_last);
  const auto oldest = static_cast<size_t>(std::countr_zero(wanted));
  size_t youngest = oldest, second = oldest;
  std::optional<size_t> in_time, like_usual;
  int64_t least_off = usual * 3 + kUsualOffNs;
  for (uint64_t left = wanted; left != 0; left &= left - 1) {
    const auto i = static_cast<size_t>(std::countr_zero(left));
    const int64_t latency = stamp_ns - open[i].stamp_ns;
    if (latency < 0) continue;
    second = youngest;
    youngest = i;
    if (latency <= timeout_ns && !in_time) in_time = i;
    const int64_t off = std::abs(latency - usual);
    if (usual < 0 || off > least_off) continue;
    least_off = off;
    like_usual = i;
  }
  const auto latency_of = [&](size_t i) { return stamp_ns - open[i].stamp_ns; };
  const auto choose = [&] {
    const int64_t waited_ns = latency_of(oldest);
    const bool is_prompt =
        in_time && latency_of(youngest) <= (open[youngest].stamp_ns - open[second].stamp_ns) / 8;
    if (waited_ns <= timeout_ns) {
      // The first reply, after requests without an answer: the server has just started, and did not
      // receive the earlier ones.
      if (usual < 0 && cold.unanswered > 0 && is_prompt) return youngest;
      return like_usual.value_or(in_time.value_or(oldest));
    }
    // The oldest have timed out: either they are lost or the server is slow. If the wait was
    // steady, it continues; if a stall caused it, it is over.
    if (like_usual && (usual <= timeout_ns || flow.is_steady_late)) return *like_usual;
    if (is_prompt) return youngest;
    if (like_usual) return *like_usual;
    // The first reply after a silence. TCP loses nothing; datagrams from a long silence are more
    // likely lost than that late.
    const bool is_tcp = flow.key.protocol() == kProtocolTcp;
    if (is_tcp || waited_ns <= timeout_ns * kTimeoutsLate) return oldest;
    return in_time.value_or(youngest);
  };
  const size_t chosen = choose();
  flow.is_steady_late = false;
  if (latency_of(chosen) > timeout_ns && usual >= 0 && chosen + 1 < open.size() &&
      std::abs(latency_of(chosen) - usual) <=
          (open[chosen + 1].stamp_ns - open[chosen].stamp_ns) / 2) {
    flow.is_steady_late = true;
  }
  return chosen;
}

/// Whether the open turn holds "noreply" commands, the last of which is not complete yet.
inline bool FlowTable::asks_no_reply(const HotRecord& flow) {
  return flow.is_goodbye && flow.has(kRequestDeferred) && flow.turn_kind == kPlain &&
         !flow.has_backlog && flow.key.protocol() == kProtocolTcp;
}

/// Closes the oldest open request; the next oldest takes its place.
inline void FlowTable::close_first(HotRecord& flow) {
  if (!has_queue(flow)) [[likely]] {
    flow.flags = static_cast<uint16_t>(flow.flags & ~(kRequestOpen | kRequestDeferred));
    flow.is_passed_over = false;
    if (flow.has_backlog) [[unlikely]] {
      flow.has_backlog = false;
      backlogs_.erase(slot_of(flow));
    }
    return;
  }
  const OpenRequest next = more_requests_.take(queue_of(flow), 0);
  flow.request_ns = next.stamp_ns;
  if (flow.key.protocol() == kProtocolUdp) flow.udp.request_tag = next.tag;
  flow.clear(kRequestDeferred);
  flow.is_passed_over = next.passed;
  if (next.deferred) flow.set(kRequestDeferred);
}

/// Counts the reply to a request that is already closed.
inline void FlowTable::answer(HotRecord& flow, uint32_t slot, const OpenRequest& request,
                              int64_t stamp_ns) {
  // A reply stamped before its request: the clock went back between them.
  const int64_t latency = std::max<int64_t>(stamp_ns - request.stamp_ns, 0);
  const bool is_late = latency > options_.reply_timeout_ns;
  ColdRecord& cold = cold_[slot];
  FlowInterval& counts = account(slot);
  const auto count_late = [&] {
    saturating_add(cold.unanswered, 1);
    ++counts.late_replies;
  };
  if (request.deferred) [[unlikely]] {
    if (!is_reply_to_deferred(flow, is_late)) return;
    count_request(slot);
    if (is_late) {
      ++counts.unanswered;
      count_late();
    }
  } else if (requests_.covers(request.stamp_ns)) [[likely]] {
    calls_.marks(slot, requests_).remove(request.stamp_ns);
    calls_.note_unmarked(slot, request.stamp_ns, stamp_ns);
    if (is_late) [[unlikely]] {
      ++counts.unanswered;
      count_late();
    }
  } else if (is_late || counts.unanswered == 0) {
    count_late();
  } else {
    --counts.unanswered;  // it timed out by the clock, but not by the packets' stamps
  }
  flow.is_answered = true;
  if (flow.has(kEndsGuessed)) [[unlikely]]
    settle_guess(flow);
  counts.reply_latency.record(static_cast<uint64_t>(latency));
  calls_.note_reply(slot, latency, is_late);
  if (options_.replies != nullptr) [[unlikely]]
    options_.replies->note_reply(flow.key, flow.has(kInitiatorIsLow), request.stamp_ns, stamp_ns);
  saturating_add(cold.replies, 1);
  if (__builtin_add_overflow(cold.reply_sum_ns, latency, &cold.reply_sum_ns)) [[unlikely]]
    cold.reply_sum_ns = INT64_MAX;
  cold.reply_last = PackedDuration::pack(static_cast<uint64_t>(latency));
  cold.reply_max = std::max(cold.reply_max, cold.reply_last);
}

/// Counts turns that are not replies, and returns whether this one is a reply after all.
bool FlowTable::is_reply_to_deferred(HotRecord& flow, bool is_late) {
  FlowInterval& counts = account(slot_of(flow));
  switch (flow.turn_kind) {
    case kMultiplexed:
      if (takes_reports(flow.key.protocol(),
                        flow.has(kInitiatorIsLow) ? flow.key.high_port : flow.key.low_port)) {
        flow.turn_kind = kPlain;
        return true;
      }
      ++counts.multiplexed_turns;
      return false;
    case kTlsHandshake:
    case kTlsFinished13: ++counts.handshake_turns; return false;
    case kTlsHello:
    case kTlsTickets:
      flow.turn_kind = flow.turn_kind == kTlsHello ? kTlsHandshake : kTls;
      counts.handshake_turns += !is_late;
      return is_late;
    case kUnseen:
    case kPlain:
    case kTls: break;
  }
  return true;
}

/// Stops waiting for the reply to a request that is already closed.
void FlowTable::give_up(uint32_t slot, const OpenRequest& request, bool is_reset) {
  saturating_add(cold_[slot].unanswered, 1);
  FlowInterval& counts = account(slot);
  if (request.deferred) {
    ++count_request(slot).unanswered;
  } else if (requests_.covers(request.stamp_ns)) {
    calls_.marks(slot, requests_).remove(request.stamp_ns);
    calls_.forget_lone();
    ++counts.unanswered;
  }
  counts.reply_latency.record(static_cast<uint64_t>(options_.reply_timeout_ns));
  calls_.note_given_up(slot, options_.reply_timeout_ns, is_reset);
  if (rows_per_interval_ != 0) note_changed(hot_[slot], slot);
}

/// A TCP connection is over, and no reply will come.
void FlowTable::give_up_connection(HotRecord& flow, uint32_t slot, bool is_reset) {
  if (asks_no_reply(flow)) return close_first(flow);
  while (flow.has(kRequestOpen)) {
    const OpenRequest request = first_request(flow);
    close_first(flow);
    if (expects_reply(flow.turn_kind)) give_up(slot, request, is_reset);
  }
}

/// Gives up the requests whose timeout has passed.
void FlowTable::give_up_overdue(HotRecord& flow, uint32_t slot) {
  if (!expects_reply(flow.turn_kind) || asks_no_reply(flow)) return;
  while (flow.has(kRequestOpen) && is_overdue(first_request(flow))) {
    const OpenRequest request = first_request(flow);
    close_first(flow);
    give_up(slot, request);
  }
}

/// Forgets the open requests. `uncount`: they were not requests, so they no longer count.
void FlowTable::drop_requests(HotRecord& flow, bool uncount) {
  while (flow.has(kRequestOpen)) {
    const OpenRequest request = first_request(flow);
    close_first(flow);
    if (request.deferred || !requests_.covers(request.stamp_ns)) continue;
    const uint32_t slot = slot_of(flow);
    calls_.marks(slot, requests_).remove(request.stamp_ns);
    calls_.forget_lone();
    if (!uncount) continue;
    ++(calls_.is_call(slot) ? calls_.no_requests() : no_requests_);
    calls_.uncount_request(slot);
  }
}

void FlowTable::finish(int64_t end_ns) {
  if (!begun_) begin(end_ns);
  advance(end_ns);
  for (uint32_t slot = 0; slot < slots_used_; ++slot) {
    HotRecord& flow = hot_[slot];
    give_up_syn(flow, slot);
    if (!flow.has(kRequestOpen) || !is_overdue(first_request(flow))) continue;
    give_up_overdue(flow, slot);
  }
  ask_unsure();
  calls_.finish();
}

/// Asks again about flows whose side is unsure.
void FlowTable::ask_unsure() {
  for (const uint32_t slot : calls_.unsure()) ask_side(hot_[slot], slot);
}

/// Marks flows as changed if one of their requests timed out in the interval.
void FlowTable::note_run_out() {
  run_out_ = false;
  const int64_t since_ns = interval_.begin_ns - options_.reply_timeout_ns - 2 * kNanosPerMilli;
  for (uint32_t slot = 0; slot < slots_used_; ++slot) {
    HotRecord& flow = hot_[slot];
    if (!flow.has(kRequestOpen) || flow.has(kChanged)) continue;
    bool is_changed = false;
    const auto look = [&](const OpenRequest& r) {
      is_changed |= r.stamp_ns >= since_ns && ran_out(r);
    };
    look(first_request(flow));
    if (has_queue(flow)) more_requests_.for_each(std::as_const(*this).queue_of(flow), look);
    if (is_changed) note_changed(flow, slot);
  }
}

// --- TCP ---

void FlowTable::answer_syn(HotRecord& flow) {
  if (!flow.has(kHalfOpen)) return;
  flow.clear(kHalfOpen);
  --half_open_;
}

/// The flow ends or leaves. If its SYN waited for at least a reply timeout, it was never answered;
/// a younger one might still have been.
void FlowTable::give_up_syn(HotRecord& flow, uint32_t slot) {
  if (flow.has(kHalfOpen) && now_ns_ - flow.request_ns >= options_.reply_timeout_ns)
    count_never_completed(flow, slot);
}

/// Gives up a half-open connection. If it was refused before this attempt, it has failed only once
/// and is already counted.
void FlowTable::count_never_completed(HotRecord& flow, uint32_t slot) {
  if (flow.has(kEnded)) return;
  if (calls_.is_unasked(slot)) ask_side(flow, slot);
  ++*account(slot).tcp_never_completed;
  calls_.note_never_completed(slot);
}

void FlowTable::end_flow(HotRecord& flow, uint32_t slot) {
  if (flow.has(kEnded)) return;
  settle_silence(flow, slot);
  give_up_syn(flow, slot);
  answer_syn(flow);
  flow.set(kEnded);
  ++interval_.ended_flows;
  --live_count_;
}

/// Another connection begins on the ends of one that ended.
void FlowTable::reopen_flow(HotRecord& flow) {
  flow.clear(kEnded);
  ++interval_.new_flows;
  ++live_count_;
}

/// Updates the connection's state, except for its end (observe_end). True: ignore the payload.
bool FlowTable::observe_tcp(HotRecord& flow, uint32_t slot, const ParsedPacket& p,
                            bool from_initiator) {
  if (!p.has_tcp_header) return false;
  const int64_t stamp_ns = clamp_stamp(p.stamp_ns);
  if ((p.tcp_flags & kTcpRst) != 0) {
    ++interval_.tcp_resets;
    if (flow.has(kHalfOpen) && from_initiator) count_never_completed(flow, slot);
    if (flow.has(kHalfOpen) && !from_initiator) {
      if (calls_.is_unasked(slot)) ask_side(flow, slot);
      ++account(slot).tcp_refused;
      calls_.note_refused(slot);
      drop_requests(flow, true);  // data of the SYN (Fast Open)
    }
    if (!flow.has(kHalfOpen) && !flow.has(kEnded) && !from_initiator) {
      if (calls_.is_unasked(slot)) ask_side(flow, slot);
      ++*account(slot).tcp_server_resets;
      note_turned_away(flow, slot, stamp_ns, true);
    }
    answer_syn(flow);
    flow.clear(kSynOpen);
    flow.clear(kSynAckSeen);
    return true;
  }
  if (p.tcp_zero_window) [[unlikely]]
    ++*interval_.tcp_zero_windows;
  const bool syn = (p.tcp_flags & kTcpSyn) != 0;
  const bool ack = (p.tcp_flags & kTcpAck) != 0;
  if (from_initiator && syn && !ack) return observe_syn(flow, slot, p);
  if (!from_initiator) {
    answer_syn(flow);
    if (syn && ack && flow.has(kSynOpen)) {
      if (!flow.has(kSynAckSeen)) known_ends_.note_responder(p.key, p.from_low, seed_);
      flow.set(kSynAckSeen);
      if (flow.has(kEnded)) reopen_flow(flow);  // it was refused at first and is accepted now
    }
  } else if (flow.has(kSynOpen) && !syn) {
    // The handshake's last packet, or a later one if the SYN+ACK was not captured.
    if (flow.has(kSynAckSeen) && ack && stamp_ns >= flow.request_ns) {
      flow.tcp.set_handshake_ns(stamp_ns - flow.request_ns);
      interval_.tcp_handshake.record(static_cast<uint64_t>(stamp_ns - flow.request_ns));
      ++interval_.tcp_handshakes;
    }
    answer_syn(flow);
    flow.clear(kSynOpen);
    flow.clear(kSynAckSeen);
  }
  return false;
}

/// Whether a SYN is a copy of the one that began the flow's current attempt or connection. The
/// first may have carried data, which a copy leaves out (Fast Open), and data may have overtaken
/// the copy.
bool FlowTable::repeats_syn(const HotRecord& flow, uint32_t slot, const ParsedPacket& p) const {
  if (!flow.has(kSequenceInitiator)) return false;
  const uint32_t sent = cold_[slot].next_sequence[0] - (p.tcp_sequence + 1);
  return sent == p.payload_bytes || (!flow.has(kEnded) && sent <= kBehindSynMax);
}

/// Handles a SYN without ACK of the initiator. True: it was seen before.
bool FlowTable::observe_syn(HotRecord& flow, uint32_t slot, const ParsedPacket& p) {
  const auto wait_for_answer = [&] {
    if (!flow.has(kHalfOpen)) {
      flow.set(kHalfOpen);
      ++half_open_;
    }
    flow.set(kSynOpen);
    flow.request_ns = clamp_stamp(p.stamp_ns);
  };
  if (repeats_syn(flow, slot, p)) {
    flow.count_retransmission();
    ++interval_.tcp_retransmissions;
    if (flow.has(kEnded)) {
      give_up_connection(flow, slot);
      flow.clear(kSynAckSeen);
      flow.clear(kFinInitiator);
      flow.clear(kFinResponder);
      wait_for_answer();
    }
    return true;
  }
  give_up_connection(flow, slot);
  if (flow.has(kHalfOpen)) count_never_completed(flow, slot);  // a new attempt ends the old one
  answer_syn(flow);
  // This packet is counted already. If there is another one, there was a connection before.
  if (flow.has(kEnded) || flow.packets(0) > 1) {
    end_flow(flow, slot);
    reopen_flow(flow);
  }
  constexpr uint16_t kOfConnection = kSynAckSeen | kFinInitiator | kFinResponder |
                                     kSequenceInitiator | kSequenceResponder | kEndsGuessed;
  flow.flags = static_cast<uint16_t>(flow.flags & ~kOfConnection);
  calls_.end_flow(slot);  // the ports may belong to another process now
  flow.tcp = {};
  flow.turn_kind = kUnseen;
  flow.is_answered = false;
  flow.is_http = false;
  start_messages(flow);
  flow.set(kSynSeen);
  wait_for_answer();
  return false;
}

/// The responder ends the connection. Counts it if it had not begun to serve it: soon, and the
/// initiator had said nothing and was not the first to end it, or had said one thing that was
/// answered by a reset, which the kernel sends if it was not read. (By then a client that was told
/// why may have closed.)
void FlowTable::note_turned_away(HotRecord& flow, uint32_t slot, int64_t stamp_ns, bool is_reset) {
  if (!flow.has(kSynSeen) || flow.has(kHalfOpen) || flow.has(kEnded) || flow.has(kFinResponder))
    return;
  const bool has_message = flow.message_ns != HotRecord::kNoMessage;
  const bool is_silent = flow.turn_kind == kUnseen && !has_message && !flow.has(kFinInitiator);
  const bool is_unread =
      is_reset && !flow.spoke_again && (flow.turn_kind == kPlain || flow.turn_kind == kTlsHello);
  const int64_t since_ns = has_message ? flow.message_ns : flow.request_ns;
  if ((!is_silent && !is_unread) || stamp_ns - since_ns > kTurnAwayNs) return;
  if (calls_.is_unasked(slot)) ask_side(flow, slot);
  ++*account(slot).tcp_turned_away;
}

/// Handles the first FIN of an end. A goodbye that closing answers is not a request, nor is a
/// one-way transfer that closing acknowledges. While bytes of the responder are missing, they may
/// be the reply.
void FlowTable::observe_first_end(HotRecord& flow, int64_t stamp_ns, bool from_initiator) {
  if (!flow.has(kRequestOpen) || flow.has(kRequestDeferred) || has_queue(flow)) return;
  if (from_initiator) {
    const bool is_one_way = !flow.is_answered && !flow.is_http && flow.turn_kind == kPlain;
    const bool is_known = flow.is_goodbye && flow.turn_kind == kPlain;  // not only by its length
    const bool has_just_sent = stamp_ns - sent_ns(flow, flow.request_ns) <=
                               (is_known ? options_.reply_timeout_ns / 4 : kLeaveNs);
    flow.is_goodbye = has_just_sent && !flow.has(kFinResponder) && (flow.is_goodbye || is_one_way);
  } else if (flow.is_goodbye && requests_.covers(flow.request_ns) &&
             flow.tcp.missing_bytes(1) == 0) {
    drop_requests(flow, true);
  }
}

/// Handles FIN or RST, after the segment's payload was observed.
void FlowTable::observe_end(HotRecord& flow, uint32_t slot, const ParsedPacket& p,
                            bool from_initiator) {
  if ((p.tcp_flags & kTcpRst) != 0) {
    give_up_connection(flow, slot, true);
    end_flow(flow, slot);
    return;
  }
  if (!from_initiator) note_turned_away(flow, slot, clamp_stamp(p.stamp_ns), false);
  const FlowFlag seen = from_initiator ? kFinInitiator : kFinResponder;
  if (!flow.has(seen)) observe_first_end(flow, clamp_stamp(p.stamp_ns), from_initiator);
  flow.set(seen);
  if (!flow.has(kFinInitiator) || !flow.has(kFinResponder)) return;
  end_flow(flow, slot);
  // While bytes of the responder are missing, they may be the reply, overtaken by its FIN.
  if (flow.tcp.missing_bytes(1) == 0) give_up_connection(flow, slot);
}

/// Follows the sequence numbers. True: ignore the payload, because it was seen before.
bool FlowTable::observe_sequence(HotRecord& flow, uint32_t slot, const ParsedPacket& p,
                                 bool from_initiator, int64_t previous_ns) {
  if (!p.has_tcp_header || (p.tcp_flags & kTcpRst) != 0) return false;
  const FlowFlag known = from_initiator ? kSequenceInitiator : kSequenceResponder;
  const size_t side = from_initiator ? 0 : 1;
  if (p.first_fragment) {  // the length of the whole segment is not known
    flow.clear(known);
    return false;
  }
  uint32_t length = p.payload_bytes;
  if ((p.tcp_flags & kTcpSyn) != 0) ++length;
  if ((p.tcp_flags & kTcpFin) != 0) ++length;
  if (length == 0) {
    if (flow.tcp.missing_bytes(1 - side) != 0) [[unlikely]]
      observe_acknowledgment(flow, 1 - side, p);
    return false;
  }
  uint32_t& next = cold_[slot].next_sequence[side];
  const uint32_t missing = flow.tcp.missing_bytes(side);
  const uint32_t end = p.tcp_sequence + length;
  if (!flow.has(known)) {
    flow.set(known);
    next = end;
    return false;
  }
  const auto ahead = static_cast<int32_t>(p.tcp_sequence - next);
  if (ahead >= 0) {
    if (ahead > 0) [[unlikely]] {
      open_hole(flow, side, next, p.tcp_sequence, clamp_stamp(p.stamp_ns));
      flow.tcp.set_missing_bytes(side, uint64_t{missing} + static_cast<uint32_t>(ahead));
    }
    next = end;
    return false;
  }
  if (ahead == -1 && length == 1 && p.payload_bytes == 1) return true;  // a keep-alive probe
  const bool brings_news = static_cast<int32_t>(end - next) > 0;
  const int64_t stamp_ns = clamp_stamp(p.stamp_ns);
  const HoleFilling filling =
      missing == 0 ? HoleFilling::kNone : fill_hole(flow, side, p.tcp_sequence, end, stamp_ns);
  const bool is_reordered =
      (filling == HoleFilling::kFirstSeen || filling == HoleFilling::kUnknown) &&
      stamp_ns - previous_ns <= kReorderNs;
  if (is_reordered) {
    ++interval_.tcp_out_of_order;
  } else {
    flow.count_retransmission();
    ++interval_.tcp_retransmissions;
  }
  if (filling != HoleFilling::kNone) {
    flow.tcp.set_missing_bytes(
        side, missing - std::min(missing, std::min(length, next - p.tcp_sequence)));
  }
  if (brings_news) next = end;
  // Payload that fills a hole was not seen before, however late it is, so it may be the reply.
  const bool is_late_reply =
      !from_initiator && (filling == HoleFilling::kFirstSeen || filling == HoleFilling::kSentAgain);
  return !brings_news && !is_reordered && !is_late_reply;
}

FlowTable::Holes* FlowTable::holes_of(const HotRecord& flow, size_t side) {
  if (holes_.empty()) return nullptr;
  Holes& holes = holes_[(size_t{slot_of(flow)} * 2 + side) % kHoles];
  return holes.flow_id == flow.id() && holes.side == side ? &holes : nullptr;
}

/// The sequence numbers from `begin` to `end` were skipped.
void FlowTable::open_hole(const HotRecord& flow, size_t side, uint32_t begin, uint32_t end,
                          int64_t stamp_ns) {
  if (holes_.empty()) holes_.resize(kHoles);
  Holes* holes = holes_of(flow, side);
  if (holes == nullptr || flow.tcp.missing_bytes(side) == 0) {
    holes = &holes_[(size_t{slot_of(flow)} * 2 + side) % kHoles];
    *holes = {flow.id(), side, flow.tcp.missing_bytes(side) == 0, {}};
  }
  Hole* place = &holes->holes[0];
  for (Hole& hole : holes->holes) {
    if (place->begin == place->end) break;
    if (hole.begin == hole.end || hole.opened_ns < place->opened_ns) place = &hole;
  }
  holes->are_all &= place->begin == place->end;
  *place = {begin, end, stamp_ns, 0};
}

/// Handles a segment without data from the end that misses the data of the holes of `side`.
void FlowTable::observe_acknowledgment(const HotRecord& flow, size_t side, const ParsedPacket& p) {
  if ((p.tcp_flags & kTcpAck) == 0) return;
  Holes* holes = holes_of(flow, side);
  if (holes == nullptr) return;
  const auto asks_for = [&](const Hole& hole) {
    return hole.begin != hole.end && hole.begin == p.tcp_acknowledgment;
  };
  if (std::none_of(holes->holes.begin(), holes->holes.end(), asks_for)) return;
  // An ACK for the first hole also reports the holes behind it, in its SACK blocks.
  for (Hole& hole : holes->holes)
    hole.duplicate_acks += static_cast<int32_t>(hole.begin - p.tcp_acknowledgment) >= 0;
}

/// Removes the bytes of a segment from the holes.
FlowTable::HoleFilling FlowTable::fill_hole(const HotRecord& flow, size_t side, uint32_t begin,
                                            uint32_t end, int64_t stamp_ns) {
  Holes* holes = holes_of(flow, side);
  if (holes == nullptr) return HoleFilling::kUnknown;
  const auto is_before = [](uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; };
  const int64_t handshake_ns = flow.tcp.handshake_ns();
  HoleFilling filling = holes->are_all ? HoleFilling::kNone : HoleFilling::kUnknown;
  for (Hole& hole : holes->holes) {
    if (hole.begin == hole.end || !is_before(begin, hole.end) || !is_before(hole.begin, end))
      continue;
    if (hole.duplicate_acks >= kDuplicateAcks ||
        (handshake_ns != 0 && stamp_ns - hole.opened_ns > handshake_ns)) {
      filling = HoleFilling::kSentAgain;
    } else if (filling != HoleFilling::kSentAgain) {
      filling = HoleFilling::kFirstSeen;
    }
    if (is_before(hole.begin, begin) && is_before(end, hole.end)) {
      const Hole rest{end, hole.end, hole.opened_ns, hole.duplicate_acks};
      hole.end = begin;
      for (Hole& place : holes->holes) {
        if (place.begin != place.end) continue;
        place = rest;
        return filling;
      }
      holes->are_all = false;
      return filling;
    }
    if (is_before(hole.begin, begin)) {
      hole.end = begin;
    } else {
      hole.begin = is_before(end, hole.end) ? end : hole.end;
    }
  }
  return filling;
}

// --- which end asks ---

/// Finds the initiator of a new flow. A SYN comes from the initiator, a SYN+ACK from the responder.
void FlowTable::orient(HotRecord& flow, const ParsedPacket& p) {
  const bool is_tcp = p.key.protocol() == kProtocolTcp;
  const bool syn = p.has_tcp_header && (p.tcp_flags & kTcpSyn) != 0;
  const bool answers = syn && (p.tcp_flags & kTcpAck) != 0;
  if (p.from_low != answers) flow.set(kInitiatorIsLow);
  if (answers) known_ends_.note_responder(p.key, p.from_low, seed_);
  if (syn) return;
  // Answers to a group come from another address, so on another flow.
  if (!is_tcp && is_group(p.key, p.from_low ? p.key.high : p.key.low)) {
    flow.turn_kind = kMultiplexed;
    return;
  }
  if (!is_tcp && clamp_stamp(p.stamp_ns) - seen_from_ns_ > kJoinedMidwayNs) [[likely]]
    return;
  Asker asker = asker_by_payload(p);
  if (asker == Asker::kUnknown) asker = known_ends_.asker_by_responders(p, seed_);
  if (asker == Asker::kUnknown) asker = asker_by_ports(p);
  if (asker == Asker::kUnknown) asker = known_ends_.asker_by_sharing(p, seed_);
  if (asker == Asker::kUnknown) {
    flow.set(kEndsGuessed);
    known_ends_.note_flow(p.key, seed_);
    return;
  }
  const bool initiator_is_low = p.from_low == (asker == Asker::kSender);
  if (initiator_is_low != flow.has(kInitiatorIsLow))
    flow.flags = static_cast<uint16_t>(flow.flags ^ kInitiatorIsLow);
  known_ends_.note_responder(p.key, !initiator_is_low, seed_);
}

/// Looks for evidence in one more packet of a flow whose initiator is a guess so far.
void FlowTable::look_at_ends(HotRecord& flow, uint32_t slot, const ParsedPacket& p,
                             GroupCounts& group) {
  if (p.from_low == flow.has(kInitiatorIsLow) &&
      flow.packets(0) + flow.packets(1) >= kPacketsToTell)
    return;
  Asker asker = asker_by_payload(p);
  if (asker == Asker::kUnknown) asker = known_ends_.asker_by_responders(p, seed_);
  if (asker == Asker::kUnknown) asker = known_ends_.asker_by_sharing(p, seed_);
  if (asker == Asker::kUnknown) return;
  const bool initiator_is_low = p.from_low == (asker == Asker::kSender);
  if (initiator_is_low != flow.has(kInitiatorIsLow)) {
    const ColdRecord& cold = cold_[slot];
    const bool was_judged = period_ns(flow) != 0 && flow.lateness_max != kNoLateness;
    if (cold.unanswered != 0 || was_judged || flow.has(kEnded))
      return;  // it has entered a number already
    turn_ends(flow, slot, group);
  }
  flow.clear(kEndsGuessed);
  known_ends_.note_responder(p.key, !initiator_is_low, seed_);
}

/// The flow enters a number while its initiator is a guess, so it remains a guess.
void FlowTable::settle_guess(HotRecord& flow) {
  flow.clear(kEndsGuessed);
  const bool is_tcp = flow.key.protocol() == kProtocolTcp;
  const int64_t first_ns = cold_[slot_of(flow)].first_ns;
  if (!is_tcp && (!begin_is_known_ || first_ns - seen_from_ns_ > options_.reply_timeout_ns)) return;
  ++ends_guessed_;
  if (guesses_.size() < kGuessesKept) guesses_.push_back({flow.key, !flow.has(kInitiatorIsLow)});
}

int64_t FlowTable::take_ends_guessed() {
  ends_guessed_ -= static_cast<int64_t>(std::erase_if(guesses_, [&](const Guess& guess) {
    return known_ends_.only_responder(guess.key, guess.responder_is_low, seed_);
  }));
  return std::exchange(ends_guessed_, 0);
}

/// swap_ends() for a connection that continues: also swaps what is known of each direction.
void FlowTable::turn_ends(HotRecord& flow, uint32_t slot, GroupCounts& group) {
  const bool is_tcp = flow.key.protocol() == kProtocolTcp;
  if (cold_[slot].first_ns >= interval_.begin_ns) {  // all in this interval, so it can be undone
    const size_t at = is_tcp ? 2 : 0;
    const uint64_t packets = flow.packets(1) - flow.packets(0);
    const uint64_t bytes = flow.bytes(1) - flow.bytes(0);
    group.packets[at] += packets;
    group.packets[at + 1] -= packets;
    group.bytes[at] += bytes;
    group.bytes[at + 1] -= bytes;
  }
  swap_ends(flow, slot);
  if (!is_tcp) return;
  flow.tcp.swap_missing_bytes();
  for (const size_t side : {0u, 1u}) {
    if (Holes* holes = holes_of(flow, side)) *holes = {};  // these belong to the other side now
  }
  std::swap(cold_[slot].next_sequence[0], cold_[slot].next_sequence[1]);
  const auto exchange = [&](FlowFlag one, FlowFlag other) {
    if (flow.has(one) == flow.has(other)) return;
    flow.flags = static_cast<uint16_t>(flow.flags ^ (one | other));
  };
  exchange(kFinInitiator, kFinResponder);
  exchange(kSequenceInitiator, kSequenceResponder);
}

/// The other end turned out to be the initiator: swaps the counts of the two sides, and drops what
/// was wrongly taken for messages and requests.
void FlowTable::swap_ends(HotRecord& flow, uint32_t slot) {
  flow.flags = static_cast<uint16_t>(flow.flags ^ kInitiatorIsLow);
  flow.swap_counts();
  if (payload_.size() != 0) std::swap(payload_[slot][0], payload_[slot][1]);
  drop_requests(flow, true);
  calls_.end_flow(slot);
  start_messages(flow);
  flow.turn_kind = kUnseen;
  flow.is_answered = false;
  flow.is_http = false;
}

// --- super-packets and fragments ---

void FlowTable::count_super_packet(const ParsedPacket& p, bool is_tcp) {
  if (p.payload_bytes == 0 || p.first_fragment) return;
  const uint64_t most = segment_max_[is_tcp ? 1 : 0];
  ++interval_.super_packets;
  interval_.super_packet_segments += (p.payload_bytes + most - 1) / most;
}

void FlowTable::remember_datagram(const ParsedPacket& p, uint32_t slot) {
  if (datagrams_.empty()) datagrams_.resize(kDatagrams);
  datagrams_[multiply_fold(p.datagram_id, seed_.words[0]) % kDatagrams] = {p.datagram_id,
                                                                           hot_[slot].id(), slot};
}

void FlowTable::observe_later_fragment(const ParsedPacket& p) {
  if (datagrams_.empty() || p.datagram_id == 0) return;
  const DatagramEntry& entry =
      datagrams_[multiply_fold(p.datagram_id, seed_.words[0]) % kDatagrams];
  if (entry.datagram_id != p.datagram_id) return;
  HotRecord& flow = hot_[entry.slot];
  if (flow.is_free() || flow.id() != entry.flow_id) return;
  touch(flow, clamp_stamp(p.stamp_ns));
  interval_.active_flows_max = std::max(interval_.active_flows_max, active_.count());
}

// --- the table ---

uint32_t FlowTable::find(const PacketKey& key, uint32_t hash) const {
  size_t at = index_home(hash);
  while (true) {
    const LineMatch match = match_line(&index_[at], hash);
    for (uint32_t left = match.matches; left != 0; left &= left - 1) {
      const auto i = static_cast<size_t>(std::countr_zero(left));
      const uint32_t slot = index_[at + i].slot_plus_one - 1;
      if (hot_[slot].key == key) return slot;
    }
    if (match.empty != 0) return SilenceWheel::kNone;
    if ((at += kLineEntries) == index_size()) at = 0;
  }
}

void FlowTable::make_ready(uint64_t slots) {
  slots = std::min<uint64_t>(slots, options_.max_flows);
  hot_.prepare(slots);
  cold_.prepare(slots);
  if (payload_.size() != 0) payload_.prepare(slots);
}

uint32_t FlowTable::insert(const ParsedPacket& p, uint32_t hash) {
  if (flow_count_ >= options_.max_flows) CHECK(evict_one());
  if ((flow_count_ + 1) * 5 > index_size() * 4) grow_index();

  uint32_t slot = free_slot_;
  if (slot != SilenceWheel::kNone) {
    free_slot_ = hot_[slot].link;
    slots_in_order_ = false;
  } else {
    slot = slots_used_++;
    slots_told_.store(slots_used_, std::memory_order_relaxed);
    make_ready(slots_used_);
  }
  calls_.begin_flow(slot);
  const int64_t stamp_ns = clamp_stamp(p.stamp_ns);
  HotRecord& flow = hot_[slot];
  flow = HotRecord{};
  flow.key = p.key;
  flow.last_ns = stamp_ns;
  flow.message_ns = HotRecord::kNoMessage;
  flow.lateness_max = kNoLateness;
  flow.set_id(next_id_++);
  orient(flow, p);
  cold_[slot] = ColdRecord{};
  if (payload_.size() != 0) payload_[slot] = {};
  cold_[slot].first_ns = stamp_ns;
  cold_[slot].lateness_last = kNoLateness;

  index_insert(hash, slot);
  ++flow_count_;
  ++live_count_;
  if (wheels_on_) wheels_[kWeak].push(slot);  // the standing is checked when the tick is taken
  return slot;
}

void FlowTable::index_insert(uint32_t hash, uint32_t slot) {
  size_t at = index_home(hash);
  uint32_t empty = 0;
  while ((empty = match_line(&index_[at], hash).empty) == 0) {
    if ((at += kLineEntries) == index_size()) at = 0;
  }
  set_index(at + static_cast<size_t>(std::countr_zero(empty)), {hash, slot + 1});
}

void FlowTable::index_erase(uint32_t hash, uint32_t slot) {
  size_t at = index_home(hash);
  while (index_[at].slot_plus_one != slot + 1) {
    CHECK(index_[at].slot_plus_one != 0);
    if (++at == index_size()) at = 0;
  }
  // Fill the gap with entries that probed past it, so no tombstones are needed.
  const auto distance = [this](size_t from, size_t to) {
    return to >= from ? to - from : to + index_size() - from;
  };
  size_t hole = at;
  while (true) {
    if (++at == index_size()) at = 0;
    const IndexEntry& entry = index_[at];
    if (entry.slot_plus_one == 0) break;
    if (distance(index_home(entry.hash), at) >= distance(hole, at)) {
      set_index(hole, entry);
      hole = at;
    }
  }
  set_index(hole, {});
}

/// Grows the index by a quarter, in place, in one pass over the stored hashes from the back. This
/// takes a few ms at a million flows, for which the kernel's ring has room.
void FlowTable::grow_index() {
  const size_t lines = index_lines();
  const size_t lines_after = std::min(lines + lines / 4, index_.size() / kLineEntries);
  index_.prepare(lines_after * kLineEntries);
  index_lines_.store(lines_after, std::memory_order_relaxed);
  // Lines that the pass has left behind only fill up, so an entry whose home is one of them can be
  // placed for good. The others, near the front and wrapped round the end, wait.
  std::vector<IndexEntry> waiting;
  for (size_t line = lines; line-- > 0;) {
    std::array<IndexEntry, kLineEntries> entries;
    std::memcpy(entries.data(), &index_[line * kLineEntries], sizeof entries);
    for (size_t i = 0; i < kLineEntries; ++i) set_index(line * kLineEntries + i, {});
    for (const IndexEntry& entry : entries) {
      if (entry.slot_plus_one == 0) continue;
      size_t at = index_home(entry.hash);
      uint32_t empty = 0;
      if (at >= line * kLineEntries) {
        while (at < index_size() && (empty = match_line(&index_[at], 0).empty) == 0)
          at += kLineEntries;
      }
      if (empty == 0) {
        waiting.push_back(entry);
      } else {
        set_index(at + static_cast<size_t>(std::countr_zero(empty)), entry);
      }
    }
  }
  for (const IndexEntry& entry : waiting) index_insert(entry.hash, entry.slot_plus_one - 1);
}

void FlowTable::remove(uint32_t slot) {
  HotRecord& flow = hot_[slot];
  settle_silence(flow, slot);
  give_up_overdue(flow, slot);
  drop_requests(flow, false);
  if (flow.has(kChanged)) {
    --changed_count_;
    if (departed_.size() < rows_per_interval_) {
      departed_.push_back(row(slot));
    } else if (rows_per_interval_ > 0) {
      ++departed_lost_;
    }
  }
  active_.remove(flow.last_ns);
  give_up_syn(flow, slot);
  answer_syn(flow);
  calls_.end_flow(slot);
  if (!flow.has(kEnded)) --live_count_;
  seconds_.forget(slot);
  index_erase(static_cast<uint32_t>(hash_key(flow.key, seed_) >> 32), slot);
  flow = HotRecord{};
  flow.message_ns = HotRecord::kNoMessage;
  flow.link = free_slot_;
  free_slot_ = slot;
  --flow_count_;
}

void FlowTable::clear() {
  for (uint32_t slot = 0; slot < slots_used_; ++slot) {
    if (hot_[slot].is_free()) continue;
    end_flow(hot_[slot], slot);
    remove(slot);
  }
  for (auto& victims : victims_) victims.clear();
  for (SilenceWheel& wheel : wheels_) wheel = SilenceWheel(hot_.data(), wheel.tick_ns());
  known_ends_ = {};
  guesses_.clear();
  seen_from_ns_ = now_ns_;
}

// --- silence ---

FlowTable::Standing FlowTable::standing(const HotRecord& flow) {
  if (flow.key.protocol() == kProtocolTcp) return flow.has(kHalfOpen) ? kWeak : kTalker;
  return flow.packets(0) + flow.packets(1) <= 1 ? kWeak : kTalker;
}

/// Whether the flow has been silent for the idle timeout.
bool FlowTable::is_idle(const HotRecord& flow) const {
  return options_.idle_timeout_ns != 0 && now_ns_ - flow.last_ns >= options_.idle_timeout_ns;
}

/// Without an idle timeout, the wheels are not needed until the table is full.
void FlowTable::start_wheels() {
  wheels_on_ = true;
  for (uint32_t slot = 0; slot < slots_used_; ++slot) {
    if (!hot_[slot].is_free()) wheels_[standing(hot_[slot])].push(slot);
  }
}

bool FlowTable::evict_one() {
  if (!wheels_on_) start_wheels();
  for (const Standing wanted : {kWeak, kTalker}) {
    auto& victims = victims_[wanted];
    auto& wheel = wheels_[wanted];
    while (true) {
      while (!victims.empty()) {
        const Victim victim = victims.back();
        victims.pop_back();
        HotRecord& flow = hot_[victim.slot];
        if (standing(flow) != wanted || flow.last_ns != victim.last_ns) {
          wheels_[standing(flow)].push(victim.slot);
          continue;
        }
        if (!flow.has(kEnded) && flow.has(kHalfOpen) && is_idle(flow)) {
          end_flow(flow, victim.slot);  // it only stayed in case its SYN is sent again
        } else if (!flow.has(kEnded)) {
          ++interval_.evicted_flows;
          if (active_.covers(flow.last_ns)) {
            interval_.active_is_lower_bound = true;
            lower_bound_until_ns_ =
                std::max(lower_bound_until_ns_, flow.last_ns + options_.window_ns);
          }
        }
        remove(victim.slot);
        return true;
      }
      if (wheel.empty()) break;
      const int64_t tick_end_ns = wheel.oldest_end_ns();
      victims_expire_ns_[wanted] = tick_end_ns + options_.idle_timeout_ns;
      uint32_t slot = wheel.take_oldest();
      while (slot != SilenceWheel::kNone) {
        const uint32_t next = hot_[slot].link;
        const HotRecord& flow = hot_[slot];
        if (standing(flow) == wanted && flow.last_ns < tick_end_ns) {
          victims.push_back({flow.last_ns, flow.id(), slot});
        } else {
          wheels_[standing(flow)].push(slot);
        }
        slot = next;
      }
      std::sort(victims.begin(), victims.end(), [](const Victim& a, const Victim& b) {
        return std::pair(a.last_ns, a.id) > std::pair(b.last_ns, b.id);
      });
    }
  }
  return false;
}

void FlowTable::expire(int64_t now_ns) {
  for (size_t i = 0; i < kStandings; ++i) {
    auto& victims = victims_[i];
    // Flows taken out for eviction expire as if they were still in their tick.
    if (victims.empty() || victims_expire_ns_[i] > now_ns) continue;
    for (const Victim& victim : victims) wheels_[standing(hot_[victim.slot])].push(victim.slot);
    victims.clear();
  }
  for (SilenceWheel& wheel : wheels_) {
    while (!wheel.empty() && wheel.oldest_end_ns() + options_.idle_timeout_ns <= now_ns) {
      const int64_t tick_end_ns = wheel.oldest_end_ns();
      uint32_t slot = wheel.take_oldest();
      while (slot != SilenceWheel::kNone) {
        HotRecord& flow = hot_[slot];
        const uint32_t next = flow.link;
        if (flow.last_ns >= tick_end_ns) {
          wheels_[standing(flow)].push(slot);
        } else if (const int64_t ends_ns = flow.last_ns + kSynPatienceNs;
                   flow.has(kHalfOpen) && ends_ns > now_ns) {
          // Check again later: its SYN may have been answered by then.
          wheels_[kWeak].push_as_of(slot, std::min(now_ns, ends_ns - options_.idle_timeout_ns));
        } else {
          end_flow(flow, slot);
          remove(slot);
        }
        slot = next;
      }
    }
  }
}

// --- what comes out ---

void FlowTable::note_changed(HotRecord& flow, uint32_t slot) {
  if (flow.has(kChanged)) return;
  flow.set(kChanged);
  ++changed_count_;
  changed_.push_back(slot);
  if (changed_.size() - changed_first_ > 2 * flow_count_ + 65'536) {
    // Flows that left are still listed: keep only those that are still here.
    changed_.clear();
    changed_first_ = 0;
    for (uint32_t i = 0; i < slots_used_; ++i) {
      if (hot_[i].has(kChanged)) changed_.push_back(i);
    }
  }
}

uint64_t FlowTable::take_changed(std::vector<FlowRow>& rows, uint64_t most) {
  rows.clear();
  rows.swap(departed_);
  rows.reserve(std::min<uint64_t>(most, rows.size() + changed_count_));
  while (rows.size() < most && changed_first_ < changed_.size()) {
    const uint32_t slot = changed_[changed_first_++];
    HotRecord& flow = hot_[slot];
    if (!flow.has(kChanged)) continue;  // the flow that was queued has left
    flow.clear(kChanged);
    --changed_count_;
    rows.push_back(row(slot));
  }
  if (changed_first_ * 2 >= changed_.size()) {
    changed_.erase(changed_.begin(), changed_.begin() + static_cast<int64_t>(changed_first_));
    changed_first_ = 0;
  }
  return changed_count_;
}

FlowInterval FlowTable::take_interval(int64_t end_ns) {
  if (!begun_) begin(end_ns);
  advance(end_ns);
  if (declared_period_ns_ != 0 || learned_any_) count_silence(end_ns);
  if (rows_per_interval_ != 0 && run_out_) note_run_out();
  ask_unsure();
  // Wrong counts of earlier intervals are subtracted from later requests.
  const uint64_t none = std::min(no_requests_, interval_.requests);
  interval_.requests -= none;
  no_requests_ -= none;
  interval_.end_ns = end_ns;
  interval_.active_flows = active_.count();
  interval_.active_flows_max = std::max(interval_.active_flows_max, active_.count());
  interval_.live_flows = live_count_;
  interval_.tcp_half_open = half_open_;
  for (const uint32_t slot : late_slots_) hot_[slot].clear(kLateInInterval);
  late_slots_.clear();

  totals_.merge(interval_);
  totals_.late_flows = late_flows_total_;  // distinct flows: neither sum nor maximum is right
  FlowInterval closed = std::move(interval_);
  interval_ = empty_interval();
  interval_.begin_ns = interval_.end_ns = end_ns;
  // The next interval's maximum starts at the flows that are active now.
  interval_.active_flows_max = active_.count();
  interval_.active_is_lower_bound = lower_bound_until_ns_ > end_ns;
  return closed;
}

FlowRow FlowTable::row(uint32_t slot) const {
  const HotRecord& hot = hot_[slot];
  const ColdRecord& cold = cold_[slot];
  FlowRow out;
  out.id = hot.id();
  out.key = hot.key.to_flow_key();
  out.initiator_is_low = hot.has(kInitiatorIsLow);
  out.ended = hot.has(kEnded);
  out.first_ns = cold.first_ns;
  out.last_ns = hot.last_ns;
  out.packets = {hot.packets(0), hot.packets(1)};
  out.bytes = {hot.bytes(0), hot.bytes(1)};
  if (payload_.size() != 0) out.payload_bytes = {payload_[slot][0], payload_[slot][1]};
  const int64_t period = period_ns(hot);
  if (period != 0) out.period_ns = period;
  if (period != 0 && hot.lateness_max != kNoLateness) {
    out.lateness_last_ns = PackedSignedDuration::unpack(cold.lateness_last);
    out.lateness_max_ns = PackedSignedDuration::unpack(hot.lateness_max);
  }
  const uint64_t missed = missed_since_message(hot, period, now_ns_);
  out.silent = missed >= kSilentTicks;
  out.missed_ticks = cold.missed_ticks + missed;
  out.replies = cold.replies;
  out.reply_latency_sum_ns = cold.reply_sum_ns;
  if (cold.replies != 0) {
    out.reply_latency_max_ns = PackedDuration::unpack(cold.reply_max);
    out.reply_latency_last_ns = PackedDuration::unpack(cold.reply_last);
  }
  out.unanswered = cold.unanswered;
  // The record counts a timed-out request only when it is closed; the row includes it earlier.
  if (hot.has(kRequestOpen)) {
    out.unanswered += ran_out(first_request(hot));
    if (has_queue(hot)) {
      more_requests_.for_each(queue_of(hot),
                              [&](const OpenRequest& r) { out.unanswered += ran_out(r); });
    }
  }
  out.retransmissions = hot.retransmissions();
  return out;
}

void FlowTable::for_each_flow(const std::function<void(const FlowRow&)>& visit) const {
  if (slots_in_order_) {
    for (uint32_t slot = 0; slot < slots_used_; ++slot) {
      if (!hot_[slot].is_free()) visit(row(slot));
    }
    return;
  }
  std::vector<std::pair<uint64_t, uint32_t>> order;
  order.reserve(flow_count_);
  for (uint32_t slot = 0; slot < slots_used_; ++slot) {
    if (!hot_[slot].is_free()) order.emplace_back(hot_[slot].id(), slot);
  }
  std::sort(order.begin(), order.end());
  for (const auto& [id, slot] : order) visit(row(slot));
}

}  // namespace topspin
