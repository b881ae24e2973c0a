// Who owns the database file, and what a hostile user of a shared directory cannot make us do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_testing.h"

namespace topspin {
namespace {

using testing::HasSubstr;

constexpr uid_t kSomebody = 12'345;
constexpr uid_t kSomebodyElse = 12'346;

uid_t owner_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return status.st_uid;
}

/// Runs `body` as an unprivileged user in a child process and returns its exit status, which is the
/// result of `body`.
template <typename Body>
int as_user(uid_t uid, Body body) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresgid(uid, uid, uid) != 0 || ::setresuid(uid, uid, uid) != 0) _exit(100);
    _exit(body());
  }
  int wait_status = 0;
  ::waitpid(child, &wait_status, 0);
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 101;
}

TEST(Owner, TheInvokingUserOwnsTheFilesAndCanReadThem) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give files away";
  const TemporaryDirectory directory;
  ASSERT_EQ(::chmod(directory.path().c_str(), 0777), 0);
  WriterOptions options;
  options.owner_uid = kSomebody;
  options.owner_gid = kSomebody;
  const RunInfo run = make_run();
  auto writer = create(directory.file(), run, options);
  EXPECT_OK(writer->append(make_tick(1, 3)));
  for (const char* suffix : {"", "-wal", "-shm"}) {
    EXPECT_EQ(owner_of(directory.file() + suffix), kSomebody) << suffix;
  }
  // The owner can read it while it is being written, and afterwards.
  const auto read_it = [&] {
    auto store = RunStore::open(directory.file());
    return store.ok() && (*store)->find_run(run.id).ok() ? 0 : 1;
  };
  EXPECT_EQ(as_user(kSomebody, read_it), 0);
  EXPECT_OK(writer->finish({}));
  EXPECT_EQ(owner_of(directory.file()), kSomebody);
  EXPECT_EQ(as_user(kSomebody, read_it), 0);
  EXPECT_EQ(
      as_user(kSomebody,
              [&] {
                auto own = RunWriter::create(directory.file(), make_run(), {});
                return own.ok() && (*own)->append(make_tick(1)).ok() && (*own)->finish({}).ok() ? 0
                                                                                                : 1;
              }),
      0);
  // A second recording by root is added to it.
  store_run(directory.file(), 1, 1);
  EXPECT_EQ(owner_of(directory.file()), kSomebody);
}

TEST(Owner, AFileThatWasThereKeepsItsOwner) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give files away";
  const TemporaryDirectory directory;
  store_run(directory.file(), 1, 1);
  WriterOptions options;
  options.owner_uid = kSomebody;
  options.owner_gid = kSomebody;
  EXPECT_OK(create(directory.file(), make_run(), options)->finish({}));
  EXPECT_EQ(owner_of(directory.file()), ::geteuid());
}

TEST(Owner, ASymbolicLinkIsNotFollowedForWriting) {
  const TemporaryDirectory directory;
  for (const char* target : {"missing", "there"}) {
    SCOPED_TRACE(target);
    const std::string link = directory.file(std::string("link-to-") + target);
    ASSERT_EQ(::symlink(directory.file(target).c_str(), link.c_str()), 0);
    if (target == std::string("there")) store_run(directory.file(target), 1, 1);
    const auto written = RunWriter::create(link, make_run(), {});
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code, ErrorCode::kOutput);
    EXPECT_THAT(written.error().message, HasSubstr("is a symbolic link"));
  }
  EXPECT_FALSE(std::filesystem::exists(directory.file("missing")));
  // Reading follows the link.
  EXPECT_EQ(must(open(directory.file("link-to-there"))->list_runs()).size(), 1u);
  // A linked directory is allowed.
  ASSERT_EQ(::symlink(directory.path().c_str(), directory.file("sub").c_str()), 0);
  store_run(directory.file("sub/topspin.db"), 1, 1);
  EXPECT_TRUE(std::filesystem::exists(directory.file()));
}

TEST(Owner, AFilePlantedInASharedDirectoryIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to be two users";
  const TemporaryDirectory directory;
  store_run(directory.file(), 1, 1);
  ASSERT_EQ(::chown(directory.file().c_str(), kSomebodyElse, kSomebodyElse), 0);
  ASSERT_EQ(::chmod(directory.path().c_str(), 01777), 0);
  WriterOptions options;
  options.owner_uid = kSomebody;
  const auto written = RunWriter::create(directory.file(), make_run(), options);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::kPermission);
  EXPECT_THAT(written.error().message, HasSubstr("belongs to another user"));
  options.owner_uid = kSomebodyElse;  // the file's owner
  EXPECT_TRUE(RunWriter::create(directory.file(), make_run(), options).ok());
}

TEST(Owner, ALinkPlantedOnTheWayToTheFileIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to be two users";
  const TemporaryDirectory shared, target;
  ASSERT_EQ(::chmod(shared.path().c_str(), 01777), 0);
  const std::string link = shared.file("link");
  ASSERT_EQ(::symlink(target.path().c_str(), link.c_str()), 0);
  ASSERT_EQ(::lchown(link.c_str(), kSomebodyElse, kSomebodyElse), 0);
  WriterOptions options;
  options.owner_uid = kSomebody;
  const auto written = RunWriter::create(link + "/topspin.db", make_run(), options);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::kPermission);
  EXPECT_THAT(written.error().message, HasSubstr("is a symbolic link of another user"));
  EXPECT_FALSE(std::filesystem::exists(target.file("topspin.db")));
  ASSERT_EQ(::lchown(link.c_str(), kSomebody, kSomebody), 0);  // the invoking user's own
  ASSERT_EQ(::chmod(shared.path().c_str(), 0755), 0);          // for the kernel, too
  EXPECT_TRUE(RunWriter::create(link + "/topspin.db", make_run(), options).ok());
}

TEST(Owner, WhatMayNotBeWrittenOrReadIsAPermissionError) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become a user without rights";
  const TemporaryDirectory directory;
  ASSERT_EQ(::chmod(directory.path().c_str(), 0755), 0);
  const auto code_of_create = [&](const std::string& name) {
    return as_user(kSomebody, [&] {
      const auto written = RunWriter::create(directory.file(name), make_run(), {});
      return written.ok() ? 50 : static_cast<int>(written.error().code);
    });
  };
  const int permission = static_cast<int>(ErrorCode::kPermission);
  EXPECT_EQ(code_of_create("new.db"), permission);  // the directory is root's
  store_run(directory.file(), 1, 1);
  EXPECT_EQ(code_of_create("topspin.db"), permission);  // the file is root's

  // Reading a finished run needs only the right to read the file.
  const auto code_of_read = [&] {
    return as_user(kSomebody, [&] {
      const auto store = RunStore::open(directory.file());
      return store.ok() && (*store)->last_run().ok() ? 50
             : store.ok()                            ? 51
                                                     : static_cast<int>(store.error().code);
    });
  };
  EXPECT_EQ(code_of_read(), 50);
  ASSERT_EQ(::chmod(directory.file().c_str(), 0600), 0);
  EXPECT_EQ(code_of_read(), permission);
}

}  // namespace
}  // namespace topspin
