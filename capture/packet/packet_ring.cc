#include "capture/packet/packet_ring.h"

namespace topspin {
namespace {

/// With this room beyond a chunk, one seldom grows for its last packet.
constexpr size_t kUsualPacketBytes = 2048;

}  // namespace

void PacketRing::begin(LinkType link, KeyMode key, int snaplen) {
  fresh_.link_ = link;
  key_ = key;
  snaplen_ = snaplen;
}

void PacketRing::set_link_type(LinkType link) {
  hand_over();
  fresh_.link_ = link;
}

void PacketRing::hand_over() {
  if (fresh_.packets_ == 0) return;
  const std::lock_guard lock(mutex_);
  const auto fits = [&](const PacketChunk& last) {
    return last.link_ == fresh_.link_ &&
           last.bytes_.size() + fresh_.bytes_.size() <= last.bytes_.capacity();
  };
  if (last_is_frozen_ || !fits(*chunks_.back())) {
    auto chunk = std::make_shared<PacketChunk>(fresh_.link_);
    chunk->number_ = ++last_number_;
    // A full one moves; from a small one, a chunk begins that has room for what follows.
    if (fresh_.bytes_.size() >= kChunkBytes) {
      chunk->bytes_.swap(fresh_.bytes_);
      fresh_.bytes_.reserve(kChunkBytes + kUsualPacketBytes);
    } else {
      chunk->bytes_.reserve(kChunkBytes);
    }
    bytes_ += chunk->memory();
    chunks_.push_back(std::move(chunk));
    last_is_frozen_ = false;
  }
  PacketChunk& last = *chunks_.back();
  last.bytes_ += fresh_.bytes_;
  last.packets_ += std::exchange(fresh_.packets_, 0);
  last.newest_ns_ = fresh_.newest_ns_;
  fresh_.bytes_.clear();
  drop_old();
}

/// REQUIRES: mutex_ is held.
void PacketRing::drop_old() {
  const int64_t from_ns = chunks_.back()->newest_ns_ - keep_ns_;
  while (chunks_.size() > 1 && (bytes_ > max_bytes_ || chunks_.front()->newest_ns_ < from_ns)) {
    bytes_ -= chunks_.front()->memory();
    chunks_.pop_front();
  }
}

FrozenPackets PacketRing::freeze() {
  FrozenPackets frozen;
  add_newer(frozen);
  return frozen;
}

void PacketRing::add_newer(FrozenPackets& earlier) {
  earlier.key = key_;
  earlier.snaplen = snaplen_;
  earlier.ring_bytes = max_bytes_;
  const uint64_t known = earlier.chunks.empty() ? 0 : earlier.chunks.back()->number();
  const std::lock_guard lock(mutex_);
  last_is_frozen_ = true;
  for (const auto& chunk : chunks_)
    if (chunk->number() > known) earlier.chunks.push_back(chunk);
}

uint64_t PacketRing::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace topspin
