// PacketOwners: the processes at the two ends of a packet, as far as an incident's ticks know them.
// Pure; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "app/watch/incident.h"
#include "core/flow/flow.h"
#include "core/flow/flow_owner.h"

namespace topspin {

class PacketOwners {
 public:
  /// REQUIRES: the incident outlives this.
  explicit PacketOwners(const Incident& incident);

  /// "from curl (pid 12) to nginx (pid 34)", or the part of it that is known; empty if nothing is.
  /// `stamp_ns` is on the clock of the flow rows: an address may have had several flows.
  std::string words(const FlowKey& flow, bool from_low, int64_t stamp_ns) const;

 private:
  struct Flow {
    uint64_t id = 0;
    int64_t first_ns = 0;
    int64_t last_ns = 0;  // in its last row: a later packet may be of a flow without a row
    bool initiator_is_low = true;
    OwnerNumbers owners;
  };

  void add(const FlowRow& row);

  std::map<FlowKey, std::vector<Flow>> flows_;  // of one key: in the order of their first packets
  std::map<uint32_t, const FlowOwner*> owners_;
};

}  // namespace topspin
