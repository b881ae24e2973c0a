// SeenTwice finds packets that were already seen on another interface of the same machine.
//
// The interface `any` shows a packet once on each interface that it crosses: a container's packet
// on its veth, on the bridge and on the outgoing interface; a bonded one on the slave and on the
// bond. Such sightings agree from the IP header on, except in the fields that a hop rewrites: TTL,
// traffic class and checksums. A retransmission looks the same, but comes again on the interface
// where the packet was seen first. So each content has a count of how often it came on its first
// interface, and every other interface may show it that many times. If there is no interface
// number (SLL version 1), the direction takes its place.
//
// The table has a fixed size, and the oldest entries are overwritten. One thread.
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
  explicit SeenTwice(const HashSeed& seed) : seed_(seed) {}

  /// Only captures of several interfaces at once can show a packet twice.
  static bool can_be(LinkType link) {
    return link == LinkType::kLinuxCooked || link == LinkType::kLinuxCooked2;
  }

  /// REQUIRES: can_be(link), and `parsed` is what the parser made of `packet`.
  bool is_repeated(LinkType link, const PacketView& packet, const ParsedPacket& parsed);

  /// Sightings further apart are two packets. A queue between two interfaces may hold a packet for
  /// long, but a connection that gives up on one interface and tries another is slower than this.
  static constexpr int64_t kApartMaxNs = kNanosPerSecond / 2;

 private:
  struct Sighting {
    uint64_t key = 0;  // 0: empty
    int64_t stamp_ns = 0;
    uint32_t interface = 0;  // in the entry of a content: where it came first
    uint32_t count = 0;
    uint32_t since = 0;  // the value of beginnings_ when its content was new
  };
  static constexpr size_t kWays = 4;
  static constexpr size_t kSightings = 1 << 15;

  uint64_t content(LinkType link, const PacketView& packet, const ParsedPacket& parsed) const;
  /// The entry with the key; if there is none, the oldest entry of its set, emptied.
  Sighting& find(uint64_t key, int64_t stamp_ns);

  HashSeed seed_;
  uint32_t beginnings_ = 0;
  std::vector<Sighting> sightings_;  // allocated with the first packet
};

}  // namespace topspin
