// Child: the subject's command, started but held back until everything that watches it is open.
//
// Its standard input, output and error stay its own. It stays in topspin's process group, so that a
// Ctrl-C at the terminal reaches it as it would without topspin. Lives on the main thread.
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

/// -1: the parent's own.
struct ChildStreams {
  int input_fd = -1;
  int output_fd = -1;  // standard error too, unless it has its own
  int error_fd = -1;
};

/// What the command is given beside its words.
struct ChildSetting {
  ChildStreams streams;
  std::map<std::string, std::string> environment;  // added to our own
  std::string directory;                           // empty: ours
  std::vector<int> cpus;                           // that it may run on; empty: as we may
};

class Child {
 public:
  /// Forks a child that waits. kUsage if no such command can be found or executed.
  /// A relative path in the command is ours, whatever directory the setting says.
  /// REQUIRES: one thread.
  static Result<std::unique_ptr<Child>> prepare(std::vector<std::string> command,
                                                const std::optional<UserIdentity>& user,
                                                const ChildSetting& setting = {});
  /// Kills what still runs.
  ~Child();

  pid_t pid() const { return pid_; }

  /// Lets the child execute its command. kUsage if exec fails.
  Status release();

  /// Whether it has ended; does not wait. The value is its exit status, or 128 + signal.
  std::optional<int> poll_exit();

  /// Of it and of all that it waited for. REQUIRES: poll_exit() said that it has ended.
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
  UniqueFd release_fd_;  // one byte written here lets it go
  UniqueFd status_fd_;   // the errno of a failed exec, or end of file
  std::optional<int> exit_;
  CommandUsage usage_;
};

}  // namespace topspin
