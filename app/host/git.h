// git, as far as topspin asks it: which commit and branch a directory stands on, and whether its
// files differ from that commit.
//
// git itself is asked, since only it knows work trees, packed refs, reftables and indexes. It runs
// without the repository's hooks, monitors and filters, never as root in a directory that is not
// root's, for a bounded time and with bounded output. A repository that makes it hang or fail is
// one of which nothing is known.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/host/privileges.h"
#include "core/run/run.h"

namespace topspin {

/// Forgets the variables by which a git that started us (in a hook, say) says where it works. They
/// would direct each git below us, and each git that a build or a command runs, to that work tree
/// and index. Asks git for the names if it is there. REQUIRES: one thread.
void forget_git_environment();

/// Of the work tree that holds `directory`; empty outside one, and without git. `dirty`: tracked
/// files, the index or submodules differ from the commit; files that git does not track do not
/// count. nullopt if it took too long to say, or if the index tells git not to look at files that
/// are there (assume-unchanged, skip-worktree), or not at modes (core.fileMode) where these differ.
/// Runs git as `user` if given and we are root. REQUIRES: one thread.
SourceInfo read_source_info(const std::string& directory,
                            const std::optional<UserIdentity>& user = std::nullopt);

/// Why `commit` (or a branch, or a tag) cannot be checked out of the repository that holds
/// `directory`; empty: it can. Runs git as read_source_info() does.
std::string why_no_commit(const std::string& directory, const std::string& commit,
                          const std::optional<UserIdentity>& user = std::nullopt);

/// Options of git that keep what a repository configures from being run.
std::vector<std::string> git_without_programs();

}  // namespace topspin
