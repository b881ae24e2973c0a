// EndRecording: what the matching of two ends needs of one file: for each packet in a flow its
// time and what identifies it, and for the client's file the replies (by FlowTable's rules).
//
// A packet is identified within its flow and direction. A TCP segment with payload is identified by
// its sequence number: the bytes of a stream have one, however they are cut into segments. One
// without payload is identified by sequence, acknowledgment and flags; a datagram by its length,
// its first bytes and the id in its IPv4 header. If the same comes twice (a retransmission, a ping
// that is always the same), the matching has to tell them apart.
//
// Memory: 32 bytes per packet of a flow that is wanted, and 40 per reply. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "capture/flow_tracker.h"
#include "capture/flows/flow_hash.h"
#include "capture/packet/packet.h"
#include "core/base/result.h"
#include "core/flow/two_ends.h"

namespace topspin {

/// The flows of the client's file, numbered from 0.
class FlowNumbers {
 public:
  explicit FlowNumbers(const HashSeed& seed) : numbers_(16, Hash{seed}) {}

  static constexpr uint32_t kNone = UINT32_MAX;
  uint32_t find(const PacketKey& key) const {
    const auto found = numbers_.find(key);
    return found == numbers_.end() ? kNone : found->second;
  }
  uint32_t find_or_add(const PacketKey& key) {
    const auto [place, is_new] = numbers_.emplace(key, static_cast<uint32_t>(keys_.size()));
    if (is_new) keys_.push_back(key);
    return place->second;
  }
  const std::vector<PacketKey>& keys() const { return keys_; }

 private:
  struct Hash {
    HashSeed seed;
    size_t operator()(const PacketKey& key) const { return hash_key(key, seed); }
  };
  std::unordered_map<PacketKey, uint32_t, Hash> numbers_;
  std::vector<PacketKey> keys_;
};

struct EndPacket {
  int64_t stamp_ns = 0;
  uint64_t identity = 0;  // a TCP segment with payload: its sequence number
  uint32_t side = 0;      // flow number * 2, plus 1 if the high end sent it
  uint32_t payload_bytes = 0;
  uint32_t tail = 0;     // of datagrams: a digest of the bytes after the first 8
  bool is_data = false;  // a TCP segment with payload

  /// No packet without payload, and no datagram, has such an identity.
  static constexpr uint64_t kNoSequence = uint64_t{1} << 63;
};
static_assert(sizeof(EndPacket) == 32);

struct RecordedReply {
  uint32_t flow = 0;
  bool initiator_is_low = true;
  int64_t request_ns = 0;
  int64_t reply_ns = 0;
};

struct EndRecording {
  EndFile file;
  std::vector<EndPacket> packets;   // in order of side, then of time
  std::vector<size_t> sides;        // where each side begins; the last: how many packets there are
  int64_t step_ns = 1;              // stamps are multiples of it
  bool has_short_payloads = false;  // of datagrams: not all bytes that tell them apart

  // Only of the client's file.
  std::vector<RecordedReply> replies;
  std::vector<bool> initiator_is_low;  // by flow

  /// Stamps are cut to this, so that sums of two differences do not overflow.
  static constexpr int64_t kStampMax = INT64_MAX / 3;
};

/// Fails if the file cannot be opened or is no capture. If it breaks off, what was read before is
/// returned, with the reason in file.error.
Result<EndRecording> read_clients_end(const FileOptions& file, FlowTableOptions table,
                                      const HashSeed& seed, FlowNumbers& flows);
/// Keeps only the packets of `flows`.
Result<EndRecording> read_servers_end(const FileOptions& file, KeyMode key, const HashSeed& seed,
                                      const FlowNumbers& flows);

}  // namespace topspin
