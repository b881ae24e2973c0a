// When a CI job looks at its pairs, when it stops, and that its looks raise no false alarms.
#include "ci/judgement/looks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ci/gauss.h"
#include "tests/support/every_night.h"

namespace topspin {
namespace {

using testing::ElementsAre;
using Values = std::vector<double>;

TEST(Looks, AreFewAndDoNotDependOnWhatWasMeasured) {
  EXPECT_THAT(looks_at(10, 30), ElementsAre(10, 14, 21, 30));
  EXPECT_THAT(looks_at(10, 10), ElementsAre(10));
  EXPECT_THAT(looks_at(10, 11), ElementsAre(10, 11));
  EXPECT_THAT(looks_at(2, 30), ElementsAre(10, 14, 21, 30)) << "2 pairs decide nothing";
  EXPECT_THAT(looks_at(2, 2), ElementsAre(2));
  EXPECT_THAT(looks_at(1, 5), ElementsAre(5));
}

Judgement with(Verdict verdict) {
  Judgement judgement;
  judgement.verdict = verdict;
  judgement.pairs = PairCount{10, 10};
  return judgement;
}

/// Judges as `usual` at the usual level, and as `early` at the level of early looks.
JudgeAtLevel judging(Verdict usual, Verdict early) {
  return [=](double level, bool) -> Result<Judgement> {
    return with(level == kFalseDiscoveryRate ? usual : early);
  };
}

bool enough(size_t made, const JudgeAtLevel& judge) {
  const auto result = are_enough(made, {10, 14, 21, 30}, judge);
  CHECK(result.ok());
  return *result;
}

TEST(Looks, APassEndsAtALookAndNotBetween) {
  const auto pass = judging(Verdict::kPass, Verdict::kPass);
  EXPECT_TRUE(enough(10, pass));
  EXPECT_FALSE(enough(11, pass));
  EXPECT_TRUE(enough(21, pass));
}

TEST(Looks, AFailureEndsBeforeTheLastOnlyAtTheStricterLevel) {
  EXPECT_FALSE(enough(10, judging(Verdict::kFail, Verdict::kInconclusive)));
  EXPECT_TRUE(enough(10, judging(Verdict::kFail, Verdict::kFail)));
  EXPECT_FALSE(enough(12, judging(Verdict::kFail, Verdict::kFail))) << "not between two looks";
  EXPECT_TRUE(enough(30, judging(Verdict::kInconclusive, Verdict::kInconclusive)));
}

TEST(Looks, ABrokenRuleEndsAsSoonAsThereIsSomethingToCompare) {
  const JudgeAtLevel broken = [](double, bool failures_only) -> Result<Judgement> {
    EXPECT_TRUE(failures_only);
    Judgement judgement = with(Verdict::kFail);
    judgement.slos.push_back({"lost == 0", 2, 1, 0, "run", "12", false});
    return judgement;
  };
  EXPECT_FALSE(enough(2, broken));
  EXPECT_TRUE(enough(3, broken));
  const JudgeAtLevel not_judged = [](double, bool) -> Result<Judgement> {
    Judgement judgement = with(Verdict::kInvalid);
    judgement.slos.push_back({"lost == 0", 2, 1, 0, "run", "12", false});
    return judgement;
  };
  EXPECT_FALSE(enough(3, not_judged)) << "more pairs may be judged";
}

TEST(Looks, WorkThatFailedInEveryRunOfOneSideEnds) {
  const JudgeAtLevel failing = [](double, bool) -> Result<Judgement> {
    Judgement judgement = with(Verdict::kFail);
    Comparison c;
    c.apart = true;
    c.verdict = Verdict::kFail;
    judgement.metrics.push_back(c);
    return judgement;
  };
  EXPECT_TRUE(enough(6, failing));
}

TEST(Looks, ARuleThatNoRunCanBeJudgedByKeepsNobodyWaiting) {
  const auto unknown = [](Verdict of_metric) -> JudgeAtLevel {
    return [of_metric](double, bool) -> Result<Judgement> {
      Judgement judgement = with(Verdict::kInconclusive);
      judgement.slos.push_back({"p99(reply_latency) < 1ms", 0, 0, 10, "run", "too few", false});
      Comparison c;
      c.verdict = of_metric;
      judgement.metrics.push_back(c);
      return judgement;
    };
  };
  EXPECT_TRUE(enough(10, unknown(Verdict::kPass)));
  EXPECT_FALSE(enough(10, unknown(Verdict::kInconclusive)));
}

TEST(Looks, AnErrorIsHandedOn) {
  const auto result = are_enough(10, {10, 30}, [](double, bool) -> Result<Judgement> {
    return make_error(ErrorCode::kInput, "no database");
  });
  EXPECT_EQ(result.error().message, "no database");
}

/// A job that measures one metric of identical code. Noise is all there is, and the margin protects
/// from nothing: the case in which looking often would cost most. Returns whether it failed.
bool job_fails(Random& random, const std::vector<size_t>& looks, uint64_t seed) {
  Metric metric{"noise", "1", Better::kLower, 0, true};
  Values a, b;
  const JudgeAtLevel judge_now = [&](double level, bool failures_only) -> Result<Judgement> {
    Judgement judgement;
    if (!failures_only)
      judgement.metrics.push_back(measure(metric, a, b, Layout::kPaired, seed, level));
    conclude(judgement, false, level);
    return judgement;
  };
  for (size_t made = 1;; ++made) {
    a.push_back(100 + gauss(random));
    b.push_back(100 + gauss(random));
    const auto result = are_enough(made, looks, judge_now);
    CHECK(result.ok());
    if (*result) return judge_now(kFalseDiscoveryRate, false)->verdict == Verdict::kFail;
  }
}

int failing_jobs(const std::vector<size_t>& looks, int jobs) {
  Random random(2026);
  int failed = 0;
  for (int i = 0; i < jobs; ++i)
    failed += job_fails(random, looks, static_cast<uint64_t>(i)) ? 1 : 0;
  return failed;
}

TEST(Looks, RaiseNoMoreFalseAlarmsThanTheirLevelsAddUpTo) {
  const int jobs = test::repeats(60, 1000);
  const int failed = failing_jobs({10, 14, 21, 30}, jobs);
  RecordProperty("failed", failed);
  RecordProperty("jobs", jobs);
  // 2.5% + 3 * 0.25% is 3.25%; the rest is for chance.
  EXPECT_LE(failed, jobs * 4 / 100 + 2);
}

}  // namespace
}  // namespace topspin
