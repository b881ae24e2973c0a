#include "capture/flow_table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include <sys/random.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace topspin {
namespace {

constexpr uint64_t kFlowsMax = UINT32_MAX - 1;  // slots are 32 bits, and one of them means none
constexpr size_t kIndexMin = 1024;
constexpr int64_t kReorderNs = 3 * kNanosPerMilli;
constexpr size_t kDatagrams = 1024;  // datagrams whose later fragments may still come

void prefetch(const void* address) { __builtin_prefetch(address, 1, 3); }

void prefetch_record(const HotRecord& hot, const ColdRecord& cold) {
  const auto* bytes = reinterpret_cast<const char*>(&hot);
  prefetch(bytes);
  prefetch(bytes + 64);
  // Records lie across lines: the part that a packet touches most stands at the end.
  bytes = reinterpret_cast<const char*>(&cold);
  prefetch(bytes + kColdOftenAt);
  prefetch(bytes + sizeof(ColdRecord) - 1);
}

uint32_t middle(uint32_t a, uint32_t b, uint32_t c) {
  return std::max(std::min(a, b), std::min(std::max(a, b), c));
}

/// The median of the gaps known; 0 if there are fewer than kGapsToLearn.
[[gnu::always_inline]] inline int64_t median_gap(const std::array<uint32_t, kGapsKept>& g) {
  // Packed durations are in the order of what they stand for.
  if (g[4] != 0) [[likely]] {
    const uint32_t low = std::max(std::min(g[0], g[1]), std::min(g[2], g[3]));
    const uint32_t high = std::min(std::max(g[0], g[1]), std::max(g[2], g[3]));
    return PackedDuration::unpack(middle(low, high, g[4]));
  }
  if (g[3] != 0) {
    auto sorted = std::array{g[0], g[1], g[2], g[3]};
    std::sort(sorted.begin(), sorted.end());
    return (PackedDuration::unpack(sorted[1]) + PackedDuration::unpack(sorted[2])) / 2;
  }
  if (g[2] != 0) return PackedDuration::unpack(middle(g[0], g[1], g[2]));
  return 0;
}

uint32_t& saturating_add(uint32_t& counter, uint64_t n) {
  counter = static_cast<uint32_t>(std::min<uint64_t>(counter + n, UINT32_MAX));
  return counter;
}

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

}  // namespace

HashSeed HashSeed::random() {
  HashSeed seed;
  // Up to 256 bytes come whole, once the kernel's generator is up; it is, long before us.
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
  TOPSPIN_ASSIGN(auto hot, MappedArray<HotRecord>::create(options.max_flows, Filling::kFromFront));
  TOPSPIN_ASSIGN(auto cold,
                 MappedArray<ColdRecord>::create(options.max_flows, Filling::kFromFront));
  MappedArray<PayloadRecord> payload;
  if (options.count_payload) {
    TOPSPIN_ASSIGN(payload,
                   MappedArray<PayloadRecord>::create(options.max_flows, Filling::kFromFront));
  }
  TOPSPIN_ASSIGN(auto index, MappedArray<IndexEntry>::create(kIndexMin, Filling::kEverywhere));
  return std::unique_ptr<FlowTable>(new FlowTable(options, rows_per_interval, seed, std::move(hot),
                                                  std::move(cold), std::move(payload),
                                                  std::move(index)));
}

FlowTable::FlowTable(const FlowTableOptions& options, uint64_t rows_per_interval,
                     const HashSeed& seed, MappedArray<HotRecord> hot, MappedArray<ColdRecord> cold,
                     MappedArray<PayloadRecord> payload, MappedArray<IndexEntry> index)
    : options_(options),
      rows_per_interval_(rows_per_interval),
      seed_(seed),
      hot_(std::move(hot)),
      cold_(std::move(cold)),
      payload_(std::move(payload)),
      index_(std::move(index)),
      index_lines_(index_.size() / kLineEntries),
      segment_max_{options.segment_bytes.value_or(UINT32_MAX),
                   options.segment_bytes.value_or(UINT32_MAX)},
      active_(options.window_ns),
      requests_(options.reply_timeout_ns),
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
  now_ns_ = now_ns;
  active_.advance(now_ns);
  interval_.unanswered += requests_.advance(now_ns);
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
      prefetch_record(hot_[lookup.candidate], cold_[lookup.candidate]);
      if (payload_.size() != 0) prefetch(&payload_[lookup.candidate]);
      return;
    }
    if (match.empty != 0) return;
    if ((at += kLineEntries) == index_size()) at = 0;
  }
}

void FlowTable::observe(std::span<const ParsedPacket> packets, std::span<const Lookup> lookups) {
  if (!begun_ && !packets.empty()) begin(clamp_stamp(packets.front().stamp_ns));
  GroupCounts group;
  uint64_t bytes = 0, ipv4 = 0, ipv6 = 0, backwards = 0;
  for (size_t i = 0; i < packets.size(); ++i) {
    const ParsedPacket& p = packets[i];
    if (p.stamp_ns > now_ns_) move_time(clamp_stamp(p.stamp_ns));
    backwards += p.stamp_ns < latest_stamp_ns_;
    latest_stamp_ns_ = std::max(latest_stamp_ns_, p.stamp_ns);
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

  // Who speaks. A bare SYN from the other end of a flow joined midway names the initiator.
  if (is_tcp && (p.tcp_flags & (kTcpSyn | kTcpAck)) == kTcpSyn && !flow.has(kSynSeen) &&
      p.from_low != flow.has(kInitiatorIsLow)) {
    swap_ends(flow, slot);
  }
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
  if (from_initiator) observe_gap(flow, slot, stamp_ns);
  if (p.payload_bytes != 0 && !is_repeat) observe_payload(flow, slot, stamp_ns, from_initiator);
}

/// The flow spoke: its mark in the window moves.
inline void FlowTable::touch(HotRecord& flow, int64_t stamp_ns) {
  if (stamp_ns <= flow.last_ns) return;
  active_.move(flow.last_ns, stamp_ns);
  flow.last_ns = stamp_ns;
}

inline std::optional<int64_t> FlowTable::period_ns(const HotRecord& flow) const {
  if (options_.period_ns) return options_.period_ns;
  const int64_t median = median_gap(flow.gaps);
  return median > 0 ? std::optional(median) : std::nullopt;
}

inline void FlowTable::observe_gap(HotRecord& flow, uint32_t slot, int64_t stamp_ns) {
  if (flow.initiator_last_ns == kNoTime) {
    flow.initiator_last_ns = stamp_ns;
    return;
  }
  if (stamp_ns < flow.initiator_last_ns) return;
  const int64_t gap = stamp_ns - flow.initiator_last_ns;
  flow.initiator_last_ns = stamp_ns;
  const std::optional<int64_t> period = period_ns(flow);
  if (!options_.period_ns) {
    std::memmove(&flow.gaps[1], &flow.gaps[0], (kGapsKept - 1) * sizeof flow.gaps[0]);
    flow.gaps[0] = PackedDuration::pack(static_cast<uint64_t>(std::max<int64_t>(gap, 1)));
  }
  if (!period) return;

  // k = max(1, round(gap / period)); the divide is for those who missed a tick.
  int64_t lateness = gap - *period;
  if (lateness >= *period - lateness) [[unlikely]] {
    const auto twice = static_cast<uint64_t>(gap) * 2;
    const auto k = static_cast<int64_t>((twice / static_cast<uint64_t>(*period) + 1) / 2);
    if (k > 1) {
      lateness = gap - k * *period;
      interval_.missed_ticks += static_cast<uint64_t>(k - 1);
      saturating_add(cold_[slot].missed_ticks, static_cast<uint64_t>(k - 1));
    }
  }
  interval_.lateness.record(lateness);
  const int32_t packed = PackedSignedDuration::pack(lateness);
  cold_[slot].lateness_last = packed;
  flow.lateness_max = std::max(flow.lateness_max, packed);
  if (lateness > *period / 10 && !flow.has(kLateInInterval)) {
    flow.set(kLateInInterval);
    late_slots_.push_back(slot);
    ++interval_.late_flows;
    if (!flow.has(kLateEver)) {
      flow.set(kLateEver);
      ++late_flows_total_;
    }
  }
}

inline void FlowTable::observe_payload(HotRecord& flow, uint32_t slot, int64_t stamp_ns,
                                       bool from_initiator) {
  if (flow.has(kRequestOpen) && !requests_.covers(flow.request_ns)) {
    // It ran out, and was counted then.
    flow.clear(kRequestOpen);
    saturating_add(cold_[slot].unanswered, 1);
  }
  if (from_initiator) {
    if (flow.has(kRequestOpen)) return;  // the oldest stays
    if (!requests_.covers(stamp_ns)) {   // stamped so long ago that it ran out before it came
      ++interval_.unanswered;
      saturating_add(cold_[slot].unanswered, 1);
      return;
    }
    flow.request_ns = stamp_ns;
    flow.set(kRequestOpen);
    requests_.add(stamp_ns);
    return;
  }
  if (!flow.has(kRequestOpen)) return;
  requests_.remove(flow.request_ns);
  flow.clear(kRequestOpen);
  if (stamp_ns < flow.request_ns) return;  // time went backwards between them: no measure
  const int64_t latency = stamp_ns - flow.request_ns;
  interval_.reply_latency.record(static_cast<uint64_t>(latency));
  ColdRecord& cold = cold_[slot];
  saturating_add(cold.replies, 1);
  cold.reply_sum_ns += latency;
  cold.reply_last = PackedDuration::pack(static_cast<uint64_t>(latency));
  cold.reply_max = std::max(cold.reply_max, cold.reply_last);
}

/// A request whose connection is gone will not be answered.
void FlowTable::give_up_request(HotRecord& flow, uint32_t slot) {
  if (!flow.has(kRequestOpen)) return;
  flow.clear(kRequestOpen);
  saturating_add(cold_[slot].unanswered, 1);
  if (requests_.covers(flow.request_ns)) {
    requests_.remove(flow.request_ns);
    ++interval_.unanswered;
  }
}

// --- TCP ---

void FlowTable::answer_syn(HotRecord& flow) {
  if (!flow.has(kHalfOpen)) return;
  flow.clear(kHalfOpen);
  --half_open_;
}

void FlowTable::end_flow(HotRecord& flow) {
  if (flow.has(kEnded)) return;
  flow.set(kEnded);
  ++interval_.ended_flows;
  --live_count_;
}

/// Connection state. True for a repeated SYN, which is counted as a retransmission here.
bool FlowTable::observe_tcp(HotRecord& flow, uint32_t slot, const ParsedPacket& p,
                            bool from_initiator) {
  if (!p.has_tcp_header) return false;
  const int64_t stamp_ns = clamp_stamp(p.stamp_ns);
  if ((p.tcp_flags & kTcpRst) != 0) {
    ++interval_.tcp_resets;
    if (flow.has(kHalfOpen) && !from_initiator) ++interval_.tcp_refused;
    answer_syn(flow);
    flow.clear(kSynOpen);
    flow.clear(kSynAckSeen);
    end_flow(flow);
    return false;
  }
  const bool syn = (p.tcp_flags & kTcpSyn) != 0;
  const bool ack = (p.tcp_flags & kTcpAck) != 0;
  ColdRecord& cold = cold_[slot];
  if (from_initiator && syn && !ack) {
    const uint32_t next = p.tcp_sequence + 1 + p.payload_bytes;
    if (flow.has(kSynOpen) && flow.has(kSequenceInitiator) && cold.next_sequence[0] == next) {
      flow.count_retransmission();
      ++interval_.tcp_retransmissions;
      return true;
    }
    give_up_request(flow, slot);
    if (flow.has(kEnded)) {
      flow.clear(kEnded);
      ++live_count_;
    }
    if (!flow.has(kHalfOpen)) {
      flow.set(kHalfOpen);
      ++half_open_;
    }
    constexpr uint16_t kOfConnection = kSynAckSeen | kFinInitiator | kFinResponder |
                                       kSequenceInitiator | kSequenceResponder | kHoleInitiator |
                                       kHoleResponder;
    flow.flags = static_cast<uint16_t>(flow.flags & ~kOfConnection);
    flow.set(kSynSeen);
    flow.set(kSynOpen);
    flow.request_ns = stamp_ns;
    return false;
  }
  if (!from_initiator) {
    answer_syn(flow);
    if (syn && ack && flow.has(kSynOpen)) flow.set(kSynAckSeen);
  } else if (flow.has(kSynOpen) && !syn) {
    // The handshake's last packet; or, when the answer was not captured, whatever follows it.
    if (flow.has(kSynAckSeen) && ack && stamp_ns >= flow.request_ns) {
      interval_.tcp_handshake.record(static_cast<uint64_t>(stamp_ns - flow.request_ns));
      ++interval_.tcp_handshakes;
    }
    answer_syn(flow);
    flow.clear(kSynOpen);
    flow.clear(kSynAckSeen);
  }
  if ((p.tcp_flags & kTcpFin) != 0) {
    flow.set(from_initiator ? kFinInitiator : kFinResponder);
    if (flow.has(kFinInitiator) && flow.has(kFinResponder)) end_flow(flow);
  }
  return false;
}

/// Whether the segment was seen before, wholly or in part.
bool FlowTable::observe_sequence(HotRecord& flow, uint32_t slot, const ParsedPacket& p,
                                 bool from_initiator, int64_t previous_ns) {
  if (!p.has_tcp_header || (p.tcp_flags & kTcpRst) != 0) return false;
  const FlowFlag known = from_initiator ? kSequenceInitiator : kSequenceResponder;
  const FlowFlag hole = from_initiator ? kHoleInitiator : kHoleResponder;
  if (p.first_fragment) {  // the length of the whole segment is not known
    flow.clear(known);
    return false;
  }
  uint32_t length = p.payload_bytes;
  if ((p.tcp_flags & kTcpSyn) != 0) ++length;
  if ((p.tcp_flags & kTcpFin) != 0) ++length;
  if (length == 0) return false;
  uint32_t& next = cold_[slot].next_sequence[from_initiator ? 0 : 1];
  const uint32_t end = p.tcp_sequence + length;
  if (!flow.has(known)) {
    flow.set(known);
    next = end;
    return false;
  }
  const auto ahead = static_cast<int32_t>(p.tcp_sequence - next);
  if (ahead >= 0) {
    if (ahead > 0) flow.set(hole);
    next = end;
    return false;
  }
  if (ahead == -1 && length == 1 && p.payload_bytes == 1) return true;  // a keep-alive probe
  if (flow.has(hole) && p.stamp_ns - previous_ns <= kReorderNs) {
    flow.clear(hole);
    ++interval_.tcp_out_of_order;
  } else {
    flow.count_retransmission();
    ++interval_.tcp_retransmissions;
  }
  const bool brings_news = static_cast<int32_t>(end - next) > 0;
  if (brings_news) next = end;
  return !brings_news;
}

/// The other end turned out to be the initiator: what was counted changes sides, gaps start anew.
void FlowTable::swap_ends(HotRecord& flow, uint32_t slot) {
  flow.flags = static_cast<uint16_t>(flow.flags ^ kInitiatorIsLow);
  flow.swap_counts();
  if (payload_.size() != 0) std::swap(payload_[slot][0], payload_[slot][1]);
  flow.initiator_last_ns = kNoTime;
  flow.gaps = {};
  give_up_request(flow, slot);
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

uint32_t FlowTable::insert(const ParsedPacket& p, uint32_t hash) {
  if (flow_count_ >= options_.max_flows) CHECK(evict_one());
  if ((flow_count_ + 1) * 5 > index_size() * 4) grow_index();

  uint32_t slot = free_slot_;
  if (slot != SilenceWheel::kNone) {
    free_slot_ = hot_[slot].link;
    slots_in_order_ = false;
  } else {
    slot = slots_used_++;
    hot_.note_used(slot);
    cold_.note_used(slot);
    payload_.note_used(slot);
  }
  const int64_t stamp_ns = clamp_stamp(p.stamp_ns);
  HotRecord& flow = hot_[slot];
  flow = HotRecord{};
  flow.key = p.key;
  flow.last_ns = stamp_ns;
  flow.initiator_last_ns = kNoTime;
  flow.lateness_max = kNoLateness;
  flow.set_id(next_id_++);
  // An answered SYN comes from the responder.
  const bool answers = (p.tcp_flags & (kTcpSyn | kTcpAck)) == (kTcpSyn | kTcpAck);
  if (p.from_low != (p.has_tcp_header && answers)) flow.set(kInitiatorIsLow);
  cold_[slot] = ColdRecord{};
  if (payload_.size() != 0) payload_[slot] = {};
  cold_[slot].first_ns = stamp_ns;
  cold_[slot].lateness_last = kNoLateness;

  index_insert(hash, slot);
  ++flow_count_;
  ++live_count_;
  if (wheels_on_) wheels_[kWeak].push(slot);  // its standing is looked at when its turn comes
  return slot;
}

void FlowTable::index_insert(uint32_t hash, uint32_t slot) {
  size_t at = index_home(hash);
  while (index_[at].slot_plus_one != 0) {
    if (++at == index_size()) at = 0;
  }
  index_[at] = {hash, slot + 1};
}

void FlowTable::index_erase(uint32_t hash, uint32_t slot) {
  size_t at = index_home(hash);
  while (index_[at].slot_plus_one != slot + 1) {
    CHECK(index_[at].slot_plus_one != 0);
    if (++at == index_size()) at = 0;
  }
  // Close the hole with entries that probed past it, so that no tombstones gather.
  const auto distance = [this](size_t from, size_t to) {
    return to >= from ? to - from : to + index_size() - from;
  };
  size_t hole = at;
  while (true) {
    if (++at == index_size()) at = 0;
    const IndexEntry& entry = index_[at];
    if (entry.slot_plus_one == 0) break;
    if (distance(index_home(entry.hash), at) >= distance(hole, at)) {
      index_[hole] = entry;
      hole = at;
    }
  }
  index_[hole] = {};
}

/// By a quarter, in one pass over stored hashes: 5 ms at a million flows, which the kernel's ring
/// bridges.
void FlowTable::grow_index() {
  const size_t lines = index_lines_ + index_lines_ / 4;
  auto bigger = MappedArray<IndexEntry>::create(lines * kLineEntries, Filling::kEverywhere);
  CHECK(bigger.ok());  // 8 bytes a flow, where 176 were found
  MappedArray<IndexEntry> old = std::move(index_);
  index_ = std::move(bigger).value();
  index_lines_ = lines;
  for (size_t i = 0; i < old.size(); ++i) {
    if (old[i].slot_plus_one != 0) index_insert(old[i].hash, old[i].slot_plus_one - 1);
  }
}

void FlowTable::remove(uint32_t slot) {
  HotRecord& flow = hot_[slot];
  if (flow.has(kChanged)) {
    --changed_count_;
    if (departed_.size() < rows_per_interval_) {
      departed_.push_back(row(slot));
    } else if (rows_per_interval_ > 0) {
      ++departed_lost_;
    }
  }
  active_.remove(flow.last_ns);
  if (flow.has(kRequestOpen)) requests_.remove(flow.request_ns);
  answer_syn(flow);
  if (!flow.has(kEnded)) --live_count_;
  seconds_.forget(slot);
  index_erase(static_cast<uint32_t>(hash_key(flow.key, seed_) >> 32), slot);
  flow = HotRecord{};
  flow.link = free_slot_;
  free_slot_ = slot;
  --flow_count_;
}

void FlowTable::clear() {
  for (uint32_t slot = 0; slot < slots_used_; ++slot) {
    if (hot_[slot].is_free()) continue;
    end_flow(hot_[slot]);
    remove(slot);
  }
  for (auto& victims : victims_) victims.clear();
  for (SilenceWheel& wheel : wheels_) wheel = SilenceWheel(hot_.data(), wheel.tick_ns());
}

// --- silence ---

FlowTable::Standing FlowTable::standing(const HotRecord& flow) {
  if (flow.key.protocol() == kProtocolTcp) return flow.has(kHalfOpen) ? kWeak : kTalker;
  return flow.packets(0) + flow.packets(1) <= 1 ? kWeak : kTalker;
}

/// Without an idle timeout nothing asks for the order of silence until the table is full.
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
        if (!flow.has(kEnded)) {
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
    if (victims.empty()) continue;
    // The silence of those taken out for eviction counts as if they were still in their tick.
    const int64_t tick_ns = wheels_[i].tick_ns();
    const int64_t tick_end_ns = (victims.back().last_ns / tick_ns + 1) * tick_ns;
    if (tick_end_ns + options_.idle_timeout_ns <= now_ns) {
      for (const Victim& victim : victims) wheels_[standing(hot_[victim.slot])].push(victim.slot);
      victims.clear();
    }
  }
  for (SilenceWheel& wheel : wheels_) {
    while (!wheel.empty() && wheel.oldest_end_ns() + options_.idle_timeout_ns <= now_ns) {
      const int64_t tick_end_ns = wheel.oldest_end_ns();
      uint32_t slot = wheel.take_oldest();
      while (slot != SilenceWheel::kNone) {
        HotRecord& flow = hot_[slot];
        const uint32_t next = flow.link;
        if (flow.last_ns < tick_end_ns) {
          end_flow(flow);
          remove(slot);
        } else {
          wheels_[standing(flow)].push(slot);
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
    // Flows that came, changed and went left their places behind: keep those that are still here.
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
  while (rows.size() < most && changed_first_ < changed_.size()) {
    const uint32_t slot = changed_[changed_first_++];
    HotRecord& flow = hot_[slot];
    if (!flow.has(kChanged)) continue;  // the one queued here has left
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
  interval_.end_ns = end_ns;
  interval_.active_flows = active_.count();
  interval_.active_flows_max = std::max(interval_.active_flows_max, active_.count());
  interval_.live_flows = live_count_;
  interval_.tcp_half_open = half_open_;
  for (const uint32_t slot : late_slots_) hot_[slot].clear(kLateInInterval);
  late_slots_.clear();

  totals_.merge(interval_);
  totals_.late_flows = late_flows_total_;  // distinct flows, which no sum or maximum gives
  FlowInterval closed = std::move(interval_);
  interval_ = {};
  interval_.begin_ns = interval_.end_ns = end_ns;
  // What was active when the interval began stood that high.
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
  out.period_ns = period_ns(hot);
  if (hot.lateness_max != kNoLateness) {
    out.lateness_last_ns = PackedSignedDuration::unpack(cold.lateness_last);
    out.lateness_max_ns = PackedSignedDuration::unpack(hot.lateness_max);
  }
  out.missed_ticks = cold.missed_ticks;
  out.replies = cold.replies;
  out.reply_latency_sum_ns = cold.reply_sum_ns;
  if (cold.replies != 0) {
    out.reply_latency_max_ns = PackedDuration::unpack(cold.reply_max);
    out.reply_latency_last_ns = PackedDuration::unpack(cold.reply_last);
  }
  out.unanswered = cold.unanswered;
  // A request that ran out is noticed by its flow's next packet; say so before it comes.
  if (hot.has(kRequestOpen) && !requests_.covers(hot.request_ns)) ++out.unanswered;
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
