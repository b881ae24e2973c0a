// The overall verdict over metrics and over a history, and its exit codes.
#include "ci/judgement/judgement.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace topspin {
namespace {

using testing::HasSubstr;
using Values = std::vector<double>;

/// n values within 1% of `centre`. Each phase has its own order.
Values swinging(double centre, size_t n, size_t phase) {
  Values values;
  for (size_t i = 0; i < n; ++i)
    values.push_back(centre * (0.99 + 0.02 * static_cast<double>((i * 7 + phase) % 11) / 10));
  return values;
}

Comparison side_by_side(const std::string& name, double ratio, bool gating = true) {
  Metric metric{name, "us", Better::kLower, 0.03, gating};
  return measure(metric, swinging(100, 20, 0), swinging(100 * ratio, 20, 5), Layout::kPaired, 1);
}

Judgement concluded(std::vector<Comparison> metrics, bool strict = false) {
  Judgement judgement;
  judgement.metrics = std::move(metrics);
  conclude(judgement, strict);
  return judgement;
}

TEST(Judgement, OneFailingGatingMetricFails) {
  const Judgement fail = concluded(
      {side_by_side("same", 1.0), side_by_side("near", 1.03), side_by_side("slow", 1.10)});
  EXPECT_EQ(fail.verdict, Verdict::kFail);
  EXPECT_EQ(fail.exit_code, 1);
  ASSERT_EQ(fail.reasons.size(), 2u);
  EXPECT_THAT(fail.reasons[0], HasSubstr("slow"));
  EXPECT_THAT(fail.reasons[1], HasSubstr("near"));
}

TEST(Judgement, WhatOnlyInformsDecidesNothing) {
  const Judgement pass = concluded({side_by_side("same", 1.0), side_by_side("slow", 1.10, false)});
  EXPECT_EQ(pass.verdict, Verdict::kPass);
  EXPECT_EQ(pass.exit_code, 0);
  EXPECT_TRUE(pass.reasons.empty());
  EXPECT_EQ(pass.metrics[1].verdict, Verdict::kFail);
  EXPECT_FALSE(pass.metrics[1].q.has_value());
}

TEST(Judgement, InconclusiveIsNotAPassUnderStrict) {
  EXPECT_EQ(concluded({side_by_side("near", 1.03)}).exit_code, 0);
  EXPECT_EQ(concluded({side_by_side("near", 1.03)}, true).exit_code, 3);
  EXPECT_EQ(concluded({side_by_side("near", 1.03)}).verdict, Verdict::kInconclusive);
  EXPECT_EQ(concluded({}).verdict, Verdict::kInconclusive);
  EXPECT_EQ(concluded({side_by_side("informs", 1.0, false)}).verdict, Verdict::kInconclusive);
}

TEST(Judgement, ExitCodesAreThoseOfTheDesign) {
  for (const bool strict : {false, true}) {
    EXPECT_EQ(exit_code(Verdict::kPass, strict), 0);
    EXPECT_EQ(exit_code(Verdict::kFail, strict), 1);
    EXPECT_EQ(exit_code(Verdict::kInvalid, strict), 3);
  }
  EXPECT_EQ(exit_code(Verdict::kInconclusive, false), 0);
  EXPECT_EQ(exit_code(Verdict::kInconclusive, true), 3);
}

History history_of(std::initializer_list<std::pair<double, size_t>> levels,
                   Better better = Better::kLower) {
  History history;
  history.metric = {"cpu_us", "us", better, 0.03, true};
  for (const auto& [centre, count] : levels) {
    const Values part = swinging(centre, count, history.values.size());
    history.values.insert(history.values.end(), part.begin(), part.end());
  }
  return history;
}

Judgement judged(const History& history, const std::set<size_t>& acknowledged = {},
                 bool strict = false) {
  Judgement judgement;
  judgement.mode = "history";
  judge_history(judgement, history, acknowledged);
  conclude_history(judgement, strict);
  return judgement;
}

TEST(HistoryJudgement, AWorseLevelFailsUntilItIsAcknowledged) {
  const History history = history_of({{100, 40}, {110, 40}});
  const Judgement fail = judged(history);
  EXPECT_EQ(fail.verdict, Verdict::kFail);
  EXPECT_EQ(fail.exit_code, 1);
  ASSERT_EQ(fail.changes.size(), 1u);
  EXPECT_EQ(fail.changes[0].index, 40u);
  EXPECT_TRUE(fail.changes[0].worse);
  EXPECT_THAT(fail.reasons.at(0), HasSubstr("index 40"));

  // Later values may move a change by a few places, so an acknowledgement covers all places within
  // the length of a segment.
  for (const size_t index : {37u, 40u, 43u}) {
    const Judgement pass = judged(history, {index});
    EXPECT_EQ(pass.verdict, Verdict::kPass) << index;
    EXPECT_TRUE(pass.changes[0].acknowledged);
  }
  for (const size_t index : {36u, 44u}) EXPECT_EQ(judged(history, {index}).exit_code, 1) << index;
}

TEST(HistoryJudgement, DirectionCounts) {
  EXPECT_EQ(judged(history_of({{110, 40}, {100, 40}})).verdict, Verdict::kPass);
  EXPECT_EQ(judged(history_of({{110, 40}, {100, 40}}, Better::kHigher)).verdict, Verdict::kFail);
  EXPECT_EQ(judged(history_of({{100, 40}, {110, 40}}, Better::kHigher)).verdict, Verdict::kPass);
}

TEST(HistoryJudgement, WhatHasRecoveredIsShownAndDoesNotFail) {
  const Judgement recovered = judged(history_of({{100, 40}, {110, 40}, {100, 40}}));
  EXPECT_EQ(recovered.verdict, Verdict::kPass);
  ASSERT_EQ(recovered.changes.size(), 2u);
  EXPECT_TRUE(recovered.changes[0].recovered);
  // Half way back is not back.
  EXPECT_EQ(judged(history_of({{100, 40}, {120, 40}, {110, 40}})).verdict, Verdict::kFail);
}

TEST(HistoryJudgement, NothingToSeePassesAndTooLittleDecidesNothing) {
  const Judgement calm = judged(history_of({{100, 80}}));
  EXPECT_EQ(calm.verdict, Verdict::kPass);
  EXPECT_TRUE(calm.changes.empty());
  const Judgement few = judged(history_of({{100, kFewestHistoryValues - 1}}), {}, true);
  EXPECT_EQ(few.verdict, Verdict::kInconclusive);
  EXPECT_EQ(few.exit_code, 3);
  EXPECT_THAT(few.reasons.at(0), HasSubstr("needs at least 8"));
}

TEST(HistoryJudgement, ATooShortHistoryNeverPasses) {
  for (const History& history : {history_of({{100, 6}, {150, 6}}), history_of({{100, 12}}),
                                 history_of({{100, 15}, {150, 4}})}) {
    const Judgement judgement = judged(history, {}, true);
    EXPECT_NE(judgement.verdict, Verdict::kPass);
    EXPECT_NE(judgement.exit_code, 0);
    if (judgement.verdict == Verdict::kInconclusive) {
      EXPECT_THAT(judgement.reasons.at(0), HasSubstr("at least 20 are needed"));
    }
  }
  EXPECT_EQ(judged(history_of({{100, kFewestToSeeChanges}}), {}, true).verdict, Verdict::kPass);
  EXPECT_EQ(judged(history_of({{100, 10}, {150, 10}}), {}, true).verdict, Verdict::kFail);
}

TEST(HistoryJudgement, AShareThatLeavesZeroFailsAndSmallStepsOfItDoNot) {
  History history;
  history.metric = {
      "failed_share", std::string(kUnitOfShares), Better::kLower, kMarginOfFailures, true, true};
  history.values.assign(40, 0.0);
  history.values.resize(80, 0.00005);
  const Judgement fail = judged(history);
  EXPECT_EQ(fail.verdict, Verdict::kFail);
  ASSERT_EQ(fail.changes.size(), 1u);
  EXPECT_EQ(fail.changes[0].index, 40u);
  EXPECT_FALSE(fail.changes[0].recovered);
  for (size_t i = 0; i < 80; ++i) history.values[i] = i < 40 ? 0.01 : 0.0105;
  EXPECT_EQ(judged(history).verdict, Verdict::kPass);
}

/// The newest run alone fails, long before there is a change of level.
TEST(HistoryJudgement, FailedWorkOfTheNewestRunFailsAtOnce) {
  History history;
  history.metric = {
      "failed_share", std::string(kUnitOfShares), Better::kLower, kMarginOfFailures, true, true};
  history.values.assign(39, 0.0);
  history.values.push_back(0.5);
  Judgement judgement = judged(history, {}, true);
  EXPECT_EQ(judgement.verdict, Verdict::kFail);
  EXPECT_EQ(judgement.exit_code, kExitFail);
  EXPECT_THAT(judgement.reasons.at(0), HasSubstr("failed_share of the newest run is 0.5"));
  EXPECT_EQ(judged(history, {39}).verdict, Verdict::kPass) << "on purpose";
  // Failed runs that entered the history do not become the measure for later ones.
  for (int more = 0; more < 5; ++more) {
    history.values.push_back(0.5);
    EXPECT_EQ(judged(history).verdict, Verdict::kFail) << more;
  }
  history.values.assign(8, 0.0);  // too few to pass, and enough to fail
  history.values.push_back(0.5);
  EXPECT_EQ(judged(history).verdict, Verdict::kFail);
}

TEST(HistoryJudgement, FailedWorkAsUsualDoesNotFail) {
  History history;
  history.metric = {
      "failed_share", std::string(kUnitOfShares), Better::kLower, kMarginOfFailures, true, true};
  for (int i = 0; i < 40; ++i) history.values.push_back(0.01 * (i % 5));
  EXPECT_EQ(history.values.back(), 0.04);
  EXPECT_EQ(judged(history).verdict, Verdict::kPass);
  history.values.back() = 0.0;
  EXPECT_EQ(judged(history).verdict, Verdict::kPass);
  history.values.back() = 0.2;
  EXPECT_EQ(judged(history).verdict, Verdict::kFail);
  for (size_t i = 0; i < 40; ++i) history.values[i] = i == 39 ? 0.0009 : 0.0;  // below the margin
  EXPECT_EQ(judged(history).verdict, Verdict::kPass);
  // For other metrics, the newest value alone says nothing.
  History memory = history_of({{100, 39}, {1000, 1}});
  EXPECT_EQ(judged(memory).verdict, Verdict::kPass);
}

TEST(HistoryJudgement, SaysWhen) {
  History history = history_of({{100, 20}, {110, 20}});
  for (size_t i = 0; i < 40; ++i) history.times.push_back("day " + std::to_string(i));
  const Judgement judgement = judged(history);
  EXPECT_EQ(judgement.changes.at(0).time, "day 20");
  EXPECT_THAT(judgement.reasons.at(0), HasSubstr("day 20"));
}

}  // namespace
}  // namespace topspin
