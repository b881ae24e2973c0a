#include "app/host/outlet.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/base/unblocked_write.h"

namespace topspin {
namespace {

/// A writable pipe accepts at least this much (PIPE_BUF).
constexpr size_t kPieceBytes = 4096;

bool is_pipe_or_terminal(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return false;
  return S_ISFIFO(info.st_mode) || (S_ISCHR(info.st_mode) && isatty(fd) != 0);
}

}  // namespace

void Outlet::open() {
  if (opened_) return;
  opened_ = true;
  struct stat info {};
  if (fstat(fd_, &info) != 0) {
    silenced_ = true;
    return;
  }
  is_socket_ = S_ISSOCK(info.st_mode);
  if (!is_pipe_or_terminal(fd_)) return;
  own_ = reopen_unblocked(fd_);
  may_block_ = !own_;
}

/// Writes from the front of `rest`, and removes what was written. False if there is no room now, or
/// never will be (silenced).
bool Outlet::write_some(std::string_view& rest) {
  const int fd = own_ ? own_.get() : fd_;
  if (may_block_) {
    pollfd room{fd, POLLOUT, 0};
    if (poll(&room, 1, 0) <= 0) return false;
  }
  const size_t size = std::min(rest.size(), kPieceBytes);
  ssize_t n = 0;
  if (is_socket_)
    n = send(fd, rest.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL);
  else
    n = may_block_ ? write_briefly(fd, rest.data(), size) : ::write(fd, rest.data(), size);
  if (n > 0) {
    rest.remove_prefix(static_cast<size_t>(n));
    return true;
  }
  if (n < 0 && errno == EINTR) return true;
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
  silenced_ = true;
  return false;
}

bool Outlet::put(std::string_view text, int wait_ms) {
  const int64_t until_ns = monotonic_now_ns() + wait_ms * kNanosPerMilli;
  const size_t whole = text.size();
  while (!text.empty()) {
    if (write_some(text)) continue;
    if (silenced_) return false;
    const int64_t left_ns = until_ns - monotonic_now_ns();
    if (left_ns <= 0) {
      mid_line_ = mid_line_ || text.size() < whole;
      return false;
    }
    pollfd room{own_ ? own_.get() : fd_, POLLOUT, 0};
    poll(&room, 1, static_cast<int>(left_ns / kNanosPerMilli) + 1);
  }
  return true;
}

bool Outlet::write(std::string_view lines, int wait_ms) {
  open();
  if (silenced_) return false;
  const auto count = static_cast<uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
  std::string before;
  if (mid_line_) before += '\n';
  if (dropped_since_ > 0)
    before += fmt::format("topspin: {} line{} not shown: nobody read them\n", dropped_since_,
                          dropped_since_ == 1 ? " was" : "s were");
  if (dropping_ && wait_ms <= kBriefMs) wait_ms = 0;
  if (!before.empty()) {
    if (!put(before, wait_ms)) {
      lines_dropped_ += count;
      dropped_since_ += count;
      return false;
    }
    mid_line_ = false;
    dropped_since_ = 0;
  }
  dropping_ = !put(lines, wait_ms);
  if (dropping_) {
    lines_dropped_ += count;
    dropped_since_ += count;
  }
  return !dropping_;
}

Outlet& error_outlet() {
  static Outlet outlet(STDERR_FILENO);
  return outlet;
}

Outlet& output_outlet() {
  static Outlet outlet(STDOUT_FILENO);
  return outlet;
}

void prepare_standard_streams() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    // open() takes the lowest free number, so this one. Standard output is opened read-only,
    // because a report that cannot be delivered must be an error.
    (void)!::open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
  }
  const int flags = fcntl(STDOUT_FILENO, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) != 0 && is_pipe_or_terminal(STDOUT_FILENO)) {
    const UniqueFd blocking(::open("/proc/self/fd/1", O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (blocking) dup2(blocking.get(), STDOUT_FILENO);
  }
  error_outlet().open();
  output_outlet().open();
}

void say(std::string_view message) {
  constexpr int kWaitMs = 200;  // longer than for a tick's line, which the next line replaces
  error_outlet().write(fmt::format("topspin: {}\n", sanitize_for_terminal(message)), kWaitMs);
}

int fail(const Error& error) {
  say(error.message);
  return exit_code(error.code);
}

}  // namespace topspin
