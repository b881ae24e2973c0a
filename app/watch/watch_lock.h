// WatchLock: at most one `topspin watch` writes to a database, and `topspin watch freeze` finds it.
//
// A running watch holds a POSIX lock on DATABASE-watch. The kernel knows whose lock it is, so no
// pid in a file can be stale, and the lock ends with the process.
#pragma once

#include <string>

#include <sys/types.h>

#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

class WatchLock {
 public:
  WatchLock() = default;
  WatchLock(WatchLock&&) noexcept = default;
  WatchLock& operator=(WatchLock&&) noexcept = default;
  ~WatchLock();

  /// kUsage if another watch holds it; kPermission or kOutput if there can be no file.
  static Result<WatchLock> take(const std::string& database);

 private:
  UniqueFd file_;
  std::string path_;
};

/// The process of the watch that writes to `database`. kUsage if there is none.
Result<pid_t> find_watch(const std::string& database);

/// Asks a watch to freeze its ring now. Refuses every process that is not a topspin which waits for
/// that signal, because others would be ended by it.
Status freeze_watch(pid_t pid);

}  // namespace topspin
