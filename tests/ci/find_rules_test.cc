// The rules of a search: which a load alone can judge, and how they judge a stage.
#include "ci/slo/find_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/clock.h"
#include "core/run/load_result.h"

namespace topspin {
namespace {

using ::testing::HasSubstr;

std::string refused_search(const std::string& rule) {
  const auto rules = read_find_rules({rule});
  return rules.ok() ? "" : rules.error().message;
}

LoadResult measured_stage(uint64_t replied, int64_t latency_ns) {
  LoadResult load;
  load.total.accounts.scheduled = load.total.accounts.sent = load.total.accounts.replied = replied;
  load.total.latency_intended.record_n(static_cast<uint64_t>(latency_ns), replied);
  return load;
}

TEST(FindRules, RefusesWhatALoadDoesNotMeasure) {
  EXPECT_THAT(refused_search("fds < 100"), HasSubstr("fds is not measured by a load"));
  EXPECT_THAT(refused_search("p99(run_queue_latency) < 1ms"),
              HasSubstr("is not measured by a load"));
  EXPECT_THAT(refused_search("lost <= 0.1 * packets"),
              HasSubstr("packets is not counted by a load"));
  EXPECT_THAT(refused_search("p99(load_latency) < 5ms during hold"), HasSubstr("leave \"during\""));
  EXPECT_THAT(refused_search("p99(reply_latncy) < 5ms"), HasSubstr("did you mean reply_latency?"));
  EXPECT_THAT(refused_search("p99(reply_latency) < 5"), HasSubstr("needs a unit"));
  EXPECT_EQ(refused_search("p99(reply_latency) < 5ms"), "");
  EXPECT_EQ(refused_search("lost <= 0.001 * sent"), "");
  EXPECT_EQ(refused_search("http_errors == 0"), "");
  EXPECT_EQ(refused_search("timeouts == 0"), "");
}

TEST(FindRules, KnowsItsPercentileAndBound) {
  const auto rules = read_find_rules(
      {"p99(reply_latency) < 5ms", "p99.9(load_latency_actual) < 20ms", "lost == 0"});
  ASSERT_TRUE(rules.ok());
  EXPECT_DOUBLE_EQ(rules->quantile, 0.999);
  EXPECT_EQ(rules->latency_bound_ns, 20 * kNanosPerMilli);
  const auto median = read_find_rules({"p50(reply_latency) < 5ms"});
  EXPECT_DOUBLE_EQ(median->quantile, 0.5);
  EXPECT_DOUBLE_EQ(read_find_rules({"lost == 0"})->quantile, 0.99);
}

TEST(FindRules, JudgesAStage) {
  const auto rules = read_find_rules({"p99(reply_latency) < 5ms"});
  ASSERT_TRUE(rules.ok());
  EXPECT_EQ(rules->judge(measured_stage(2000, kNanosPerMilli)).verdict, FindVerdict::kKept);
  const FindJudgement slow = rules->judge(measured_stage(2000, 6 * kNanosPerMilli));
  EXPECT_EQ(slow.verdict, FindVerdict::kBroken);
  EXPECT_THAT(slow.why, HasSubstr("p99(reply_latency) < 5ms: 6.00ms against 5.00ms"));
  const FindJudgement few = rules->judge(measured_stage(500, kNanosPerMilli));
  EXPECT_EQ(few.verdict, FindVerdict::kUnknown);
  EXPECT_THAT(few.why, HasSubstr("too few"));
}

TEST(FindRules, ALevelThatWasNotSentOrNotAnsweredIsNotKept) {
  const auto rules = read_find_rules({"p50(reply_latency) < 5ms"});
  LoadResult blocked = measured_stage(2000, kNanosPerMilli);
  blocked.total.accounts.scheduled += 30;
  blocked.total.accounts.never_scheduled = blocked.total.accounts.blocked = 30;
  EXPECT_THAT(rules->judge(blocked).why, HasSubstr("their clients still waited"));
  LoadResult errors = measured_stage(2000, kNanosPerMilli);
  errors.http.emplace();
  errors.total.accounts.http_errors = 30;
  EXPECT_THAT(rules->judge(errors).why, HasSubstr("had no reply in time, or an error"));
  // What the generator did not send is no fault of the server.
  LoadResult own = measured_stage(2000, kNanosPerMilli);
  own.total.accounts.scheduled += 30;
  own.total.accounts.never_scheduled = 30;
  EXPECT_EQ(rules->judge(own).verdict, FindVerdict::kKept);
  // A rule about failures says itself how many are allowed.
  const auto lenient = read_find_rules({"p50(reply_latency) < 5ms", "http_errors <= 0.1 * sent"});
  EXPECT_EQ(lenient->judge(errors).verdict, FindVerdict::kKept);
}

}  // namespace
}  // namespace topspin
