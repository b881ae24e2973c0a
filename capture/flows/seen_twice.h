// SeenTwice: whether a packet was seen already, on another interface of the same machine.
//
// The interface `any` shows a packet once on each interface that it crosses: a container's packet
// on its veth, on the bridge and on the way out; a bonded one on the slave and on the bond. What
// such sightings share is the packet from the IP header on, without what a hop rewrites: TTL,
// traffic class and checksums. What tells them from a packet that was sent again is the interface:
// one that is sent again comes once more on the interface where the first was seen first. So each
// content has a count of how often it came on its first interface, and each other interface may
// show it that many times. Without an interface's number (SLL version 1) its direction stands for
// it.
//
// A fixed room, in which the oldest give way. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "capture/flows/flow_hash.h"
#include "capture/packet/packet.h"
#include "capture/packet/packet_parser.h"
#include "core/base/clock.h"

namespace topspin {

class SeenTwice {
 public:
  explicit SeenTwice(const HashSeed& seed = HashSeed::random()) : seed_(seed) {}

  /// Only captures of several interfaces at once have it.
  static bool can_be(LinkType link) {
    return link == LinkType::kLinuxCooked || link == LinkType::kLinuxCooked2;
  }

  /// REQUIRES: can_be(link), `parsed` is the parser's answer to `packet`.
  bool is_repeated(LinkType link, const PacketView& packet, const ParsedPacket& parsed);

  /// Sightings further apart are two packets. A queue may hold a packet for long between two
  /// interfaces; a connection that gives up on one interface and tries another is slower than this.
  static constexpr int64_t kApartMaxNs = kNanosPerSecond / 2;

 private:
  struct Sighting {
    uint64_t key = 0;  // 0: empty
    int64_t stamp_ns = 0;
    uint32_t interface = 0;  // of a content: where it came first
    uint32_t count = 0;
    uint32_t since = 0;  // which beginning of the content this belongs to
  };
  static constexpr size_t kWays = 4;
  static constexpr size_t kSightings = 1 << 15;

  uint64_t content(LinkType link, const PacketView& packet, const ParsedPacket& parsed) const;
  /// The one with the key; else the oldest of those that could have it, emptied.
  Sighting& find(uint64_t key, int64_t stamp_ns);

  HashSeed seed_;
  uint32_t beginnings_ = 0;
  std::vector<Sighting> sightings_;  // made with the first packet
};

}  // namespace topspin
