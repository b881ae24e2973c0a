#include "load/share/worker_share.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "load/share/assignment.h"

namespace topspin {

WorkerShare::WorkerShare(const Schedule& schedule, std::string id)
    : schedule_(schedule), id_(std::move(id)), held_as_(schedule.stays.size(), kNone) {}

ScheduleChange WorkerShare::apply(const JobEpoch& epoch) {
  ScheduleChange change;
  const auto me = std::find(epoch.members.begin(), epoch.members.end(), id_);
  const bool takes_part = me != epoch.members.end();
  const auto position = static_cast<size_t>(me - epoch.members.begin());
  const Assignment assignment(epoch.members);
  for (size_t i = 0; i < schedule_.stays.size(); ++i) {
    const ClientStay& client = schedule_.stays[i];
    uint32_t& held_as = held_as_[i];
    if (client.leave_ns <= epoch.from_ns) continue;
    const bool is_mine = takes_part && assignment.owns(position, client.slot);
    if (is_mine == (held_as != kNone)) continue;
    if (is_mine) {
      held_as = static_cast<uint32_t>(stays_.size() + change.stays.size());
      change.stays.push_back(
          {client.slot, std::max(client.join_ns, epoch.from_ns), client.leave_ns});
    } else {
      ClientStay& held = stays_[held_as];
      held.leave_ns = std::max(held.join_ns, epoch.from_ns);
      change.cuts.push_back({held_as, held.leave_ns});
      held_as = kNone;
    }
  }
  CHECK(stays_.size() + change.stays.size() < kNone);
  // The schedule is in the order of join_ns, and so are these.
  stays_.insert(stays_.end(), change.stays.begin(), change.stays.end());
  return change;
}

}  // namespace topspin
