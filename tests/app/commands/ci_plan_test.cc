// The plan of `topspin ci`, and what it says about a busy host. Pure.
#include "app/commands/ci/ci_plan.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/commands/ci/host_use.h"
#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const CiCommits kCommits{std::string(40, 'b'), std::string(40, 'c')};

constexpr const char* kLoad =
    "[load]\nworkload = \"http\"\ntarget = \"127.0.0.1:8080\"\nclients = 10\nhold = \"5s\"\n";

std::string subject(const std::string& name, const std::string& more = "") {
  return fmt::format("[subject.{}]\ncommand = [\"./server\"]\nbuild = \"make\"\n{}\n", name, more);
}

TEST(CiPlan, OneSubjectIsTakenOfBothCommits) {
  const auto made = ci_plan(subject("server") + kLoad, "topspin.toml", kCommits);
  ASSERT_TRUE(made.ok()) << made.error().message;
  ASSERT_EQ(made->plan.subjects.size(), 2u);
  EXPECT_EQ(made->plan.subjects[0].commit, kCommits.base);
  EXPECT_EQ(made->plan.subjects[1].commit, kCommits.head);
  EXPECT_EQ(made->plan.subjects[0].name, "base");
  EXPECT_EQ(made->plan.subjects[1].name, "head");
  EXPECT_EQ(made->plan.subjects[1].build, "make");
}

TEST(CiPlan, TwoSubjectsAreOfTheMarkedCommits) {
  const auto made =
      ci_plan(subject("old", "commit = \"@BASE@\"") + subject("new", "commit = \"@HEAD@\"") + kLoad,
              "topspin.toml", kCommits);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->plan.subjects[0].commit, kCommits.base);
  EXPECT_EQ(made->plan.subjects[1].commit, kCommits.head);
  EXPECT_THAT(made->text, HasSubstr(kCommits.base));
}

TEST(CiPlan, OtherPlansAreRefusedWithWhatToWrite) {
  for (const std::string& text :
       {subject("a", "commit = \"main\""), subject("a") + subject("b"),
        subject("new", "commit = \"@HEAD@\"") + subject("old", "commit = \"@BASE@\""),
        subject("a", "commit = \"@BASE@\"") + subject("b", "commit = \"@HEAD@\"") + subject("c")}) {
    const auto made = ci_plan(text + kLoad, "topspin.toml", kCommits);
    ASSERT_FALSE(made.ok()) << text;
    EXPECT_THAT(made.error().message, HasSubstr("commit = \"@BASE@\"")) << text;
  }
  const auto blocks =
      ci_plan("[run]\norder = \"blocks\"\n" + subject("a") + kLoad, "topspin.toml", kCommits);
  EXPECT_THAT(blocks.error().message, HasSubstr("makes no pairs"));
}

TEST(CiPlan, TheOutlineHasCommitsStepsRunsAndMinutes) {
  const auto made = ci_plan(subject("server") + kLoad, "topspin.toml", kCommits);
  const std::string outline = ci_outline(*made, kCommits, {10, 14, 21, 30}, "out");
  for (const std::string& part :
       {kCommits.base, kCommits.head,
        std::string("base: check out bbbbbbbbbbbb; build: make; start"),
        std::string("10, 14, 21, 30"), std::string("20 to 60 runs"), std::string("min")})
    EXPECT_THAT(outline, HasSubstr(part));
}

TEST(CiPlan, AMarkerIsACommentWhateverThePlanIsCalled) {
  Plan plan;
  plan.name = "http --> <b>";
  EXPECT_EQ(comment_marker(plan), "<!-- topspin ci http______b_ -->");
}

class FakeProc {
 public:
  void write(const std::string& cpu) const { std::ofstream(dir_.file("stat")) << cpu << "\n"; }
  void process(pid_t pid, const std::string& name, uint64_t user, uint64_t system) const {
    std::filesystem::create_directories(dir_.file(std::to_string(pid)));
    std::ofstream(dir_.file(std::to_string(pid)) + "/stat") << fmt::format(
        "{} ({}) R 1 1 1 0 -1 0 0 0 0 0 {} {} 0 0 20 0 1 0 {} 0 0\n", pid, name, user, system, pid);
  }
  HostReading read() const {
    auto reading = read_host(dir_.path());
    CHECK(reading.ok());
    return std::move(*reading);
  }

 private:
  test::TempDir dir_;
};

TEST(HostUse, NamesTheProgramsThatUseTheCpus) {
  FakeProc proc;
  proc.write("cpu  1000 0 0 5000 0 0 0 0 0 0");
  proc.process(10, "cc1plus", 100, 10);
  proc.process(11, "cc1plus", 0, 0);
  proc.process(12, "a) b", 5, 5);
  proc.process(13, "idle", 7, 7);
  proc.process(99, "topspin", 0, 0);
  const HostReading before = proc.read();
  proc.write("cpu  1500 0 100 5400 0 0 0 0 0 0");
  proc.process(10, "cc1plus", 350, 10);
  proc.process(11, "cc1plus", 100, 50);
  proc.process(12, "a) b", 45, 5);
  proc.process(99, "topspin", 100, 0);
  const HostUse use = use_of({before, proc.read()}, 99);
  EXPECT_DOUBLE_EQ(use.share, 0.6);
  EXPECT_DOUBLE_EQ(use.steal, 0);
  ASSERT_EQ(use.busiest.size(), 2u);
  EXPECT_EQ(use.busiest[0].name, "cc1plus");
  EXPECT_EQ(use.busiest[0].processes, 2u);
  EXPECT_DOUBLE_EQ(use.busiest[0].share, 0.4);
  EXPECT_THAT(why_too_busy(use), ElementsAre(HasSubstr("other programs used 60% of the CPUs"),
                                             HasSubstr(" 40%  cc1plus (2 processes)"),
                                             HasSubstr("  4%  a) b"), HasSubstr(" 16%  others")));
}

TEST(HostUse, AQuietHostIsNoReasonToStop) {
  EXPECT_THAT(why_too_busy({0.25, 0.05, {}}), IsEmpty());
  EXPECT_THAT(why_too_busy({0.1, 0.06, {}}), ElementsAre(HasSubstr("hypervisor took 6%")));
}

TEST(HostUse, OfAProcWithoutTimesIsAnError) {
  FakeProc proc;
  proc.write("cpu");
  EXPECT_FALSE(read_host("/nowhere").ok());
}

}  // namespace
}  // namespace topspin
