// `topspin doctor --prove`: each fault that it inflicts is measured in agreement with the server's
// own account, and named first. If others use the host, a true finding about them may come before
// it. Then the test skips and says so.
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/probes/probe_fixture.h"
#include "tests/support/process.h"

namespace topspin {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class Prove : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { SKIP_WITHOUT_BPF(); }
};

/// Whether the finding may be true of a host that others use.
bool is_of_a_busy_host(const std::string& finding) {
  return finding == "starved_by_others" || finding == "starved_by_itself" ||
         finding == "generator_bottleneck" || finding == "replies_lost" ||
         finding == "silent_flows";
}

TEST_P(Prove, the_fault_is_measured_and_found_first) {
  const auto ran = test::topspin({"doctor", "--prove", "--fault", GetParam(), "--format", "json"});
  const json report = json::parse(ran.out, nullptr, false);
  ASSERT_FALSE(report.is_discarded()) << ran.out << ran.err;
  ASSERT_EQ(report["faults"].size(), 1u);
  const json& fault = report["faults"][0];
  if (!fault["skipped"].is_null()) GTEST_SKIP() << fault["skipped"].get<std::string>();
  const auto finding = fault["finding"].get<std::string>();
  const auto expected = fault["expected_finding"].get<std::string>();
  EXPECT_EQ(ran.exit_code, report["right"].get<bool>() ? 0 : 1);
  if (finding != expected && is_of_a_busy_host(finding))
    GTEST_SKIP() << "needs a quiet host: " << fault["sentence"].get<std::string>();
  EXPECT_EQ(finding, expected) << ran.out;
  // If others take the CPU, stretches and sleeps are longer in one account than in the other.
  if (!fault["number_is_right"].get<bool>() && fault["tolerance"].get<double>() > 0)
    GTEST_SKIP() << "needs a quiet host: " << fault["number"].dump() << " should be "
                 << fault["expected"].dump() << " and is " << fault["measured"].dump();
  EXPECT_TRUE(fault["number_is_right"].get<bool>()) << ran.out;
}

INSTANTIATE_TEST_SUITE_P(Faults, Prove,
                         testing::Values("none", "event_loop", "cpu_hog", "quota", "stopped",
                                         "backlog", "receive_buffer", "timer_slack", "lock",
                                         "downstream", "leak"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST(ProveCommand, says_what_it_cannot_inflict) {
  const auto unknown = test::topspin({"doctor", "--prove", "--fault", "event_lop"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("there is no fault event_lop to inflict; did you mean "
                                     "event_loop?"));
  const auto alone = test::topspin({"doctor", "--fault", "none"});
  EXPECT_EQ(alone.exit_code, 2);
  EXPECT_THAT(alone.err, HasSubstr("--prove"));
}

}  // namespace
}  // namespace topspin
