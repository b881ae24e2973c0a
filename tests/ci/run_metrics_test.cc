// The table of metrics, and how a run's ticks become its numbers.
#include "ci/metrics/run_metrics.h"

#include <memory>
#include <set>

#include <gtest/gtest.h>

#include "ci/judgement/judgement.h"

namespace topspin {
namespace {

std::optional<double> taken(std::string_view name, const RunTotals& totals) {
  for (const RunMetric& m : run_metrics()) {
    if (m.metric.name == name) return m.take(totals);
  }
  ADD_FAILURE() << "no metric " << name;
  return std::nullopt;
}

TEST(RunMetrics, NamesAreUniqueAndFewGate) {
  std::set<std::string> names;
  size_t gating = 0;
  for (const RunMetric& m : run_metrics()) {
    EXPECT_TRUE(names.insert(m.metric.name).second) << m.metric.name;
    EXPECT_GT(m.metric.margin, 0);
    gating += m.metric.gating ? 1 : 0;
  }
  EXPECT_GE(gating, 1u);
  EXPECT_LE(gating, kMostGatingMetrics);
}

TEST(RunMetrics, WhatWasNotMeasuredIsAbsent) {
  const auto fold = std::make_unique<RunFold>();
  fold->add(Sample{});
  const RunTotals totals(*fold);
  for (const char* name : {"cpu_ns_per_flow", "cpu_ns_per_packet", "rss_bytes_max",
                           "reply_latency_ns_p99", "run_queue_latency_ns_p99", "fds_max"})
    EXPECT_FALSE(taken(name, totals).has_value()) << name;
}

LoadResult load_of(uint64_t scheduled, uint64_t replied, uint64_t errors) {
  LoadResult load;
  load.workload = WorkloadKind::kHttp;
  load.http.emplace();
  load.total.accounts.scheduled = load.total.accounts.sent = scheduled;
  load.total.accounts.replied = replied;
  load.total.accounts.lost = scheduled - replied;
  load.total.accounts.http_errors = errors;
  load.own.wall_ns = 2'000'000'000;
  return load;
}

TEST(RunMetrics, WorkThatIsNotDoneIsAShareOfWhatWasAsked) {
  RunTotals totals;
  totals.set_load(load_of(1000, 1000, 0));
  EXPECT_EQ(taken("failed_share", totals), 0);
  totals.set_load(load_of(1000, 500, 0));  // every second one is dropped
  EXPECT_EQ(taken("failed_share", totals), 0.5);
  totals.set_load(load_of(1000, 1000, 1000));  // all answered, with errors
  EXPECT_EQ(taken("failed_share", totals), 1);
  EXPECT_EQ(taken("http_errors", totals), 1000);
  // Requests of a client that the server keeps waiting were asked for and not done. Those that our
  // own kernel refused to send, or that the generator was too slow for, were never asked.
  LoadResult blocked = load_of(1000, 800, 0);
  blocked.total.accounts.sent = 800;
  blocked.total.accounts.lost = 0;
  blocked.total.accounts.never_scheduled = blocked.total.accounts.blocked = 200;
  totals.set_load(blocked);
  EXPECT_EQ(taken("failed_share", totals), 0.2);
  blocked.total.accounts.blocked = 0;
  totals.set_load(blocked);
  EXPECT_EQ(taken("failed_share", totals), 0);
  LoadResult nothing_asked = load_of(0, 0, 0);
  totals.set_load(nothing_asked);
  EXPECT_FALSE(taken("failed_share", totals).has_value());
}

TEST(RunMetrics, WhatNothingWasSeenOfIsAbsentAndNotZero) {
  const auto fold = std::make_unique<RunFold>();
  RunTotals totals;
  const auto none_of = [&](std::initializer_list<const char*> names) {
    for (const char* name : names) EXPECT_FALSE(taken(name, totals).has_value()) << name;
  };
  none_of({"unanswered", "tcp_refused", "tcp_resets", "missed_ticks"});
  const auto sample = std::make_unique<Sample>();
  sample->flows.packets = 10;
  fold->add(*sample);
  totals = RunTotals(*fold);
  for (const char* name : {"unanswered", "tcp_refused", "tcp_resets"})
    EXPECT_EQ(taken(name, totals), 0) << name;
  none_of({"missed_ticks"});  // nothing had a period
  sample->flows.periodic_flows = 1;
  fold->add(*sample);
  totals = RunTotals(*fold);
  EXPECT_EQ(taken("missed_ticks", totals), 0);
}

TEST(RunMetrics, MissedTicksCountUntilTheLoadIsOver) {
  const auto fold = std::make_unique<RunFold>();
  fold->load_end_ns = 2;
  for (const int64_t end_ns : {1, 2, 3}) {
    const auto sample = std::make_unique<Sample>();
    sample->elapsed_ns = end_ns;
    sample->flows.periodic_flows = 5;
    sample->flows.missed_ticks = 10;
    fold->add(*sample);
  }
  EXPECT_EQ(taken("missed_ticks", RunTotals(*fold)), 20);
}

TEST(RunMetrics, AClosedLoopIsJudgedByHowMuchItGotDone) {
  RunTotals totals;
  LoadResult load = load_of(1000, 900, 100);
  totals.set_load(load);
  EXPECT_FALSE(taken("answers_per_second", totals).has_value()) << "the schedule's own rate";
  load.closed_loop = true;
  totals.set_load(load);
  EXPECT_EQ(taken("answers_per_second", totals), 400);
}

TEST(RunMetrics, WithoutALoadTheWireSaysWhatFailed) {
  RunTotals totals;
  EXPECT_FALSE(taken("failed_share", totals).has_value()) << "nothing was asked for";
  totals.flows.requests = 90;
  totals.flows.unanswered = 5;
  totals.flows.tcp_refused = 10;
  totals.flows.tcp_resets = 10;  // the same refusals again
  EXPECT_EQ(taken("failed_share", totals), 0.15);
  // More resets change nothing. Some clients end their connections with one, and requests that a
  // reset cuts off are among the unanswered.
  totals.flows.tcp_resets = 60;
  EXPECT_EQ(taken("failed_share", totals), 0.15);
}

TEST(RunMetrics, RefusedConnectionsFailOnceEach) {
  RunTotals totals;
  totals.flows.tcp_refused = totals.flows.tcp_resets = 10;
  EXPECT_EQ(taken("failed_share", totals), 1) << "there was no request";
}

TEST(RunMetrics, RequestsThatOverlapAreNoPartOfTheWork) {
  RunTotals totals;
  totals.flows.requests = 400;
  totals.flows.overlapping_requests = 300;
  totals.flows.unanswered = 100;
  // As in the flow table, each request that was given up is among the latencies, as the timeout.
  totals.flows.reply_latency.record_n(1'000'000'000, 100);
  EXPECT_EQ(taken("failed_share", totals), 1);
  totals.flows.unanswered = 0;
  totals.flows.overlapping_requests = 400;
  EXPECT_FALSE(taken("failed_share", totals).has_value()) << "none was followed";
}

TEST(RunMetrics, ConnectionsThatNothingAnsweredAreFailedWork) {
  const auto with_half_open = [](std::initializer_list<uint64_t> ticks) {
    const auto fold = std::make_unique<RunFold>();
    for (const uint64_t half_open : ticks) {
      const auto sample = std::make_unique<Sample>();
      sample->flows.tcp_half_open = half_open;
      sample->flows.requests = 50 / ticks.size();
      fold->add(*sample);
    }
    return taken("failed_share", RunTotals(*fold));
  };
  EXPECT_EQ(with_half_open({0, 50}), 0) << "they may have just begun";
  EXPECT_EQ(with_half_open({50, 50}), 0.5);
  EXPECT_EQ(with_half_open({50, 0}), 0) << "they were answered after all";
}

TEST(RunMetrics, TheCountOfThemGoesBeforeTheGaugeWhereItExists) {
  RunTotals totals;
  totals.flows.requests = 30;
  totals.flows.tcp_half_open = totals.half_open_before = 70;
  EXPECT_EQ(taken("failed_share", totals), 0.7) << "a database from before there was a count";
  totals.flows.tcp_never_completed = 10;  // the others were answered, or purged and counted before
  EXPECT_EQ(taken("failed_share", totals), 0.25);
  totals.flows.tcp_never_completed = 0;
  EXPECT_EQ(taken("failed_share", totals), 0);
}

TEST(RunMetrics, ALoadThatExpectsNoRepliesHasNoFailedWork) {
  RunTotals totals;
  LoadResult flood;
  flood.workload = WorkloadKind::kUdpFlood;
  flood.expects_replies = false;
  totals.set_load(flood);
  totals.flows.requests = totals.flows.unanswered = 100;
  EXPECT_FALSE(taken("failed_share", totals).has_value());
}

TEST(RunMetrics, CountsAddUpAndGaugesKeepTheirGreatest) {
  const auto fold = std::make_unique<RunFold>();
  for (const int64_t rss : {100, 300, 200}) {
    const auto sample = std::make_unique<Sample>();  // by value, GCC 12 warns without reason
    sample->interval_ns = 2'000'000'000;
    sample->flows.new_flows = 10;
    sample->flows.packets = 40;
    sample->flows.reply_latency.record_n(1000, 2000);
    sample->scheduler.emplace();
    sample->scheduler->cpu_ns = 600;
    sample->scheduler->run_queue_latency.emplace();
    sample->scheduler->run_queue_latency->record_n(50, 1000);
    sample->resources.emplace();
    sample->resources->rss_bytes = rss;
    fold->add(*sample);
  }
  const RunTotals totals(*fold);
  EXPECT_EQ(totals.ticks, 3u);
  EXPECT_EQ(taken("cpu_ns_per_flow", totals), 60);
  EXPECT_EQ(taken("cpu_ns_per_packet", totals), 15);
  EXPECT_EQ(taken("rss_bytes_max", totals), 300);
  EXPECT_EQ(taken("reply_latency_ns_p99", totals), 1000);
  EXPECT_EQ(taken("run_queue_latency_ns_p99", totals), 50);
  EXPECT_EQ(taken("packets_per_second", totals), 20);
}

}  // namespace
}  // namespace topspin
