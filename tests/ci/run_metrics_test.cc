// The table of metrics, and how a run's ticks become its numbers.
#include "ci/run_metrics.h"

#include <memory>
#include <set>

#include <gtest/gtest.h>

#include "ci/judgement.h"

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
  RunTotals totals;
  totals.add(Sample{});
  for (const char* name : {"cpu_ns_per_flow", "cpu_ns_per_packet", "rss_bytes_max",
                           "reply_latency_ns_p99", "run_queue_latency_ns_p99", "fds_max"})
    EXPECT_FALSE(taken(name, totals).has_value()) << name;
}

TEST(RunMetrics, CountsAddUpAndGaugesKeepTheirGreatest) {
  RunTotals totals;
  for (const int64_t rss : {100, 300, 200}) {
    const auto sample = std::make_unique<Sample>();  // by value GCC 12 warns for nothing
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
    totals.add(*sample);
  }
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
