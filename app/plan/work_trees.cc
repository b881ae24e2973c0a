#include "app/plan/work_trees.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX
#include <unistd.h>

#include "app/host/child.h"
#include "app/host/family.h"
#include "app/host/git.h"
#include "app/plan/experiment.h"
#include "core/base/clock.h"
#include "core/base/result.h"

namespace topspin {
namespace {

constexpr int64_t kGraceNs = 2 * kNanosPerSecond;
constexpr int64_t kLastWordsNs = kNanosPerSecond / 5;  // how long to read after the command's end

}  // namespace

Status run_to_end(const std::vector<std::string>& command, const std::string& directory,
                  const std::optional<UserIdentity>& user,
                  const std::function<int()>& interrupted) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return os_error("pipe");
  UniqueFd output(ends[0]), write_end(ends[1]);
  const UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  ChildSetting setting;
  setting.streams = {null.get(), write_end.get()};
  setting.directory = directory;
  TOPSPIN_ASSIGN(auto child, Child::prepare(command, user, setting));
  write_end.reset();
  TOPSPIN_TRY(child->release());
  OutputTail tail("");
  std::array<char, 4096> buffer;
  bool stopped = false;
  int64_t kill_at_ns = 0;
  std::optional<int64_t> leave_at_ns;
  while (output || !child->poll_exit()) {
    pollfd wait{output.get(), POLLIN, 0};
    poll(&wait, 1, 100);
    if (wait.revents != 0) {
      const ssize_t got = read(output.get(), buffer.data(), buffer.size());
      if (got > 0)
        tail.add({buffer.data(), static_cast<size_t>(got)});
      else if (got == 0 || errno != EINTR)
        output.reset();
    }
    const int asked = interrupted();
    if (asked > 0 && !stopped) {
      stopped = true;
      kill_at_ns = monotonic_now_ns() + kGraceNs;
      child->send_signal(SIGTERM);
    }
    // A program that ignores the first signal gets one that it cannot ignore: after a while, or at
    // once after a second request.
    if (stopped && (asked > 1 || monotonic_now_ns() >= kill_at_ns)) {
      child->send_signal(SIGKILL);
      if (child->poll_exit()) break;
    }
    // A process that it left in the background may keep the pipe open forever.
    if (!child->poll_exit()) continue;
    if (!leave_at_ns) leave_at_ns = monotonic_now_ns() + kLastWordsNs;
    if (wait.revents == 0 || monotonic_now_ns() >= *leave_at_ns) break;
  }
  end_family(interrupted() > 1 ? 0 : kGraceNs);
  if (stopped) return make_error(ErrorCode::kUsage, "interrupted");
  if (*child->poll_exit() == 0) return {};
  std::string words;
  for (const std::string& word : command) words += (words.empty() ? "" : " ") + word;
  return make_error(ErrorCode::kUsage,
                    fmt::format("\"{}\" failed with status {} in {}{}", words, *child->poll_exit(),
                                directory, tail.last_lines()));
}

Result<std::string> WorkTrees::check_out(const std::string& repository, const std::string& commit) {
  if (root_.empty()) {
    std::error_code error;
    std::string pattern =
        (std::filesystem::temp_directory_path(error) / "topspin-trees-XXXXXX").string();
    if (error || mkdtemp(pattern.data()) == nullptr)
      return os_error("cannot create a directory for work trees");
    root_ = pattern;
    git_user_ = git_user(repository, user_);
    if (git_user_ && chown(root_.c_str(), git_user_->uid, git_user_->gid) != 0)
      return os_error("cannot give the directory for work trees to its user");
  }
  const std::string path = fmt::format("{}/{}", root_, trees_.size());
  // A hook of the repository would run with our rights.
  std::vector<std::string> add = git_without_programs();
  add.insert(add.end(), {"-C", repository, "worktree", "add", "--quiet", "--detach", path, commit});
  TOPSPIN_TRY(run_to_end(add, repository, git_user_, interrupted_));
  trees_.push_back({repository, path});
  return path;
}

WorkTrees::~WorkTrees() {
  const auto never = [] { return 0; };
  for (const Tree& tree : trees_) {
    // A build may have left files that git does not know. Remove them too.
    std::vector<std::string> remove = git_without_programs();
    remove.insert(remove.end(),
                  {"-C", tree.repository, "worktree", "remove", "--force", tree.path});
    (void)run_to_end(remove, tree.repository, git_user_, never).ok();
  }
  std::error_code ignored;
  if (!root_.empty()) std::filesystem::remove_all(root_, ignored);
}

}  // namespace topspin
