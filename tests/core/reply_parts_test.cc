// Tests of tail_blame(), which finds what the slowest replies consist of from distributions alone.
#include "core/tick/reply_parts.h"

#include <set>

#include <gtest/gtest.h>

#include "core/tick/sample.h"

namespace topspin {
namespace {

constexpr uint64_t kMs = 1'000'000;

/// Records replies one by one into the same distributions as the kernel does.
struct Replies {
  void add(std::initializer_list<std::pair<ReplyPart, uint64_t>> made_of) {
    uint64_t total = 0;
    for (const auto& [part, ns] : made_of) total += ns;
    if (!whole) whole.emplace();
    whole->record(total);
    ReplyPart longest = made_of.begin()->first;
    uint64_t longest_ns = 0;
    for (const auto& [part, ns] : made_of) {
      ReplyPartTimes& times = parts[static_cast<size_t>(part)];
      record(times.with, total);
      record(times.without, total - ns);
      if (ns > longest_ns) longest = part, longest_ns = ns;
    }
    record(parts[static_cast<size_t>(longest)].mostly, total);
  }
  static void record(std::optional<Histogram>& histogram, uint64_t ns) {
    if (!histogram) histogram.emplace();
    histogram->record(ns);
  }

  std::optional<Histogram> whole;
  ReplyParts parts;
};

TEST(ReplyPartNames, AreAllDifferentAndInTheOrderOfBlockedBy) {
  std::set<std::string_view> names;
  for (const ReplyPartNames& part : reply_part_names()) {
    for (const auto name : {part.time, part.with, part.without, part.mostly, part.label})
      EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(part.time, "reply_" + std::string(part.field));
  }
  EXPECT_EQ(kReplyPartCount, static_cast<size_t>(ReplyPart::kFutex) + kBlockedByCount);
  for (const BlockedBy reason : {BlockedBy::kFutex, BlockedBy::kPoll, BlockedBy::kSocket,
                                 BlockedBy::kPipe, BlockedBy::kDisk, BlockedBy::kPageFault}) {
    const size_t part = static_cast<size_t>(ReplyPart::kFutex) + static_cast<size_t>(reason);
    EXPECT_EQ(reply_part_names()[part].field,
              "asleep_" + std::string(blocked_by_name(reason)) + "_ns");
  }
}

TEST(TailBlame, IsNotThatOfTheMean) {
  Replies replies;
  // Most of the total time is spent on a CPU, but the slowest replies wait for a lock.
  for (int i = 0; i < 1'940; ++i) replies.add({{ReplyPart::kOnCpu, 10 * kMs}});
  for (int i = 0; i < 40; ++i)
    replies.add({{ReplyPart::kOnCpu, 10 * kMs}, {ReplyPart::kFutex, 30 * kMs}});
  for (int i = 0; i < 20; ++i) replies.add({{ReplyPart::kOnCpu, 30 * kMs}});
  const auto tail = tail_blame(replies.whole, replies.parts);
  ASSERT_TRUE(tail);
  EXPECT_EQ(tail->percentile, "p99");
  EXPECT_GE(tail->percentile_ns, 40 * kMs);
  EXPECT_LE(tail->limit_ns, 40 * kMs);
  EXPECT_EQ(tail->replies, 40u);
  ASSERT_EQ(tail->parts.size(), 1u);
  EXPECT_EQ(tail->parts[0].part, ReplyPart::kFutex);
  EXPECT_EQ(tail->parts[0].mostly, 40u);
  // Without the lock, the twenty replies of 30 ms remain, so the 20th from the end is one of them.
  EXPECT_GE(tail->parts[0].without_ns, 10 * kMs);
  EXPECT_LE(tail->parts[0].without_ns, 30 * kMs * 9 / 8);
}

/// `without` records the same replies without the lock. The answer must be its percentile.
TEST(TailBlame, WithoutAPartItIsTheDistributionMadeAnew) {
  Replies replies;
  Histogram without;
  uint64_t seed = 1;
  const auto random = [&](uint64_t below) {
    seed = seed * 6'364'136'223'846'793'005 + 1'442'695'040'888'963'407;
    return (seed >> 33) % below;
  };
  for (int i = 0; i < 5'000; ++i) {
    const uint64_t work = kMs + random(20 * kMs), lock = random(4) == 0 ? random(80 * kMs) + 1 : 0;
    if (lock > 0)
      replies.add({{ReplyPart::kOnCpu, work}, {ReplyPart::kFutex, lock}});
    else
      replies.add({{ReplyPart::kOnCpu, work}});
    without.record(work);
  }
  const auto tail = tail_blame(replies.whole, replies.parts);
  ASSERT_TRUE(tail);
  const TailBlame::Part* const lock = tail->find(ReplyPart::kFutex);
  ASSERT_TRUE(lock);
  const uint64_t anew = *without.percentile(0.99);
  EXPECT_GE(lock->without_ns, anew);
  EXPECT_LE(lock->without_ns, anew + anew / 7);
  EXPECT_EQ(tail->find(ReplyPart::kDisk), nullptr);
}

TEST(TailBlame, OfFewOrFastRepliesThereIsNone) {
  Replies few, fast;
  for (int i = 0; i < 15; ++i) few.add({{ReplyPart::kOnCpu, 10 * kMs}});
  for (int i = 0; i < 2'000; ++i) fast.add({{ReplyPart::kOnCpu, 50'000}});
  EXPECT_FALSE(tail_blame(few.whole, few.parts));
  EXPECT_FALSE(tail_blame(fast.whole, fast.parts));
  EXPECT_FALSE(tail_blame(std::nullopt, {}));
}

}  // namespace
}  // namespace topspin
