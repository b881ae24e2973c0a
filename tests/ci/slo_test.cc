// SLO rules: what is a rule, what is not, and how the ticks of a run decide it.
#include "ci/slo/slo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace topspin {
namespace {

using testing::HasSubstr;

constexpr int64_t kSecond = 1'000'000'000;

/// A run: start 2 s, before 2 s, ramp_up 2 s to 10 clients, hold 4 s, ramp_down 2 s, after 3 s.
class SloTest : public testing::Test {
 protected:
  SloTest() {
    int64_t at = 0;
    const auto stage = [&](const char* name, StageKind kind, int64_t seconds,
                           std::optional<uint32_t> from = {}, std::optional<uint32_t> to = {}) {
      stages_.push_back({name, kind, at * kSecond, (at + seconds) * kSecond, from, to});
      at += seconds;
    };
    stage("start", StageKind::kStart, 2);
    stage("before", StageKind::kBefore, 2);
    stage("ramp_up", StageKind::kLoad, 2, 0, 10);
    stage("hold", StageKind::kLoad, 4, 10, 10);
    stage("ramp_down", StageKind::kLoad, 2, 10, 0);
    stage("after", StageKind::kAfter, 3);
    run_.settings.window_ns = kSecond;
    for (int64_t second = 1; second <= at; ++second) {
      Sample& tick = ticks_.emplace_back();
      tick.elapsed_ns = second * kSecond;
      tick.interval_ns = kSecond;
      tick.flows.active_flows = second > 6 && second <= 11 ? 10 : second == 6 ? 7 : 0;
      tick.flows.packets = 100;
      if (second > 4) {
        for (int i = 0; i < 200; ++i) tick.flows.reply_latency.record(1'000'000);
      }
      tick.resources.emplace().fds = second <= 4 ? 5 : second <= 12 ? 15 : 6;
      tick.resources->rss_bytes = 1'000'000 + second * 1000;
    }
    load_.emplace();
    load_->clients_max = 10;
    load_->total.accounts.sent = 1000;
    load_->total.accounts.lost = 1;
    load_->stages.resize(1);
    load_->stages[0].name = "hold";
    load_->stages[0].accounts.sent = 400;
  }

  Sample& tick(size_t second) { return ticks_.at(second - 1); }
  SloResult judge(std::string_view text) {
    auto rule = parse_slo(text);
    if (!rule.ok()) {
      ADD_FAILURE() << rule.error().message;
      return {};
    }
    const std::vector<SloRule> rules = {*rule};
    SloJudge judge(rules, run_, stages_, load_);
    for (const Sample& sample : ticks_) judge.add(sample);
    return judge.finish().at(0);
  }
  void expect(std::string_view text, SloVerdict verdict) {
    const SloResult result = judge(text);
    EXPECT_EQ(slo_verdict_name(result.verdict), slo_verdict_name(verdict))
        << text << ": " << result.explanation;
  }

  RunInfo run_;
  std::vector<RunStage> stages_;
  std::vector<Sample> ticks_;
  std::optional<LoadResult> load_;
};

TEST_F(SloTest, DistributionsAreJudgedByTheirStatistic) {
  expect("p99(reply_latency) < 5ms", SloVerdict::kKept);
  expect("p99(reply_latency) < 900us", SloVerdict::kBroken);
  expect("max(reply_latency) <= 1ms", SloVerdict::kKept);
  expect("mean(reply_latency) == 1ms", SloVerdict::kKept);
  // 11 ticks of 200 samples each end after the load begins. None before them counts.
  EXPECT_EQ(judge("count(reply_latency) > 0").value, 11 * 200);
  EXPECT_EQ(judge("count(reply_latency) > 0 during hold").value, 4 * 200);
  // p99.9 needs 10,000 samples. With fewer it is not known, so the rule is neither kept nor broken.
  expect("p99.9(reply_latency) < 5ms", SloVerdict::kUnknown);
  expect("p99(run_queue_latency) < 1s", SloVerdict::kUnknown);
}

TEST_F(SloTest, CountsAreSumsOverTheirScope) {
  EXPECT_EQ(judge("packets > 0").value, 1100);
  EXPECT_EQ(judge("packets > 0 during hold").value, 400);
  EXPECT_EQ(judge("rate(packets) >= 100 during hold").value, 100);
  expect("losses == 0", SloVerdict::kKept);
  tick(8).losses.capture_kernel_drops = 1;
  expect("losses == 0", SloVerdict::kBroken);
  expect("losses == 0 during ramp_up", SloVerdict::kKept);
  // What the ends of a run cut off is not a loss.
  tick(8).losses = {};
  tick(13).losses.scheduler_right_censored = 5;
  expect("losses == 0", SloVerdict::kKept);
}

TEST_F(SloTest, GaugesMustKeepTheRuleAtEveryTick) {
  expect("active_flows == clients during hold", SloVerdict::kKept);
  tick(9).flows.active_flows = 9;
  const SloResult result = judge("active_flows == clients during hold");
  EXPECT_EQ(result.verdict, SloVerdict::kBroken);
  EXPECT_EQ(result.value, 9);
  EXPECT_EQ(result.bound, 10);
  EXPECT_THAT(result.explanation, HasSubstr("9.00s"));
  expect("max(active_flows) == 10", SloVerdict::kKept);
  expect("min(active_flows) during hold >= 9", SloVerdict::kKept);
  expect("fds < 16", SloVerdict::kKept);
  expect("fds < 15", SloVerdict::kBroken);
}

TEST_F(SloTest, TheWindowMustHavePassedSinceAStageBegan) {
  tick(7).flows.active_flows = 3;  // within the window after hold began at 6 s
  expect("active_flows == clients during hold", SloVerdict::kKept);
}

TEST_F(SloTest, AfterIsTheLastTickOfWhatFollows) {
  expect("fds after ramp_down <= before + 2", SloVerdict::kKept);
  expect("fds after ramp_down <= before", SloVerdict::kBroken);
  expect("fds after ramp_down <= 1.2 * before", SloVerdict::kKept);
  expect("active_flows == 0 after ramp_down", SloVerdict::kKept);
  tick(15).resources->fds = 15;  // a leak
  expect("fds after ramp_down <= before + 2", SloVerdict::kBroken);
  expect("fds after ramp_up <= before + 20", SloVerdict::kKept);
}

TEST_F(SloTest, WhatCannotBeJudgedSaysWhy) {
  EXPECT_THAT(judge("fds after hold <= 5").explanation, HasSubstr("put a hold between"));
  EXPECT_THAT(judge("fds after after <= 5").explanation, HasSubstr("ended before"));
  EXPECT_THAT(judge("fds during peak <= 5").explanation, HasSubstr("its stages are start, before"));
  EXPECT_THAT(judge("fds during hodl <= 5").explanation,
              HasSubstr("no stage hodl; did you mean hold? its stages are start, before"));
  EXPECT_THAT(judge("active_flows == clients during ramp_up").explanation,
              HasSubstr("not constant"));
  EXPECT_THAT(judge("swap_bytes == 0").explanation, HasSubstr("not measured"));
  EXPECT_THAT(judge("refused == 0").explanation, HasSubstr("this load has no"));
  load_.reset();
  EXPECT_THAT(judge("lost == 0").explanation, HasSubstr("no load"));
  stages_.clear();
  EXPECT_THAT(judge("fds during hold <= 5").explanation, HasSubstr("no stages"));
  EXPECT_THAT(judge("fds <= before").explanation, HasSubstr("before the load"));
}

TEST_F(SloTest, TheLoadIsJudgedByWholeAndByStage) {
  expect("lost <= 0.001 * sent", SloVerdict::kKept);
  expect("lost == 0", SloVerdict::kBroken);
  expect("lost == 0 during hold", SloVerdict::kKept);
  EXPECT_EQ(judge("sent > 0 during hold").value, 400);
  expect("max(active_flows) == clients", SloVerdict::kKept);
}

TEST_F(SloTest, TheKernelAndTheGeneratorAreJudgedForTheWholeLoad) {
  EXPECT_THAT(judge("kernel_udp_no_ports == 0").explanation, HasSubstr("this load has no"));
  load_->kernel.udp_rcvbuf_errors = 3;
  load_->own.wall_ns = 2'000'000'000;
  load_->own.cpu_ns = 500'000'000;
  load_->own.host_steal_ns = 7'000'000;
  load_->own.rss_bytes = 100 << 20;
  load_->own.receive_drops = 2;
  EXPECT_EQ(judge("kernel_udp_rcvbuf_errors == 0").value, 3);
  EXPECT_EQ(judge("own_cpu_ns < 1s").value, 500'000'000);
  EXPECT_EQ(judge("own_shared_sockets == 0").value, 0);
  expect("own_cpu < 0.5 * own_wall", SloVerdict::kKept);
  expect("own_cpu < 0.2 * own_wall", SloVerdict::kBroken);
  expect("own_host_steal < 10ms", SloVerdict::kKept);
  expect("own_rss < 64MiB", SloVerdict::kBroken);
  expect("own_receive_drops <= 0.01 * sent", SloVerdict::kKept);
}

TEST_F(SloTest, StatusesAreJudgedByClassAndErrorsByStage) {
  EXPECT_THAT(judge("http_errors == 0").explanation, HasSubstr("this load has no"));
  load_->http =
      HttpAccounts{{{200, 90}, {301, 4}, {404, 3}, {503, 2}, {700, 1}}, 0, 0, {}, {}, {}, 0, 0};
  load_->total.accounts.http_errors = 6;
  expect("http_errors == 6", SloVerdict::kKept);
  expect("http_2xx == 90", SloVerdict::kKept);
  expect("http_3xx == 4", SloVerdict::kKept);
  expect("http_4xx == 3", SloVerdict::kKept);
  expect("http_5xx == 0", SloVerdict::kBroken);
  expect("http_other == 1", SloVerdict::kKept);
  expect("http_errors <= 0.01 * replied", SloVerdict::kBroken);
  expect("http_errors == 0 during hold", SloVerdict::kKept);
}

TEST_F(SloTest, WhereNothingHasAPeriodNoSilenceIsJudged) {
  for (const char* rule : {"missed_ticks == 0", "silent_flows == 0", "max(silent_flows) == 0",
                           "silent_flows == 0 during hold", "rate(missed_ticks) == 0"}) {
    EXPECT_EQ(judge(rule).verdict, SloVerdict::kUnknown) << rule;
    EXPECT_THAT(judge(rule).explanation, HasSubstr("no flow had a period")) << rule;
  }
  tick(9).flows.periodic_flows = 10;
  for (const char* rule : {"missed_ticks == 0", "silent_flows == 0 during hold"})
    expect(rule, SloVerdict::kKept);
}

TEST_F(SloTest, SilenceCountsUntilTheLoadIsOver) {
  for (Sample& each : ticks_) each.flows.periodic_flows = 10;
  for (const size_t second : {13, 14, 15}) {  // in `after`, when the clients have left
    tick(second).flows.missed_ticks = 10;
    tick(second).flows.silent_flows = 10;
  }
  for (const char* rule : {"missed_ticks == 0", "silent_flows == 0", "max(silent_flows) == 0"})
    expect(rule, SloVerdict::kKept);
  expect("silent_flows == 0 during after", SloVerdict::kBroken);  // the scope names it
  tick(12).flows.missed_ticks = 1;                                // the last of ramp_down
  tick(12).flows.silent_flows = 1;
  for (const char* rule : {"missed_ticks == 0", "silent_flows == 0"})
    expect(rule, SloVerdict::kBroken);
}

TEST_F(SloTest, SilenceAndEveryCountOfLossesHaveNames) {
  tick(9).flows.periodic_flows = 10;
  expect("silent_flows == 0 during hold", SloVerdict::kKept);
  tick(9).flows.silent_flows = 4;
  expect("silent_flows == 0 during hold", SloVerdict::kBroken);
  EXPECT_EQ(judge("max(silent_flows) < 5").value, 4);
  for (const char* rule : {"periodic_flows >= 0", "requests >= 0", "late_replies == 0",
                           "time_steps == 0", "duplicate_packets == 0", "rate(requests) >= 0"})
    expect(rule, SloVerdict::kKept);
  LossInterval::for_each_field([&](const std::string& name, auto field) {
    tick(9).losses.*field += 1;
    expect(name + (name.ends_with("_ns") ? " < 1ns" : " < 1"), SloVerdict::kBroken);
  });
}

TEST_F(SloTest, EveryDistributionThatIsStoredHasAName) {
  SchedulerInterval& scheduler = tick(9).scheduler.emplace();
  SocketInterval& sockets = tick(9).sockets.emplace();
  std::vector<std::string> names;
  const auto fill = [&](std::string_view stored_name, std::optional<Histogram>& histogram) {
    histogram.emplace().record(5'000'000);
    names.emplace_back(without_unit(stored_name));
  };
  SchedulerInterval::for_each_histogram(scheduler, fill);
  SocketInterval::for_each_histogram(sockets, fill);
  EXPECT_THAT(names, testing::IsSupersetOf({"accept_delay", "socket_wait", "reply_socket",
                                            "reply_cpu_queue", "reply_runtime", "on_cpu",
                                            "timer_oversleep", "timer_queueing"}));
  for (const std::string& name : names) {
    expect("max(" + name + ") < 6ms", SloVerdict::kKept);
    expect("max(" + name + ") < 4ms", SloVerdict::kBroken);
  }
}

TEST_F(SloTest, ASlopeIsOfTheScope) {
  EXPECT_NEAR(*judge("slope(rss) < 2kB").value, 1000, 1e-6);
  expect("slope(rss_bytes) < 900", SloVerdict::kBroken);
  expect("slope(fds) during before <= 0", SloVerdict::kUnknown);  // two ticks
}

TEST_F(SloTest, ARunWithoutStagesIsJudgedWhole) {
  stages_.clear();
  EXPECT_EQ(judge("packets > 0").value, 1500);
}

TEST(SloParser, SaysWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"", "must begin"},
      {"p99(reply_latency)", "must follow what is measured"},
      {"p99(reply_latency) <", "is missing"},
      {"p99(reply_latency) < 5 parsecs", "too much"},
      {"p99(reply_latency) < 5lightyears", "not a unit"},
      {"p99(reply_latenzy) < 5ms", "did you mean reply_latency?"},
      {"q99(reply_latency) < 5ms", "not a statistic"},
      {"p0(reply_latency) < 5ms", "not a statistic"},
      {"p100(reply_latency) < 5ms", "not a statistic"},
      {"reply_latency < 5ms", "needs a statistic"},
      {"p99(fds) < 5", "is a gauge"},
      {"p99(reply_latency) < 50", "needs a unit: write 50ms"},
      {"cpu_ns < 50", "needs a unit"},
      {"p50(reply_latency) < clients",
       "clients is not; write a time, or a time for each, such as 1ms"},
      {"p50(load_latency) > sent", "sent is not"},
      {"packets < cpu_ns", "is not a time"},
      {"packets < 2ms * clients", "is not a time"},
      {"http_5xx == 0 during hold", "counted for the whole load"},
      {"own_cpu < 1s during hold", "counted for the whole load"},
      {"own_cpu < 5", "own_cpu is a time"},
      {"own_cpus > 1s", "own_cpus is not a time"},
      {"kernel_udp_no_prots == 0", "did you mean kernel_udp_no_ports?"},
      {"lost < 2 * refused during hold", "counted for the whole load"},
      {"p99(reply_latency) < 5MB", "is not in bytes"},
      {"fds < 5ms", "is not a time"},
      {"max(packets) < 5", "is a count"},
      {"packets <= before", "only a gauge"},
      {"fds during < 5", "name of a stage"},
      {"fds during hold < 5 during hold", "once"},
      {"fds < before * 2", "write the factor first"},
      {"fds < rss", "neither a number"},
      {"p99(reply_latency < 5ms", "not closed"},
      {"fds = 5", "must follow what is measured"},
      {std::string("fds < 5\0", 8), "too much"},
  };
  for (const auto& [text, expected] : wrong) {
    const auto rule = parse_slo(text);
    ASSERT_FALSE(rule.ok()) << text;
    EXPECT_EQ(rule.error().code, ErrorCode::kUsage);
    EXPECT_THAT(rule.error().message, HasSubstr(expected)) << text;
    EXPECT_THAT(rule.error().message, HasSubstr("in the rule")) << text;
  }
}

TEST(SloParser, SpacesAndOrderAreFree) {
  for (const char* text : {"fds<=before+2 after ramp_down", " fds  after ramp_down <= 2 + before ",
                           "fds after ramp_down<=before - -2"}) {
    const auto rule = parse_slo(text);
    if (std::string_view(text).find("- -") != std::string_view::npos) {
      EXPECT_FALSE(rule.ok());
      continue;
    }
    ASSERT_TRUE(rule.ok()) << text;
    EXPECT_EQ(rule->scope.stage, "ramp_down");
    EXPECT_EQ(rule->bound.size(), 2u);
  }
  EXPECT_EQ(parse_slo("rss < 64MiB")->bound[0].factor, 64.0 * 1024 * 1024);
  EXPECT_EQ(parse_slo("p99(lateness) < 1.5ms")->bound[0].factor, 1.5e6);
  EXPECT_EQ(parse_slo("fds during hold-2 < 5")->scope.stage, "hold-2");
}

}  // namespace
}  // namespace topspin
