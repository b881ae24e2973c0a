#include "capture/flows/seen_twice.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <span>

namespace topspin {
namespace {

/// How much of a packet is compared. Every snaplen that the parser asks for is long enough for
/// this, even behind the headers of a tunnel or a VLAN.
constexpr uint32_t kComparedBytes = 128;

uint32_t be16_at(const uint8_t* p) { return static_cast<uint32_t>(p[0] << 8 | p[1]); }
uint32_t be32_at(const uint8_t* p) { return be16_at(p) << 16 | be16_at(p + 2); }

/// Interface and direction, because a packet may leave on the interface that it came in on.
uint32_t interface_of(LinkType link, const uint8_t* header) {
  constexpr uint32_t kOutgoing = 4;
  if (link == LinkType::kLinuxCooked) return be16_at(header) + 1;
  return be32_at(header + 4) << 1 | uint32_t{header[10] == kOutgoing};
}

/// Zeros the fields that a hop may rewrite.
void leave_out_the_hops(std::span<uint8_t> ip) {
  const auto clear = [&](size_t at, size_t n) {
    if (at + n <= ip.size()) std::fill_n(ip.begin() + static_cast<int64_t>(at), n, uint8_t{0});
  };
  size_t transport = 0;
  uint8_t protocol = 0;
  if (ip[0] >> 4 == 4 && ip.size() >= 20) {
    clear(1, 1);                                  // type of service
    clear(8, 1);                                  // TTL
    clear(10, 2);                                 // checksum
    if ((be16_at(&ip[6]) & 0x1fff) != 0) return;  // a later fragment has no transport header
    transport = (ip[0] & 0x0fu) * 4u;
    protocol = ip[9];
  } else if (ip[0] >> 4 == 6 && ip.size() >= 40) {
    ip[0] &= 0xf0;  // traffic class
    ip[1] &= 0x0f;
    clear(7, 1);  // hop limit
    transport = 40;
    protocol = ip[6];
  }
  // Checksums may only be filled in where the packet leaves, and not on inner interfaces.
  if (protocol == kProtocolTcp) clear(transport + 16, 2);
  if (protocol == kProtocolUdp) clear(transport + 6, 2);
}

}  // namespace

uint64_t SeenTwice::content(LinkType link, const PacketView& packet,
                            const ParsedPacket& parsed) const {
  const uint32_t link_bytes = link == LinkType::kLinuxCooked ? 16 : 20;
  uint32_t from = parsed.ip_offset;
  uint32_t bytes = 0;
  std::array<uint8_t, kComparedBytes + 8> copy{};  // 8 zeros more, for the last word
  if (from != 0) {
    const uint8_t* ip = packet.bytes + from;
    const uint32_t there = packet.captured - from;
    // Leaves out the padding of a short frame, which not every interface shows.
    uint32_t length = UINT32_MAX;
    if (ip[0] >> 4 == 4 && there >= 4) length = be16_at(ip + 2);
    if (ip[0] >> 4 == 6 && there >= 6) length = 40 + be16_at(ip + 4);
    if (length < 20) length = UINT32_MAX;  // 0: segmentation offload
    bytes = std::min({there, length, kComparedBytes});
    std::memcpy(copy.data(), ip, bytes);
    leave_out_the_hops(std::span(copy).first(bytes));
  } else {
    from = std::min(link_bytes, packet.captured);
    bytes = std::min(packet.captured - from, kComparedBytes);
    std::memcpy(copy.data(), packet.bytes + from, bytes);
  }
  uint64_t hash = seed_.words[0] ^ bytes;
  for (uint32_t at = 0; at < bytes; at += 8) {
    uint64_t word;
    std::memcpy(&word, copy.data() + at, 8);
    hash = multiply_fold(hash ^ word ^ seed_.words[1], hash + seed_.words[2]);
  }
  return hash | 1;  // 0 marks an empty entry
}

SeenTwice::Sighting& SeenTwice::find(uint64_t key, int64_t stamp_ns) {
  Sighting* const set = &sightings_[(key >> 32) % (kSightings / kWays) * kWays];
  Sighting* oldest = set;
  for (Sighting* one = set; one != set + kWays; ++one) {
    if (one->key == key) {
      // Stamps of files may have any value, so the difference is computed without signed overflow.
      const auto a = static_cast<uint64_t>(stamp_ns), b = static_cast<uint64_t>(one->stamp_ns);
      if (std::min(a - b, b - a) > static_cast<uint64_t>(kApartMaxNs)) *one = {};
      one->key = key;
      return *one;
    }
    if (one->stamp_ns < oldest->stamp_ns) oldest = one;
  }
  *oldest = {key, stamp_ns, 0, 0, 0};
  return *oldest;
}

bool SeenTwice::is_repeated(LinkType link, const PacketView& packet, const ParsedPacket& parsed) {
  const uint32_t link_bytes = link == LinkType::kLinuxCooked ? 16 : 20;
  if (packet.captured < link_bytes) return false;
  if (sightings_.empty()) sightings_.resize(kSightings);
  const uint32_t interface = interface_of(link, packet.bytes);
  const uint64_t key = content(link, packet, parsed);

  Sighting& first = find(key, packet.stamp_ns);
  const bool is_new = first.count == 0;
  // Sightings on other interfaces do not keep the entry alive. So if the path has changed, the
  // content soon starts anew on its current first interface.
  if (is_new || first.interface == interface) first.stamp_ns = packet.stamp_ns;
  if (is_new) {
    first.interface = interface;
    first.since = ++beginnings_;
  }
  if (is_new || first.interface == interface) {
    ++first.count;
    return false;
  }
  const Sighting begun = first;
  Sighting& other = find(multiply_fold(key, interface ^ seed_.words[3]) | 1, packet.stamp_ns);
  if (other.since != begun.since) other.count = 0;
  other.since = begun.since;
  other.stamp_ns = packet.stamp_ns;
  if (other.count++ < begun.count) return true;
  // Seen more often than on the first interface, so that one missed it, and this packet counts.
  Sighting& again = find(key, packet.stamp_ns);  // `other` may have taken the entry of `first`
  again = begun;
  ++again.count;
  return false;
}

}  // namespace topspin
