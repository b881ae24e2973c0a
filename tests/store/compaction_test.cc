// Ticks that become minutes: the sums are the same before and after, and what is needed stays.
#include "store/retention/compaction.h"

#include <filesystem>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/tick/numbers.h"
#include "store/runs/gate_log.h"
#include "store_testing.h"

namespace topspin {
namespace {

using testing::HasSubstr;

constexpr int64_t kFoldSecond = 1'000'000'000;
constexpr int64_t kFoldHour = 3600 * kFoldSecond;

/// A tick with something of everything that is stored of a tick, each time another.
Sample busy_tick(uint64_t tick, std::mt19937_64& random) {
  const auto any = [&](uint64_t below) { return random() % below; };
  Sample sample = make_tick(tick, 3);
  sample.flows.packets = any(1000);
  sample.flows.active_flows = any(100);
  sample.flows.active_flows_max = 100 + any(100);
  sample.flows.begin_ns = sample.elapsed_ns - kFoldSecond;
  sample.flows.end_ns = sample.elapsed_ns;
  for (int i = 0; i < 20; ++i) {
    sample.flows.reply_latency.record(any(1 << 30));
    sample.flows.lateness.record(static_cast<int64_t>(any(1 << 20)) - (1 << 19));
  }
  SchedulerInterval& scheduler = sample.scheduler.emplace();
  scheduler.cpu_ns = any(kFoldSecond);
  scheduler.run_queue_latency.emplace().record_n(any(1 << 24), 1 + any(50));
  scheduler.cpus.push_back(
      {static_cast<int32_t>(any(4)), any(10), any(10), any(1000), 1, 2, any(9)});
  sample.resources.emplace().fds = static_cast<int64_t>(any(50));
  sample.counters.cycles = EventCount{any(1 << 30), 2, 1};
  sample.losses.capture_kernel_drops = any(3);
  for (int i = 0; i < 40; ++i) {
    ThreadRow& thread = sample.changed_threads.emplace_back();
    thread.pid = 1;
    thread.tid = i + 1;
    thread.cpu_ns = tick * 1000 * static_cast<uint64_t>(i + 1);
  }
  return sample;
}

Sample sum_of(const std::vector<Sample>& ticks) {
  Sample sum = ticks.front();
  for (size_t i = 1; i < ticks.size(); ++i) merge_tick(sum, ticks[i]);
  return sum;
}

std::string store_busy_run(const std::string& path, uint64_t ticks, RunInfo run,
                           RunStatus status = RunStatus::kComplete, bool with_folds = true) {
  std::mt19937_64 random(7);
  WriterOptions options;
  if (with_folds) options.folds = std::make_shared<RunFolds>();
  run.settings.interval_ns = kFoldSecond;
  auto writer = create(path, run, options);
  std::vector<Sample> batch;
  for (uint64_t tick = 1; tick <= ticks; ++tick) {
    batch.push_back(busy_tick(tick, random));
    if (options.folds) options.folds->add(batch.back());
    if (batch.size() == 100 || tick == ticks) {
      EXPECT_OK(writer->append(batch));
      batch.clear();
    }
  }
  RunEnd end;
  end.status = status;
  end.duration_ns = static_cast<int64_t>(ticks) * kFoldSecond;
  EXPECT_OK(writer->finish(end));
  return run.id;
}

TEST(Compaction, SumsAndDistributionsAreTheSameBeforeAndAfter) {
  const TemporaryDirectory directory;
  const std::string path = directory.file();
  const RunInfo run = make_run(1000 * kFoldHour);
  store_busy_run(path, 2 * 3600, run);
  const auto before = ticks_of(*open(path), run.id);
  const auto whole = Listing::of(must(open(path)->fold(run.id, RunPart::kWhole)).merged);
  const uint64_t bytes = std::filesystem::file_size(path);
  uint64_t thread_ns = 0;
  EXPECT_OK(open(path)->for_each_thread_tick(
      run.id, [&](const ThreadTick& t) { thread_ns += t.cpu_ns.value_or(0); }));

  // A day and 90.5 minutes after its start, its first 90 minutes are older than a day.
  const int64_t now_ns =
      run.started_wall_ns + 24 * kFoldHour + 90 * 60 * kFoldSecond + 30 * kFoldSecond;
  const CompactionReport report = must(compact_runs(path, now_ns - 24 * kFoldHour));
  EXPECT_EQ(report.folded_runs, 1u);
  EXPECT_EQ(report.ticks_before, 90u * 60);
  EXPECT_EQ(report.ticks_after, 90u);
  EXPECT_GT(report.bytes_freed, bytes / 2);
  EXPECT_LT(std::filesystem::file_size(path), bytes / 2);

  const auto after = ticks_of(*open(path), run.id);
  ASSERT_EQ(after.size(), 90u + 30 * 60);
  EXPECT_EQ(Listing::of(sum_of(after)), Listing::of(sum_of(before)));
  EXPECT_EQ(Listing::of(after[0]), Listing::of(sum_of({before.begin(), before.begin() + 60})));
  EXPECT_EQ(after[1].elapsed_ns, 120 * kFoldSecond);
  EXPECT_EQ(after[1].interval_ns, 60 * kFoldSecond);
  EXPECT_EQ(after[90].elapsed_ns, (90 * 60 + 1) * kFoldSecond) << "not old enough";
  EXPECT_EQ(Listing::of(must(open(path)->fold(run.id, RunPart::kWhole)).merged), whole);
  EXPECT_EQ(must(open(path)->list_runs()).front().ticks, after.size());
  uint64_t thread_ns_after = 0;
  std::map<int64_t, size_t> threads_of_tick;
  EXPECT_OK(open(path)->for_each_thread_tick(run.id, [&](const ThreadTick& t) {
    thread_ns_after += t.cpu_ns.value_or(0);
    ++threads_of_tick[t.elapsed_ns];
  }));
  EXPECT_EQ(thread_ns_after, thread_ns) << "the same 32 threads ran most at each tick";
  EXPECT_EQ(threads_of_tick.size(), after.size());
  for (const auto& [at, count] : threads_of_tick) EXPECT_LE(count, kThreadTicksKept) << at;
  bool has_late = false;
  EXPECT_OK(
      open(path)->for_each_late_message(run.id, [&](const LateMessage&) { has_late = true; }));
  (void)has_late;

  const CompactionReport again = must(compact_runs(path, now_ns - 24 * kFoldHour));
  EXPECT_EQ(again.folded_runs, 0u) << "minutes stay";
  const CompactionReport rest = must(compact_runs(path, now_ns));
  EXPECT_EQ(rest.ticks_after, 120u);
  EXPECT_EQ(Listing::of(sum_of(ticks_of(*open(path), run.id))), Listing::of(sum_of(before)));
}

TEST(Compaction, WhatIsNeededStaysAndIsSaid) {
  const TemporaryDirectory directory;
  const std::string path = directory.file();
  RunInfo plan = make_run(1);
  plan.plan.emplace().name = "nightly";
  const std::string of_plan = store_busy_run(path, 120, plan);
  const std::string incident = store_busy_run(path, 120, make_run(2), RunStatus::kIncident);
  const std::string no_totals = store_busy_run(path, 120, make_run(3), RunStatus::kComplete, false);
  const std::string baseline = store_busy_run(path, 120, make_run(4));
  const std::string plain = store_busy_run(path, 120, make_run(5));
  const std::string young = store_busy_run(path, 120, make_run(99 * kFoldHour));
  Acceptance acceptance;
  acceptance.kind = Acceptance::Kind::kBaseline;
  acceptance.run_id = baseline;
  acceptance.because = "test";
  ASSERT_TRUE(succeeded(log_acceptance(path, acceptance)));

  const CompactionReport report = must(compact_runs(path, 10 * kFoldHour));
  EXPECT_EQ(report.folded_runs, 1u);
  EXPECT_EQ(report.ticks_after, 2u);
  ASSERT_EQ(report.kept.size(), 4u);
  EXPECT_THAT(report.kept[0].why, HasSubstr("plan"));
  EXPECT_THAT(report.kept[1].why, HasSubstr("incident"));
  EXPECT_THAT(report.kept[2].why, HasSubstr("totals are not stored"));
  EXPECT_THAT(report.kept[3].why, HasSubstr("baseline"));
  EXPECT_EQ(report.kept[3].run, 4u);
  for (const std::string& id : {of_plan, incident, no_totals, baseline, young})
    EXPECT_EQ(ticks_of(*open(path), id).size(), 120u) << id;
  EXPECT_EQ(ticks_of(*open(path), plain).size(), 2u);
}

}  // namespace
}  // namespace topspin
