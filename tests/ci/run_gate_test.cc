// ci/run-gate with a team's store: what it does after the verdict, with a stand-in for topspin.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

using testing::HasSubstr;
using testing::Not;

class RunGate : public testing::Test {
 protected:
  /// The exit codes of `topspin ci`, `push` and `gate --history`.
  Outcome run_gate(const std::string& ci, const std::string& push, const std::string& history,
                   bool with_store = true, bool with_history = true) {
    std::filesystem::create_directories(dir_.file("out"));
    std::ofstream(dir_.file("out/topspin.db")) << "x";
    std::ofstream(dir_.file("topspin"))
        << "#!/bin/sh\necho \"$@\" >>" << dir_.file("calls") << "\ncase $1 in ci) exit " << ci
        << " ;; push) exit " << push << " ;; gate) exit " << history << " ;; esac\n";
    std::filesystem::permissions(dir_.file("topspin"), std::filesystem::perms::owner_all);
    return run({std::string(TOPSPIN_SOURCE_DIR) + "/ci/run-gate", "--base", "main", "--out",
                dir_.file("out")},
               [&] {
                 setenv("TOPSPIN", dir_.file("topspin").c_str(), 1);
                 unsetenv("GITHUB_STEP_SUMMARY");
                 setenv("GITHUB_ACTIONS", "true", 1);
                 if (with_store)
                   setenv("TOPSPIN_STORE", "postgresql://db/x#shop", 1);
                 else
                   unsetenv("TOPSPIN_STORE");
                 if (with_history)
                   setenv("TOPSPIN_HISTORY", "branch=main", 1);
                 else
                   unsetenv("TOPSPIN_HISTORY");
               });
  }
  std::string calls() const {
    std::ostringstream text;
    text << std::ifstream(dir_.file("calls")).rdbuf();
    return text.str();
  }

  TempDir dir_;
};

TEST_F(RunGate, WithoutAStoreIsTopspinCiAlone) {
  EXPECT_EQ(run_gate("1", "0", "0", false).exit_code, 1);
  EXPECT_THAT(calls(), Not(HasSubstr("push")));
}

TEST_F(RunGate, PushesAndJudgesTheHistory) {
  EXPECT_EQ(run_gate("0", "0", "0").exit_code, 0);
  EXPECT_THAT(calls(), HasSubstr("push --db " + dir_.file("out/topspin.db")));
  EXPECT_THAT(calls(), HasSubstr("gate --history branch=main --db postgresql://db/x#shop"));
}

TEST_F(RunGate, AChangeInTheHistoryFailsTheJob) {
  const Outcome outcome = run_gate("0", "0", "1");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("change for the worse"));
  EXPECT_EQ(run_gate("3", "0", "1").exit_code, 3) << "the verdict of the pairs comes first";
}

TEST_F(RunGate, AStoreThatIsAwayIsAWarning) {
  const Outcome outcome = run_gate("0", "5", "1");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("::warning title=topspin::"));
  EXPECT_THAT(outcome.err, HasSubstr("push them later"));
  EXPECT_THAT(calls(), Not(HasSubstr("gate --history")));
  EXPECT_EQ(run_gate("1", "5", "0").exit_code, 1);
  EXPECT_EQ(run_gate("0", "0", "5").exit_code, 0) << "its history cannot be read";
}

}  // namespace
}  // namespace topspin::test
