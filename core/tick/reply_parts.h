// Of what each reply's time is made: the parts, which of them make up the tail of replies, and the
// slowest replies one by one. docs/sockets.md defines the parts. Plain values; pure.
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
  // From ready to read, by what the thread did that read.
  kUnreadBusy,  // it ran other work
  kUnreadCpuQueue,
  kUnreadAsleep,
  kUnreadStopped,
  kUnreadUnknown,
  // From read to sent, by what the thread did that sent.
  kOnCpu,
  kInsideCpuQueue,
  kBetweenThreads,  // another thread sent than read, until it is known to have been at it
  kHeld,            // the program had sent it, and the kernel held it back
  kInsideUnknown,
  // Asleep, by the system call in progress: in the order of BlockedBy.
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

/// Shorter replies are in no distribution but their parts' own: they are no tail.
inline constexpr uint64_t kShortestTailReplyNs = 1 << 17;

/// One part of the replies of an interval.
struct ReplyPartTimes {
  std::optional<Histogram> time;  // of each reply: 0 where it has none of it
  // Of the replies of kShortestTailReplyNs and more; absent where there is none:
  std::optional<Histogram> with;     // whole replies that had some of it
  std::optional<Histogram> without;  // what they would have taken without it
  std::optional<Histogram> mostly;   // whole replies of which it was the longest part
};
using ReplyParts = std::array<ReplyPartTimes, kReplyPartCount>;

/// The names of the four numbers of a part, and what it is called.
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
    uint64_t mostly = 0;      // of the tail's replies, those of which it was the longest part
    uint64_t without_ns = 0;  // the percentile, had no reply had this part: at most that
  };
  std::string_view percentile;  // "p99": the highest that has enough replies above it
  uint64_t percentile_ns = 0;   // of all replies
  uint64_t limit_ns = 0;        // replies from here on are the tail: the begin of its bucket
  uint64_t replies = 0;         // in the tail
  std::vector<Part> parts;      // those that some of them were mostly, the most first

  /// nullptr: none of the tail's replies was mostly that.
  const Part* find(ReplyPart part) const;
};

/// nullopt: too few replies, or the percentile is below kShortestTailReplyNs. Exact to the bucket,
/// an eighth of an octave.
std::optional<TailBlame> tail_blame(const std::optional<Histogram>& replies,
                                    const ReplyParts& parts);

/// One of the slowest replies of a tick. The moments are CLOCK_MONOTONIC's.
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
/// So many of a tick, and of a run, the slowest.
inline constexpr size_t kSlowRepliesATick = 32;
inline constexpr size_t kSlowRepliesARun = 1'024;

}  // namespace topspin
