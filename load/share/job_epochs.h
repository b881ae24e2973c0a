// The epochs of a load that several workers share: from a moment on, these workers have it. Also
// who decides on the next one: the coordinator, by the heartbeats that it read. Pure; times are
// since the load began.
//
// docs/decisions/0017-workers.md has the protocol. In short: a worker acts on a moment only if it
// lies before its horizon, which it first claims in the store. An epoch that takes clients from a
// worker begins at or after that worker's claim. So a moment has one owner, whatever stops or dies.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/clock.h"

namespace topspin {

inline constexpr int64_t kClaimAheadNs = 2 * kNanosPerSecond;        // a claim reaches so far
inline constexpr int64_t kClaimEveryNs = kNanosPerSecond / 2;        // and is made so often
inline constexpr int64_t kDeadAfterNs = 2 * kNanosPerSecond;         // without a heartbeat
inline constexpr int64_t kNoticeNs = 3 * kNanosPerSecond / 4;        // until all have read an epoch
inline constexpr int64_t kCoordinatorDeadNs = 10 * kNanosPerSecond;  // without a sign of life
inline constexpr size_t kMaxWorkers = 4096;                          // of one load

struct JobEpoch {
  uint64_t number = 0;
  int64_t from_ns = 0;   // a whole second
  bool is_last = false;  // the load ends here; it has no members
  std::vector<std::string> members;

  bool operator==(const JobEpoch&) const = default;
};

/// The epoch in force at a moment; null before the first one.
const JobEpoch* epoch_at(std::span<const JobEpoch> epochs, int64_t time_ns);

/// A worker as its rows in the store show it.
struct JobMember {
  std::string id;
  bool is_ready = false;         // takes part, or would; false: it wants to leave, or failed
  int64_t heartbeat_age_ns = 0;  // by the store's clock
  int64_t claimed_until_ns = 0;
};

/// The epoch that should follow `current`, or nullopt if nothing has changed. It is for the store
/// to refuse it if a claim has grown meanwhile: then read again.
std::optional<JobEpoch> next_epoch(const JobEpoch& current, std::span<const JobMember> members,
                                   int64_t now_ns);
/// The one that ends the load.
JobEpoch last_epoch(const JobEpoch& current, std::span<const JobMember> members, int64_t now_ns);

/// The members of `current` that lose clients in `next`: all if one joins, else those that go.
std::vector<std::string> losers(const JobEpoch& current, const JobEpoch& next);

}  // namespace topspin
