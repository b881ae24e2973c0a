// Joined databases hold exactly what their parts held.
#include "store/merge.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "store_testing.h"

namespace topspin {
namespace {

/// A run of which every table has something.
RunInfo store_full_run(const std::string& path, int64_t started_wall_ns) {
  RunInfo run;
  LoadResult load;
  Sample sample;
  Filler filler;
  filler.fill(run);
  filler.fill(load);
  filler.fill(sample);
  run.id = make_run_id(started_wall_ns);
  run.started_wall_ns = started_wall_ns;
  auto writer = create(path, run);
  EXPECT_OK(writer->append(sample));
  EXPECT_OK(writer->add_event(5, "something happened"));
  EXPECT_OK(writer->put_stage(0, {"hold", StageKind::kLoad, 1, 2, 3, 4}));
  EXPECT_OK(writer->put_load(load));
  RunEnd end;
  filler.fill(end);
  EXPECT_OK(writer->finish(end));
  return run;
}

/// All of a run that the reader gives.
std::vector<std::string> everything(RunStore& store, const std::string& id) {
  std::vector<std::string> all;
  const auto add = [&](const std::vector<std::string>& lines) {
    all.insert(all.end(), lines.begin(), lines.end());
  };
  const StoredRun run = must(store.find_run(id));
  add(Listing::of(run.info));
  add(Listing::of(run.end));
  add(Listing::of(ticks_of(store, id)));
  add(Listing::of(flows_of(store, id)));
  add(Listing::of(threads_of(store, id)));
  add(Listing::of(owners_of(store, id)));
  add(Listing::of(must(store.load_stages(id))));
  add(Listing::of(*must(store.load_load(id))));
  for (const StoredEvent& event : events_of(store, id)) all.push_back(event.text);
  return all;
}

TEST(Merge, EveryRunComesOverWordForWordAndNoneTwice) {
  const TemporaryDirectory directory;
  const std::string a = directory.file("a.db"), b = directory.file("b.db"),
                    out = directory.file("out.db");
  std::vector<std::pair<std::string, RunInfo>> runs;
  for (int i = 0; i < 2; ++i) runs.emplace_back(a, store_full_run(a, 1'700'000'000'000 + i));
  for (int i = 0; i < 3; ++i) runs.emplace_back(b, store_full_run(b, 1'700'000'000'100 + i));
  MergeCounts counts = must(merge_database(out, a));
  EXPECT_EQ(counts.runs, 2u);
  counts = must(merge_database(out, b));
  EXPECT_EQ(counts.runs, 3u);
  counts = must(merge_database(out, a));
  EXPECT_EQ(counts.runs, 0u);
  EXPECT_EQ(counts.present, 2u);

  const auto joined = open(out);
  EXPECT_EQ(must(joined->list_runs()).size(), 5u);
  for (const auto& [path, run] : runs) {
    EXPECT_EQ(everything(*joined, run.id), everything(*open(path), run.id));
  }
}

/// Tables that no reader of the store reads yet come over as well: all of the file is compared.
TEST(Merge, NoTableIsForgotten) {
  const TemporaryDirectory directory;
  const std::string a = directory.file("a.db"), out = directory.file("out.db");
  store_full_run(a, 1'700'000'000'000);
  must(merge_database(out, a));
  const auto size_of = [](const std::string& path) { return std::filesystem::file_size(path); };
  EXPECT_EQ(size_of(out), size_of(a));
}

TEST(Merge, ARunWhoseWriterIsAliveStaysOutAndAnInterruptedOneIsMarked) {
  const TemporaryDirectory directory;
  const std::string a = directory.file("a.db"), out = directory.file("out.db");
  const RunInfo run = make_run();
  {
    auto writer = create(a, run);
    EXPECT_OK(writer->append(make_tick(1)));
    const MergeCounts counts = must(merge_database(out, a));
    EXPECT_EQ(counts.recording, 1u);
    EXPECT_EQ(counts.runs, 0u);
  }
  EXPECT_EQ(must(merge_database(out, a)).runs, 1u);
  EXPECT_EQ(must(open(out)->find_run(run.id)).end.status, RunStatus::kInterrupted);
}

TEST(Merge, WhatIsNoDatabaseOrTheSameFileIsRefused) {
  const TemporaryDirectory directory;
  const std::string a = directory.file("a.db");
  store_run(a, 1, 1);
  const auto same = merge_database(a, a);
  ASSERT_FALSE(same.ok());
  EXPECT_EQ(same.error().code, ErrorCode::kUsage);
  std::ofstream(directory.file("text")) << "no database";
  EXPECT_FALSE(merge_database(a, directory.file("text")).ok());
  EXPECT_FALSE(merge_database(a, directory.file("none")).ok());
  EXPECT_EQ(must(open(a)->list_runs()).size(), 1u);
}

}  // namespace
}  // namespace topspin
