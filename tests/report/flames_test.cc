// Stacks folded to flame graphs, and their place in reports.
#include "report/model/flames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/html/html_report.h"
#include "report/markdown/markdown_report.h"
#include "report/text/text_report.h"
#include "tests/report/report_testing.h"

namespace topspin {
namespace {

const FlameFrame* find(const Flame& flame, std::string_view name) {
  for (const FlameFrame& frame : flame.frames)
    if (frame.name == name) return &frame;
  return nullptr;
}

const FlameFunction* function(const Flame& flame, std::string_view name) {
  for (const FlameFunction& one : flame.functions)
    if (one.name == name) return &one;
  return nullptr;
}

TEST(Flame, FoldsStacksOfOneRun) {
  FlameBuilder builder;
  builder.add(0, "worker", "main;loop;parse", "", 30);
  builder.add(0, "worker", "main;loop;copy", "", 20);
  builder.add(0, "worker", "main;loop", "", 10);
  builder.add(0, "helper", "main", "", 40);
  const Flame flame = builder.take();
  ASSERT_EQ(flame.frames.size(), 8u);
  EXPECT_EQ(flame.frames[0].weight[0], 100);
  for (size_t i = 1; i < flame.frames.size(); ++i) EXPECT_LT(flame.frames[i].parent, i);
  const FlameFrame* loop = find(flame, "loop");
  ASSERT_TRUE(loop);
  EXPECT_EQ(loop->weight[0], 60);
  EXPECT_EQ(loop->self[0], 10);
  EXPECT_EQ(flame.frames[find(flame, "parse")->parent].name, "loop");
  EXPECT_EQ(function(flame, "main")->self[0], 40);
  EXPECT_EQ(function(flame, "main")->total[0], 100);
  EXPECT_EQ(function(flame, "worker"), nullptr) << "a thread is no function";
  EXPECT_EQ(flame.functions.front().name, "main") << "the most of itself first";
}

TEST(Flame, ARecursiveFunctionCountsOnceInItsTotal) {
  FlameBuilder builder;
  builder.add(0, "t", "walk;walk;walk", "", 10);
  const Flame flame = builder.take();
  EXPECT_EQ(function(flame, "walk")->total[0], 10);
  EXPECT_EQ(function(flame, "walk")->self[0], 10);
}

TEST(Flame, LeavesOutWhatIsTooSmallOnEverySide) {
  FlameBuilder builder;
  builder.add(0, "t", "big", "", 9'995);
  builder.add(0, "t", "tiny", "", 5);
  builder.add(1, "t", "big", "", 9'000);
  builder.add(1, "t", "tiny;deep", "", 4);
  builder.add(1, "t", "only_b", "", 996);
  const Flame flame = builder.take();
  EXPECT_EQ(find(flame, "tiny"), nullptr);
  EXPECT_EQ(flame.frames_left_out, 2u);
  ASSERT_TRUE(find(flame, "only_b")) << "it is large on one side";
  EXPECT_EQ(find(flame, "only_b")->weight[0], 0);
  EXPECT_EQ(flame.share(find(flame, "only_b")->weight, 1), 0.0996);
  EXPECT_EQ(flame.frames[0].weight[1], 10'000) << "what is left out still counts";
}

TEST(Flame, IsBoundedWhateverItIsMadeOf) {
  FlameBuilder builder;
  std::string deep;
  for (int i = 0; i < 2'000; ++i) deep += "f" + std::to_string(i) + ";";
  builder.add(0, "t", deep, "", 1'000);
  for (int i = 0; i < 50'000; ++i) builder.add(0, "t", "g" + std::to_string(i % 900), "", 100);
  for (int i = 0; i < 9'000; ++i)
    builder.add(0, "t", "h" + std::to_string(i % 90) + ";i" + std::to_string(i), "", 1'000);
  const Flame flame = builder.take();
  EXPECT_LE(flame.frames.size(), kMostFlameFrames);
  EXPECT_LE(flame.functions.size(), kFlameFunctions);
  EXPECT_GE(flame.smallest_share, kSmallestFlameShare);
}

class FlamePages : public testing::Test {
 protected:
  FlamePages() {
    a_ = test::store_report_run(directory_.file());
    b_ = test::store_report_run(directory_.file(),
                                {.name = "b", .started_wall_ns = 1'700'001'000 * test::kSecond});
  }
  std::string html(const std::vector<std::string>& runs) const {
    return html_report(test::read_page(directory_.file(), runs));
  }
  TemporaryDirectory directory_;
  std::string a_, b_;
};

TEST_F(FlamePages, ARunHasOneAndTwoRunsHaveTheirDifference) {
  EXPECT_THAT(html({a_}), testing::HasSubstr("data-plot=\"flame-cpu\""));
  const std::string both = html({a_, b_});
  EXPECT_THAT(both, testing::HasSubstr("Where CPU time went, B against A"));
  EXPECT_THAT(both, testing::HasSubstr("A: 1,800 samples in 1 run; B: 1,800 samples in 1 run"));
  EXPECT_THAT(both, testing::HasSubstr("\"sides\":2"));
  // Formats that cannot draw list the functions.
  const ReportPage page = test::read_page(directory_.file(), {b_});
  EXPECT_THAT(text_report(page), testing::HasSubstr("On a CPU in"));
  EXPECT_THAT(markdown_report(page, 1 << 20), testing::HasSubstr("On a CPU in"));
}

TEST_F(FlamePages, HostileNamesAreEscapedInTableAndData) {
  const std::string page = html({a_});
  EXPECT_EQ(page.find("<img src=x"), std::string::npos);
  EXPECT_EQ(page.find("</script><script>document.title"), std::string::npos);
}

TEST_F(FlamePages, RunsWithoutStacksHaveNone) {
  Sample tick = test::report_tick(1, "plain");
  tick.changed_stacks.clear();
  RunInfo info = test::report_run("plain", 1'700'002'000 * test::kSecond);
  auto writer = create(directory_.file(), info);
  EXPECT_OK(writer->append(tick));
  EXPECT_OK(writer->finish({}));
  EXPECT_EQ(html({info.id}).find("flame-cpu"), std::string::npos);
  EXPECT_EQ(html({info.id, b_}).find("flame-cpu"), std::string::npos) << "of one side only";
}

}  // namespace
}  // namespace topspin
