// Two short jobs by the script that CI jobs use. They are too short to decide anything.
#include "tests/ci/acted_job.h"

#include <gtest/gtest.h>

namespace topspin::test {
namespace {

constexpr const char* kFallenBack = "BPF does not work on this runner";

TEST_F(ActedJob, TooFewPairsDecideNothingAndLeaveEverything) {
  act({}, "2");
  EXPECT_NE(json_["verdict"], "fail") << json_.dump(2);
}

/// As in a container without privileges: root may still capture, but not load BPF.
TEST_F(ActedJob, WithoutBpfItFallsBackAndSaysSo) {
  if (!has_program("setpriv")) GTEST_SKIP() << "setpriv is not installed";
  act({"setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin", "--inh-caps",
       "-bpf,-perfmon,-sys_admin"},
      "1");
  EXPECT_NE(outcome_.err.find(kFallenBack), std::string::npos) << outcome_.err;
  EXPECT_NE(outcome_.out.find("::notice"), std::string::npos) << outcome_.out;
  EXPECT_NE(contents(summary()).find(kFallenBack), std::string::npos) << contents(summary());
}

}  // namespace
}  // namespace topspin::test
