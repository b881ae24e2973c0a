#include "app/host/child.h"

#include <array>
#include <fstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers)
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/host/family.h"
#include "app/plan/work_trees.h"
#include "tests/support/privileges.h"
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

TEST(Build, EndsThoughWhatItLeftBehindGoesOnTalking) {
  ASSERT_TRUE(adopt_orphans().ok());
  const auto never = [] { return 0; };
  EXPECT_TRUE(run_to_end({"/bin/sh", "-c", "yes & exit 0"}, "", std::nullopt, never).ok());
  const Status failed =
      run_to_end({"/bin/sh", "-c", "echo why; yes >&2 & exit 3"}, "", std::nullopt, never);
  ASSERT_FALSE(failed.ok());
  EXPECT_NE(failed.error().message.find("status 3"), std::string::npos);
  EXPECT_TRUE(list_children().empty());
}

TEST(Child, HasNoCapabilitiesThatWereHandedToUs) {
  TOPSPIN_NEEDS_ROOT();
  test::TempDir dir;
  const std::string file = dir.file("status");
  const pid_t recorder = fork();
  if (recorder == 0) {
    // Like a service manager that starts a program with AmbientCapabilities=CAP_NET_RAW.
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> data{};
    syscall(SYS_capget, &header, data.data());
    data[0].inheritable |= 1u << CAP_NET_RAW;
    if (syscall(SYS_capset, &header, data.data()) != 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) != 0)
      _exit(2);
    auto child = Child::prepare({"cp", "/proc/self/status", file}, std::nullopt);
    if (!child.ok() || !(*child)->release().ok()) _exit(3);
    _exit(wait_exit(**child));
  }
  int status = 0;
  waitpid(recorder, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  ASSERT_EQ(WEXITSTATUS(status), 0);
  std::ifstream text(file);
  std::string line;
  while (std::getline(text, line) && !line.starts_with("CapAmb:")) {
  }
  EXPECT_EQ(line, "CapAmb:\t0000000000000000");
}

TEST(Child, EndsWhenItsRecorderIsKilled) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const pid_t recorder = fork();
  if (recorder == 0) {
    auto child = Child::prepare({"sleep", "600"}, std::nullopt);
    if (!child.ok() || !(*child)->release().ok()) _exit(3);
    const pid_t pid = (*child)->pid();
    (void)!write(ends[1], &pid, sizeof pid);
    pause();
  }
  pid_t child = 0;
  ASSERT_EQ(read(ends[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
  kill(recorder, SIGKILL);
  waitpid(recorder, nullptr, 0);
  // The child is gone if its new parent waits for it, and a zombie if nobody does.
  const auto lives = [&] {
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string text;
    std::getline(stat, text);
    return !text.empty() && text.find(") Z") == std::string::npos;
  };
  for (int i = 0; i < 1000 && lives(); ++i) usleep(10'000);
  EXPECT_FALSE(lives());
  close(ends[0]);
  close(ends[1]);
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

  test::TempDir dir;  // marked executable, but exec fails; only exec can find out
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
