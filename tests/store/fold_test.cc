// The fold of a run's ticks is stored when the run ends, and agrees with the stored ticks.
#include <gtest/gtest.h>

#include "store/sqlite/sqlite.h"
#include "store_testing.h"

namespace topspin {
namespace {

/// Three ticks in which all numbers differ.
std::vector<Sample> three_ticks() {
  Filler filler;
  std::vector<Sample> ticks;
  for (uint64_t i = 1; i <= 3; ++i) {
    Sample& tick = ticks.emplace_back(make_tick(i));
    filler.fill(tick.flows);
    filler.fill(tick.losses);
    filler.fill(tick.self);
    filler.fill(tick.scheduler);
    filler.fill(tick.resources);
    filler.fill(tick.sockets);
    filler.fill(tick.pressure);
    filler.fill(tick.counters);
    for (size_t cpu = 0; cpu < tick.scheduler->cpus.size(); ++cpu)
      tick.scheduler->cpus[cpu].cpu = static_cast<int32_t>(cpu);
  }
  return ticks;
}

RunStage load_from(int64_t start_ns) {
  RunStage stage;
  stage.name = "hold";
  stage.kind = StageKind::kLoad;
  stage.start_ns = start_ns;
  return stage;
}

void expect_equal(const RunFold& stored, const RunFold& added_up) {
  EXPECT_EQ(stored.ticks, added_up.ticks);
  EXPECT_EQ(Listing::of(stored.merged), Listing::of(added_up.merged));
  EXPECT_EQ(Listing::of(stored.greatest), Listing::of(added_up.greatest));
}

class StoredFold : public testing::Test {
 protected:
  /// Records the ticks, with a load from the second one on. Unless `finished`, the run is cut off.
  std::string record(const std::vector<Sample>& ticks, bool finished) {
    RunInfo run = make_run();
    WriterOptions options;
    options.folds = std::make_shared<RunFolds>();
    auto writer = create(directory_.file(), run, options);
    EXPECT_OK(writer->append(ticks[0]));
    options.folds->add(ticks[0]);
    EXPECT_OK(writer->put_stage(0, load_from(ticks[0].elapsed_ns)));
    EXPECT_OK(writer->append({ticks[1], ticks[2]}));
    options.folds->add(ticks[1]);
    options.folds->add(ticks[2]);
    if (finished) {
      EXPECT_OK(writer->finish({}));
    }
    return run.id;
  }
  uint64_t totals_stored() {
    const auto connection = must(Connection::open(directory_.file(), Access::kRead));
    Statement count = must(connection->prepare("SELECT count(*) FROM total"));
    EXPECT_TRUE(must(count.step()));
    return static_cast<uint64_t>(count.int_at(0));
  }
  TemporaryDirectory directory_;
};

TEST_F(StoredFold, IsWhatTheTicksAddUpTo) {
  const std::vector<Sample> ticks = three_ticks();
  const std::string id = record(ticks, true);
  RunFold whole, measured;
  for (const Sample& tick : ticks) whole.add(tick);
  measured.add(ticks[1]);
  measured.add(ticks[2]);
  const auto store = RunStore::open(directory_.file());
  ASSERT_TRUE(store.ok());
  const auto stored_whole = (*store)->fold(id, RunPart::kWhole);
  const auto stored_measured = (*store)->fold(id, RunPart::kMeasured);
  ASSERT_TRUE(stored_whole.ok()) << stored_whole.error().message;
  ASSERT_TRUE(stored_measured.ok());
  expect_equal(*stored_whole, whole);
  expect_equal(*stored_measured, measured);
}

TEST_F(StoredFold, NeedsNoTick) {
  const std::string id = record(three_ticks(), true);
  {
    const auto connection = Connection::open(directory_.file(), Access::kWrite);
    ASSERT_TRUE(connection.ok());
    ASSERT_TRUE((*connection)->execute("DELETE FROM tick; DELETE FROM histogram").ok());
  }
  const auto store = RunStore::open(directory_.file());
  const auto fold = (*store)->fold(id, RunPart::kWhole);
  ASSERT_TRUE(fold.ok());
  EXPECT_EQ(fold->ticks, 3u);
}

TEST_F(StoredFold, OfARunThatWasCutOffIsAddedUpFromItsTicks) {
  const std::vector<Sample> ticks = three_ticks();
  const std::string id = record(ticks, false);
  const auto store = RunStore::open(directory_.file());
  ASSERT_TRUE(store.ok());
  const auto fold = (*store)->fold(id, RunPart::kMeasured);
  ASSERT_TRUE(fold.ok());
  EXPECT_EQ(fold->ticks, 2u);
  EXPECT_EQ(fold->merged.flows.packets, ticks[1].flows.packets + ticks[2].flows.packets);
}

TEST_F(StoredFold, IsNotStoredOfTicksThatWereGivenUp) {
  const std::vector<Sample> ticks = three_ticks();
  const RunInfo run = make_run();
  WriterOptions options;
  options.folds = std::make_shared<RunFolds>();
  auto writer = create(directory_.file(), run, options);
  for (const Sample& tick : ticks) options.folds->add(tick);
  EXPECT_OK(writer->append(ticks[0]));
  EXPECT_OK(writer->append(ticks[2]));
  EXPECT_OK(writer->finish({}));
  EXPECT_EQ(totals_stored(), 0u);
  EXPECT_EQ(must(open(directory_.file())->fold(run.id, RunPart::kWhole)).ticks, 2u);
}

TEST_F(StoredFold, IsNotStoredWithoutTheLossesThatTheWriterCounted) {
  const RunInfo run = make_run();
  WriterOptions options;
  options.max_flow_rows = 2;
  options.folds = std::make_shared<RunFolds>();
  auto writer = create(directory_.file(), run, options);
  const Sample tick = make_tick(1, 5);
  EXPECT_OK(writer->append(tick));
  options.folds->add(tick);  // without the losses that take_losses() would have returned
  EXPECT_OK(writer->finish({}));
  EXPECT_EQ(totals_stored(), 0u);
  const RunFold fold = must(open(directory_.file())->fold(run.id, RunPart::kWhole));
  EXPECT_EQ(fold.merged.losses.flow_rows_unstored, 3u);
}

TEST_F(StoredFold, OfAPartIsReadWithoutTheRunsStages) {
  const std::string id = record(three_ticks(), true);
  EXPECT_OK(
      must(Connection::open(directory_.file(), Access::kWrite))->execute("DELETE FROM stage"));
  const auto store = open(directory_.file());
  EXPECT_EQ(must(store->fold(id, RunPart::kWhole)).ticks, 3u);
  EXPECT_EQ(must(store->fold(id, RunPart::kMeasured)).ticks, 2u);
}

void store_with_totals(const std::string& path, const RunInfo& run, const Sample& tick) {
  WriterOptions options;
  options.folds = std::make_shared<RunFolds>();
  auto writer = create(path, run, options);
  EXPECT_OK(writer->append(tick));
  options.folds->add(tick);
  EXPECT_OK(writer->finish({}));
}

TEST(NumberColumns, ThatAFileLacksAreReadAsAbsentAndAddedByAWriter) {
  TemporaryDirectory directory;
  Filler filler;
  Sample tick = make_tick(1);
  filler.fill(tick.resources);
  RunInfo run = make_run();
  store_with_totals(directory.file(), run, tick);
  {
    const auto connection = Connection::open(directory.file(), Access::kWrite);
    for (const char* table : {"tick", "total"}) {
      ASSERT_TRUE((*connection)
                      ->execute("ALTER TABLE " + std::string(table) + " DROP COLUMN swap_bytes")
                      .ok());
    }
  }
  const auto read_swap = [&](const std::string& id) {
    const auto store = RunStore::open(directory.file());
    std::vector<std::optional<int64_t>> swap;
    EXPECT_TRUE(store.ok());
    EXPECT_TRUE(
        (*store)
            ->for_each_tick(
                id, [&](const Sample& sample) { swap.push_back(sample.resources->swap_bytes); })
            .ok());
    EXPECT_TRUE((*store)->fold(id, RunPart::kWhole).ok());
    return swap;
  };
  using Values = std::vector<std::optional<int64_t>>;
  EXPECT_EQ(read_swap(run.id), Values{std::nullopt});
  RunInfo second = make_run(1'700'000'001'000'000'000);
  store_with_totals(directory.file(), second, tick);
  EXPECT_EQ(read_swap(run.id), Values{std::nullopt}) << "not measured, so absent and not 0";
  EXPECT_EQ(read_swap(second.id), Values{tick.resources->swap_bytes});
}

}  // namespace
}  // namespace topspin
