// WorkTrees: commits of a repository checked out beside one another, each in a git work tree of its
// own in a new directory, and gone again with this object.
//
// git runs with the user's own identity and without the repository's hooks.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "app/host/privileges.h"
#include "core/base/result.h"

namespace topspin {

/// Runs a program to its end in `directory`; kUsage with its last lines if it fails. `interrupted`
/// is asked ten times a second how often somebody wanted it to end: once, and the program and its
/// descendants are asked to end, and made to end if they do not soon; twice, and they are killed.
Status run_to_end(const std::vector<std::string>& command, const std::string& directory,
                  const std::optional<UserIdentity>& user, const std::function<int()>& interrupted);

class WorkTrees {
 public:
  WorkTrees(std::optional<UserIdentity> user, std::function<int()> interrupted)
      : user_(std::move(user)), interrupted_(std::move(interrupted)) {}
  WorkTrees(const WorkTrees&) = delete;
  WorkTrees& operator=(const WorkTrees&) = delete;
  /// Removes all of them.
  ~WorkTrees();

  /// The directory of `commit` (any name that git knows), of the repository that holds
  /// `repository`.
  Result<std::string> check_out(const std::string& repository, const std::string& commit);

 private:
  struct Tree {
    std::string repository;
    std::string path;
  };

  std::optional<UserIdentity> user_;
  std::function<int()> interrupted_;
  std::string root_;  // holds them all
  std::vector<Tree> trees_;
};

}  // namespace topspin
