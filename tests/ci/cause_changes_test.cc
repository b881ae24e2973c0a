// Which part of the replies' time changed between two sides, and the paragraph that says so.
#include "ci/judgement/cause_changes.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ci/statistics/statistics.h"
#include "core/tick/reply_parts.h"
#include "tests/support/every_night.h"

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

/// `n` runs whose parts vary by 2% around their value, each part in its own order.
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

CauseChanges all_changes(const std::vector<RunTotals>& a, const std::vector<RunTotals>& b,
                         Layout layout = Layout::kPaired) {
  std::vector<const RunTotals*> on_a, on_b;
  for (const RunTotals& run : a) on_a.push_back(&run);
  for (const RunTotals& run : b) on_b.push_back(&run);
  return cause_changes(on_a, on_b, layout, 1);
}

std::vector<Comparison> changes(const std::vector<RunTotals>& a, const std::vector<RunTotals>& b,
                                Layout layout = Layout::kPaired) {
  return all_changes(a, b, layout).parts;
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
  const std::string why = why_changed({causes, {}, false});
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
  EXPECT_THAT(why_changed({causes, {}, false}), HasSubstr("no part of it changed beyond chance"));
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

constexpr uint64_t kReplies = 1000;

struct Costs {
  double write_us = 40;  // per reply
  double parse_us = 60;
  double copy_us = 30;
  double poll_us = 900;
  double tiny_us = 0.1;
};

/// The same runs, with costs that vary in the same way.
std::vector<RunTotals> runs_with(const Costs& costs, size_t n, size_t phase) {
  std::vector<RunTotals> made = runs({}, n, phase);
  for (size_t i = 0; i < n; ++i) {
    RunCosts& of = made[i].costs;
    of.replies = kReplies + 10 * (i % 3);
    of.elapsed_ns = 2'000'000'000;
    of.cpu_ns = 100'000 * of.replies;
    of.measured = {true, true, true};
    const auto put = [&](CostKind kind, const char* name, double us, size_t shift) {
      const double swing = 0.98 + 0.04 * static_cast<double>((i * 7 + phase + shift) % 11) / 10;
      of.costs[{kind, name}] = {us * kUs * swing * static_cast<double>(of.replies), 2 * of.replies};
    };
    put(CostKind::kSyscall, "write", costs.write_us, 2);
    put(CostKind::kSyscall, "getpid", costs.tiny_us, 4);
    put(CostKind::kFunction, "parse", costs.parse_us, 5);
    put(CostKind::kFunction, "copy", costs.copy_us, 8);
    put(CostKind::kFunction, "idle", costs.tiny_us, 9);
    put(CostKind::kSleep, "main_loop (poll)", costs.poll_us, 7);
  }
  return made;
}

const CostChange* find(const CauseChanges& changes, std::string_view name) {
  for (const CostChange& cost : changes.costs)
    if (cost.of.metric.name == name) return &cost;
  return nullptr;
}

TEST(CostChanges, NameTheCallAndTheFunctionThatGrewAndLeaveOutTheRest) {
  const CauseChanges changes =
      all_changes(runs_with({}, 12, 0), runs_with({.write_us = 52, .parse_us = 75}, 12, 5));
  EXPECT_TRUE(changes.per_reply);
  const CostChange* write = find(changes, "write");
  const CostChange* parse = find(changes, "parse");
  ASSERT_TRUE(write && parse);
  EXPECT_TRUE(has_changed(write->of));
  EXPECT_NEAR(*write->of.change, 12 * kUs, 1 * kUs);
  EXPECT_EQ(write->times_a, 2) << "calls a reply";
  EXPECT_TRUE(has_changed(parse->of));
  EXPECT_NEAR(*parse->of.change, 15 * kUs, 1 * kUs);
  EXPECT_LE(*parse->of.ci_low, 15 * kUs);
  EXPECT_GE(*parse->of.ci_high, 14 * kUs);
  // Times are compared, not shares: what did not change does not shrink beside what grew.
  EXPECT_FALSE(has_changed(find(changes, "copy")->of));
  EXPECT_FALSE(has_changed(find(changes, "main_loop (poll)")->of));
  EXPECT_EQ(find(changes, "getpid"), nullptr) << "too small to matter";
  EXPECT_EQ(find(changes, "idle"), nullptr);
  const std::string why = why_changed(changes);
  EXPECT_THAT(why, HasSubstr(". Inside system calls, a reply: write +12."));
  EXPECT_THAT(why, HasSubstr(". On a CPU, a reply: parse +15."));
  EXPECT_THAT(why, Not(HasSubstr("copy")));
}

TEST(CostChanges, SayNothingWhereNothingChanged) {
  const CauseChanges changes = all_changes(runs_with({}, 12, 0), runs_with({}, 12, 5));
  EXPECT_EQ(changes.costs.size(), 4u);
  for (const CostChange& cost : changes.costs) EXPECT_FALSE(has_changed(cost.of));
  EXPECT_THAT(why_changed(changes), Not(HasSubstr("a reply:")));
}

TEST(CostChanges, OfManyPairsOfEqualSidesFewShowOne) {
  size_t alarms = 0;
  const auto pairs = static_cast<size_t>(test::repeats(30, 100));
  for (size_t phase = 0; phase < pairs; ++phase) {
    const CauseChanges changes =
        all_changes(runs_with({}, 12, phase), runs_with({}, 12, phase * 5 + 3));
    alarms += std::any_of(changes.costs.begin(), changes.costs.end(),
                          [](const CostChange& c) { return has_changed(c.of); })
                  ? 1
                  : 0;
  }
  EXPECT_LE(alarms, pairs / 10);
}

TEST(CostChanges, FalseDiscoveriesAreControlledOverPartsAndCostsTogether) {
  const CauseChanges changes =
      all_changes(runs_with({}, 12, 0), runs_with({.parse_us = 75}, 12, 5));
  std::vector<double> p;
  for (const Comparison& part : changes.parts) p.push_back(*part.p);
  for (const CostChange& cost : changes.costs) p.push_back(*cost.of.p);
  const std::vector<double> q = benjamini_hochberg(p);
  for (size_t i = 0; i < changes.parts.size(); ++i) EXPECT_EQ(changes.parts[i].q, q[i]);
  for (size_t i = 0; i < changes.costs.size(); ++i)
    EXPECT_EQ(changes.costs[i].of.q, q[changes.parts.size() + i]);
}

TEST(CostChanges, ArePerSecondWhereNoRepliesWereCounted) {
  auto a = runs_with({}, 12, 0), b = runs_with({.write_us = 80}, 12, 5);
  for (auto* side : {&a, &b})
    for (RunTotals& run : *side) {
      run.reply_ns.reset();
      run.costs.replies = 0;
    }
  const CauseChanges changes = all_changes(a, b);
  EXPECT_FALSE(changes.per_reply);
  EXPECT_TRUE(changes.parts.empty());
  // 1,010 replies in 2 s, 40 us longer each.
  EXPECT_NEAR(*find(changes, "write")->of.change, 40 * kUs * 505, 1000 * kUs);
  EXPECT_THAT(why_changed(changes), testing::StartsWith("Inside system calls, a second: write +"));
}

TEST(CostChanges, ARunWithoutRepliesIsLeftOutAmongThoseThatHaveSome) {
  auto a = runs_with({}, 12, 0);
  a[3].costs.replies = 0;
  const CauseChanges changes = all_changes(a, runs_with({.write_us = 60}, 12, 5));
  EXPECT_TRUE(changes.per_reply);
  EXPECT_EQ(find(changes, "write")->of.n, 11u);
  EXPECT_NEAR(*find(changes, "write")->of.change, 20 * kUs, 1.5 * kUs);
}

TEST(CostChanges, OfOneSideOnlyAreNotCompared) {
  auto b = runs_with({}, 12, 5);
  for (RunTotals& run : b) run.costs = {};
  EXPECT_TRUE(all_changes(runs_with({}, 12, 0), b).costs.empty());
}

TEST(RunCosts, PlacesAreTheInnermostFunctions) {
  EXPECT_EQ(innermost_function("main;loop;parse"), "parse");
  EXPECT_EQ(innermost_function("main"), "main");
  EXPECT_EQ(innermost_function(""), "[no frames]");
  EXPECT_EQ(innermost_of_program("main;wait;syscall_[k];schedule_[k]"), "wait");
  EXPECT_EQ(innermost_of_program("entry_[k];schedule_[k]"), "entry_[k]");
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
  EXPECT_EQ(why_changed({causes, {}, false}), "");
}

}  // namespace
}  // namespace topspin
