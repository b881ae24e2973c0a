// Child: the subject's command. Its process is started at once, but it executes the command only
// when everything that watches it is open.
//
// It keeps its standard input, output and error. It stays in topspin's process group, so that
// Ctrl-C at the terminal reaches it as it would without topspin. Used on the main thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "app/host/privileges.h"
#include "core/base/result.h"
#include "core/base/unique_fd.h"
#include "probes/probes.h"

namespace topspin {

/// -1 means the parent's own.
struct ChildStreams {
  int input_fd = -1;
  int output_fd = -1;  // standard error too, unless it has its own
  int error_fd = -1;
};

/// What the command gets in addition to its arguments.
struct ChildSetting {
  ChildStreams streams;
  std::map<std::string, std::string> environment;  // added to our own
  std::string directory;                           // empty: ours
  std::vector<int> cpus;                           // on which it may run; empty: the same as ours
};

class Child {
 public:
  /// Forks a child that waits. kUsage if the command cannot be found or executed.
  /// A relative path in the command is relative to topspin's directory, not to the one in the
  /// settings.
  /// REQUIRES: one thread.
  static Result<std::unique_ptr<Child>> prepare(std::vector<std::string> command,
                                                const std::optional<UserIdentity>& user,
                                                const ChildSetting& setting = {});
  /// Kills the child if it still runs.
  ~Child();

  pid_t pid() const { return pid_; }

  /// Lets the child execute its command. kUsage if exec fails.
  Status release();

  /// Checks without waiting whether it has ended. The value is its exit status, or 128 + signal.
  std::optional<int> poll_exit();

  /// The usage of the child and of all processes that it waited for. REQUIRES: poll_exit() has
  /// returned a value.
  const CommandUsage& usage() const { return usage_; }

  void send_signal(int number) const;

 private:
  Child(pid_t pid, std::string name, UniqueFd release_fd, UniqueFd status_fd)
      : pid_(pid),
        name_(std::move(name)),
        release_fd_(std::move(release_fd)),
        status_fd_(std::move(status_fd)) {}

  pid_t pid_;
  std::string name_;
  UniqueFd release_fd_;  // one byte written here lets it execute the command
  UniqueFd status_fd_;   // gives the errno of a failed exec, or end of file
  std::optional<int> exit_;
  CommandUsage usage_;
};

}  // namespace topspin
