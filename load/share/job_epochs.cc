#include "load/share/job_epochs.h"

#include <algorithm>

namespace topspin {
namespace {

bool is_in(const std::vector<std::string>& ids, const std::string& id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

/// The first whole second that all can know of and nobody who loses clients has claimed.
int64_t beginning(const JobEpoch& current, const JobEpoch& next, std::span<const JobMember> members,
                  int64_t now_ns) {
  const std::vector<std::string> losing = losers(current, next);
  int64_t from_ns = std::max(now_ns + kNoticeNs, current.from_ns + 1);
  for (const JobMember& member : members) {
    if (is_in(losing, member.id)) from_ns = std::max(from_ns, member.claimed_until_ns);
  }
  return (from_ns + kNanosPerSecond - 1) / kNanosPerSecond * kNanosPerSecond;
}

}  // namespace

const JobEpoch* epoch_at(std::span<const JobEpoch> epochs, int64_t time_ns) {
  const JobEpoch* found = nullptr;
  for (const JobEpoch& epoch : epochs) {
    if (epoch.from_ns <= time_ns) found = &epoch;
  }
  return found;
}

std::vector<std::string> losers(const JobEpoch& current, const JobEpoch& next) {
  const bool somebody_joins =
      std::any_of(next.members.begin(), next.members.end(),
                  [&](const std::string& id) { return !is_in(current.members, id); });
  if (somebody_joins) return current.members;
  std::vector<std::string> gone;
  for (const std::string& id : current.members) {
    if (!is_in(next.members, id)) gone.push_back(id);
  }
  return gone;
}

std::optional<JobEpoch> next_epoch(const JobEpoch& current, std::span<const JobMember> members,
                                   int64_t now_ns) {
  if (current.is_last) return std::nullopt;
  JobEpoch next;
  next.number = current.number + 1;
  for (const JobMember& member : members) {
    if (member.is_ready && member.heartbeat_age_ns < kDeadAfterNs &&
        next.members.size() < kMaxWorkers)
      next.members.push_back(member.id);
  }
  std::sort(next.members.begin(), next.members.end());
  std::vector<std::string> before = current.members;
  std::sort(before.begin(), before.end());
  if (next.members == before) return std::nullopt;
  next.from_ns = beginning(current, next, members, now_ns);
  return next;
}

JobEpoch last_epoch(const JobEpoch& current, std::span<const JobMember> members, int64_t now_ns) {
  JobEpoch last;
  last.number = current.number + 1;
  last.is_last = true;
  last.from_ns = beginning(current, last, members, now_ns);
  return last;
}

}  // namespace topspin
