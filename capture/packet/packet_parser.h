// parse_packet turns bytes and a link type into a ParsedPacket. Packets may be hostile, so it reads
// only bytes that were captured, keeps no state and allocates nothing. Pure; thread-agnostic.
#pragma once

#include <cstdint>

#include "capture/flow_tracker.h"
#include "capture/packet/packet.h"

namespace topspin {

/// The link types that the parser reads, by libpcap's DLT numbers as Linux has them.
enum class LinkType : uint16_t {
  kNull = 0,
  kEthernet = 1,
  kPpp = 9,
  kRaw = 12,
  kPppSerial = 50,  // PPP in HDLC framing, or Cisco HDLC
  kPppEther = 51,   // PPPoE without the Ethernet header
  kCiscoHdlc = 104,
  kIeee80211 = 105,
  kFrameRelay = 107,
  kLoop = 108,
  kLinuxCooked = 113,
  kPrism = 119,
  kRadiotap = 127,
  kAvs = 163,
  kPppWithDirection = 204,
  kCiscoHdlcWithDirection = 205,
  kFrameRelayWithDirection = 206,
  kMpls = 219,
  kIpv4 = 228,
  kIpv6 = 229,
  kLinuxCooked2 = 276,
};

/// The number of a link type in capture files, which differs from the DLT for raw IP.
inline constexpr uint32_t kLinkTypeRawInFiles = 101;
constexpr uint32_t link_type_in_files(LinkType link) {
  return link == LinkType::kRaw ? kLinkTypeRawInFiles : static_cast<uint32_t>(link);
}
constexpr uint32_t dlt_of_file(uint32_t link_type) {
  return link_type == kLinkTypeRawInFiles ? static_cast<uint32_t>(LinkType::kRaw) : link_type;
}

/// Whether the parser reads this DLT number.
bool is_supported_link_type(int dlt);

/// REQUIRES: is_supported_link_type(link), packet.captured bytes at packet.bytes.
void parse_packet(LinkType link, KeyMode mode, const PacketView& packet, ParsedPacket& out);
ParsedPacket parse_packet(LinkType link, KeyMode mode, const PacketView& packet);

/// The same without parse_packet's shortcut for the most common packets. Tests compare the two.
void parse_any_packet(LinkType link, KeyMode mode, const PacketView& packet, ParsedPacket& out);

/// The snaplen that the parser needs: enough for the longest usual headers, and for those of
/// tunnels when the inner header is the key. The parser never reads further.
int parser_snaplen(KeyMode mode);

}  // namespace topspin
