// Short jobs by the script that CI jobs use.
#include "tests/ci/acted_job.h"

#include <gtest/gtest.h>

namespace topspin::test {
namespace {

constexpr const char* kFallenBack = "BPF does not work on this runner";

/// Whatever the machine does: work that is not done is counted.
TEST_F(ActedJob, ABrokenCommitFailsAfterAFewPairs) {
  act({}, {.toy = "python", .commit = "broken"});
  if (IsSkipped()) return;
  if (json_["verdict"] == "invalid") GTEST_SKIP() << "not judged: " << json_["reasons"].dump();
  EXPECT_EQ(outcome_.exit_code, 1) << json_.dump(2);
  EXPECT_NE(json_["reasons"][0].get<std::string>().find("failed_share"), std::string::npos)
      << json_["reasons"].dump(2);
  EXPECT_LT(runs(), 20u) << outcome_.err;
  // The baseline is the merge base: main's newest commit is not measured.
  EXPECT_NE(outcome_.err.find("baseline "), std::string::npos);
}

/// As in a container without privileges: root may still capture, but not load BPF.
TEST_F(ActedJob, WithoutBpfItFallsBackAndSaysSo) {
  if (!has_program("setpriv")) GTEST_SKIP() << "setpriv is not installed";
  act({"setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin", "--inh-caps",
       "-bpf,-perfmon,-sys_admin"},
      {.most_pairs = "1", .even_if_busy = true});
  EXPECT_EQ(runs(), 2u);
  EXPECT_NE(json_["verdict"], "pass") << json_.dump(2);
  EXPECT_NE(json_["verdict"], "fail") << json_.dump(2);
  EXPECT_NE(outcome_.err.find(kFallenBack), std::string::npos) << outcome_.err;
  EXPECT_NE(outcome_.out.find("::notice"), std::string::npos) << outcome_.out;
  EXPECT_NE(contents(summary()).find(kFallenBack), std::string::npos) << contents(summary());
}

}  // namespace
}  // namespace topspin::test
