// Which end of a flow asks, where no SYN says so: what the first bytes of a payload, the two ports,
// and the ends of other flows tell. Pure, but for KnownEnds, which FlowTable owns; capture thread.
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

/// What the payload's first bytes say: a request line, a TLS hello, the bit of a DNS answer.
Asker asker_by_payload(const ParsedPacket& packet);

/// What the ports say: clients are given ephemeral ports, services have lower ones.
Asker asker_by_ports(const ParsedPacket& packet);

/// Ends (address and port) of flows whose SYN was not seen, and ends that are known to answer. A
/// small table that forgets: what it has lost is no evidence any more.
class KnownEnds {
 public:
  /// The end has answered, or something else said that it does.
  void note_responder(const PacketKey& key, bool low, const HashSeed& seed);
  /// A flow whose ends are not told apart has these.
  void note_flow(const PacketKey& key, const HashSeed& seed);
  /// Whether one end answers on other flows, and the other does not.
  Asker asker_by_responders(const ParsedPacket& packet, const HashSeed& seed) const;
  /// The same of a flow's key: whether that end answers, and the other does not.
  bool only_responder(const PacketKey& key, bool low, const HashSeed& seed) const;
  /// Whether one end is that of several flows whose other ports differ, and the other is not.
  Asker asker_by_sharing(const ParsedPacket& packet, const HashSeed& seed) const;

 private:
  enum State : uint8_t { kNone, kSeen, kShared, kResponder };
  struct Entry {
    uint32_t tag = 0;
    uint16_t other_port = 0;  // kSeen: of the flow that it was seen in
    State state = kNone;
  };
  static constexpr size_t kEntries = 4096;
  using Table = std::array<Entry, kEntries>;

  static uint64_t hash_of(const PacketKey& key, bool low, const HashSeed& seed);
  State state_of(const PacketKey& key, bool low, const HashSeed& seed) const;

  std::unique_ptr<Table> table_;  // made when the first end is noted
};

}  // namespace topspin
