// What is removed by age, number and size, and what stays.
#include "store/retention/retention.h"

#include <cerrno>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "store/runs/gate_log.h"
#include "store/sqlite/file_access.h"
#include "store/sqlite/packet_files.h"
#include "store_testing.h"

namespace topspin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<RunToKeep> some_runs(size_t count) {
  std::vector<RunToKeep> runs;
  for (size_t i = 1; i <= count; ++i)
    runs.push_back({std::to_string(i), i, static_cast<int64_t>(i) * 100, false, false, false});
  return runs;
}

TEST(Retention, TheOldGoByAgeButBaselinesAndRecordingsStay) {
  auto runs = some_runs(5);
  runs[1].is_baseline = true;
  runs[2].is_recording = true;
  RetentionLimits limits;
  EXPECT_THAT(choose_runs(runs, limits, 1000).for_age, IsEmpty());
  limits.keep_ns = 500;
  const RunsToRemove chosen = choose_runs(runs, limits, 1000);  // before 500
  EXPECT_THAT(chosen.for_age, ElementsAre("1", "4"));
  EXPECT_EQ(chosen.baselines_kept, 1u);
}

TEST(Retention, OnlyIncidentsAreCountedAndTheOldestGo) {
  auto runs = some_runs(6);
  for (const size_t i : {0, 2, 3, 5}) runs[i].is_incident = true;
  std::reverse(runs.begin(), runs.end());
  RetentionLimits limits;
  limits.max_incidents = 2;
  EXPECT_THAT(choose_runs(runs, limits, 1000).for_number, ElementsAre("1", "3"));
  limits.max_incidents = 4;
  EXPECT_THAT(choose_runs(runs, limits, 1000).for_number, IsEmpty());
}

TEST(Retention, ForSizeTheOldestGoesAndTheNewestNever) {
  auto runs = some_runs(3);
  runs[0].is_baseline = true;
  RetentionLimits limits;
  EXPECT_EQ(choose_for_size(runs, limits), "2");
  limits.size_is_of_incidents = true;
  EXPECT_EQ(choose_for_size(runs, limits), std::nullopt);
  runs[1].is_incident = runs[2].is_incident = true;
  EXPECT_EQ(choose_for_size(runs, limits), "2");
  runs.erase(runs.begin() + 1);
  EXPECT_EQ(choose_for_size(runs, limits), std::nullopt);
}

TEST(Retention, ADatabaseStaysBelowItsSize) {
  const TemporaryDirectory directory;
  const std::string path = directory.file();
  RetentionLimits limits;
  EXPECT_EQ(must(retain_runs(path, limits, 0)).removed(), 0u) << "there is none yet";
  std::vector<std::string> ids;
  for (int i = 1; i <= 6; ++i) ids.push_back(store_run(path, 2, 2'000, make_run(i * 1000)));
  const uint64_t all = std::filesystem::file_size(path);
  limits.max_bytes = all / 2;
  Acceptance baseline;
  baseline.kind = Acceptance::Kind::kBaseline;
  baseline.run_id = ids[0];
  baseline.because = "test";
  ASSERT_TRUE(succeeded(log_acceptance(path, baseline)));
  const RetentionReport report = must(retain_runs(path, limits, 10'000));
  EXPECT_GE(report.removed_for_size, 2u);
  EXPECT_LE(report.removed_for_size, 4u);
  EXPECT_LE(std::filesystem::file_size(path), *limits.max_bytes);
  EXPECT_EQ(report.bytes, std::filesystem::file_size(path));
  const auto left = must(open(path)->list_runs());
  EXPECT_EQ(left.size(), 6 - report.removed());
  EXPECT_EQ(left.front().info.id, ids[0]) << "the baseline";
  EXPECT_EQ(left.back().info.id, ids[5]) << "the newest";

  limits.max_bytes = 1;
  const RetentionReport rest = must(retain_runs(path, limits, 10'000));
  EXPECT_TRUE(rest.is_still_too_large);
  EXPECT_EQ(must(open(path)->list_runs()).size(), 2u);
  EXPECT_THAT(retention_sentences(rest, limits).back(), HasSubstr("no other run may be removed"));

  limits = {};
  limits.keep_ns = 10;
  const RetentionReport old = must(retain_runs(path, limits, 1'000'000));
  EXPECT_EQ(old.removed_for_age, 1u);
  EXPECT_EQ(old.baselines_kept, 1u);
  EXPECT_THAT(retention_sentences(old, limits).back(), HasSubstr("kept for gate --history"));
}

TEST(Retention, AFileOfPacketsThatStaysIsSaid) {
  const TemporaryDirectory directory;
  const std::string path = directory.file();
  const std::string old = store_run(path, 1, 1, make_run(1000));
  store_run(path, 1, 1, make_run(2000));
  const std::string packets = *packet_file_of(std::filesystem::canonical(path).string(), old);
  std::ofstream(packets) << "packets";
  const FileAccess refusing = {
      [](const char* name, int flags, mode_t mode) { return ::open(name, flags, mode); },
      [](const char* name) {
        if (!std::string_view(name).ends_with(kPacketFileEnding)) return ::unlink(name);
        errno = EACCES;
        return -1;
      }};
  set_file_access(refusing);
  RetentionLimits limits;
  limits.keep_ns = 1;
  const RetentionReport report = must(retain_runs(path, limits, 1500));
  set_file_access({refusing.open, ::unlink});
  EXPECT_EQ(report.removed_for_age, 1u);
  EXPECT_EQ(report.packet_files_left, 1u);
  EXPECT_THAT(retention_sentences(report, limits).back(),
              HasSubstr("1 of the removed runs' files of packets"));
  EXPECT_TRUE(std::filesystem::exists(packets));
}

}  // namespace
}  // namespace topspin
