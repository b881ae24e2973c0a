// Rules that are judged while ticks come: windows, durations, and what cannot be judged.
#include "ci/slo/rule_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace topspin {
namespace {

using testing::HasSubstr;

constexpr int64_t kWatchTick = 100'000'000;
constexpr int64_t kWatchSecond = 1'000'000'000;

class RuleWatchTest : public testing::Test {
 protected:
  void watch(std::string_view text, int64_t window_ns = kWatchSecond) {
    auto rule = parse_watch_rule(text);
    ASSERT_TRUE(rule.ok()) << rule.error().message;
    watch_.emplace(std::vector<WatchRule>{*rule}, RunInfo(), window_ns);
  }
  Sample next() {
    Sample tick;
    tick.tick = ++ticks_;
    tick.interval_ns = kWatchTick;
    tick.elapsed_ns = static_cast<int64_t>(ticks_) * kWatchTick;
    return tick;
  }
  bool met(const Sample& tick) {
    met_ = watch_->add(tick);
    return !met_.empty();
  }
  bool packets(uint64_t count) {
    Sample tick = next();
    tick.flows.packets = count;
    return met(tick);
  }
  bool fds(int64_t count) {
    Sample tick = next();
    tick.resources.emplace().fds = count;
    return met(tick);
  }

  std::optional<RuleWatch> watch_;
  std::vector<MetRule> met_;
  uint64_t ticks_ = 0;
};

TEST_F(RuleWatchTest, AGaugeIsThatOfTheLastTick) {
  watch("fds > 10");
  EXPECT_FALSE(fds(10));
  EXPECT_TRUE(fds(11));
  EXPECT_EQ(met_.front().value, 11);
  EXPECT_EQ(met_.front().measured, "11 against 10");
  EXPECT_FALSE(fds(10));
}

TEST_F(RuleWatchTest, ACountIsTheSumOverTheWindow) {
  watch("packets >= 100");
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(packets(10)) << i;
  EXPECT_TRUE(packets(10));
  EXPECT_EQ(met_.front().value, 100);
  EXPECT_FALSE(packets(9)) << "the first tick has left the window";
}

TEST_F(RuleWatchTest, APercentileIsThatOfTheWindow) {
  watch("p50(reply_latency) > 5ms");
  const auto replies = [&](int count, uint64_t ns) {
    Sample tick = next();
    tick.flows.reply_latency.record_n(ns, static_cast<uint64_t>(count));
    return met(tick);
  };
  EXPECT_FALSE(replies(19, 9'000'000)) << "too few above it";
  EXPECT_TRUE(replies(20, 9'000'000));
  EXPECT_FALSE(replies(60, 1'000'000)) << "39 slow ones of 99";
  for (int i = 0; i < 8; ++i) replies(0, 0);
  EXPECT_FALSE(replies(0, 0));
  EXPECT_TRUE(replies(20, 9'000'000)) << "the fast ones are one tick old, the slow first ones gone"
                                      << watch_->never_judged(0).value_or("");
}

TEST_F(RuleWatchTest, ForWantsItAtEveryTickOfThatTime) {
  watch("fds > 10 for 300ms");
  EXPECT_FALSE(fds(11));  // true from here on
  EXPECT_FALSE(fds(11));
  EXPECT_FALSE(fds(11));
  EXPECT_TRUE(fds(11));
  EXPECT_EQ(met_.front().since_ns, kWatchTick);
  EXPECT_FALSE(fds(1));
  EXPECT_FALSE(fds(11));
  EXPECT_FALSE(met(next())) << "fds was not measured: that is not true";
  EXPECT_FALSE(fds(11));
  EXPECT_FALSE(fds(11));
  EXPECT_FALSE(fds(11));
  EXPECT_TRUE(fds(11));
}

TEST_F(RuleWatchTest, SaysWhyARuleWasNeverJudged) {
  watch("fds > 10");
  EXPECT_EQ(watch_->never_judged(0), std::nullopt) << "no tick yet";
  met(next());
  EXPECT_THAT(watch_->never_judged(0).value_or(""), HasSubstr("fds was not measured"));
  fds(1);
  EXPECT_EQ(watch_->never_judged(0), std::nullopt);
}

TEST(WatchRules, AreReadAndRefused) {
  EXPECT_EQ(parse_watch_rule("p99(reply_latency) > 5ms for 3s")->for_ns, 3 * kWatchSecond);
  EXPECT_EQ(parse_watch_rule("silent_flows > 10")->for_ns, 0);
  EXPECT_EQ(parse_watch_rule("unanswered > 0.01 * requests for 1m")->for_ns, 60 * kWatchSecond);
  for (const auto& [text, says] : std::vector<std::pair<const char*, const char*>>{
           {"p99(reply_latency) > 5", "needs a unit"},
           {"fds > 5 for ever", "needs a duration"},
           {"fds > 5 for 0s", "needs a duration"},
           {"fds > before + 2", "no \"before\""},
           {"active_flows < clients", "no \"clients\""},
           {"fds > 5 during hold", "no stages"},
           {"sent > 5", "is of a load"},
           {"fdz > 5", "did you mean fds"},
           {"for 3s", "nothing is called"}}) {
    const auto rule = parse_watch_rule(text);
    ASSERT_FALSE(rule.ok()) << text;
    EXPECT_THAT(rule.error().message, HasSubstr(says)) << text;
    EXPECT_EQ(rule.error().code, ErrorCode::kUsage);
  }
}

}  // namespace
}  // namespace topspin
