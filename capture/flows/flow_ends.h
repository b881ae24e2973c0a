// Finds which end of a flow asks if no SYN was seen, from the first bytes of a payload, the two
// ports, and the ends of other flows. Pure, except KnownEnds, which FlowTable owns on the capture
// thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "capture/flows/flow_hash.h"
#include "capture/packet/packet.h"

namespace topspin {

/// Which end is the initiator.
enum class Asker : uint8_t { kUnknown, kSender, kReceiver };

/// By the payload's first bytes: a request line, a TLS hello, the answer bit of DNS.
Asker asker_by_payload(const ParsedPacket& packet);

/// By the ports: clients get ephemeral ports, and services use lower ones.
Asker asker_by_ports(const ParsedPacket& packet);

/// The ends (address and port) of flows whose SYN was not seen, and ends that are known to answer.
/// A small table whose entries may be overwritten; a lost entry is no evidence.
class KnownEnds {
 public:
  /// The end has answered, or is known to answer for another reason.
  void note_responder(const PacketKey& key, bool low, const HashSeed& seed);
  /// Notes both ends of a flow whose initiator is not known.
  void note_flow(const PacketKey& key, const HashSeed& seed);
  /// Known if one end answers on other flows and the other end does not.
  Asker asker_by_responders(const ParsedPacket& packet, const HashSeed& seed) const;
  /// Whether this end of the key answers on other flows and the other end does not.
  bool only_responder(const PacketKey& key, bool low, const HashSeed& seed) const;
  /// Known if several flows with different other ports share one end, and none share the other.
  Asker asker_by_sharing(const ParsedPacket& packet, const HashSeed& seed) const;

 private:
  enum State : uint8_t { kNone, kSeen, kShared, kResponder };
  struct Entry {
    uint32_t tag = 0;
    uint16_t other_port = 0;  // kSeen: the other port of the flow it was seen in
    State state = kNone;
  };
  static constexpr size_t kEntries = 4096;
  using Table = std::array<Entry, kEntries>;

  static uint64_t hash_of(const PacketKey& key, bool low, const HashSeed& seed);
  State state_of(const PacketKey& key, bool low, const HashSeed& seed) const;

  std::unique_ptr<Table> table_;  // allocated when the first end is noted
};

}  // namespace topspin
