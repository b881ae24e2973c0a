// Rules that end a run early: only when what comes later cannot keep them.
#include "ci/slo/abort_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/clock.h"

namespace topspin {
namespace {

using ::testing::HasSubstr;

SloRule aborting(std::string_view text) {
  auto rule = parse_slo(text);
  EXPECT_TRUE(rule.ok()) << text;
  rule->aborts = true;
  return *rule;
}

std::string why_no_abort(std::string_view text, bool has_load = true) {
  const Status status = check_abort_rule(aborting(text), has_load);
  return status.ok() ? "" : status.error().message;
}

TEST(AbortRule, IsOneThatNothingCanMend) {
  for (const char* text :
       {"fds < 1000", "max(fds) <= 10", "min(fds) >= 3", "max(reply_latency) < 50ms", "lost == 0",
        "http_errors <= 10", "unanswered == 0", "count(reply_latency) < 100", "losses == 0"})
    EXPECT_EQ(why_no_abort(text), "") << text;
  for (const char* text :
       {"p99(reply_latency) < 5ms", "mean(fds) < 3", "slope(fds) < 1", "rate(packets) < 5",
        "max(fds) > 5", "sent > 100", "unanswered > 3", "p99(load_latency) < 1s"})
    EXPECT_THAT(why_no_abort(text), HasSubstr("could still keep it")) << text;
  EXPECT_THAT(why_no_abort("fds < 10 during hold"), HasSubstr("about a stage"));
  EXPECT_THAT(why_no_abort("lost <= 0.01 * sent"), HasSubstr("give a number"));
  EXPECT_THAT(why_no_abort("fds <= before"), HasSubstr("give a number"));
  EXPECT_THAT(why_no_abort("http_5xx == 0"), HasSubstr("not counted before the end"));
}

Sample abort_tick(int64_t second, double unanswered, int64_t worst_ns) {
  Sample tick;
  tick.tick = static_cast<uint64_t>(second);
  tick.elapsed_ns = second * kNanosPerSecond;
  tick.interval_ns = kNanosPerSecond;
  tick.flows.begin_ns = (second - 1) * kNanosPerSecond;
  tick.flows.end_ns = second * kNanosPerSecond;
  tick.flows.unanswered = static_cast<uint64_t>(unanswered);
  tick.flows.reply_latency.record(static_cast<uint64_t>(worst_ns));
  return tick;
}

TEST(AbortWatch, TellsTheFirstTickThatBreaksARule) {
  AbortWatch watch({aborting("unanswered <= 5"), aborting("max(reply_latency) < 50ms")}, true);
  ASSERT_TRUE(watch.has_rules());
  // Before the load nothing counts.
  EXPECT_EQ(watch.add(abort_tick(1, 100, kNanosPerSecond)), std::nullopt);
  watch.begin({}, 2 * kNanosPerSecond);
  EXPECT_EQ(watch.add(abort_tick(2, 100, kNanosPerSecond)), std::nullopt);
  EXPECT_EQ(watch.add(abort_tick(3, 3, 1000)), std::nullopt);
  EXPECT_EQ(watch.add(abort_tick(4, 2, 1000)), std::nullopt);
  const auto broken = watch.add(abort_tick(5, 1, 1000));
  ASSERT_TRUE(broken.has_value());
  EXPECT_THAT(*broken, HasSubstr("unanswered <= 5: 6 against 5"));

  AbortWatch other({aborting("max(reply_latency) < 50ms"), aborting("unanswered == 2")}, false);
  other.begin({}, 0);
  // One is not two yet.
  EXPECT_EQ(other.add(abort_tick(1, 1, 1000)), std::nullopt);
  EXPECT_EQ(other.add(abort_tick(2, 1, 1000)), std::nullopt);
  EXPECT_THAT(other.add(abort_tick(3, 0, 60'000'000)).value_or(""),
              HasSubstr("max(reply_latency)"));
}

TEST(AbortWatch, TellsWhenTheLoadsAccountsBreakARule) {
  const AbortWatch watch({aborting("lost == 0"), aborting("http_errors <= 10")}, true);
  LoadAccounts accounts;
  accounts.sent = 100;
  accounts.http_errors = 10;
  EXPECT_EQ(watch.add(accounts, true), std::nullopt);
  accounts.http_errors = 11;
  EXPECT_THAT(watch.add(accounts, true).value_or(""), HasSubstr("http_errors <= 10: 11"));
  accounts.lost = 1;
  EXPECT_THAT(watch.add(accounts, true).value_or(""), HasSubstr("lost == 0: 1 against 0"));
  SloRule quiet = aborting("lost == 0");
  quiet.aborts = false;
  EXPECT_FALSE(AbortWatch({quiet}, true).has_rules());
}

}  // namespace
}  // namespace topspin
