// Which part of the replies' time changed between two sides, and the paragraph that says so.
#include "ci/judgement/cause_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/tick/reply_parts.h"

namespace topspin {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kUs = 1e3;

struct RunParts {
  double on_cpu_us = 100;
  double futex_us = 50;
  double busy_us = 20;
  double other_us = 0.5;  // less than a hundredth of all
};

/// `n` runs whose parts swing by 2%, each in an order of its own.
std::vector<RunTotals> runs(const RunParts& parts, size_t n, size_t phase) {
  std::vector<RunTotals> made(n);
  for (size_t i = 0; i < n; ++i) {
    RunTotals& run = made[i];
    double whole = 0;
    const auto put = [&](ReplyPart part, double us, size_t shift) {
      const double swing = 0.98 + 0.04 * static_cast<double>((i * 7 + phase + shift) % 11) / 10;
      run.reply_part_ns[static_cast<size_t>(part)] = us * kUs * swing;
      whole += us * kUs * swing;
    };
    put(ReplyPart::kOnCpu, parts.on_cpu_us, 0);
    put(ReplyPart::kFutex, parts.futex_us, 3);
    put(ReplyPart::kUnreadBusy, parts.busy_us, 6);
    put(ReplyPart::kOtherCall, parts.other_us, 1);
    run.reply_ns = whole;
  }
  return made;
}

std::vector<Comparison> changes(const std::vector<RunTotals>& a, const std::vector<RunTotals>& b,
                                Layout layout = Layout::kPaired) {
  std::vector<const RunTotals*> on_a, on_b;
  for (const RunTotals& run : a) on_a.push_back(&run);
  for (const RunTotals& run : b) on_b.push_back(&run);
  return cause_changes(on_a, on_b, layout, 1);
}

const Comparison* find(const std::vector<Comparison>& causes, ReplyPart part) {
  for (const Comparison& cause : causes)
    if (cause.metric.name == names_of(part).time) return &cause;
  return nullptr;
}

TEST(CauseChanges, NameThePartThatGrewAndThoseThatStayed) {
  const auto causes = changes(runs({}, 12, 0), runs({.futex_us = 80}, 12, 5));
  ASSERT_FALSE(causes.empty());
  EXPECT_EQ(causes[0].metric.name, kReplyNumber);
  EXPECT_TRUE(has_changed(causes[0]));
  const Comparison* futex = find(causes, ReplyPart::kFutex);
  ASSERT_TRUE(futex);
  EXPECT_TRUE(has_changed(*futex));
  EXPECT_NEAR(*futex->change, 30 * kUs, 2 * kUs);
  EXPECT_EQ(causes[1].metric.name, futex->metric.name) << "the largest change comes first";
  EXPECT_FALSE(has_changed(*find(causes, ReplyPart::kOnCpu)));
  EXPECT_EQ(find(causes, ReplyPart::kOtherCall), nullptr) << "too small to matter";
  const std::string why = why_changed(causes);
  EXPECT_THAT(why, HasSubstr("A reply takes +30."));
  EXPECT_THAT(why, HasSubstr(std::string(names_of(ReplyPart::kFutex).label) + " +30."));
  EXPECT_THAT(why, HasSubstr("Unchanged: " + std::string(names_of(ReplyPart::kOnCpu).label)));
}

TEST(CauseChanges, AddUpToThatOfTheWholeReply) {
  const auto causes = changes(runs({}, 12, 0), runs({.on_cpu_us = 130, .busy_us = 5}, 12, 5));
  double sum = 0;
  for (const Comparison& cause : causes)
    sum += cause.metric.name == kReplyNumber ? 0 : *cause.change;
  EXPECT_NEAR(sum, *causes[0].change, 2 * kUs);
  EXPECT_LT(*find(causes, ReplyPart::kUnreadBusy)->change, 0);
}

TEST(CauseChanges, SayWhenNothingChanged) {
  const auto causes = changes(runs({}, 12, 0), runs({}, 12, 5));
  for (const Comparison& cause : causes) EXPECT_FALSE(has_changed(cause)) << cause.metric.name;
  EXPECT_THAT(why_changed(causes), HasSubstr("no part of it changed beyond chance"));
}

TEST(CauseChanges, OfAHundredPairsOfEqualSidesFewShowOne) {
  size_t alarms = 0;
  for (size_t phase = 0; phase < 100; ++phase) {
    for (const Comparison& cause : changes(runs({}, 12, phase), runs({}, 12, phase * 5 + 3)))
      if (has_changed(cause)) {
        ++alarms;
        break;
      }
  }
  EXPECT_LE(alarms, 10u);
}

TEST(CauseChanges, WithoutSplitRepliesThereAreNone) {
  EXPECT_TRUE(changes(std::vector<RunTotals>(12), std::vector<RunTotals>(12)).empty());
  EXPECT_TRUE(changes(runs({}, 12, 0), std::vector<RunTotals>(12), Layout::kUnpaired).empty());
  EXPECT_EQ(why_changed({}), "");
}

TEST(CauseChanges, TooFewRunsHaveNoIntervalAndSayNothing) {
  const auto causes = changes(runs({}, 3, 0), runs({.futex_us = 90}, 3, 5));
  ASSERT_FALSE(causes.empty());
  for (const Comparison& cause : causes) EXPECT_FALSE(has_changed(cause));
  EXPECT_EQ(why_changed(causes), "");
}

}  // namespace
}  // namespace topspin
