// Full and read-only file systems: a child mounts a small tmpfs in its own mount namespace, so that
// no other process sees it and it disappears with the child.
#include <cerrno>
#include <cstring>
#include <fstream>

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_testing.h"

namespace topspin {
namespace {

constexpr int kCannotMount = 77;

/// Mounts a tmpfs on `path` in a new mount namespace of this process. Returns 0 or an errno.
int mount_tmpfs(const std::string& path, const std::string& options) {
  if (::unshare(CLONE_NEWNS) != 0) return errno;
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  if (::mount("topspin-test", path.c_str(), "tmpfs", 0, options.c_str()) != 0) return errno;
  return 0;
}

/// Runs `body` in a child on a tmpfs at `directory`; its failed expectations fail this test.
template <typename Body>
void on_tmpfs(const std::string& options, Body body) {
  const TemporaryDirectory directory;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (const int error = mount_tmpfs(directory.path(), options); error != 0) {
      std::fprintf(stderr, "mounting a tmpfs: %s\n", std::strerror(error));
      _exit(kCannotMount);
    }
    body(directory);
    std::fflush(nullptr);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int wait_status = 0;
  ASSERT_EQ(::waitpid(child, &wait_status, 0), child);
  ASSERT_TRUE(WIFEXITED(wait_status)) << wait_status;
  if (WEXITSTATUS(wait_status) == kCannotMount) {
    GTEST_SKIP() << "cannot mount a tmpfs in a mount namespace: needs root with CAP_SYS_ADMIN";
  }
  EXPECT_EQ(WEXITSTATUS(wait_status), 0) << "see the child's failures above";
}

TEST(FullDisk, KeepsEveryAcknowledgedTickAndSaysSo) {
  on_tmpfs("size=6m", [](const TemporaryDirectory& directory) {
    const RunInfo run = make_run();
    auto writer = create(directory.file(), run);
    uint64_t acknowledged = 0;
    Status status;
    for (uint64_t tick = 1; tick <= 1000 && status.ok(); ++tick) {
      status = writer->append(make_tick(tick, 2000));
      if (status.ok()) acknowledged = tick;
      if (tick == 10) {  // somebody else fills the disk
        std::ofstream ballast(directory.file("ballast"), std::ios::binary);
        ballast << std::string(16 << 20, 'x');
      }
    }
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::kOutput);
    EXPECT_EQ(status.error().os_errno, ENOSPC);
    EXPECT_NE(status.error().message.find(directory.file()), std::string::npos);
    EXPECT_NE(status.error().message.find("the disk is full"), std::string::npos);
    EXPECT_GT(acknowledged, 2u);
    EXPECT_TRUE(may_pass(status.error()));
    RunEnd end;
    end.status = RunStatus::kFailed;
    end.invalid_reasons = {status.error().message};
    const Status finished = writer->finish(end);
    EXPECT_TRUE(finished.ok() || finished.error().code == ErrorCode::kOutput);
    writer.reset();

    const auto store = open(directory.file());
    EXPECT_EQ(ticks_of(*store, run.id).size(), acknowledged);
    EXPECT_EQ(flows_of(*store, run.id).size(), 2000u);
    for (const FlowRow& flow : flows_of(*store, run.id)) EXPECT_EQ(flow.packets[0], acknowledged);
    const StoredRun stored = must(store->find_run(run.id));
    EXPECT_EQ(stored.ticks, acknowledged);
    if (finished.ok()) {
      EXPECT_EQ(stored.end.status, RunStatus::kFailed);
    } else {
      EXPECT_NE(stored.end.status, RunStatus::kComplete);
    }
    std::printf("full after %d ticks; finish: %s\n", static_cast<int>(acknowledged),
                finished.ok() ? "stored" : finished.error().message.c_str());
  });
}

TEST(FullDisk, TheTickThatFoundNoRoomIsStoredWholeOnceThereIsRoomAgain) {
  on_tmpfs("size=8m", [](const TemporaryDirectory& directory) {
    const RunInfo run = make_run();
    auto writer = create(directory.file(), run);
    EXPECT_OK(writer->append(make_tick(1, 100)));
    {
      std::ofstream ballast(directory.file("ballast"), std::ios::binary);
      ballast << std::string(16 << 20, 'x');
    }
    // The first of these ticks inserts rows for new flows. If it fails, the rows must be inserted
    // again.
    Status status;
    uint64_t tick = 1;
    while (status.ok() && tick < 1000) status = writer->append(make_tick(++tick, 2000));
    ASSERT_FALSE(status.ok());
    EXPECT_FALSE(writer->append(make_tick(tick, 2000)).ok());  // still full
    std::filesystem::remove(directory.file("ballast"));
    EXPECT_OK(writer->append(make_tick(tick, 2000)));
    EXPECT_OK(writer->finish(RunEnd{RunStatus::kComplete, 1, {}, {}, {}}));
    const auto store = open(directory.file());
    EXPECT_EQ(ticks_of(*store, run.id).size(), tick);
    EXPECT_EQ(flows_of(*store, run.id).size(), 2000u);
  });
}

TEST(FullDisk, CreatingThereFailsAndLaterSucceeds) {
  on_tmpfs("size=64k", [](const TemporaryDirectory& directory) {
    {
      std::ofstream ballast(directory.file("ballast"), std::ios::binary);
      ballast << std::string(1 << 20, 'x');
    }
    const auto written = RunWriter::create(directory.file(), make_run(), {});
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code, ErrorCode::kOutput) << written.error().message;
    EXPECT_FALSE(RunStore::open(directory.file()).ok());  // no file that looks complete
    std::filesystem::remove(directory.file("ballast"));
    ASSERT_EQ(::mount("none", directory.path().c_str(), nullptr, MS_REMOUNT, "size=4m"), 0);
    store_run(directory.file(), 1, 1);
    EXPECT_EQ(must(open(directory.file())->list_runs()).size(), 1u);
  });
}

void make_read_only(const TemporaryDirectory& directory) {
  ASSERT_EQ(::mount("none", directory.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0)
      << std::strerror(errno);
}

TEST(FullDisk, ChangesOfFlowsThatWaitAreNeitherLostNorOutOfDate) {
  on_tmpfs("size=8m", [](const TemporaryDirectory& directory) {
    const RunInfo run = make_run();
    auto writer = create(directory.file(), run);
    const auto store = open(directory.file());
    int failures = 0;
    // Enough ticks for changes to be written into their rows more than once.
    for (uint64_t tick = 1; tick <= 80; ++tick) {
      const auto append = [&] { return writer->append(make_tick(tick, 2000)).ok(); };
      {
        std::ofstream ballast(directory.file("ballast"), std::ios::binary);
        ballast << std::string(16 << 20, 'x');
      }
      bool stored = append();
      failures += stored ? 0 : 1;
      std::filesystem::remove(directory.file("ballast"));
      if (!stored) EXPECT_TRUE(append());
      for (const FlowRow& flow : flows_of(*store, run.id)) ASSERT_EQ(flow.packets[0], tick);
    }
    EXPECT_GT(failures, 2);
    EXPECT_OK(writer->finish(RunEnd{RunStatus::kComplete, 1, {}, {}, {}}));
    for (const FlowRow& flow : flows_of(*store, run.id)) ASSERT_EQ(flow.packets[0], 80u);
  });
}

TEST(ReadOnly, AFinishedRunReadsAndCannotBeWritten) {
  on_tmpfs("size=8m", [](const TemporaryDirectory& directory) {
    const std::string id = store_run(directory.file(), 3, 3);
    make_read_only(directory);
    EXPECT_EQ(ticks_of(*open(directory.file()), id).size(), 3u);
    const auto written = RunWriter::create(directory.file(), make_run(), {});
    ASSERT_FALSE(written.ok());
    EXPECT_TRUE(written.error().code == ErrorCode::kPermission ||
                written.error().code == ErrorCode::kOutput);
    std::printf("%s\n", written.error().message.c_str());
    const auto created = RunWriter::create(directory.file("new.db"), make_run(), {});
    ASSERT_FALSE(created.ok());
    EXPECT_EQ(created.error().code, ErrorCode::kOutput);
    std::printf("%s\n", created.error().message.c_str());
  });
}

TEST(ReadOnly, AnUnfinishedRunReadsOrSaysWhatToDo) {
  on_tmpfs("size=8m", [](const TemporaryDirectory& directory) {
    const RunInfo run = make_run();
    const pid_t child = ::fork();
    if (child == 0) {
      auto writer = RunWriter::create(directory.file(), run, {});
      _exit(writer.ok() && (*writer)->append(make_tick(1, 3)).ok() ? 0 : 1);
    }
    int wait_status = 0;
    ::waitpid(child, &wait_status, 0);
    ASSERT_EQ(wait_status, 0);
    ASSERT_TRUE(std::filesystem::exists(directory.file() + "-wal"));
    // An archive might contain only the file and its log.
    std::filesystem::remove(directory.file() + "-shm");
    make_read_only(directory);
    const auto store = RunStore::open(directory.file());
    if (store.ok()) {
      EXPECT_EQ(ticks_of(**store, run.id).size(), 1u);
    } else {
      EXPECT_EQ(store.error().code, ErrorCode::kPermission);
      EXPECT_NE(store.error().message.find("copy it"), std::string::npos) << store.error().message;
      std::printf("%s\n", store.error().message.c_str());
    }
  });
}

}  // namespace
}  // namespace topspin
