// Asks git which commit and branch a directory is at, and whether its files differ from that
// commit.
//
// We run the git program, because only it understands work trees, packed refs, reftables and
// indexes. It runs without the repository's hooks, monitors and filters, never as root in another
// user's directory, for a bounded time and with bounded output. If it hangs or fails, the commit is
// not known.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "app/host/privileges.h"
#include "core/base/unique_fd.h"
#include "core/run/run.h"

namespace topspin {

/// Unsets the variables with which a git that started us (from a hook, for example) names its work
/// tree and index. They would direct every git that we, a build or a command runs to that work
/// tree. Asks git for their names, if git is installed. REQUIRES: one thread.
void forget_git_environment();

/// Describes the work tree that holds `directory`; empty outside of one, and without git. `dirty`
/// says that tracked files, the index or submodules differ from the commit; untracked files do not
/// count. It is nullopt if git took too long, if the index tells git to ignore existing files
/// (assume-unchanged, skip-worktree), or if modes differ and git ignores them (core.fileMode).
/// Runs git as `user` if given and we are root. REQUIRES: one thread.
SourceInfo read_source_info(const std::string& directory,
                            const std::optional<UserIdentity>& user = std::nullopt);

/// Asks read_source_info() in a process of its own, so that a large repository delays nobody. The
/// process ends with this object.
class SourceQuestion {
 public:
  /// REQUIRES: one thread.
  SourceQuestion(const std::string& directory, const std::optional<UserIdentity>& user);
  ~SourceQuestion();
  SourceQuestion(const SourceQuestion&) = delete;
  SourceQuestion& operator=(const SourceQuestion&) = delete;

  /// Waits for the answer. Empty if the process could not be started.
  SourceInfo answer();

 private:
  UniqueFd answer_fd_;
  pid_t process_ = -1;
};

/// The user as whom git runs on a directory: `user` if we are root, and for root without one the
/// owner of the directory. Nobody else's configuration may run programs as root, so git would
/// refuse. nullopt: as ourselves.
std::optional<UserIdentity> git_user(const std::string& directory,
                                     const std::optional<UserIdentity>& user);

/// The id of the commit that `name` names in the repository that holds `directory`; nullopt if
/// there is none.
std::optional<std::string> find_commit(const std::string& directory, const std::string& name,
                                       const std::optional<UserIdentity>& user = std::nullopt);

/// The newest commit that both have in their history; nullopt if git knows none.
std::optional<std::string> find_merge_base(const std::string& directory, const std::string& a,
                                           const std::string& b,
                                           const std::optional<UserIdentity>& user = std::nullopt);

/// Returns why `commit` (or a branch, or a tag) cannot be checked out of the repository that holds
/// `directory`, or an empty text if it can. Runs git as read_source_info() does.
std::string why_no_commit(const std::string& directory, const std::string& commit,
                          const std::optional<UserIdentity>& user = std::nullopt);

/// Options that keep git from running programs which the repository configures.
std::vector<std::string> git_without_programs();

}  // namespace topspin
