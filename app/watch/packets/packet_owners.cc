#include "app/watch/packets/packet_owners.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/base/text.h"

namespace topspin {
namespace {

/// The name is a foreign text, and a comment must be UTF-8.
std::string owner_words(const FlowOwner& owner) {
  const bool is_one_of_several = owner.quality == OwnerQuality::kShared;
  return fmt::format("{} (pid {}{})", sanitize_for_terminal(owner.name), owner.pid,
                     is_one_of_several ? ", one of several" : "");
}

}  // namespace

PacketOwners::PacketOwners(const Incident& incident) {
  for (const auto& [number, owner] : incident.base.owners_) owners_[number] = &owner;
  for (const auto& [id, row] : incident.base.flows_) add(row);
  for (const auto& tick : incident.ticks) {
    for (const FlowOwner& owner : tick->plain().changed_owners) owners_[owner.number] = &owner;
    for (const FlowRow& row : tick->plain().changed_flows) add(row);
  }
}

/// A later row of a flow may know more of it.
void PacketOwners::add(const FlowRow& row) {
  std::vector<Flow>& flows = flows_[row.key];
  auto flow =
      std::find_if(flows.begin(), flows.end(), [&](const Flow& f) { return f.id == row.id; });
  if (flow == flows.end()) {
    const auto after = std::find_if(flows.begin(), flows.end(),
                                    [&](const Flow& f) { return f.first_ns > row.first_ns; });
    flow = flows.insert(after, {row.id, row.first_ns, row.last_ns, row.initiator_is_low, {}});
  }
  flow->last_ns = std::max(flow->last_ns, row.last_ns);
  flow->initiator_is_low = row.initiator_is_low;
  for (size_t end = 0; end < 2; ++end)
    if (row.owners[end]) flow->owners[end] = row.owners[end];
}

std::string PacketOwners::words(const FlowKey& key, bool from_low, int64_t stamp_ns) const {
  const auto flows = flows_.find(key);
  if (flows == flows_.end()) return {};
  const Flow* at_that_time = nullptr;
  for (const Flow& flow : flows->second)
    if (flow.first_ns <= stamp_ns && stamp_ns <= flow.last_ns) at_that_time = &flow;
  if (at_that_time == nullptr) return {};
  const auto words_of = [&](bool low, std::string_view direction) -> std::string {
    const auto number = at_that_time->owners[low == at_that_time->initiator_is_low ? 0 : 1];
    const auto owner = number ? owners_.find(*number) : owners_.end();
    if (owner == owners_.end()) return {};
    return fmt::format("{} {}", direction, owner_words(*owner->second));
  };
  const std::string from = words_of(from_low, "from"), to = words_of(!from_low, "to");
  return from.empty() || to.empty() ? from + to : from + " " + to;
}

}  // namespace topspin
