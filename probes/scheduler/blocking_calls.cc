#include "probes/scheduler/blocking_calls.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "probes/proc/syscall_names.h"
#include "probes/scheduler/bpf/scheduler_abi.h"

namespace topspin {

void name_blocking_calls(std::span<uint8_t> of_call) {
  static const std::vector<std::pair<uint8_t, std::vector<std::string_view>>> kCalls = {
      {TOPSPIN_BLOCKED_BY_FUTEX, {"futex", "futex_waitv", "futex_wait"}},
      {TOPSPIN_BLOCKED_BY_POLL,
       {"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6",
        "io_getevents", "io_pgetevents", "io_uring_enter"}},
      {TOPSPIN_BLOCKED_BY_SOCKET,
       {"recvfrom", "recvmsg", "recvmmsg", "sendto", "sendmsg", "sendmmsg", "accept", "accept4",
        "connect"}},
      {TOPSPIN_BLOCKED_BY_DISK,
       {"fsync",      "fdatasync", "sync",      "syncfs",         "sync_file_range",
        "msync",      "pread64",   "pwrite64",  "preadv",         "pwritev",
        "preadv2",    "pwritev2",  "open",      "openat",         "openat2",
        "creat",      "stat",      "lstat",     "fstat",          "newfstatat",
        "statx",      "access",    "faccessat", "faccessat2",     "getdents",
        "getdents64", "unlink",    "unlinkat",  "rename",         "renameat",
        "renameat2",  "mkdir",     "mkdirat",   "rmdir",          "truncate",
        "ftruncate",  "fallocate", "readahead", "copy_file_range"}},
      {TOPSPIN_BLOCKED_BY_SLEEP,
       {"nanosleep", "clock_nanosleep", "pause", "rt_sigtimedwait", "rt_sigsuspend"}},
      // A parent waits in these until its child has called exec or ended.
      {TOPSPIN_BLOCKED_BY_WAIT, {"wait4", "waitid", "vfork", "clone", "clone3"}},
      {TOPSPIN_BLOCKED_BY_FILE, {"read", "write", "readv", "writev", "sendfile", "splice"}},
  };
  std::ranges::fill(of_call, TOPSPIN_BLOCKED_BY_OTHER);
  for (const auto& [reason, names] : kCalls) {
    for (const std::string_view name : names) {
      const int32_t number = syscall_number(name);
      if (number >= 0 && static_cast<size_t>(number) < of_call.size())
        of_call[static_cast<size_t>(number)] = reason;
    }
  }
}

}  // namespace topspin
