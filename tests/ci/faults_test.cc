// Servers with a planted fault and their healthy twins, recorded as a user would record them:
// `topspin explain` names the fault first, and finds nothing in the twin. All are in bench/faults,
// whose `run` judges them. The tests here are the cheap ones. If others use the host, `run` says so
// and skips.
#include <string>

#include <gtest/gtest.h>

#include "tests/support/every_night.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"

namespace topspin::test {
namespace {

class PlantedFaults : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { TOPSPIN_NEEDS_ROOT(); }
};

TEST_P(PlantedFaults, are_found_first_and_not_in_the_twin) {
  if (std::string_view(GetParam()) != "delayed_ack") TOPSPIN_ONLY_EVERY_NIGHT();
  if (run({"python3", "-c", "import tomllib"}).exit_code != 0)
    TOPSPIN_SKIP("needs Python 3.11 or newer");
  const Outcome judged = run({"python3", std::string(TOPSPIN_SOURCE_DIR) + "/bench/faults/run",
                              "--topspin", topspin_binary(), GetParam()});
  EXPECT_EQ(judged.exit_code, 0) << judged.out << judged.err;
  if (judged.out.find("0 wrong, 1 skipped") != std::string::npos) GTEST_SKIP() << judged.out;
  EXPECT_NE(judged.out.find("0 wrong, 0 skipped"), std::string::npos) << judged.out << judged.err;
}

INSTANTIATE_TEST_SUITE_P(Cheap, PlantedFaults,
                         testing::Values("connections_turned_away_memcached", "delayed_ack",
                                         "event_loop_blocked_asyncio", "lock_c",
                                         "receive_buffer_overflow"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace topspin::test
