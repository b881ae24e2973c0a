// A run's stages and load come back as they were stored.
#include <gtest/gtest.h>

#include "store_testing.h"

namespace topspin {
namespace {

TEST(LoadRows, EveryFieldOfALoadComesBack) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  LoadResult load;
  Filler filler;
  filler.fill(load);
  load.stages[1].name = "";
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->put_load(load));
  EXPECT_FALSE(writer->put_load(load).ok());  // a run has only one
  EXPECT_OK(writer->finish({}));
  const auto stored = must(open(directory.file())->load_load(run.id));
  ASSERT_TRUE(stored.has_value());
  EXPECT_EQ(Listing::of(*stored), Listing::of(load));
}

TEST(LoadRows, WhatALoadDoesNotHaveStaysAbsent) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run(), other = make_run();
  LoadResult load;
  load.workload = WorkloadKind::kUdpFlood;
  auto writer = create(directory.file(), run);
  EXPECT_OK(writer->put_load(load));
  EXPECT_OK(writer->finish({}));
  store_run(directory.file(), 1, 0, other);
  const auto store = open(directory.file());
  const auto stored = must(store->load_load(run.id));
  ASSERT_TRUE(stored.has_value());
  EXPECT_FALSE(stored->tcp.has_value());
  EXPECT_FALSE(stored->http.has_value());
  EXPECT_EQ(Listing::of(*stored), Listing::of(load));
  EXPECT_FALSE(must(store->load_load(other.id)).has_value());
  EXPECT_TRUE(must(store->load_stages(other.id)).empty());
  EXPECT_FALSE(must(store->find_run(other.id)).info.plan.has_value());
  EXPECT_FALSE(store->load_load("no such run").ok());
}

TEST(LoadRows, StagesComeBackInOrderAndAsLastPut) {
  const TemporaryDirectory directory;
  const RunInfo run = make_run();
  std::vector<RunStage> stages(5);
  Filler filler;
  for (size_t i = 0; i < stages.size(); ++i) {
    filler.fill(stages[i]);
    stages[i].kind = static_cast<StageKind>(i);
  }
  stages[2].end_ns.reset();
  stages[2].clients_to.reset();
  auto writer = create(directory.file(), run);
  for (const size_t i : {4u, 0u, 3u, 1u, 2u}) EXPECT_OK(writer->put_stage(i, RunStage{}));
  for (size_t i = 0; i < stages.size(); ++i) EXPECT_OK(writer->put_stage(i, stages[i]));
  EXPECT_OK(writer->finish({}));
  EXPECT_EQ(Listing::of(must(open(directory.file())->load_stages(run.id))), Listing::of(stages));
}

TEST(LoadRows, SeveralLoadsAreShownAsOne) {
  std::vector<LoadResult> loads(3);
  for (size_t i = 0; i < loads.size(); ++i) {
    LoadResult& load = loads[i];
    load.target = i == 0 ? "a:1" : "b:1";
    load.clients_max = 10;
    load.tcp = TcpAccounts{5, 0, 0, 0, 0, 0, 0, 0, 0};
    load.http = HttpAccounts{{{200, i + 1}}, 7, 0, {}, {}, {}, 0, 0};
    load.errors["EAGAIN"] = i;
    load.kernel.udp_no_ports = 1;
    load.started_wall_ns = static_cast<int64_t>(100 - i);
    LoadPart& part = load.stages.emplace_back();
    part.name = "hold";
    part.accounts.sent = 100;
    for (uint64_t n = 0; n < 100; ++n) part.latency_intended.record(1000 * (i + 1));
    load.total.merge(part);
  }
  const LoadResult whole = must(merge_loads(loads));
  EXPECT_EQ(whole.target, "a:1, b:1");
  EXPECT_EQ(whole.clients_max, 30u);
  EXPECT_EQ(whole.tcp->connected, 15u);
  EXPECT_EQ(whole.http->statuses.at(200), 6u);
  EXPECT_EQ(whole.http->body_bytes, 21u);
  EXPECT_EQ(whole.errors.at("EAGAIN"), 3u);
  EXPECT_EQ(whole.started_wall_ns, 98);
  EXPECT_FALSE(whole.kernel.udp_no_ports.has_value());
  ASSERT_EQ(whole.stages.size(), 1u);
  EXPECT_EQ(whole.stages[0].accounts.sent, 300u);
  EXPECT_EQ(whole.total.latency_intended.count(), 300u);
  EXPECT_EQ(whole.total.latency_intended.max(), 3000u);
  EXPECT_EQ(whole.total.latency_intended.sum(), 100u * (1000 + 2000 + 3000));

  loads[1].workload = WorkloadKind::kHttp;
  EXPECT_FALSE(merge_loads(loads).ok());
  EXPECT_FALSE(merge_loads({}).ok());
}

/// What add_counts() adds up. A field that is added to LoadResult or to one of its parts must be
/// named here, on one side or the other, before this compiles.
auto counts_of(const LoadResult& load) {
  const auto& [workload, target, replies, wall, monotonic, early, clients, joined, stages, total,
               planned, has_plan, closed, tcp, http, script, tls, connect, bytes, unreachable,
               errors, kernel, own, gso, workers, are_threads, never_scheduled_reasons, find,
               reasons] = load;
  const auto& [name, begin, end, from, to, accounts, intended, actual, lateness] = total;
  return std::tie(accounts, intended, actual, lateness, joined, planned, tcp, http, script, tls,
                  connect, bytes, unreachable, errors, never_scheduled_reasons);
}

/// A listing for each of them.
std::vector<std::vector<std::string>> listings_of(const LoadResult& load) {
  std::vector<std::vector<std::string>> listings;
  std::apply(
      [&](const auto&... count) { (listings.push_back(Listing::of(std::vector{count})), ...); },
      counts_of(load));
  return listings;
}

TEST(LoadRows, EveryCountOfALoadIsAddedUp) {
  LoadResult more, sum;
  Filler filler;
  filler.fill(more);
  filler.fill(more.never_scheduled_reasons);
  const auto nothing = listings_of(sum), once = listings_of(more);
  sum.add_counts(more);
  EXPECT_EQ(listings_of(sum), once);
  sum.add_counts(more);
  const auto twice = listings_of(sum);
  ASSERT_EQ(twice.size(), once.size());
  for (size_t i = 0; i < once.size(); ++i) {
    EXPECT_NE(nothing[i], once[i]) << "the field was not filled";
    EXPECT_NE(twice[i], once[i]) << once[i].front();
  }
  // What is not a count stays as it was.
  const LoadResult fresh;
  EXPECT_EQ(sum.target, fresh.target);
  EXPECT_EQ(sum.clients_max, fresh.clients_max);
  EXPECT_TRUE(sum.stages.empty() && sum.workers.empty() && sum.valid());
  EXPECT_EQ(sum.own.cpu_ns, 0);
}

}  // namespace
}  // namespace topspin
