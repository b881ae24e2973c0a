// UprobeOpener: opens uprobes after topspin has given up its privileges. The kernel wants
// CAP_SYS_ADMIN for that, which is too much for a process that reads packets. So a helper process
// keeps it. The helper reads requests of a fixed form from a socket, opens a perf event for each,
// and sends its descriptor back. It parses nothing, and ends when the socket is closed.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.h"
#include "core/base/unique_fd.h"

namespace topspin {

struct Uprobe {
  std::string path;  // below /proc
  uint64_t file_offset = 0;
  uint64_t semaphore_offset = 0;  // in the file: where the kernel counts the listeners; 0: nowhere
  bool is_return = false;         // at the return of the function that begins there
};

class UprobeOpener {
 public:
  /// Starts the helper. REQUIRES: one thread.
  static Result<UprobeOpener> start();

  /// A perf event, for all processes that run this file. kPermission if there is no CAP_SYS_ADMIN.
  Result<UniqueFd> open(const Uprobe& uprobe) const;

 private:
  explicit UprobeOpener(UniqueFd helper) : helper_(std::move(helper)) {}
  UniqueFd helper_;
};

}  // namespace topspin
