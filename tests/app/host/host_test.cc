// What git says about a directory, and the properties of the host.
#include "app/host/host.h"

#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "app/host/git.h"
#include "tests/support/privileges.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace topspin {
namespace {

void write_file(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

class Git : public testing::Test {
 protected:
  void SetUp() override {
    if (test::run({"git", "--version"}).exit_code != 0) TOPSPIN_SKIP("git is not installed");
    setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
    setenv("GIT_CONFIG_SYSTEM", "/dev/null", 1);
  }

  /// Runs git in the directory. Returns the first line that it printed.
  std::string git(std::vector<std::string> words) const {
    words.insert(words.begin(), {"git", "-C", path(), "-c", "user.email=a@b.example", "-c",
                                 "user.name=n", "-c", "protocol.file.allow=always"});
    const test::Outcome run = test::run(words);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return run.out.substr(0, run.out.find('\n'));
  }
  void start(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"init", "-q", "-b", "main"};
    words.insert(words.end(), more.begin(), more.end());
    git(words);
    write_file(dir_.path() / "file", "one\n");
    git({"add", "file"});
    git({"commit", "-q", "-m", "one"});
  }
  /// Adds a submodule "module" with a file "a", from its own repository.
  void add_submodule() {
    const std::string origin = origin_.path().string();
    ASSERT_EQ(test::run({"sh", "-c",
                         "cd " + origin +
                             " && git init -q && echo a > a && git add a && git -c user.email=a@b "
                             "-c user.name=n commit -q -m a"})
                  .exit_code,
              0);
    git({"submodule", "--quiet", "add", origin, "module"});
    git({"commit", "-q", "-m", "module"});
  }
  std::string path() const { return dir_.path().string(); }
  SourceInfo info(const std::string& below = "") const { return read_source_info(path() + below); }

  test::TempDir dir_;
  test::TempDir origin_;  // of the submodule
};

TEST_F(Git, NamesCommitAndBranchFromAnyDirectoryOfTheTree) {
  start();
  std::filesystem::create_directories(dir_.path() / "deep/below");
  for (const char* below : {"", "/deep/below"}) {
    const SourceInfo source = info(below);
    EXPECT_EQ(source.branch, "main");
    EXPECT_EQ(source.commit, git({"rev-parse", "HEAD"}));
    EXPECT_EQ(source.dirty, false);
  }
  git({"checkout", "-q", "-b", "feature/x"});
  git({"pack-refs", "--all"});
  EXPECT_EQ(info().branch, "feature/x");
  EXPECT_EQ(info().commit, git({"rev-parse", "HEAD"}));
  git({"checkout", "-q", "--detach"});
  EXPECT_EQ(info().branch, "");
  EXPECT_EQ(info().commit, git({"rev-parse", "HEAD"}));
}

TEST_F(Git, KnowsLinkedWorkTrees) {
  start();
  git({"worktree", "add", "-q", "-b", "topic", path() + "/linked"});
  write_file(dir_.path() / "linked/file", "two\n");
  const SourceInfo source = info("/linked");
  EXPECT_EQ(source.branch, "topic");
  EXPECT_EQ(source.commit, git({"rev-parse", "HEAD"}));
  EXPECT_EQ(source.dirty, true);
}

TEST_F(Git, AModifiedTreeIsNotTakenForItsCommit) {
  start();
  write_file(dir_.path() / "untracked", "x");
  EXPECT_EQ(info().dirty, false);  // the file is not tracked, and those that are have not changed
  write_file(dir_.path() / "file", "two\n");
  EXPECT_EQ(info().dirty, true);
  git({"add", "file"});
  EXPECT_EQ(info().dirty, true);
  git({"commit", "-q", "-m", "two"});
  EXPECT_EQ(info().dirty, false);
  std::filesystem::remove(dir_.path() / "file");
  EXPECT_EQ(info().dirty, true);
}

TEST_F(Git, TheContentsOfASubmoduleAreTheTreesToo) {
  start();
  ASSERT_NO_FATAL_FAILURE(add_submodule());
  EXPECT_EQ(info().dirty, false);
  write_file(dir_.path() / "module/a", "b");
  EXPECT_EQ(info().dirty, true);
}

TEST_F(Git, AFileThatGitIsToldNotToLookAtLeavesTheChangesUnknown) {
  start();
  for (const std::string bit : {"assume-unchanged", "skip-worktree"}) {
    git({"update-index", "--" + bit, "file"});
    write_file(dir_.path() / "file", "two\n");
    EXPECT_EQ(info().dirty, std::nullopt) << bit;
    EXPECT_EQ(info().commit, git({"rev-parse", "HEAD"}));
    std::filesystem::create_directories(dir_.path() / "below");
    EXPECT_EQ(info("/below").dirty, std::nullopt) << bit;
    git({"update-index", "--no-" + bit, "file"});
    EXPECT_EQ(info().dirty, true) << bit;
    git({"checkout", "-q", "file"});
    EXPECT_EQ(info().dirty, false) << bit;
  }
  // A file that a sparse checkout leaves out is no hidden change: it is not there.
  git({"update-index", "--skip-worktree", "file"});
  std::filesystem::remove(dir_.path() / "file");
  EXPECT_EQ(info().dirty, false);
}

TEST_F(Git, AReplacedCommitIsNotTheCommit) {
  start();
  const std::string one = git({"rev-parse", "HEAD"});
  write_file(dir_.path() / "file", "two\n");
  git({"commit", "-q", "-a", "-m", "two"});
  git({"replace", one, "HEAD"});
  git({"reset", "-q", "--hard", one});  // the files of "two"
  EXPECT_EQ(git({"status", "--porcelain"}), "");
  EXPECT_EQ(info().commit, one);
  EXPECT_EQ(info().dirty, true);
}

TEST_F(Git, AModeThatGitIsToldNotToLookAtLeavesTheChangesUnknown) {
  start();
  git({"config", "core.fileMode", "false"});
  EXPECT_EQ(info().dirty, false);
  ASSERT_EQ(chmod((dir_.path() / "file").c_str(), 0755), 0);
  EXPECT_EQ(git({"status", "--porcelain"}), "");
  EXPECT_EQ(info().dirty, std::nullopt);
}

TEST_F(Git, AConfigurationThatLooksLessCloselyHidesNoChange) {
  start();
  git({"config", "core.trustctime", "false"});
  git({"config", "core.checkStat", "minimal"});
  const auto stamp = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
  std::filesystem::last_write_time(dir_.path() / "file", stamp);
  git({"update-index", "--refresh"});
  // git compares only the seconds of the change time, so the next change is in another second.
  const auto changed_at = [&] {
    struct stat status {};
    stat((dir_.path() / "file").c_str(), &status);
    return status.st_ctim.tv_sec;
  };
  for (const auto before = changed_at(); changed_at() == before; usleep(20'000)) {
    write_file(dir_.path() / "file", "two\n");  // as long as before
    std::filesystem::last_write_time(dir_.path() / "file", stamp);
  }
  EXPECT_EQ(info().dirty, true);
}

TEST_F(Git, NothingIsKnownOutsideATreeAndBeforeTheFirstCommit) {
  EXPECT_EQ(info().commit, "");
  EXPECT_EQ(info().dirty, std::nullopt);
  git({"init", "-q", "-b", "main"});
  EXPECT_EQ(info().commit, "");
  EXPECT_EQ(info().dirty, std::nullopt);
  write_file(dir_.path() / ".git/HEAD", "\x1b[31mnonsense");
  EXPECT_EQ(info().commit, "");
}

TEST_F(Git, ARepositoryThatHangsGitIsGivenUp) {
  start();
  std::filesystem::remove(dir_.path() / ".git/HEAD");
  ASSERT_EQ(mkfifo((dir_.path() / ".git/HEAD").c_str(), 0644), 0);
  EXPECT_EQ(info().commit, "");  // the test is that this returns
  std::filesystem::remove(dir_.path() / ".git/HEAD");
  std::filesystem::create_symlink("/dev/zero", dir_.path() / ".git/HEAD");
  EXPECT_EQ(info().commit, "");
}

TEST_F(Git, RunsNothingThatTheRepositoryConfigures) {
  start();
  const std::string mark = dir_.file("ran");
  const std::string program = "touch " + mark + "; cat";
  git({"config", "core.fsmonitor", program});
  git({"config", "filter.mine.clean", program});
  git({"config", "filter.mine.required", "true"});
  write_file(dir_.path() / ".git/info/attributes", "* filter=mine\n");
  write_file(dir_.path() / "file", "two\n");
  EXPECT_EQ(info().dirty, true);
  EXPECT_FALSE(std::filesystem::exists(mark));
}

TEST_F(Git, RunsNothingThatASubmoduleConfigures) {
  start();
  ASSERT_NO_FATAL_FAILURE(add_submodule());
  const std::string mark = dir_.file("ran");
  const std::string program = "touch " + mark + "; cat";
  const auto in_module = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"-C", path() + "/module"});
    git(words);
  };
  in_module({"config", "filter.mine.clean", program});
  in_module({"config", "filter.mine.required", "true"});
  in_module({"config", "core.fsmonitor", program});
  write_file(dir_.path() / ".git/modules/module/info/attributes", "* filter=mine\n");
  git({"config", "-f", ".gitmodules", "submodule.module.ignore", "all"});
  git({"commit", "-q", "-a", "-m", "ignored"});
  write_file(dir_.path() / "module/a", "b\n");
  std::filesystem::remove(mark);  // the commits above may have run it
  EXPECT_EQ(info().dirty, true);
  EXPECT_FALSE(std::filesystem::exists(mark));
}

TEST_F(Git, TheVariablesOfTheGitThatStartedUsAreForgotten) {
  start();
  setenv("GIT_DIR", "/nonexistent", 1);
  setenv("GIT_INDEX_FILE", "/nonexistent/index", 1);
  setenv("GIT_AUTHOR_NAME", "kept", 1);
  forget_git_environment();
  EXPECT_EQ(getenv("GIT_DIR"), nullptr);
  EXPECT_EQ(getenv("GIT_INDEX_FILE"), nullptr);
  EXPECT_STREQ(getenv("GIT_AUTHOR_NAME"), "kept");
  unsetenv("GIT_AUTHOR_NAME");
  EXPECT_EQ(info().commit, git({"rev-parse", "HEAD"}));
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
