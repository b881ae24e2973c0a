// WorkTrees: checks out commits of a repository side by side, each in a git work tree in a new
// directory. The destructor removes them.
//
// git runs as the user and without the repository's hooks.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "app/host/privileges.h"
#include "core/base/result.h"

namespace topspin {

/// Runs a program to its end in `directory`. kUsage, with its last lines, if it fails.
/// `interrupted` is called ten times per second, and returns how many requests to end have come.
/// After the first request, the program and its descendants get SIGTERM, and SIGKILL if they do not
/// end soon. After the second, they are killed at once.
Status run_to_end(const std::vector<std::string>& command, const std::string& directory,
                  const std::optional<UserIdentity>& user, const std::function<int()>& interrupted);

class WorkTrees {
 public:
  WorkTrees(std::optional<UserIdentity> user, std::function<int()> interrupted)
      : user_(std::move(user)), interrupted_(std::move(interrupted)) {}
  WorkTrees(const WorkTrees&) = delete;
  WorkTrees& operator=(const WorkTrees&) = delete;
  /// Removes all work trees.
  ~WorkTrees();

  /// Checks out `commit` (any name that git knows) of the repository that holds `repository`, and
  /// returns its directory.
  Result<std::string> check_out(const std::string& repository, const std::string& commit);

 private:
  struct Tree {
    std::string repository;
    std::string path;
  };

  std::optional<UserIdentity> user_;
  std::optional<UserIdentity> git_user_;  // with all repositories of a plan
  std::function<int()> interrupted_;
  std::string root_;  // holds them all
  std::vector<Tree> trees_;
};

}  // namespace topspin
