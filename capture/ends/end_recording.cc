#include "capture/ends/end_recording.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <span>

#include "capture/file_packets.h"
#include "capture/flows/flow_table.h"
#include "capture/flows/seen_twice.h"
#include "capture/packet/packet_parser.h"
#include "capture/source/packet_source.h"
#include "core/base/clock.h"

namespace topspin {
namespace {

/// How many bytes of a datagram's payload identify it.
constexpr uint32_t kPayloadDigested = 64;

/// The captured bytes of a datagram's payload, at most kPayloadDigested of them; empty if they
/// cannot be found, after IPv6 extension headers.
std::span<const uint8_t> datagram_bytes(const PacketView& view, const ParsedPacket& parsed) {
  const uint32_t ip = parsed.ip_offset;
  if (view.captured < ip + 20) return {};
  constexpr uint32_t kUdpHeader = 8;
  uint32_t at = ip + kUdpHeader;
  if (view.bytes[ip] >> 4 == 4) {
    at += (view.bytes[ip] & 0xfu) * 4;
  } else if (view.bytes[ip + 6] == kProtocolUdp) {
    at += 40;
  } else {
    return {};
  }
  if (at >= view.captured) return {};
  return std::span(view.bytes, view.captured)
      .subspan(at)
      .first(std::min({view.captured - at, parsed.payload_bytes, kPayloadDigested}));
}

uint32_t ipv4_id(const PacketView& view, const ParsedPacket& parsed) {
  const uint32_t ip = parsed.ip_offset;
  if (view.captured < ip + 20 || view.bytes[ip] >> 4 != 4) return 0;
  return static_cast<uint32_t>(view.bytes[ip + 4]) << 8 | view.bytes[ip + 5];
}

/// What reads a file: takes the packets of its flows, and hands them on to a flow table if there
/// is one.
class EndReader final : public ReplySink {
 public:
  /// `number_of` gives the flow's number, or FlowNumbers::kNone if its packets are not wanted.
  EndReader(KeyMode key, const HashSeed& seed, std::function<uint32_t(const PacketKey&)> number_of)
      : key_(key), seed_(seed), number_of_(std::move(number_of)), seen_twice_(seed) {}

  void set_table(FlowTable* table) { table_ = table; }

  Result<EndRecording> read(const FileOptions& options) {
    TOPSPIN_ASSIGN(auto source, open_file_source(options.path, options.filter));
    recording_.file.file = options.path;
    FilePackets packets(options.max_packets);
    struct Visit {
      FilePackets& packets;
      EndReader& reader;
      bool is_more = false;
    } visit{packets, *this};
    while (!visit.is_more) {
      link_ = source->link_type();
      const auto outcome = source->read(
          [](void* context, const PacketView& packet) {
            auto* to = static_cast<Visit*>(context);
            to->is_more |= to->packets.all_taken();
            to->packets.add(packet, to->reader);
          },
          &visit);
      if (!outcome.ok()) recording_.file.error = outcome.error().message;
      if (!outcome.ok() || *outcome == StepOutcome::kEnd) break;
    }
    observe();
    recording_.file.is_cut_off = visit.is_more;
    recording_.file.hidden_by_tag = source->notes().hidden_by_tag;
    return std::move(recording_);
  }

  // What FilePackets calls.
  bool add(const PacketView& view) {
    ParsedPacket& parsed = batch_[batched_];
    parse_packet(link_, key_, view, parsed);
    if (SeenTwice::can_be(link_) && seen_twice_.is_repeated(link_, view, parsed)) {
      ++recording_.file.duplicate_packets;
      return false;
    }
    note_stamp(parsed.stamp_ns);
    ++recording_.file.packets;
    if (parsed.in_flow()) keep(view, parsed);
    if (table_ != nullptr && ++batched_ == batch_.size()) observe();
    return true;
  }
  void note_time_step(int64_t) {}
  void note_jump_ahead() {}

  void note_reply(const PacketKey& flow, bool initiator_is_low, int64_t request_ns,
                  int64_t reply_ns) override {
    recording_.replies.push_back(
        {number_of_(flow), initiator_is_low, cut(request_ns), cut(reply_ns)});
  }

 private:
  static int64_t cut(int64_t stamp_ns) {
    return std::clamp<int64_t>(stamp_ns, 0, EndRecording::kStampMax);
  }

  void observe() {
    if (table_ != nullptr) table_->observe(std::span(batch_).first(batched_));
    batched_ = 0;
  }

  void note_stamp(int64_t stamp_ns) {
    const int64_t stamp = cut(stamp_ns);
    EndFile& file = recording_.file;
    if (file.packets == 0) {
      file.first_ns = file.last_ns = stamp;
      recording_.step_ns = kNanosPerMilli;
    }
    file.first_ns = std::min(file.first_ns, stamp);
    file.last_ns = std::max(file.last_ns, stamp);
    while (stamp % recording_.step_ns != 0) recording_.step_ns /= 1000;
  }

  void keep(const PacketView& view, const ParsedPacket& parsed) {
    const uint32_t flow = number_of_(parsed.key);
    const bool is_tcp = parsed.key.protocol() == kProtocolTcp;
    if (flow == FlowNumbers::kNone || (is_tcp && !parsed.has_tcp_header)) {
      ++recording_.file.other_packets;
      return;
    }
    EndPacket packet;
    packet.stamp_ns = cut(parsed.stamp_ns);
    packet.side = flow * 2 + (parsed.from_low ? 0 : 1);
    packet.payload_bytes = parsed.payload_bytes;
    const auto& s = seed_.words;
    if (is_tcp && parsed.payload_bytes > 0) {
      packet.is_data = true;
      packet.identity = parsed.tcp_sequence;
    } else if (is_tcp) {
      const uint64_t numbers = uint64_t{parsed.tcp_sequence} << 32 | parsed.tcp_acknowledgment;
      const uint8_t flags = parsed.tcp_flags & (kTcpFin | kTcpSyn | kTcpRst | kTcpAck);
      packet.identity = EndPacket::kNoSequence | multiply_fold(numbers ^ s[0], flags ^ s[1]);
    } else {
      const uint64_t rest = uint64_t{parsed.payload_bytes} << 32 | ipv4_id(view, parsed);
      packet.identity =
          EndPacket::kNoSequence | multiply_fold(parsed.payload_head ^ s[0], rest ^ s[1]);
      packet.tail = digest(datagram_bytes(view, parsed), parsed.payload_bytes);
    }
    recording_.packets.push_back(packet);
  }

  uint32_t digest(std::span<const uint8_t> bytes, uint32_t payload_bytes) {
    recording_.has_short_payloads |= bytes.size() < std::min(payload_bytes, kPayloadDigested);
    uint64_t sum = 0;
    for (size_t at = sizeof sum; at < bytes.size(); at += sizeof sum) {
      uint64_t word = 0;
      std::memcpy(&word, bytes.data() + at, std::min(sizeof word, bytes.size() - at));
      sum = multiply_fold(sum ^ word ^ seed_.words[2], seed_.words[3]);
    }
    return static_cast<uint32_t>(sum >> 32);
  }

  KeyMode key_;
  HashSeed seed_;
  std::function<uint32_t(const PacketKey&)> number_of_;
  SeenTwice seen_twice_;
  FlowTable* table_ = nullptr;
  LinkType link_{};
  std::array<ParsedPacket, 16> batch_;
  size_t batched_ = 0;
  EndRecording recording_;
};

/// The inverse of PacketKey::to_flow_key().
PacketKey packet_key(const FlowKey& flow) {
  PacketKey key;
  key.low = flow.low.address;
  key.high = flow.high.address;
  key.low_port = flow.low.port;
  key.high_port = flow.high.port;
  key.kind = static_cast<uint8_t>(flow.protocol | (flow.ip_version == 6 ? PacketKey::kIpv6 : 0));
  key.vlan = {static_cast<uint8_t>(flow.vlan[0] >> 4),
              static_cast<uint8_t>((flow.vlan[0] & 0xf) << 4 | flow.vlan[1] >> 8),
              static_cast<uint8_t>(flow.vlan[1] & 0xff)};
  return key;
}

void sort_packets(EndRecording& recording, size_t flows) {
  auto& packets = recording.packets;
  std::stable_sort(packets.begin(), packets.end(), [](const EndPacket& a, const EndPacket& b) {
    return a.side != b.side ? a.side < b.side : a.stamp_ns < b.stamp_ns;
  });
  recording.sides.assign(flows * 2 + 1, 0);
  for (const EndPacket& packet : packets) ++recording.sides[packet.side + 1];
  for (size_t i = 1; i < recording.sides.size(); ++i) recording.sides[i] += recording.sides[i - 1];
}

}  // namespace

Result<EndRecording> read_clients_end(const FileOptions& file, FlowTableOptions options,
                                      const HashSeed& seed, FlowNumbers& flows) {
  EndReader reader(options.key, seed, [&](const PacketKey& key) { return flows.find_or_add(key); });
  options.replies = &reader;
  TOPSPIN_ASSIGN(auto table, FlowTable::create(options, 0, seed));
  reader.set_table(table.get());
  TOPSPIN_ASSIGN(EndRecording recording, reader.read(file));
  sort_packets(recording, flows.keys().size());
  recording.initiator_is_low.assign(flows.keys().size(), true);
  table->for_each_flow([&](const FlowRow& row) {
    const uint32_t flow = flows.find(packet_key(row.key));
    if (flow != FlowNumbers::kNone) recording.initiator_is_low[flow] = row.initiator_is_low;
  });
  return recording;
}

Result<EndRecording> read_servers_end(const FileOptions& file, KeyMode key, const HashSeed& seed,
                                      const FlowNumbers& flows) {
  EndReader reader(key, seed, [&](const PacketKey& of) { return flows.find(of); });
  TOPSPIN_ASSIGN(EndRecording recording, reader.read(file));
  sort_packets(recording, flows.keys().size());
  return recording;
}

}  // namespace topspin
