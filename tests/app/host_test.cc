#include "app/host.h"

#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

const std::string kCommit(40, 'a');

void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

TEST(SourceInfo, ReadsABranchFromALooseRef) {
  test::TempDir dir;
  write(dir.path() / ".git/HEAD", "ref: refs/heads/feature/x\n");
  write(dir.path() / ".git/refs/heads/feature/x", kCommit + "\n");
  std::filesystem::create_directories(dir.path() / "deep/below");
  const SourceInfo source = read_source_info((dir.path() / "deep/below").string());
  EXPECT_EQ(source.branch, "feature/x");
  EXPECT_EQ(source.commit, kCommit);
}

TEST(SourceInfo, ReadsPackedRefsDetachedHeadsAndLinkedWorkTrees) {
  test::TempDir dir;
  write(dir.path() / "a/.git/HEAD", "ref: refs/heads/main\n");
  write(dir.path() / "a/.git/packed-refs",
        "# pack-refs with: peeled\n" + kCommit + " refs/heads/main\n");
  EXPECT_EQ(read_source_info((dir.path() / "a").string()).commit, kCommit);

  write(dir.path() / "b/.git/HEAD", kCommit + "\n");
  EXPECT_EQ(read_source_info((dir.path() / "b").string()).commit, kCommit);
  EXPECT_EQ(read_source_info((dir.path() / "b").string()).branch, "");

  write(dir.path() / "c/.git", "gitdir: ../a/.git/worktrees/c\n");
  write(dir.path() / "a/.git/worktrees/c/HEAD", "ref: refs/heads/main\n");
  write(dir.path() / "a/.git/worktrees/c/commondir", "../..\n");
  EXPECT_EQ(read_source_info((dir.path() / "c").string()).commit, kCommit);
}

TEST(SourceInfo, IsEmptyOutsideAWorkTreeAndOnNonsense) {
  test::TempDir dir;
  EXPECT_EQ(read_source_info(dir.path().string()).commit, "");
  write(dir.path() / ".git/HEAD", "\x1b[31mnonsense");
  EXPECT_EQ(read_source_info(dir.path().string()).commit, "");
}

TEST(HostInfo, NamesTheHost) {
  const HostInfo host = read_host_info();
  EXPECT_FALSE(host.kernel.empty());
  EXPECT_GE(host.cpus_online.value_or(0), 1);
  EXPECT_EQ(host.fingerprint.size(), 16u);
  EXPECT_EQ(host.fingerprint, read_host_info().fingerprint);
}

}  // namespace
}  // namespace topspin
