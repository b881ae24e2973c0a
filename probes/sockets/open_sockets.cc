#include "probes/sockets/open_sockets.h"

#include <cerrno>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/unique_fd.h"
#include "probes/bpf/bpf_object.h"
#include "probes/bpf/subject_watch.h"
#include "probes/sockets/sockets_abi.h"

namespace topspin {
namespace {

#ifndef PIDFD_THREAD
constexpr unsigned PIDFD_THREAD = O_EXCL;  // Linux 6.9
#endif

/// A copy of the descriptor, if it is still that socket.
UniqueFd copy_of(const topspin_open_socket& place) {
  const UniqueFd thread(
      static_cast<int>(::syscall(SYS_pidfd_open, place.tid, static_cast<unsigned>(PIDFD_THREAD))));
  if (!thread) return {};
  UniqueFd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, thread.get(), place.fd, 0)));
  struct stat status {};
  if (copy && (::fstat(copy.get(), &status) != 0 || !S_ISSOCK(status.st_mode) ||
               status.st_ino != place.inode)) {
    errno = EBADF;
    return {};
  }
  return copy;
}

bool is_gone(int error) { return error == ESRCH || error == EBADF; }

}  // namespace

Result<std::string> watch_open_sockets(bpf_link* list, int sockets_fd, size_t value_bytes) {
  std::string text;
  TOPSPIN_TRY(read_iterator(list, "open files", [&](std::string_view more) { text.append(more); }));
  const size_t record_bytes = sizeof(topspin_open_socket) + value_bytes;
  size_t refused = 0;
  int why = 0;
  for (size_t at = 0; at + record_bytes <= text.size(); at += record_bytes) {
    topspin_open_socket place;
    std::memcpy(&place, text.data() + at, sizeof(place));
    const UniqueFd socket = copy_of(place);
    const int key = socket.get();
    // What exists already is newer: an event has created it meanwhile.
    if (socket && (bpf_map_update_elem(sockets_fd, &key, text.data() + at + sizeof(place),
                                       BPF_NOEXIST) == 0 ||
                   errno == EEXIST))
      continue;
    if (is_gone(errno)) continue;
    ++refused;
    why = errno;
  }
  if (refused == 0) return std::string();
  return fmt::format(
      "{} of the sockets that were open already could not be reached ({}; this kernel wants "
      "cap_sys_ptrace for it): listening ones are not measured, others from their next read or "
      "write on",
      refused, std::strerror(why));
}

}  // namespace topspin
