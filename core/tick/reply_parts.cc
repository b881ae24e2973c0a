#include "core/tick/reply_parts.h"

#include <algorithm>

namespace topspin {
namespace {

/// The names of a part's four numbers contain its key, and their labels contain its label.
#define TOPSPIN_REPLY_PART(key, label, help)                                            \
  ReplyPartNames {                                                                      \
    key "_ns", "reply_" key "_ns", "reply_with_" key "_ns", "reply_without_" key "_ns", \
        "reply_mostly_" key "_ns", label, help, "replies with: " label,                 \
        "the same without: " label, "replies that were mostly: " label                  \
  }
constexpr std::array<ReplyPartNames, kReplyPartCount> kNames = {{
    TOPSPIN_REPLY_PART("unread_busy", "unread, its thread ran other work",
                       "The part of each reply in which its request was unread while the thread "
                       "that read it was on a CPU."),
    TOPSPIN_REPLY_PART("unread_cpu_queue", "unread, its thread waited for a CPU",
                       "The part of each reply in which its request was unread while the thread "
                       "that read it was runnable but not running."),
    TOPSPIN_REPLY_PART("unread_asleep", "unread, its thread slept",
                       "The part of each reply in which its request was unread while the thread "
                       "that read it slept."),
    TOPSPIN_REPLY_PART("unread_stopped", "unread, its thread was stopped",
                       "The part of each reply in which its request was unread while the thread "
                       "that read it was stopped, traced or frozen."),
    TOPSPIN_REPLY_PART("unread_unknown", "unread, cause unknown",
                       "The part of each reply in which its request was unread, and it is not "
                       "known what the thread that read it did."),
    TOPSPIN_REPLY_PART("on_cpu", "inside, on a CPU",
                       "The part of each reply in which the thread that sent it was on a CPU."),
    TOPSPIN_REPLY_PART("inside_cpu_queue", "inside, waiting for a CPU",
                       "The part of each reply in which, once it was read, the thread that sent "
                       "it was runnable but not running."),
    TOPSPIN_REPLY_PART("between_threads", "inside, between threads",
                       "The part of each reply in which its request was read and the thread that "
                       "sent it, another one, had not taken it up yet."),
    TOPSPIN_REPLY_PART("held", "sent, held back by the kernel",
                       "The part of each reply in which the program had sent it and the kernel "
                       "held it back: TCP_CORK, Nagle, a full window."),
    TOPSPIN_REPLY_PART("inside_unknown", "inside, cause unknown",
                       "The part of each reply in which its request was read, and it is not known "
                       "what the thread that sent it did."),
    TOPSPIN_REPLY_PART("asleep_futex", "inside, asleep on a futex",
                       "The part of each reply in which its thread slept in a futex call: a lock, "
                       "a condition variable."),
    TOPSPIN_REPLY_PART("asleep_poll", "inside, asleep in a poll",
                       "The part of each reply in which its thread slept in epoll, poll, select, "
                       "io_uring, or a read of an eventfd, timerfd and the like."),
    TOPSPIN_REPLY_PART("asleep_socket", "inside, asleep on a socket",
                       "The part of each reply in which its thread slept in a call on a socket."),
    TOPSPIN_REPLY_PART("asleep_pipe", "inside, asleep on a pipe",
                       "The part of each reply in which its thread slept in a call on a pipe."),
    TOPSPIN_REPLY_PART("asleep_disk", "inside, asleep on a disk",
                       "The part of each reply in which its thread slept in a call on a file, or "
                       "uninterruptibly in another call."),
    TOPSPIN_REPLY_PART("asleep_sleep", "inside, asleep by its own wish",
                       "The part of each reply in which its thread slept in nanosleep, pause or a "
                       "wait for a signal."),
    TOPSPIN_REPLY_PART("asleep_child", "inside, waiting for a child",
                       "The part of each reply in which its thread slept in wait or vfork."),
    TOPSPIN_REPLY_PART("asleep_page_fault", "inside, asleep on a page",
                       "The part of each reply in which its thread slept outside of system calls."),
    TOPSPIN_REPLY_PART("inside_stopped", "inside, stopped",
                       "The part of each reply in which, once it was read, its thread was stopped, "
                       "traced or frozen."),
    TOPSPIN_REPLY_PART("asleep_other", "inside, asleep in another call",
                       "The part of each reply in which its thread slept in any other call."),
}};
#undef TOPSPIN_REPLY_PART

/// BPF counts four buckets of the full layout as one.
constexpr uint32_t kBucketsInOne = 4;
constexpr uint32_t kCoarseBuckets = kHistogramBuckets / kBucketsInOne;

uint64_t coarse_cell(const Histogram& histogram, uint32_t index) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < kBucketsInOne; ++i) sum += histogram.cell(kBucketsInOne * index + i);
  return sum;
}
uint64_t coarse_max(uint32_t index) {
  return histogram_bucket_max(kBucketsInOne * index + kBucketsInOne - 1);
}

/// How many samples lie in the coarse bucket `index` or above.
uint64_t count_from(const Histogram& histogram, uint32_t index) {
  uint64_t sum = 0;
  for (uint32_t i = index; i < kCoarseBuckets; ++i) sum += coarse_cell(histogram, i);
  return sum;
}

/// If no reply had this part: the upper edge of the coarse bucket of the reply with `above` others
/// above it.
uint64_t percentile_without(const Histogram& replies, const ReplyPartTimes& part, uint64_t above) {
  uint64_t over = 0;
  for (uint32_t i = kCoarseBuckets; i-- > 0;) {
    if (coarse_max(i) < kShortestTailReplyNs) break;
    uint64_t here = coarse_cell(replies, i);
    if (part.with) here -= std::min(here, coarse_cell(*part.with, i));
    if (part.without) here += coarse_cell(*part.without, i);
    over += here;
    if (over > above) return coarse_max(i);
  }
  return kShortestTailReplyNs;
}

}  // namespace

const std::array<ReplyPartNames, kReplyPartCount>& reply_part_names() { return kNames; }

const TailBlame::Part* TailBlame::find(ReplyPart part) const {
  const auto found = std::find_if(parts.begin(), parts.end(),
                                  [&](const Part& candidate) { return candidate.part == part; });
  return found == parts.end() ? nullptr : &*found;
}

std::optional<TailBlame> tail_blame(const std::optional<Histogram>& replies,
                                    const ReplyParts& parts) {
  if (!replies) return std::nullopt;
  constexpr std::array<std::pair<std::string_view, double>, 4> kShares = {
      {{"p99", 0.99}, {"p95", 0.95}, {"p90", 0.9}, {"p50", 0.5}}};
  const auto share = std::find_if(kShares.begin(), kShares.end(), [&](const auto& candidate) {
    return replies->percentile(candidate.second).has_value();
  });
  if (share == kShares.end()) return std::nullopt;
  const uint64_t percentile_ns = *replies->percentile(share->second);
  if (percentile_ns < kShortestTailReplyNs) return std::nullopt;
  const uint32_t bucket = topspin_histogram_index(percentile_ns) / kBucketsInOne;
  const uint64_t above = replies->count() - *supported_rank(replies->count(), share->second);
  TailBlame blame{share->first,
                  percentile_ns,
                  histogram_bucket_min(kBucketsInOne * bucket),
                  count_from(*replies, bucket),
                  {}};
  for (size_t i = 0; i < kReplyPartCount; ++i) {
    const uint64_t mostly = parts[i].mostly ? count_from(*parts[i].mostly, bucket) : 0;
    if (mostly == 0) continue;
    const uint64_t without_ns = percentile_without(*replies, parts[i], above);
    blame.parts.push_back({static_cast<ReplyPart>(i), mostly, std::min(without_ns, percentile_ns)});
  }
  std::stable_sort(blame.parts.begin(), blame.parts.end(),
                   [](const auto& a, const auto& b) { return a.mostly > b.mostly; });
  return blame;
}

ReplyPart SlowReply::mostly() const {
  return static_cast<ReplyPart>(std::max_element(parts.begin(), parts.end()) - parts.begin());
}

}  // namespace topspin
