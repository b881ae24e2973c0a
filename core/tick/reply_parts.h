// The parts of each reply's time, which parts the slowest replies mostly consist of, and the
// slowest replies themselves. docs/sockets.md defines the parts. Plain values; pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/flow/flow.h"
#include "core/number/histogram.h"

namespace topspin {

/// The parts of a reply's time. They add up to it exactly.
enum class ReplyPart : uint8_t {
  // From ready to read, by what the thread that read was doing.
  kUnreadBusy,  // it ran other work
  kUnreadCpuQueue,
  kUnreadAsleep,
  kUnreadStopped,
  kUnreadUnknown,
  // From read to sent, by what the thread that sent was doing.
  kOnCpu,
  kInsideCpuQueue,
  kBetweenThreads,  // if another thread sends: until it is known to have begun working on it
  kHeld,            // the program had sent it, and the kernel held it back
  kInsideUnknown,
  // Asleep, by the system call in progress, in the order of BlockedBy.
  kFutex,
  kPoll,
  kSocket,
  kPipe,
  kDisk,
  kSleep,
  kChild,
  kPageFault,
  kInsideStopped,
  kOtherCall,
};
inline constexpr size_t kReplyPartCount = 20;

/// Shorter replies are never part of the tail; they are only in ReplyPartTimes::time.
inline constexpr uint64_t kShortestTailReplyNs = 1 << 17;

/// One part of the replies of an interval.
struct ReplyPartTimes {
  std::optional<Histogram> time;  // this part's time in each reply; 0 if it has none
  // Only for replies of at least kShortestTailReplyNs; absent if there are none:
  std::optional<Histogram> with;     // the whole time of replies that had this part
  std::optional<Histogram> without;  // the time of these replies without this part
  std::optional<Histogram> mostly;   // the whole time of replies whose longest part this was
};
using ReplyParts = std::array<ReplyPartTimes, kReplyPartCount>;

/// The names of a part's four numbers, and its labels.
struct ReplyPartNames {
  std::string_view field;  // "unread_busy_ns"
  std::string_view time, with, without, mostly;
  std::string_view label;  // "unread: its thread ran other work"
  std::string_view help;
  std::string_view with_label, without_label, mostly_label;
};
const std::array<ReplyPartNames, kReplyPartCount>& reply_part_names();
inline const ReplyPartNames& names_of(ReplyPart part) {
  return reply_part_names()[static_cast<size_t>(part)];
}

/// What the slowest replies spent their time on.
struct TailBlame {
  struct Part {
    ReplyPart part;
    uint64_t mostly = 0;      // how many replies of the tail have it as their longest part
    uint64_t without_ns = 0;  // upper bound of the percentile if no reply had this part
  };
  std::string_view percentile;  // "p99": the highest that has enough replies above it
  uint64_t percentile_ns = 0;   // of all replies
  uint64_t limit_ns = 0;        // the tail's lower limit: the lower edge of the percentile's bucket
  uint64_t replies = 0;         // in the tail
  std::vector<Part> parts;      // those with `mostly` above 0, the highest first

  /// nullptr if the part was the longest in no reply of the tail.
  const Part* find(ReplyPart part) const;
};

/// nullopt if there are too few replies, or if the percentile is below kShortestTailReplyNs. Exact
/// to one bucket, which is an eighth of an octave.
std::optional<TailBlame> tail_blame(const std::optional<Histogram>& replies,
                                    const ReplyParts& parts);

/// One of the slowest replies of a tick. Times are on CLOCK_MONOTONIC.
struct SlowReply {
  uint64_t tick = 0;
  uint8_t protocol = 0;
  uint8_t ip_version = 4;
  Endpoint local;
  Endpoint remote;  // port 0: not known
  int32_t reader_tid = 0;
  int32_t sender_tid = 0;
  std::string sender;  // comm of the thread that sent: hostile text
  int64_t ready_ns = 0;
  uint64_t total_ns = 0;
  std::array<uint64_t, kReplyPartCount> parts{};  // by ReplyPart, in ns

  /// The longest part.
  ReplyPart mostly() const;
};
/// How many of the slowest replies are kept per tick and per run.
inline constexpr size_t kSlowRepliesATick = 32;
inline constexpr size_t kSlowRepliesARun = 1'024;

}  // namespace topspin
