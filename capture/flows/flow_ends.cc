#include "capture/flows/flow_ends.h"

#include <bit>
#include <cstring>
#include <string_view>

namespace topspin {
namespace {

using namespace std::string_view_literals;

// Ports that the kernel assigns to clients begin here (Linux: 32768, others: 49152). Well-known
// ports of services are at the bottom. Some clients bind to a port from 512 to 1023 to show that
// they run as root.
constexpr uint16_t kEphemeralPort = 32'768;
constexpr uint16_t kWellKnownPorts = 512;

constexpr uint16_t kPortDns = 53, kPortNtp = 123, kPortMulticastDns = 5353, kPortLlmnr = 5355;

uint16_t sender_port(const ParsedPacket& p) {
  return p.from_low ? p.key.low_port : p.key.high_port;
}
uint16_t receiver_port(const ParsedPacket& p) {
  return p.from_low ? p.key.high_port : p.key.low_port;
}
bool has_port(const ParsedPacket& p, uint16_t port) {
  return p.key.low_port == port || p.key.high_port == port;
}

/// 0: well-known port of a service; 1: registered port; 2: ephemeral port.
int port_class(uint16_t port) { return port < kWellKnownPorts ? 0 : port < kEphemeralPort ? 1 : 2; }

class Head {
 public:
  explicit Head(uint64_t head) : bytes_(std::bit_cast<std::array<uint8_t, 8>>(head)) {}
  bool is(size_t at, std::string_view text) const {
    return std::memcmp(&bytes_[at], text.data(), text.size()) == 0;  // REQUIRES: within the 8
  }
  uint8_t operator[](size_t at) const { return bytes_[at]; }

 private:
  std::array<uint8_t, 8> bytes_;
};

Asker asker_by_tcp(const Head& head, uint32_t payload_bytes) {
  // A TLS handshake record: 1 is the client's hello, 2 the server's.
  if (head[0] == 0x16 && head[1] == 3 && head[2] <= 4) {
    if (head[5] == 1) return Asker::kSender;
    if (head[5] == 2) return Asker::kReceiver;
    return Asker::kUnknown;
  }
  for (const std::string_view request :
       {"GET "sv, "POST "sv, "PUT "sv, "HEAD "sv, "DELETE "sv, "OPTIONS "sv, "PATCH "sv,
        "CONNECT "sv, "TRACE "sv, "PRI * HT"sv, "AMQP\0"sv}) {
    if (head.is(0, request)) return Asker::kSender;
  }
  for (const std::string_view reply : {"HTTP/1."sv, "RTSP/1."sv}) {
    if (head.is(0, reply)) return Asker::kReceiver;
  }
  // MQTT: CONNECT and PINGREQ, CONNACK and PINGRESP.
  if (head[0] == 0x10 && (head.is(2, "\0\4MQTT"sv) || head.is(3, "\0\4MQT"sv) ||
                          head.is(2, "\0\6MQIs"sv) || head.is(3, "\0\6MQI"sv)))
    return Asker::kSender;
  if (payload_bytes == 2 && head.is(0, "\xc0\0"sv)) return Asker::kSender;
  if (payload_bytes == 2 && head.is(0, "\xd0\0"sv)) return Asker::kReceiver;
  if (payload_bytes == 4 && head.is(0, "\x20\2"sv) && head[2] <= 1 && head[3] <= 5)
    return Asker::kReceiver;
  return Asker::kUnknown;
}

Asker asker_by_udp(const ParsedPacket& p, const Head& head) {
  constexpr std::string_view kStunCookie = "\x21\x12\xa4\x42"sv;
  if (has_port(p, kPortDns) || has_port(p, kPortMulticastDns) || has_port(p, kPortLlmnr)) {
    if (p.payload_bytes < 12) return Asker::kUnknown;
    return (head[2] & 0x80) != 0 ? Asker::kReceiver : Asker::kSender;
  }
  if (has_port(p, kPortNtp)) {
    const int mode = head[0] & 7;
    return mode == 3 ? Asker::kSender : mode == 4 ? Asker::kReceiver : Asker::kUnknown;
  }
  if (head.is(4, kStunCookie) && head[1] == 1 && head[0] <= 1)
    return head[0] == 0 ? Asker::kSender : Asker::kReceiver;
  // BitTorrent's distributed hash table, where both ends have fixed ports.
  if (head.is(0, "d1:ad2:i"sv)) return Asker::kSender;
  if (head.is(0, "d1:rd2:i"sv)) return Asker::kReceiver;
  return Asker::kUnknown;
}

}  // namespace

Asker asker_by_payload(const ParsedPacket& p) {
  if (p.payload_bytes == 0) return Asker::kUnknown;
  const Head head(p.payload_head);
  return p.key.protocol() == kProtocolTcp ? asker_by_tcp(head, p.payload_bytes)
                                          : asker_by_udp(p, head);
}

Asker asker_by_ports(const ParsedPacket& p) {
  const int sender = port_class(sender_port(p)), receiver = port_class(receiver_port(p));
  return sender == receiver  ? Asker::kUnknown
         : sender > receiver ? Asker::kSender
                             : Asker::kReceiver;
}

uint64_t KnownEnds::hash_of(const PacketKey& key, bool low, const HashSeed& seed) {
  const size_t at = low ? 0 : 2;
  const uint64_t port_and_kind =
      uint64_t{low ? key.low_port : key.high_port} << 8 | uint64_t{key.kind};
  return multiply_fold(
      multiply_fold(key.word(at) ^ seed.words[0], key.word(at + 1) ^ seed.words[1]) ^
          port_and_kind ^ seed.words[2],
      seed.words[3] | 1);
}

KnownEnds::State KnownEnds::state_of(const PacketKey& key, bool low, const HashSeed& seed) const {
  if (!table_) return kNone;
  const uint64_t hash = hash_of(key, low, seed);
  const Entry& entry = (*table_)[hash % kEntries];
  if (entry.state == kNone || entry.tag != static_cast<uint32_t>(hash >> 32)) return kNone;
  const uint16_t other_port = low ? key.high_port : key.low_port;
  return entry.state == kSeen && entry.other_port != other_port ? kShared : entry.state;
}

void KnownEnds::note_responder(const PacketKey& key, bool low, const HashSeed& seed) {
  if (!table_) table_ = std::make_unique<Table>();
  const uint64_t hash = hash_of(key, low, seed);
  (*table_)[hash % kEntries] = {static_cast<uint32_t>(hash >> 32), 0, kResponder};
}

void KnownEnds::note_flow(const PacketKey& key, const HashSeed& seed) {
  if (!table_) table_ = std::make_unique<Table>();
  for (const bool low : {true, false}) {
    const State state = state_of(key, low, seed);
    const uint64_t hash = hash_of(key, low, seed);
    Entry& entry = (*table_)[hash % kEntries];
    if (state == kNone && entry.state > kSeen) continue;  // keep another end's stronger evidence
    entry.tag = static_cast<uint32_t>(hash >> 32);
    entry.other_port = low ? key.high_port : key.low_port;
    entry.state = state == kNone ? kSeen : state;
  }
}

Asker KnownEnds::asker_by_responders(const ParsedPacket& p, const HashSeed& seed) const {
  const bool low = state_of(p.key, true, seed) == kResponder;
  const bool high = state_of(p.key, false, seed) == kResponder;
  if (low == high) return Asker::kUnknown;
  return p.from_low == low ? Asker::kReceiver : Asker::kSender;
}

bool KnownEnds::only_responder(const PacketKey& key, bool low, const HashSeed& seed) const {
  return state_of(key, low, seed) == kResponder && state_of(key, !low, seed) != kResponder;
}

Asker KnownEnds::asker_by_sharing(const ParsedPacket& p, const HashSeed& seed) const {
  if (!table_) return Asker::kUnknown;
  const bool low = state_of(p.key, true, seed) == kShared;
  const bool high = state_of(p.key, false, seed) == kShared;
  if (low == high) return Asker::kUnknown;
  return p.from_low == low ? Asker::kReceiver : Asker::kSender;
}

}  // namespace topspin
