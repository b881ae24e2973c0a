#include "capture/packet/packet_parser.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

namespace topspin {
namespace {

// EtherTypes.
constexpr uint16_t kTypeIpv4 = 0x0800;
constexpr uint16_t kTypeArp = 0x0806;
constexpr uint16_t kTypeTransparentBridging = 0x6558;
constexpr uint16_t kTypeVlan = 0x8100;
constexpr uint16_t kTypeIpv6 = 0x86dd;
constexpr uint16_t kTypePpp = 0x880b;
constexpr uint16_t kTypeMplsUnicast = 0x8847;
constexpr uint16_t kTypeMplsMulticast = 0x8848;
constexpr uint16_t kTypePppoeSession = 0x8864;
constexpr uint16_t kTypeServiceVlan = 0x88a8;
constexpr uint16_t kTypeErspan2 = 0x88be;
constexpr uint16_t kTypeBackboneService = 0x88e7;  // 802.1ah
constexpr uint16_t kTypeErspan3 = 0x22eb;
constexpr uint16_t kTypeOldQinQ = 0x9100;

// IP protocols.
constexpr uint8_t kHopByHop = 0, kIcmp = 1, kIgmp = 2, kIpInIp = 4, kIpv6InIp = 41, kRouting = 43,
                  kFragment = 44, kGre = 47, kEsp = 50, kAuthentication = 51, kIcmpv6 = 58,
                  kDestination = 60, kSctp = 132, kMobility = 135, kHip = 139, kShim6 = 140;

// UDP ports of tunnels.
constexpr uint16_t kGtpUserPort = 2152, kTeredoPort = 3544, kVxlanPort = 4789, kGenevePort = 6081;
constexpr uint16_t kLinuxVxlanPort = 8472;  // used before a port was assigned

/// How deep nested headers are followed. Hostile packets can nest without limit.
constexpr int kDepthMax = 64;

uint16_t be16(const uint8_t* p) { return static_cast<uint16_t>(p[0] << 8 | p[1]); }
uint32_t be32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}
uint32_t le32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}
static_assert(std::endian::native == std::endian::little);

/// The rest of a packet: the captured bytes, and the bytes that it had on the wire from here on.
struct Bytes {
  const uint8_t* at;
  uint32_t captured;
  uint32_t length;

  bool has(uint32_t n) const { return captured >= n; }
  Bytes after(uint32_t n) const {  // REQUIRES: has(n)
    return {at + n, captured - n, length > n ? length - n : 0};
  }
};

/// ParsedPacket::payload_head for a payload that begins `offset` bytes after `base`, where `there`
/// bytes were captured.
[[gnu::noinline]] uint64_t partial_payload_head(const uint8_t* base, uint32_t offset,
                                                uint32_t there, uint32_t payload_bytes) {
  uint64_t head = 0;
  if (there > offset) {
    std::memcpy(&head, base + offset,
                std::min({sizeof head, size_t{payload_bytes}, size_t{there - offset}}));
  }
  return head;
}
[[gnu::always_inline]] inline uint64_t payload_head(const uint8_t* base, uint32_t offset,
                                                    uint32_t there, uint32_t payload_bytes) {
  if (payload_bytes == 0) return 0;
  if (payload_bytes < sizeof(uint64_t) || there < offset + sizeof(uint64_t)) [[unlikely]] {
    return partial_payload_head(base, offset, there, payload_bytes);
  }
  uint64_t head;
  std::memcpy(&head, base + offset, sizeof head);
  return head;
}

/// ParsedPacket::http_status for a payload that begins with `head`.
[[gnu::always_inline]] inline uint16_t http_status(uint64_t head, const uint8_t* base,
                                                   uint32_t offset, uint32_t there,
                                                   uint32_t payload_bytes) {
  constexpr std::array<char, 8> kHttp{'H', 'T', 'T', 'P', '/', '1', '.', '1'};
  if (head != std::bit_cast<uint64_t>(kHttp)) [[likely]]
    return 0;
  if (payload_bytes < 12 || there < offset + 12) return 0;
  const uint8_t* status = base + offset + 8;
  const auto is_digit = [](uint8_t byte) { return byte >= '0' && byte <= '9'; };
  if (status[0] != ' ' || status[1] == '0' || !is_digit(status[1]) || !is_digit(status[2]) ||
      !is_digit(status[3]))
    return 0;
  return static_cast<uint16_t>((status[1] - '0') * 100 + (status[2] - '0') * 10 +
                               (status[3] - '0'));
}

/// The number in the fourth word after the command ("set KEY FLAGS TIME BYTES"); nullopt if there
/// is none.
std::optional<uint32_t> memcached_value_bytes(std::string_view line) {
  for (int word = 0; word < 4; ++word) {
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    line.remove_prefix(space + 1);
  }
  uint32_t bytes = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), bytes);
  if (error != std::errc() || end == line.data() + line.size() || *end != ' ') return std::nullopt;
  return bytes;
}

/// ParsedPacket::memcached_noreply for a payload of which `text` was captured.
[[gnu::noinline]] Noreply find_noreply(std::string_view text, uint32_t payload_bytes) {
  constexpr std::array<std::string_view, 6> kStore{"set ",    "add ",     "replace ",
                                                   "append ", "prepend ", "cas "};
  constexpr std::array<std::string_view, 6> kOther{"incr ",  "decr ",     "touch ",
                                                   "delete", "flush_all", "verbosity"};
  constexpr std::string_view kSays = " noreply\r\n";
  uint64_t at = 0;  // where the next command begins
  for (; at < text.size();) {
    std::string_view line = text.substr(at);
    const auto begins = [&](std::string_view word) { return line.starts_with(word); };
    const bool stores = std::any_of(kStore.begin(), kStore.end(), begins);
    if (!stores && std::none_of(kOther.begin(), kOther.end(), begins)) return Noreply::kNone;
    line = line.substr(0, line.find('\n') + 1);
    if (!line.ends_with(kSays)) return Noreply::kNone;
    at += line.size();
    if (!stores) continue;
    const auto value_bytes = memcached_value_bytes(line);
    if (!value_bytes) return Noreply::kNone;
    at += uint64_t{*value_bytes} + 2;
  }
  if (at == 0) return Noreply::kNone;
  return at == payload_bytes ? Noreply::kWhole : Noreply::kBegins;
}

/// The same for a payload that begins with `head`, `offset` bytes after `base`.
[[gnu::always_inline]] inline Noreply memcached_noreply(uint64_t head, const uint8_t* base,
                                                        uint32_t offset, uint32_t there,
                                                        uint32_t payload_bytes) {
  const auto first = static_cast<uint8_t>(head);
  if (first < 'a' || first > 'v' || there <= offset) [[likely]]
    return Noreply::kNone;
  const auto* text = reinterpret_cast<const char*>(base + offset);
  return find_noreply({text, std::min(there - offset, payload_bytes)}, payload_bytes);
}

class Parser {
 public:
  /// REQUIRES: `out` was not written to.
  Parser(KeyMode mode, const PacketView& packet, ParsedPacket& out)
      : out_(out), begin_(packet.bytes), mode_(mode) {
    out_.stamp_ns = packet.stamp_ns;
    out_.wire_bytes = std::min<uint32_t>(packet.length, INT32_MAX);  // a larger one is damaged
  }

  void link(LinkType type, Bytes b);
  void ethernet(Bytes b);
  void ipv4(Bytes b);

 private:
  void ether_type(uint16_t type, Bytes b);
  void logical_link(Bytes b);
  void by_version(Bytes b);
  void null_family(uint32_t family, Bytes b);
  void ppp(Bytes b);
  void ppp_protocol(uint16_t protocol, Bytes b);
  void cisco_hdlc(Bytes b);
  void frame_relay(Bytes b);
  void mpls(Bytes b);
  void wireless(Bytes b);
  void ipv6(Bytes b);
  void transport(uint8_t protocol, Bytes b, const uint8_t* source, const uint8_t* destination,
                 bool v6);
  void quoted_fragment(Bytes b);
  void gre(Bytes b);
  void udp_tunnel(uint16_t source_port, uint16_t destination_port, Bytes payload);
  void skip(SkipReason reason) {
    // If a tunnel's contents cannot be read, the packet stays in the outer flow.
    if (!out_.in_flow() && !inner_) out_.skip = reason;
  }
  void skip_protocol(uint8_t protocol);
  bool deeper() { return ++depth_ <= kDepthMax; }

  void note_ip(const uint8_t* at) {
    const auto offset = static_cast<size_t>(at - begin_);
    out_.ip_offset = offset <= UINT16_MAX ? static_cast<uint16_t>(offset) : uint16_t{0};
  }

  ParsedPacket& out_;
  const uint8_t* begin_;
  KeyMode mode_;
  int depth_ = 0;
  bool inner_ = false;  // an IP header has been passed
  std::array<uint16_t, 2> vlan_{};
  int vlan_count_ = 0;
};

void Parser::link(LinkType type, Bytes b) {
  switch (type) {
    case LinkType::kEthernet: return ethernet(b);
    case LinkType::kRaw: return by_version(b);
    case LinkType::kIpv4: return ipv4(b);
    case LinkType::kIpv6: return ipv6(b);
    case LinkType::kNull:
    case LinkType::kLoop: {
      if (!b.has(4)) return skip(SkipReason::kTruncatedLink);
      // In the writer's byte order: a family is a small number, so the order that gives one is
      // right.
      const uint32_t big = be32(b.at);
      return null_family(big < 0x10000 ? big : le32(b.at), b.after(4));
    }
    case LinkType::kLinuxCooked: {
      if (!b.has(16)) return skip(SkipReason::kTruncatedLink);
      const uint16_t protocol = be16(b.at + 14);
      if (protocol == 4) return logical_link(b.after(16));
      return ether_type(protocol, b.after(16));
    }
    case LinkType::kLinuxCooked2: {
      if (!b.has(20)) return skip(SkipReason::kTruncatedLink);
      const uint16_t protocol = be16(b.at);
      if (protocol == 4) return logical_link(b.after(20));
      return ether_type(protocol, b.after(20));
    }
    case LinkType::kPpp:
    case LinkType::kPppSerial: return ppp(b);
    case LinkType::kPppWithDirection:
      if (!b.has(1)) return skip(SkipReason::kTruncatedLink);
      return ppp(b.after(1));
    case LinkType::kPppEther: return ether_type(kTypePppoeSession, b);
    case LinkType::kCiscoHdlc: return cisco_hdlc(b);
    case LinkType::kCiscoHdlcWithDirection:
      if (!b.has(1)) return skip(SkipReason::kTruncatedLink);
      return cisco_hdlc(b.after(1));
    case LinkType::kFrameRelay: return frame_relay(b);
    case LinkType::kFrameRelayWithDirection:
      if (!b.has(1)) return skip(SkipReason::kTruncatedLink);
      return frame_relay(b.after(1));
    case LinkType::kMpls: return mpls(b);
    case LinkType::kIeee80211: return wireless(b);
    case LinkType::kRadiotap: {
      // version, pad, length of the whole header (little-endian)
      if (!b.has(4)) return skip(SkipReason::kTruncatedLink);
      const uint32_t header = b.at[2] | static_cast<uint32_t>(b.at[3]) << 8;
      if (header < 8 || !b.has(header)) return skip(SkipReason::kTruncatedLink);
      return wireless(b.after(header));
    }
    case LinkType::kPrism:
    case LinkType::kAvs: {
      if (!b.has(8)) return skip(SkipReason::kTruncatedLink);
      // AVS: a magic 0x80211xxx and a length, both big-endian. Prism: a message code and a length
      // in the writer's order.
      const bool avs = (be32(b.at) & 0xfffff000) == 0x80211000;
      uint32_t header = avs ? be32(b.at + 4) : le32(b.at + 4);
      if (!avs && header > 0xffff) header = be32(b.at + 4);
      if (header < 8 || !b.has(header)) return skip(SkipReason::kTruncatedLink);
      return wireless(b.after(header));
    }
  }
}

void Parser::ethernet(Bytes b) {
  if (!b.has(14)) return skip(SkipReason::kTruncatedLink);
  ether_type(be16(b.at + 12), b.after(14));
}

void Parser::ether_type(uint16_t type, Bytes b) {
  while (deeper()) {
    switch (type) {
      case kTypeIpv4: return ipv4(b);
      case kTypeIpv6: return ipv6(b);
      case kTypeArp: return skip(SkipReason::kArp);
      case kTypeVlan:
      case kTypeServiceVlan:
      case kTypeOldQinQ:
        if (!b.has(4)) return skip(SkipReason::kTruncatedLink);
        if (vlan_count_ < 2) vlan_[static_cast<size_t>(vlan_count_++)] = be16(b.at) & 0xfff;
        type = be16(b.at + 2);
        b = b.after(4);
        continue;
      case kTypePppoeSession:
        // version and type, code, session, length; then PPP from its protocol on
        if (!b.has(8)) return skip(SkipReason::kTruncatedLink);
        if (b.at[1] != 0) return skip(SkipReason::kNotIp);
        return ppp_protocol(be16(b.at + 6), b.after(8));
      case kTypeMplsUnicast:
      case kTypeMplsMulticast: return mpls(b);
      case kTypeBackboneService:
        if (!b.has(4)) return skip(SkipReason::kTruncatedLink);
        return ethernet(b.after(4));
      case kTypeTransparentBridging: return ethernet(b);
      default:
        if (type <= 1500) return logical_link(b);  // a length: IEEE 802.3
        return skip(SkipReason::kNotIp);
    }
  }
}

void Parser::logical_link(Bytes b) {
  if (!b.has(3)) return skip(SkipReason::kTruncatedLink);
  // SNAP with an EtherType: AA AA 03, organisation 0 (or 0000f8, bridged), type.
  if (b.at[0] == 0xaa && b.at[1] == 0xaa && b.at[2] == 0x03) {
    if (!b.has(8)) return skip(SkipReason::kTruncatedLink);
    const uint32_t organisation = be32(b.at + 2) & 0xffffff;
    const uint16_t type = be16(b.at + 6);
    if ((organisation != 0 && organisation != 0xf8) || type <= 1500) {
      return skip(SkipReason::kNotIp);
    }
    return ether_type(type, b.after(8));
  }
  if (b.at[0] == 0x06 && b.at[1] == 0x06 && b.at[2] == 0x03) return ipv4(b.after(3));
  skip(SkipReason::kNotIp);
}

void Parser::by_version(Bytes b) {
  if (!b.has(1)) return skip(SkipReason::kTruncatedIp);
  const int version = b.at[0] >> 4;
  if (version == 4) return ipv4(b);
  if (version == 6) return ipv6(b);
  skip(SkipReason::kNotIp);
}

void Parser::null_family(uint32_t family, Bytes b) {
  switch (family) {
    case 2: return ipv4(b);
    case 10:  // Linux
    case 24:  // NetBSD, OpenBSD
    case 28:  // FreeBSD
    case 30:  // Darwin
      return ipv6(b);
    default: return skip(SkipReason::kNotIp);
  }
}

void Parser::ppp(Bytes b) {
  if (!b.has(2)) return skip(SkipReason::kTruncatedLink);
  if (b.at[0] == 0xff && b.at[1] == 0x03) {
    b = b.after(2);
  } else if (b.at[0] == 0x0f || b.at[0] == 0x8f) {
    return cisco_hdlc(b);
  }
  if (!b.has(1)) return skip(SkipReason::kTruncatedLink);
  if ((b.at[0] & 1) != 0) return ppp_protocol(b.at[0], b.after(1));  // compressed to one byte
  if (!b.has(2)) return skip(SkipReason::kTruncatedLink);
  ppp_protocol(be16(b.at), b.after(2));
}

void Parser::ppp_protocol(uint16_t protocol, Bytes b) {
  switch (protocol) {
    case 0x0021: return ipv4(b);
    case 0x0057: return ipv6(b);
    case 0x0281:
    case 0x0283: return mpls(b);
    default: return skip(SkipReason::kNotIp);
  }
}

void Parser::cisco_hdlc(Bytes b) {
  if (!b.has(4)) return skip(SkipReason::kTruncatedLink);
  const uint16_t type = be16(b.at + 2);
  if (type <= 1500) return skip(SkipReason::kNotIp);
  ether_type(type, b.after(4));
}

/// RFC 2427: an address of 2 to 4 bytes (the last has its low bit set), control 03, an optional pad
/// byte 0, then the protocol's NLPID; 80 means SNAP. Cisco's own framing has an EtherType instead.
void Parser::frame_relay(Bytes b) {
  uint32_t address = 0;
  while (true) {
    if (address == 4) return skip(SkipReason::kNotIp);
    if (!b.has(address + 1)) return skip(SkipReason::kTruncatedLink);
    if ((b.at[address++] & 1) != 0) break;
  }
  if (address < 2) return skip(SkipReason::kNotIp);
  b = b.after(address);
  if (!b.has(2)) return skip(SkipReason::kTruncatedLink);
  if (b.at[0] != 0x03) {
    const uint16_t type = be16(b.at);
    if (type <= 1500) return skip(SkipReason::kNotIp);
    return ether_type(type, b.after(2));
  }
  b = b.after(1);
  if (b.at[0] == 0) b = b.after(1);
  if (!b.has(1)) return skip(SkipReason::kTruncatedLink);
  switch (b.at[0]) {
    case 0xcc: return ipv4(b.after(1));
    case 0x8e: return ipv6(b.after(1));
    case 0x80: {
      if (!b.has(6)) return skip(SkipReason::kTruncatedLink);
      const uint32_t organisation = be32(b.at) & 0xffffff;
      if (organisation != 0) return skip(SkipReason::kNotIp);
      const uint16_t type = be16(b.at + 4);
      if (type <= 1500) return skip(SkipReason::kNotIp);
      return ether_type(type, b.after(6));
    }
    default: return skip(SkipReason::kNotIp);
  }
}

void Parser::mpls(Bytes b) {
  while (deeper()) {
    if (!b.has(4)) return skip(SkipReason::kTruncatedLink);
    const bool bottom = (b.at[2] & 1) != 0;
    b = b.after(4);
    if (!bottom) continue;
    if (!b.has(1)) return skip(SkipReason::kTruncatedIp);
    const int version = b.at[0] >> 4;
    if (version == 4) return ipv4(b);
    if (version == 6) return ipv6(b);
    return skip(SkipReason::kNotIp);  // a pseudowire: only signalling tells what is inside
  }
}

/// IEEE 802.11: only unencrypted data frames carry a readable LLC header.
void Parser::wireless(Bytes b) {
  if (!b.has(2)) return skip(SkipReason::kTruncatedLink);
  const uint8_t control = b.at[0], flags = b.at[1];
  const bool is_data = (control & 0x0c) == 0x08;
  const bool has_body = (control & 0x40) == 0;
  const bool encrypted = (flags & 0x40) != 0;
  if (!is_data || !has_body || encrypted) return skip(SkipReason::kNotIp);
  uint32_t header = 24;
  if ((flags & 0x03) == 0x03) header += 6;  // a fourth address (to and from a distribution system)
  const bool has_qos = (control & 0x80) != 0;
  if (!b.has(header + (has_qos ? 2 : 0))) return skip(SkipReason::kTruncatedLink);
  const bool fragment = (b.at[22] & 0x0f) != 0;
  if (fragment) return skip(SkipReason::kNotIp);
  if (has_qos) {
    const bool aggregate = (b.at[header] & 0x80) != 0;
    header += 2;
    if ((flags & 0x80) != 0) header += 4;  // HT control
    if (aggregate) header += 14;           // the first subframe's own header
    if (!b.has(header)) return skip(SkipReason::kTruncatedLink);
  }
  b = b.after(header);
  // Prism and radiotap drivers may pad the header to 4 bytes; the position of LLC shows it.
  if (header % 4 != 0 && b.has(5) && b.at[0] != 0xaa && b.at[2] == 0xaa && b.at[3] == 0xaa) {
    b = b.after(2);
  }
  logical_link(b);
}

void Parser::ipv4(Bytes b) {
  if (!deeper()) return;
  if (!b.has(20)) return skip(SkipReason::kTruncatedIp);
  const uint32_t header = (b.at[0] & 0x0fu) * 4;
  const uint32_t total = be16(b.at + 2);
  if (b.at[0] >> 4 != 4 || header < 20 || (total != 0 && total < header)) {
    return skip(SkipReason::kMalformedIp);
  }
  note_ip(b.at);
  const uint8_t protocol = b.at[9];
  const uint8_t* addresses = b.at + 12;
  const uint16_t fragment = be16(b.at + 6);
  const bool is_later = (fragment & 0x1fff) != 0;
  if (!inner_) {
    out_.ip_version = 4;
    if ((fragment & 0x3fff) != 0) [[unlikely]] {
      (is_later ? out_.later_fragment : out_.first_fragment) = true;
      uint64_t ends;
      std::memcpy(&ends, addresses, 8);
      out_.datagram_id = (ends * 0x9e3779b97f4a7c15) ^
                         (uint64_t{be16(b.at + 4)} << 16 | uint64_t{protocol} << 8 | 1);
    }
  }
  if (is_later) return skip(SkipReason::kLaterFragment);
  if (!b.has(header)) return skip(SkipReason::kTruncatedIp);
  if (total != 0) {
    b.length = total;
    b.captured = std::min(b.captured, total);
  } else if (!inner_) {
    out_.lengths_left_out = true;
  }
  transport(protocol, b.after(header), addresses, addresses + 4, false);
}

void Parser::ipv6(Bytes b) {
  if (!deeper()) return;
  if (!b.has(40)) return skip(SkipReason::kTruncatedIp);
  if (b.at[0] >> 4 != 6) return skip(SkipReason::kMalformedIp);
  note_ip(b.at);
  if (!inner_) out_.ip_version = 6;
  const uint8_t* header = b.at;
  uint8_t next = header[6];
  const uint32_t payload = be16(header + 4);
  b = b.after(40);
  if (payload != 0) {
    b.length = payload;
    b.captured = std::min(b.captured, payload);
  } else if (!inner_) {  // it may be a jumbogram instead, but nobody sends those
    out_.lengths_left_out = true;
  }
  for (int i = 0; i < kDepthMax; ++i) {
    uint32_t size = 0;
    switch (next) {
      case kHopByHop:
      case kRouting:
      case kDestination:
      case kMobility:
      case kHip:
      case kShim6:
        if (!b.has(8)) return skip(SkipReason::kTruncatedIp);
        size = (b.at[1] + 1u) * 8;
        break;
      case kAuthentication:
        if (!b.has(8)) return skip(SkipReason::kTruncatedIp);
        size = (b.at[1] + 2u) * 4;
        break;
      case kFragment: {
        if (!b.has(8)) return skip(SkipReason::kTruncatedIp);
        const uint16_t field = be16(b.at + 2);
        if ((field & 0xfff9) != 0) {  // offset or more-flag; 0: an atomic (whole) datagram
          if (!inner_) {
            uint64_t ends = 0;
            for (uint32_t at = 8; at < 40; at += 8) {
              uint64_t word;
              std::memcpy(&word, header + at, 8);
              ends = (ends ^ word) * 0x9e3779b97f4a7c15;
            }
            out_.datagram_id = ends ^ (static_cast<uint64_t>(be32(b.at + 4)) << 8 | 1);
          }
          const bool is_later = (field & 0xfff8) != 0;
          if (!inner_) (is_later ? out_.later_fragment : out_.first_fragment) = true;
          if (is_later) return skip(SkipReason::kLaterFragment);
        }
        size = 8;
        break;
      }
      default: return transport(next, b, header + 8, header + 24, true);
    }
    if (!b.has(size)) return skip(SkipReason::kTruncatedIp);
    next = b.at[0];
    b = b.after(size);
  }
  skip(SkipReason::kMalformedIp);  // the chain of headers is too long
}

void Parser::skip_protocol(uint8_t protocol) {
  switch (protocol) {
    case kIcmp: return skip(SkipReason::kIcmp);
    case kIcmpv6: return skip(SkipReason::kIcmpv6);
    case kIgmp: return skip(SkipReason::kIgmp);
    case kSctp: return skip(SkipReason::kSctp);
    case kGre: return skip(SkipReason::kGre);
    case kEsp: return skip(SkipReason::kEsp);
    case kIpInIp:
    case kIpv6InIp: return skip(SkipReason::kIpInIp);
    default: return skip(SkipReason::kOtherIpProtocol);
  }
}

void Parser::transport(uint8_t protocol, Bytes b, const uint8_t* source, const uint8_t* destination,
                       bool v6) {
  if (protocol != kProtocolUdp && protocol != kProtocolTcp) {
    skip_protocol(protocol);
    if (protocol == kIcmpv6 && v6 && !inner_) return quoted_fragment(b);
    if (mode_ != KeyMode::kInner) return;
    inner_ = true;
    if (protocol == kIpInIp) return ipv4(b);
    if (protocol == kIpv6InIp) return ipv6(b);
    if (protocol == kGre) return gre(b);
    return;
  }
  if (!b.has(4)) return skip(SkipReason::kTruncatedTransport);
  const uint16_t source_port = be16(b.at);
  const uint16_t destination_port = be16(b.at + 2);

  PacketKey& key = out_.key;
  bool from_low = false;
  if (v6) {
    const int order = std::memcmp(source, destination, 16);
    from_low = order < 0 || (order == 0 && source_port <= destination_port);
    std::memcpy(key.low.data(), from_low ? source : destination, 16);
    std::memcpy(key.high.data(), from_low ? destination : source, 16);
  } else {
    const uint64_t from = static_cast<uint64_t>(be32(source)) << 16 | source_port;
    const uint64_t to = static_cast<uint64_t>(be32(destination)) << 16 | destination_port;
    from_low = from <= to;
    if (inner_) key = {};
    std::memcpy(key.low.data(), from_low ? source : destination, 4);
    std::memcpy(key.high.data(), from_low ? destination : source, 4);
  }
  key.low_port = from_low ? source_port : destination_port;
  key.high_port = from_low ? destination_port : source_port;
  key.kind = static_cast<uint8_t>(protocol | (v6 ? PacketKey::kIpv6 : 0));
  if (mode_ == KeyMode::kVlan && vlan_count_ != 0) {
    key.vlan = {static_cast<uint8_t>(vlan_[0] >> 4),
                static_cast<uint8_t>(vlan_[0] << 4 | vlan_[1] >> 8),
                static_cast<uint8_t>(vlan_[1])};
  }
  out_.from_low = from_low;
  out_.skip = SkipReason::kCount;

  out_.payload_head = 0;
  out_.http_status = 0;
  out_.memcached_noreply = Noreply::kNone;
  if (protocol == kProtocolTcp) {
    out_.payload_bytes = 0;
    out_.has_tcp_header = b.has(14);
    if (out_.has_tcp_header) {
      out_.tcp_sequence = be32(b.at + 4);
      out_.tcp_acknowledgment = be32(b.at + 8);
      out_.tcp_flags = b.at[13];
      out_.tcp_zero_window = b.has(16) && be16(b.at + 14) == 0;
      const uint32_t header = (b.at[12] >> 4) * 4u;
      if (header >= 20 && b.length > header) {
        out_.payload_bytes = b.length - header;
        out_.payload_head = payload_head(b.at, header, b.captured, out_.payload_bytes);
        out_.http_status =
            http_status(out_.payload_head, b.at, header, b.captured, out_.payload_bytes);
        out_.memcached_noreply =
            memcached_noreply(out_.payload_head, b.at, header, b.captured, out_.payload_bytes);
      }
    }
    return;
  }
  out_.has_tcp_header = false;
  uint32_t length = b.length;
  if (b.has(6)) {
    const uint32_t stated = be16(b.at + 4);
    // The length may be larger than this fragment; later ones hold the rest. 0 is a jumbogram.
    if (stated >= 8 && stated < length) length = stated;
  }
  out_.payload_bytes = length > 8 ? length - 8 : 0;
  out_.payload_head = payload_head(b.at, 8, b.captured, out_.payload_bytes);
  if (mode_ == KeyMode::kInner && b.has(8)) {
    inner_ = true;
    udp_tunnel(source_port, destination_port, b.after(8));
  }
}

/// An ICMPv6 error quotes the packet that it is about. The quoted packet's flow is ignored, but if
/// it is a fragment it counts as one, as in tshark.
void Parser::quoted_fragment(Bytes b) {
  constexpr uint32_t kErrorHeader = 8, kIpHeader = 40;
  constexpr uint8_t kFirstInformational = 128;
  if (!b.has(kErrorHeader + kIpHeader + 8) || b.at[0] >= kFirstInformational) return;
  const uint8_t* quoted = b.at + kErrorHeader;
  if (quoted[0] >> 4 != 6 || quoted[6] != kFragment) return;
  const uint16_t field = be16(quoted + kIpHeader + 2);
  if ((field & 0xfff9) == 0) return;
  ((field & 0xfff8) != 0 ? out_.later_fragment : out_.first_fragment) = true;
}

void Parser::gre(Bytes b) {
  if (!b.has(4)) return;
  const uint16_t flags = be16(b.at);
  const uint16_t type = be16(b.at + 2);
  const int version = flags & 7;
  if (version > 1 || (flags & 0x4000) != 0) return;  // source routing is obsolete
  uint32_t header = 4;
  if ((flags & 0x8000) != 0) header += 4;                  // checksum
  if ((flags & 0x2000) != 0) header += 4;                  // key
  if ((flags & 0x1000) != 0) header += 4;                  // sequence
  if (version == 1 && (flags & 0x0080) != 0) header += 4;  // acknowledgement
  if (type == kTypeErspan2 && (flags & 0x1000) != 0) header += 8;
  if (type == kTypeErspan3) header += 12;
  if (!b.has(header)) return;
  b = b.after(header);
  if (type == kTypeErspan2 || type == kTypeErspan3) return ethernet(b);
  if (type == kTypePpp) return ppp(b);
  if (type > 1500) ether_type(type, b);
}

void Parser::udp_tunnel(uint16_t source_port, uint16_t destination_port, Bytes b) {
  const auto is = [&](uint16_t port) { return destination_port == port || source_port == port; };
  if (destination_port == kVxlanPort) {
    if (b.has(8) && (b.at[0] & 0x08) != 0) ethernet(b.after(8));
  } else if (destination_port == kLinuxVxlanPort) {
    // The port was never assigned to VXLAN: require flags and reserved bytes as Linux sends them.
    if (b.has(8) && be32(b.at) == 0x0800'0000 && b.at[7] == 0) ethernet(b.after(8));
  } else if (destination_port == kGenevePort) {
    if (!b.has(8) || b.at[0] >> 6 != 0) return;
    const uint32_t header = 8 + (b.at[0] & 0x3fu) * 4;
    const uint16_t type = be16(b.at + 2);
    if (b.has(header) && type > 1500) ether_type(type, b.after(header));
  } else if (is(kGtpUserPort)) {
    // Version 1, protocol type GTP, message 255 (G-PDU).
    if (!b.has(8) || (b.at[0] & 0xf0) != 0x30 || b.at[1] != 0xff) return;
    const bool extension = (b.at[0] & 0x04) != 0;
    const bool options = (b.at[0] & 0x07) != 0;
    b = b.after(8);
    if (options) {
      if (!b.has(4)) return;
      uint8_t next = extension ? b.at[3] : 0;
      b = b.after(4);
      for (int i = 0; next != 0; ++i) {
        if (i == kDepthMax || !b.has(1)) return;
        const uint32_t size = b.at[0] * 4u;  // length in words, contents, next type
        if (size == 0 || !b.has(size)) return;
        next = b.at[size - 1];
        b = b.after(size);
      }
    }
    by_version(b);
  } else if (is(kTeredoPort)) {
    if (b.has(4) && be16(b.at) == 0x0001) {  // authentication
      const uint32_t header = 13u + b.at[2] + b.at[3];
      if (!b.has(header)) return;
      b = b.after(header);
    }
    if (b.has(8) && be16(b.at) == 0x0000) b = b.after(8);  // origin
    if (b.has(1) && b.at[0] >> 4 == 6) ipv6(b);
  }
}

}  // namespace

FlowKey PacketKey::to_flow_key() const {
  FlowKey out;
  out.low = {low, low_port};
  out.high = {high, high_port};
  out.ip_version = ip_version();
  out.protocol = protocol();
  out.vlan = {static_cast<uint16_t>(vlan[0] << 4 | vlan[1] >> 4),
              static_cast<uint16_t>((vlan[1] & 0xf) << 8 | vlan[2])};
  return out;
}

bool is_supported_link_type(int dlt) {
  if (dlt < 0 || dlt > UINT16_MAX) return false;
  switch (static_cast<LinkType>(dlt)) {
    case LinkType::kNull:
    case LinkType::kEthernet:
    case LinkType::kPpp:
    case LinkType::kRaw:
    case LinkType::kPppSerial:
    case LinkType::kPppEther:
    case LinkType::kCiscoHdlc:
    case LinkType::kIeee80211:
    case LinkType::kFrameRelay:
    case LinkType::kLoop:
    case LinkType::kLinuxCooked:
    case LinkType::kPrism:
    case LinkType::kRadiotap:
    case LinkType::kAvs:
    case LinkType::kPppWithDirection:
    case LinkType::kCiscoHdlcWithDirection:
    case LinkType::kFrameRelayWithDirection:
    case LinkType::kMpls:
    case LinkType::kIpv4:
    case LinkType::kIpv6:
    case LinkType::kLinuxCooked2: return true;
  }
  return false;
}

namespace {

/// Parses nearly every packet: TCP or UDP in a whole IPv4 packet without options, or in IPv6
/// without extensions. False for any other, with `out` unchanged. Gives exactly the same result as
/// Parser. REQUIRES: `ip` is the first IP header, and keys are taken from the outermost one.
template <bool v6>
[[gnu::always_inline]] inline bool parse_usual(const PacketView& packet, uint32_t link_bytes,
                                               ParsedPacket& out) {
  constexpr uint32_t kUdpHeader = 8, kTcpHeader = 20;
  const uint32_t header_bytes = v6 ? 40 : 20;
  if (packet.captured < link_bytes + header_bytes + kUdpHeader) return false;
  const uint8_t* ip = packet.bytes + link_bytes;
  uint32_t length = 0;  // of the transport
  uint8_t protocol = 0;
  if constexpr (v6) {
    length = be16(ip + 4);
    protocol = ip[6];
    if (ip[0] >> 4 != 6 || length < kUdpHeader) return false;
  } else {
    const uint32_t total = be16(ip + 2);
    protocol = ip[9];
    const bool fragment = (be16(ip + 6) & 0x3fff) != 0;
    if (ip[0] != 0x45 || fragment || total < header_bytes + kUdpHeader) return false;
    length = total - header_bytes;
  }
  const uint8_t* transport = ip + header_bytes;
  // The captured bytes of the transport. The payload may end before them, where the headers say.
  const uint32_t there = packet.captured - link_bytes - header_bytes;
  const bool tcp = protocol == kProtocolTcp;
  if (tcp ? there < kTcpHeader || length < kTcpHeader : protocol != kProtocolUdp) return false;

  // No branch on who sent: it could not be predicted.
  const uint32_t ports = be32(transport);  // the source port is in the upper half
  bool from_low = false;
  const auto choose = [&from_low](uint64_t if_low, uint64_t otherwise) {
    return otherwise ^ ((if_low ^ otherwise) & (uint64_t{0} - uint64_t{from_low}));
  };
  if constexpr (v6) {
    uint64_t a[2], b[2];
    std::memcpy(a, ip + 8, 16);
    std::memcpy(b, ip + 24, 16);
    const bool first_equal = a[0] == b[0];
    const uint64_t from = __builtin_bswap64(first_equal ? a[1] : a[0]);
    const uint64_t to = __builtin_bswap64(first_equal ? b[1] : b[0]);
    from_low = from < to || (from == to && (ports >> 16) <= (ports & 0xffff));
    out.key.set_word(0, choose(a[0], b[0]));
    out.key.set_word(1, choose(a[1], b[1]));
    out.key.set_word(2, choose(b[0], a[0]));
    out.key.set_word(3, choose(b[1], a[1]));
  } else {
    uint32_t a, b;
    std::memcpy(&a, ip + 12, 4);
    std::memcpy(&b, ip + 16, 4);
    from_low = (uint64_t{__builtin_bswap32(a)} << 16 | ports >> 16) <=
               (uint64_t{__builtin_bswap32(b)} << 16 | (ports & 0xffff));
    out.key.set_word(0, choose(a, b));
    out.key.set_word(1, 0);
    out.key.set_word(2, choose(b, a));
    out.key.set_word(3, 0);
  }
  constexpr unsigned kFamily = v6 ? unsigned{PacketKey::kIpv6} : 0u;
  out.key.set_word(4, std::rotl(ports, from_low ? 16 : 0) | uint64_t{protocol | kFamily} << 32);

  out.stamp_ns = packet.stamp_ns;
  out.wire_bytes = std::min<uint32_t>(packet.length, INT32_MAX);
  out.from_low = from_low;
  out.ip_version = v6 ? 6 : 4;
  out.ip_offset = static_cast<uint16_t>(link_bytes);
  out.first_fragment = false;
  out.later_fragment = false;
  out.lengths_left_out = false;
  out.skip = SkipReason::kCount;
  out.datagram_id = 0;
  if (tcp) {
    const uint32_t header = (transport[12] >> 4) * 4u;
    const uint32_t payload_bytes = header >= 20 && length > header ? length - header : 0;
    const uint64_t head = payload_head(transport, header, there, payload_bytes);
    out.payload_bytes = payload_bytes;
    out.payload_head = head;
    out.tcp_sequence = be32(transport + 4);
    out.tcp_acknowledgment = be32(transport + 8);
    out.tcp_flags = transport[13];
    out.has_tcp_header = true;
    out.tcp_zero_window = be16(transport + 14) == 0;
    out.http_status = http_status(head, transport, header, there, payload_bytes);
    out.memcached_noreply = memcached_noreply(head, transport, header, there, payload_bytes);
  } else {
    const uint32_t stated = be16(transport + 4);
    const uint32_t payload_bytes =
        (stated >= kUdpHeader && stated < length ? stated : length) - kUdpHeader;
    out.payload_bytes = payload_bytes;
    out.payload_head = payload_head(transport, kUdpHeader, there, payload_bytes);
    out.tcp_sequence = 0;
    out.tcp_acknowledgment = 0;
    out.tcp_flags = 0;
    out.has_tcp_header = false;
    out.tcp_zero_window = false;
    out.http_status = 0;
    out.memcached_noreply = Noreply::kNone;
  }
  return true;
}

}  // namespace

void parse_packet(LinkType link, KeyMode mode, const PacketView& packet, ParsedPacket& out) {
  if (link == LinkType::kEthernet && mode != KeyMode::kInner && packet.captured >= 14) [[likely]] {
    const uint16_t type = be16(packet.bytes + 12);
    if (type == kTypeIpv4 && parse_usual<false>(packet, 14, out)) return;
    if (type == kTypeIpv6 && parse_usual<true>(packet, 14, out)) return;
  }
  parse_any_packet(link, mode, packet, out);
}

void parse_any_packet(LinkType link, KeyMode mode, const PacketView& packet, ParsedPacket& out) {
  out = ParsedPacket{};
  Parser parser(mode, packet, out);
  parser.link(link, {packet.bytes, packet.captured, std::max(packet.length, packet.captured)});
}

ParsedPacket parse_packet(LinkType link, KeyMode mode, const PacketView& packet) {
  ParsedPacket out;
  parse_packet(link, mode, packet, out);
  return out;
}

int parser_snaplen(KeyMode mode) {
  // Ethernet 14, QinQ 8, IPv6 40 with some 60 bytes of extensions, TCP 20: 142. Tunnels nest.
  return mode == KeyMode::kInner ? 384 : 192;
}

}  // namespace topspin
