// The plans of bench/plans, with their servers: each can be read where the repository is, and one
// that needs only Python is run.
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin::test {
namespace {

/// Files that a plan names are found from there.
void go_to_repository() {
  if (chdir(TOPSPIN_SOURCE_DIR) != 0) _exit(126);
}

TEST(ReadyPlans, EachCanBeRead) {
  if (run({"sh", "-c", "command -v python3 && command -v node"}).exit_code != 0)
    TOPSPIN_SKIP("python3 or node is not installed, and --check looks for them");
  size_t plans = 0, left_out = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(TOPSPIN_SOURCE_DIR) + "/bench/plans")) {
    if (entry.path().extension() != ".toml") continue;
    const Outcome outcome = topspin({"run", "--check", entry.path().string()}, go_to_repository);
    ++plans;
    // Not every runtime is everywhere.
    if (outcome.err.find("cannot execute wasmedge") != std::string::npos)
      ++left_out;
    else
      EXPECT_EQ(outcome.exit_code, 0) << entry.path() << outcome.err;
  }
  EXPECT_GE(plans - left_out, 14u);
}

TEST(ReadyPlans, JsonIsPostedToPython) {
  TOPSPIN_NEEDS_ROOT();
  if (run({"sh", "-c", "command -v python3"}).exit_code != 0)
    TOPSPIN_SKIP("python3 is not installed");
  const TempDir dir;
  const Outcome outcome = topspin({"run", "bench/plans/json_post.toml", "--subject", "python",
                                   "--db", dir.file("json.db"), "--format", "json"},
                                  go_to_repository);
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << outcome.out << outcome.err;
  ASSERT_EQ(json["runs"].size(), 1u);
  EXPECT_EQ(json["runs"][0]["status"], "complete") << outcome.err;
  for (const auto& rule : json["runs"][0]["rules"]) {
    // How late it is depends on what else this machine does. That the answers are right does not.
    if (rule["rule"] == "http_errors == 0") {
      EXPECT_EQ(rule["verdict"], "kept") << rule;
    }
  }
}

}  // namespace
}  // namespace topspin::test
