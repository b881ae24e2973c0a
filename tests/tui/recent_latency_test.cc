// The p99 over the last ticks, failed work, and the tick line and head that show them.
#include "tui/model/recent_latency.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tui/synthetic.h"
#include "tui/tick_line.h"
#include "tui/views.h"

namespace topspin {
namespace {

using test::kMilli;
using test::kSecond;
using test::Synthetic;
using testing::HasSubstr;
using testing::Not;

Histogram of(uint64_t value, uint64_t times) {
  Histogram histogram;
  histogram.record_n(value, times);
  return histogram;
}

TEST(RecentLatency, GathersTicksUntilTheyHoldEnough) {
  RecentLatency recent;
  recent.add(of(1'000'000, 400), kSecond);
  EXPECT_EQ(recent.p99(), std::nullopt);
  recent.add(of(2'000'000, 400), kSecond);
  EXPECT_EQ(recent.p99(), std::nullopt);
  recent.add(of(3'000'000, 400), kSecond);
  EXPECT_EQ(recent.count(), 1200u);
  ASSERT_TRUE(recent.p99());
  EXPECT_EQ(*recent.p99(), 3'000'000);
  // The oldest ticks go as long as the others hold 1,000.
  recent.add(of(500'000, 600), kSecond);
  EXPECT_EQ(recent.count(), 1000u);
  EXPECT_EQ(*recent.p99(), 3'000'000);
}

TEST(RecentLatency, OfATickWithEnoughIsThatTicksOwn) {
  RecentLatency recent;
  recent.add(of(9'000'000, 5000), kSecond);
  Histogram tick;
  for (uint64_t i = 1; i <= 2000; ++i) tick.record(i * 1000);
  recent.add(tick, kSecond);
  EXPECT_EQ(recent.p99(), static_cast<int64_t>(*tick.percentile(0.99)));
}

TEST(RecentLatency, LooksBackTenSecondsAtMost) {
  RecentLatency recent;
  recent.add(of(1'000, 999), kSecond);
  for (int i = 0; i < 9; ++i) recent.add(Histogram(), kSecond);
  EXPECT_EQ(recent.count(), 999u);
  recent.add(of(1'000, 1), kSecond);
  EXPECT_EQ(recent.count(), 1u);
  EXPECT_EQ(recent.p99(), std::nullopt);
}

TEST(RecentLatency, EarlyIsBelowZero) {
  RecentLatency recent;
  SignedHistogram early;
  for (int64_t i = 1; i <= 1000; ++i) early.record(-i * kMilli);
  recent.add(early, kSecond);
  EXPECT_EQ(recent.p99(), early.percentile(0.99));
  EXPECT_LT(*recent.p99(), 0);
}

std::vector<std::string> words(const std::string& line) {
  std::vector<std::string> words;
  for (size_t at = 0; at < line.size();) {
    const size_t from = line.find_first_not_of(' ', at);
    if (from == std::string::npos) break;
    at = std::min(line.find(' ', from), line.size());
    words.push_back(line.substr(from, at - from));
  }
  return words;
}

/// The word of a tick line that ends under the end of a title.
std::string under(const std::string& title, const std::string& line) {
  const std::string header = tick_line_header();
  const size_t end = header.find(title) + title.size();
  const size_t from = line.rfind(' ', end - 1);
  return line.substr(from + 1, end - from - 1);
}

TEST(RecentLatency, ThePercentileIsNeverAboveTheMaximumAndBothEndWithTheSamples) {
  RecentLatency recent;
  recent.add(of(50'000'000, 600), kSecond);
  recent.add(of(1'000, 600), kSecond);  // this tick's own maximum is far below the window's p99
  ASSERT_TRUE(recent.p99() && recent.max());
  EXPECT_LE(*recent.p99(), *recent.max());
  EXPECT_EQ(recent.max(), 50'000'000);
  recent.add(Histogram(), kSecond);  // nothing was measured, so nothing is shown
  EXPECT_FALSE(recent.p99());
  EXPECT_FALSE(recent.max());
  EXPECT_GT(recent.count(), 0u);
}

TEST(TickLine, ShowsAPercentileAndTheMaximumOverTheLastTicks) {
  const Synthetic synthetic{.flows = 300};
  TickLineMemory memory;
  std::string line;
  for (uint64_t tick = 1; tick <= 3; ++tick) line = tick_line(synthetic.sample(tick), memory);
  EXPECT_EQ(under("reply p99", line), "-");  // only 600 replies so far
  EXPECT_NE(under("reply max", line), "-");
  for (uint64_t tick = 4; tick <= 6; ++tick) line = tick_line(synthetic.sample(tick), memory);
  EXPECT_NE(under("reply p99", line), "-");
  EXPECT_NE(under("late p99", line), "-");
  EXPECT_EQ(under("silent", line), "0");
  EXPECT_EQ(line.size(), tick_line_header().size());
}

TEST(TickLine, WithoutAPeriodThereIsNoLateness) {
  const Synthetic synthetic{.flows = 2000, .periodic = false};
  Sample sample = synthetic.sample(3);
  // As recorded by an older version, which learned periods from any traffic.
  sample.flows.requests = 0;
  for (int i = 0; i < 5000; ++i) sample.flows.lateness.record(kSecond);
  sample.flows.missed_ticks = 52'885;
  TickLineMemory memory;
  const std::string line = tick_line(sample, memory);
  for (const char* title : {"late p99", "late max", "missed", "silent"})
    EXPECT_EQ(under(title, line), "-") << title;
  EXPECT_NE(under("reply p99", line), "-");
}

TEST(TickLine, UnansweredRequestsStandBesideTheReplies) {
  Sample sample = Synthetic{.flows = 20}.sample(3);
  sample.flows.unanswered = 17;
  TickLineMemory memory;
  const std::string line = tick_line(sample, memory);
  EXPECT_EQ(under("unans", line), "17");
  const std::string header = tick_line_header();
  EXPECT_LT(header.find("reply max"), header.find("unans"));
  EXPECT_EQ(words(header.substr(header.find("reply max"))).at(2), "unans");
}

TEST(TickLine, FailedWorkHasItsTotalBesideItAndColumnsStay) {
  TickLineMemory memory;
  Sample sample = Synthetic{.flows = 20}.sample(3);
  sample.flows.unanswered = 0;
  EXPECT_THAT(tick_line(sample, memory), HasSubstr(" 0 (0) "));
  sample.flows.tcp_refused = 190;
  EXPECT_THAT(tick_line(sample, memory), HasSubstr(" 190 (190) "));
  const std::string line = tick_line(sample, memory);
  EXPECT_THAT(line, HasSubstr(" 190 (380) "));
  EXPECT_EQ(line.size(), tick_line_header().size());
}

std::string head_of(const Model& model, int width = 120) {
  const std::string text = grid_text(draw_screen(model, initial_view_state(model), {width, 24}));
  size_t end = 0;
  for (int i = 0; i < 4; ++i) end = text.find('\n', end) + 1;
  return text.substr(0, end);
}

bool head_has(const Model& model, Role role) {
  const Grid grid = draw_screen(model, initial_view_state(model), {120, 24});
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < grid.width(); ++x) {
      if (grid.at(x, y).style.role == role) return true;
    }
  }
  return false;
}

TEST(Head, SilenceIsRedAndLeavesNothingGreen) {
  const Synthetic synthetic{.flows = 80};
  const Model before = synthetic.model(30);
  EXPECT_THAT(head_of(before), HasSubstr("0 of 80"));
  EXPECT_TRUE(head_has(before, Role::kOnTime));
  const Model after = synthetic.model(40);
  for (const int width : {80, 120}) {
    EXPECT_THAT(head_of(after, width), HasSubstr("silent        2 of 80")) << width;
    EXPECT_THAT(head_of(after, width), HasSubstr("missed         2 (18)")) << width;
    EXPECT_THAT(head_of(after, width), HasSubstr("unans           0 (3)")) << width;
  }
  EXPECT_FALSE(head_has(after, Role::kOnTime));
  EXPECT_TRUE(head_has(after, Role::kDead));
}

/// A tick that is one second long.
Sample tcp_tick(uint64_t half_open, uint64_t refused = 0, uint64_t unanswered = 0) {
  Sample sample;
  sample.interval_ns = kSecond;
  sample.flows.end_ns = kSecond;
  sample.flows.tcp_half_open = half_open;
  sample.flows.tcp_refused = refused;
  sample.flows.unanswered = unanswered;
  return sample;
}

TEST(FailedWork, AddsUpWhatWasRefusedUnansweredOrNeverCompleted) {
  FailedWork failed;
  failed.add(tcp_tick(60, 7, 2));
  EXPECT_EQ(failed.now(), 9u);  // the 60 may still be answered
  failed.add(tcp_tick(60));
  EXPECT_EQ(failed.now(), 60u);
  EXPECT_EQ(failed.total(), 69u);
}

TEST(FailedWork, CountsEachFailureOnceAndGoesOnWhileConnectionsHang) {
  FailedWork failed;
  for (int tick = 0; tick < 5; ++tick) failed.add(tcp_tick(60));
  EXPECT_EQ(failed.now(), 0u);
  EXPECT_EQ(failed.total(), 60u);
  EXPECT_TRUE(failed.goes_on());
  // The server ends: the connections that hung are refused, and 3 others.
  failed.add(tcp_tick(0, 63));
  EXPECT_EQ(failed.now(), 3u);
  EXPECT_EQ(failed.total(), 63u);
  failed.add(tcp_tick(0));
  EXPECT_FALSE(failed.goes_on());
  for (int tick = 0; tick < 3; ++tick) failed.add(tcp_tick(5));
  EXPECT_EQ(failed.total(), 68u);
}

TEST(FailedWork, ThoseThatHangAreReplacedWithoutTheirNumberChanging) {
  // 10 connections per second to a silent host. Each is given up after 6 s, so 60 always hang.
  FailedWork failed;
  for (uint64_t tick = 1; tick <= 6; ++tick) failed.add(tcp_tick(10 * tick));
  EXPECT_EQ(failed.total(), 50u);  // the last 10 may still be answered
  for (uint64_t tick = 1; tick <= 20; ++tick) {
    Sample sample = tcp_tick(60);
    sample.flows.tcp_never_completed = 10;
    failed.add(sample);
    EXPECT_GE(failed.now(), 10u) << tick;
  }
  EXPECT_EQ(failed.total(), 260u);
  // Connections that are given up before they were seen to hang have failed too.
  FailedWork evicted;
  Sample sample = tcp_tick(0);
  sample.flows.tcp_never_completed = 4;
  evicted.add(sample);
  EXPECT_EQ(evicted.total(), 4u);
}

TEST(FailedWork, HandshakesUnderWayAreNoFailure) {
  // 100 connections per second to a server that is 200 ms away: about 20 handshakes at any moment.
  FailedWork failed;
  for (uint64_t tick = 0; tick < 20; ++tick) {
    Sample sample = tcp_tick(15 + tick * 7 % 11);
    sample.flows.tcp_handshake.record_n(200 * kMilli, 100);
    failed.add(sample);
    EXPECT_FALSE(failed.goes_on()) << tick;
  }
  // Eight ticks of a tenth of a second are too short for a connection to hang.
  FailedWork quick;
  for (int tick = 0; tick < 8; ++tick) {
    Sample sample = tcp_tick(3);
    sample.interval_ns = sample.flows.end_ns = kSecond / 10;
    quick.add(sample);
    EXPECT_EQ(quick.total(), 0u) << tick;
  }
}

TEST(Head, RefusedConnectionsAreRedAndLeaveNothingGreen) {
  Model model;
  const Synthetic synthetic{.flows = 80, .periodic = false};
  model.scene = synthetic.scene();
  for (uint64_t tick = 1; tick <= 3; ++tick) {
    Sample sample = synthetic.sample(tick);
    sample.flows.unanswered = 0;
    sample.flows.tcp_refused = tick == 2 ? 190 : 0;
    model.add(sample);
    for (const int width : {60, 80, 120}) {
      const char* text = tick == 1 ? "0 (0)" : tick == 2 ? "190 (190)" : "0 (190)";
      EXPECT_THAT(head_of(model, width), HasSubstr(text)) << tick;
    }
    EXPECT_EQ(head_has(model, Role::kOnTime), tick != 2);
    EXPECT_EQ(head_has(model, Role::kAccent), tick != 2);
    EXPECT_EQ(head_has(model, Role::kDead), tick == 2);
  }
}

TEST(Head, WithoutAPeriodThereIsNoLateness) {
  const Model model = Synthetic{.flows = 80, .periodic = false}.model(40);
  for (const char* word : {"late", "missed", "silent"})
    EXPECT_THAT(head_of(model), Not(HasSubstr(word)));
  EXPECT_THAT(head_of(model), HasSubstr("reply p99"));
}

TEST(Head, TheLabelsStayWhateverTheTickHolds) {
  const Synthetic synthetic{.flows = 300};
  Model model;
  model.scene = synthetic.scene();
  for (uint64_t tick = 1; tick <= 12; ++tick) {
    Sample sample = synthetic.sample(tick);
    if (tick % 3 == 0) sample.flows.reply_latency = {};
    if (tick % 4 == 0) sample.flows.reply_latency = of(1'000, 3);
    model.add(sample);
    EXPECT_THAT(head_of(model), HasSubstr("reply p99"));
    EXPECT_THAT(head_of(model), HasSubstr("reply max"));
    EXPECT_THAT(head_of(model), HasSubstr("run queue p99"));
  }
}

TEST(Head, AWaitWithoutEndIsALowerBound) {
  const Synthetic synthetic{.flows = 20};
  Model model;
  model.scene = synthetic.scene();
  Sample sample = synthetic.sample(2);
  sample.flows.reply_latency.record_n(kSecond, 2000);
  sample.flows.unanswered = 2000;
  model.add(sample);
  EXPECT_THAT(head_of(model), HasSubstr(">=1.0"));
  // All of them were answered, though late, so the value is exact.
  Sample answered = synthetic.sample(3);
  answered.flows.reply_latency.record_n(3 * kSecond, 2000);
  answered.flows.late_replies = 2000;
  model.add(answered);
  EXPECT_THAT(head_of(model), Not(HasSubstr(">=")));
}

}  // namespace
}  // namespace topspin
