#include "core/run/run.h"

#include <fstream>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

namespace topspin {
namespace {

TEST(RunId, IsAVersion7UuidThatSortsByTime) {
  const std::string a = make_run_id(1'700'000'000'000'000'000);
  const std::string b = make_run_id(1'700'000'000'001'000'000);
  ASSERT_EQ(a.size(), 36u);
  EXPECT_EQ(a[14], '7');
  EXPECT_NE(std::string("89ab").find(a[19]), std::string::npos);
  EXPECT_LT(a, b);
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(make_run_id(0));
  EXPECT_EQ(ids.size(), 1000u);
}

TEST(Names, RungAndStatusRoundTrip) {
  for (const Rung r : {Rung::kTpBtf, Rung::kFentry, Rung::kRawTracepoint, Rung::kTracepoint,
                       Rung::kPerf, Rung::kProc, Rung::kNone}) {
    EXPECT_EQ(parse_rung(rung_name(r)), r);
  }
  for (const RunStatus s :
       {RunStatus::kRunning, RunStatus::kComplete, RunStatus::kInterrupted, RunStatus::kFailed}) {
    EXPECT_EQ(parse_run_status(run_status_name(s)), s);
  }
  EXPECT_EQ(parse_rung("kprobe"), std::nullopt);
}

TEST(LossInterval, MergeTouchesEveryField) {
  LossInterval one, total;
  LossInterval::for_each_field([&](auto, auto field) { one.*field = 1; });
  total.merge(one);
  total.merge(one);
  size_t fields = 0;
  LossInterval::for_each_field([&](auto, auto field) {
    EXPECT_EQ(total.*field, 2u);
    ++fields;
  });
  EXPECT_EQ(fields * sizeof(uint64_t), sizeof(LossInterval));  // none was left out of the list
}

TEST(LossInterval, LossesAreWhatWasNotSeenAtAll) {
  LossInterval losses;
  losses.late_ticks = 5;
  losses.scheduler_left_censored = losses.scheduler_right_censored = 7;
  losses.flow_rows_unstored = 9;
  losses.scheduler_missed_runs = 11;
  EXPECT_EQ(losses_total(losses), 0u);
  losses.capture_kernel_drops = 3;
  losses.ticks_unstored = 2;
  losses.capture_gap_ns = 1'000'000'000;  // a gap is one loss, however long
  EXPECT_EQ(losses_total(losses), 6u);
}

TEST(LossInterval, EachFieldSaysWhatItIsOnScreenAndInTheDocument) {
  std::ifstream file(std::string(TOPSPIN_SOURCE_DIR) + "/docs/losses.md");
  std::stringstream page;
  page << file.rdbuf();
  LossInterval::for_each_number([&](const Number& number, auto) {
    const std::string name = LossInterval::bare_name(number);
    EXPECT_FALSE(number.label.empty()) << name;
    EXPECT_NE(page.str().find("`" + name + "`"), std::string::npos) << name;
  });
}

}  // namespace
}  // namespace topspin
