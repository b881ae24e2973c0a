#include "probes/perf/uprobe_opener.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace topspin {
namespace {

constexpr const char* kUprobePmu = "/sys/bus/event_source/devices/uprobe/type";
constexpr int kSocket = 3;  // of the helper: its only descriptor

struct Request {
  uint64_t file_offset, semaphore_offset;
  uint32_t type;  // of the PMU
  uint32_t is_return;
  std::array<char, 4'096> path;
};

/// A descriptor, or -errno.
int open_event(const Request& request) {
  const auto end = std::ranges::find(request.path, '\0');
  if (end == request.path.end() || !std::string_view(request.path.data()).starts_with("/proc/"))
    return -EINVAL;
  // Fields according to /sys/bus/event_source/devices/uprobe/format.
  perf_event_attr attr{};
  attr.size = sizeof(attr);
  attr.type = request.type;
  attr.config = request.semaphore_offset << 32 | (request.is_return != 0 ? 1 : 0);
  attr.uprobe_path = reinterpret_cast<uint64_t>(request.path.data());
  attr.probe_offset = request.file_offset;
  const auto fd =
      static_cast<int>(::syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC));
  return fd >= 0 ? fd : -errno;
}

/// A message with one number, and perhaps a descriptor.
struct Message {
  int error = 0;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec part{&error, sizeof(error)};
  msghdr header{};

  Message() {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
};

/// Runs the helper until the socket is closed.
[[noreturn]] void serve() {
  Request request{};
  while (::recv(kSocket, &request, sizeof(request), 0) == static_cast<ssize_t>(sizeof(request))) {
    const int fd = open_event(request);
    Message answer;
    if (fd < 0) {
      answer.error = -fd;
      answer.header.msg_controllen = 0;
    } else {
      cmsghdr* const rights = CMSG_FIRSTHDR(&answer.header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(fd));
      std::memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
    }
    (void)::sendmsg(kSocket, &answer.header, MSG_NOSIGNAL);
    if (fd >= 0) ::close(fd);
  }
  ::_exit(0);
}

Error not_started() {
  return make_error(
      ErrorCode::kInternal,
      fmt::format("cannot start a helper that opens uprobes: {}", std::strerror(errno)), errno);
}

}  // namespace

Result<UprobeOpener> UprobeOpener::start() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return not_started();
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  // The helper must not become our child: code that waits for children that the subject left behind
  // would wait for it.
  int adopts = 0;
  ::prctl(PR_GET_CHILD_SUBREAPER, &adopts, 0, 0, 0);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
  const pid_t between = ::fork();
  if (between == 0) {
    if (::fork() != 0) ::_exit(0);
    // The helper must not get signals from the terminal.
    ::setsid();
    if (::dup2(theirs.get(), kSocket) == kSocket) {
      for (const int standard : {0, 1, 2}) ::close(standard);
      ::syscall(SYS_close_range, kSocket + 1, ~0u, 0);
      serve();
    }
    ::_exit(1);
  }
  const int fork_errno = errno;
  if (between > 0) ::waitpid(between, nullptr, 0);
  ::prctl(PR_SET_CHILD_SUBREAPER, adopts, 0, 0, 0);
  errno = fork_errno;
  if (between < 0) return not_started();
  return UprobeOpener(std::move(ours));
}

Result<UniqueFd> UprobeOpener::open(const Uprobe& uprobe) const {
  Request request{};
  FILE* const pmu = std::fopen(kUprobePmu, "re");
  const bool has_type = pmu && std::fscanf(pmu, "%u", &request.type) == 1;
  if (pmu) std::fclose(pmu);
  if (!has_type)
    return make_error(
        ErrorCode::kUnsupported,
        fmt::format("cannot read {}; it needs a kernel with CONFIG_UPROBE_EVENTS", kUprobePmu));
  if (uprobe.path.size() >= request.path.size() || uprobe.semaphore_offset >> 32 != 0)
    return make_error(ErrorCode::kUnsupported, "its path or its offset is too long");
  std::ranges::copy(uprobe.path, request.path.begin());
  request.file_offset = uprobe.file_offset;
  request.semaphore_offset = uprobe.semaphore_offset;
  request.is_return = uprobe.is_return ? 1 : 0;
  Message answer;
  if (::send(helper_.get(), &request, sizeof(request), MSG_NOSIGNAL) < 0 ||
      ::recvmsg(helper_.get(), &answer.header, MSG_CMSG_CLOEXEC) !=
          static_cast<ssize_t>(sizeof(answer.error)))
    return make_error(ErrorCode::kInternal, "the helper that opens uprobes has ended");
  const cmsghdr* const rights = CMSG_FIRSTHDR(&answer.header);
  if (answer.error == 0 && rights && rights->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
    return UniqueFd(fd);
  }
  if (answer.error == EACCES || answer.error == EPERM)
    return make_error(ErrorCode::kPermission,
                      "cannot open an uprobe: needs cap_sys_admin; run with sudo", answer.error);
  return make_error(ErrorCode::kUnsupported,
                    fmt::format("cannot open an uprobe: {}", std::strerror(answer.error)),
                    answer.error);
}

}  // namespace topspin
