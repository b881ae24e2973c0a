// PacketRing: the last packets of a live capture, as they were captured, in bounded memory.
//
// Packets lie in chunks of some 64 KiB. The capture thread fills one and hands it over once per
// batch; nothing is shared per packet. Chunks that have grown too old go, and when the ring is full
// the oldest go first. freeze() shares the chunks instead of copying them, and they do not change
// afterwards.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "capture/flow_tracker.h"
#include "capture/packet/packet.h"
#include "capture/packet/packet_parser.h"

namespace topspin {

/// A packet as the ring keeps it.
struct KeptPacket {
  int64_t wall_ns = 0;      // its stamp
  int64_t stamp_ns = 0;     // the same on the clock of the flow rows
  int64_t interval_ns = 0;  // when the interval began in which it was counted, on that clock
  uint32_t captured = 0;
  uint32_t length = 0;  // on the wire
};

class PacketChunk {
 public:
  explicit PacketChunk(LinkType link) : link_(link) {}

  LinkType link() const { return link_; }
  uint64_t packets() const { return packets_; }
  uint64_t number() const { return number_; }

  /// Calls visit(KeptPacket, const uint8_t* bytes) for each, in the order of their arrival.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (size_t at = 0; at < bytes_.size();) {
      KeptPacket packet;
      std::memcpy(&packet, bytes_.data() + at, sizeof packet);
      at += sizeof packet;
      visit(packet, reinterpret_cast<const uint8_t*>(bytes_.data()) + at);
      at += packet.captured;
    }
  }

 private:
  friend class PacketRing;

  uint64_t memory() const { return sizeof *this + bytes_.capacity(); }

  LinkType link_;
  uint64_t number_ = 0;  // of all chunks that the ring took, from 1
  uint64_t packets_ = 0;
  int64_t newest_ns_ = 0;  // interval_ns of its last packet
  std::string bytes_;      // each packet: KeptPacket, then its bytes
};

/// What was in the ring. Shares its memory with the ring.
struct FrozenPackets {
  std::vector<std::shared_ptr<const PacketChunk>> chunks;  // oldest first
  KeyMode key = KeyMode::kOuter;
  int snaplen = 0;
  uint64_t ring_bytes = 0;
};

class PacketRing {
 public:
  static constexpr size_t kChunkBytes = 64 << 10;

  /// `max_bytes` are for chunks; besides them there is the one that is being filled.
  PacketRing(uint64_t max_bytes, int64_t keep_ns) : max_bytes_(max_bytes), keep_ns_(keep_ns) {}
  PacketRing(const PacketRing&) = delete;
  PacketRing& operator=(const PacketRing&) = delete;

  /// Call once, before the capture begins.
  void begin(LinkType link, KeyMode key, int snaplen);

  /// Capture thread. Sets the link type of the packets from now on.
  void set_link_type(LinkType link);

  /// Capture thread. REQUIRES: `packet` has its stamp on the wall clock; the other two times are
  /// those of KeptPacket.
  void add(const PacketView& packet, int64_t stamp_ns, int64_t interval_ns) {
    const KeptPacket kept{packet.stamp_ns, stamp_ns, interval_ns, packet.captured, packet.length};
    std::string& bytes = fresh_.bytes_;
    bytes.append(reinterpret_cast<const char*>(&kept), sizeof kept);
    bytes.append(reinterpret_cast<const char*>(packet.bytes), packet.captured);
    ++fresh_.packets_;
    fresh_.newest_ns_ = interval_ns;
    if (bytes.size() >= kChunkBytes) hand_over();
  }

  /// Capture thread, once per batch and before an interval is handed over: freeze() has the packets
  /// that were added so far.
  void hand_over();

  /// Any thread.
  FrozenPackets freeze();

  /// Any thread. Adds what came since `earlier` was frozen and is still there.
  void add_newer(FrozenPackets& earlier);

  /// Any thread.
  uint64_t bytes() const;

 private:
  void drop_old();

  const uint64_t max_bytes_;
  const int64_t keep_ns_;
  KeyMode key_ = KeyMode::kOuter;
  int snaplen_ = 0;

  PacketChunk fresh_{LinkType::kEthernet};  // used by the capture thread

  mutable std::mutex mutex_;
  // All below guarded by mutex_.
  std::deque<std::shared_ptr<PacketChunk>> chunks_;
  bool last_is_frozen_ = true;  // no more packets go into the last chunk
  uint64_t bytes_ = 0;
  uint64_t last_number_ = 0;
};

}  // namespace topspin
