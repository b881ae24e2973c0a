#include "app/child.h"

#include <fstream>

#include <gtest/gtest.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers)

#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

int wait_exit(Child& child) {
  for (int i = 0; i < 1000; ++i) {
    if (const auto status = child.poll_exit()) return *status;
    usleep(10'000);
  }
  return -1;
}

TEST(Child, WaitsUntilReleasedAndPassesItsStatusOn) {
  test::TempDir dir;
  const std::string mark = dir.file("mark");
  auto child = Child::prepare({"sh", "-c", "touch " + mark + "; exit 7"}, std::nullopt);
  ASSERT_TRUE(child.ok());
  usleep(100'000);
  EXPECT_FALSE(std::filesystem::exists(mark));
  EXPECT_FALSE((*child)->poll_exit());
  ASSERT_TRUE((*child)->release().ok());
  EXPECT_EQ(wait_exit(**child), 7);
  EXPECT_TRUE(std::filesystem::exists(mark));
}

TEST(Child, ASignalIs128More) {
  auto child = Child::prepare({"sleep", "60"}, std::nullopt);
  ASSERT_TRUE(child.ok());
  ASSERT_TRUE((*child)->release().ok());
  (*child)->send_signal(SIGTERM);
  EXPECT_EQ(wait_exit(**child), 128 + SIGTERM);
}

TEST(Child, WhatCannotBeExecutedIsWrongUsage) {
  const auto missing = Child::prepare({"no-such-command-at-all"}, std::nullopt);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::kUsage);
  EXPECT_NE(missing.error().message.find("command not found"), std::string::npos);
  EXPECT_FALSE(Child::prepare({"/etc/passwd"}, std::nullopt).ok());
  EXPECT_FALSE(Child::prepare({"/"}, std::nullopt).ok());

  test::TempDir dir;  // executable, yet cannot be executed: found out by exec alone
  const std::string path = dir.file("script");
  std::ofstream(path) << "#!/no/such/interpreter\n";
  chmod(path.c_str(), 0755);
  auto child = Child::prepare({path}, std::nullopt);
  ASSERT_TRUE(child.ok());
  EXPECT_FALSE((*child)->release().ok());
}

TEST(Child, IsEndedWithItsOwner) {
  pid_t pid = 0;
  {
    auto child = Child::prepare({"sleep", "60"}, std::nullopt);
    ASSERT_TRUE(child.ok());
    pid = (*child)->pid();
  }
  EXPECT_EQ(kill(pid, 0), -1);
}

}  // namespace
}  // namespace topspin
