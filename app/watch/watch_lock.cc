#include "app/watch/watch_lock.h"

#include <cerrno>
#include <charconv>
#include <csignal>
#include <fstream>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/text.h"

namespace topspin {
namespace {

std::string lock_path(const std::string& database) { return database + "-watch"; }

struct flock whole_file(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

Error cannot_lock(const std::string& path) {
  const ErrorCode code = errno == EACCES || errno == EPERM || errno == EROFS
                             ? ErrorCode::kPermission
                             : ErrorCode::kOutput;
  return make_error(code,
                    fmt::format("cannot create {}, by which the watch is found; give another --db",
                                sanitize_for_terminal(path)),
                    errno);
}

bool is_at(const UniqueFd& file, const std::string& path) {
  struct stat open_one {
  }, named{};
  return ::fstat(file.get(), &open_one) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

/// The value of a line of /proc/PID/status; empty if it has none.
std::string status_value(pid_t pid, std::string_view key) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    const size_t value = line.find_first_not_of(" \t", key.size() + 1);
    return value == std::string::npos ? std::string() : line.substr(value);
  }
  return {};
}

bool waits_for_freeze(pid_t pid) {
  const std::string blocked = status_value(pid, "SigBlk");
  uint64_t mask = 0;
  std::from_chars(blocked.data(), blocked.data() + blocked.size(), mask, 16);
  return status_value(pid, "Name") == "topspin" && (mask >> (SIGUSR1 - 1) & 1) != 0;
}

}  // namespace

Result<WatchLock> WatchLock::take(const std::string& database) {
  WatchLock lock;
  const std::string path = lock_path(database);
  while (true) {
    lock.file_.reset(
        ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640));
    if (!lock.file_) return cannot_lock(path);
    struct flock held = whole_file(F_WRLCK);
    if (::fcntl(lock.file_.get(), F_SETLK, &held) != 0) {
      const auto pid = find_watch(database);
      return make_error(ErrorCode::kUsage,
                        fmt::format("another watch{} writes to {}; give this one its own --db",
                                    pid.ok() ? fmt::format(" (process {})", *pid) : "",
                                    sanitize_for_terminal(database)));
    }
    // The one before may have removed the file after we opened it.
    if (is_at(lock.file_, path)) break;
  }
  lock.path_ = path;
  return lock;
}

WatchLock::~WatchLock() {
  if (file_ && is_at(file_, path_)) ::unlink(path_.c_str());
}

Result<pid_t> find_watch(const std::string& database) {
  const std::string path = lock_path(database);
  const Error none = make_error(
      ErrorCode::kUsage, fmt::format("no watch writes to {}; name its database with --db, or give "
                                     "its PID",
                                     sanitize_for_terminal(database)));
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) {
    if (errno == ENOENT) return none;
    return make_error(ErrorCode::kPermission,
                      fmt::format("cannot read {}", sanitize_for_terminal(path)), errno);
  }
  struct flock lock = whole_file(F_RDLCK);
  if (::fcntl(file.get(), F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return none;
  if (lock.l_pid <= 0) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("the watch that writes to {} runs in another container; freeze "
                                  "it from there",
                                  sanitize_for_terminal(database)));
  }
  return lock.l_pid;
}

Status freeze_watch(pid_t pid) {
  // A pidfd is of one process, also if its number is used again meanwhile.
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process && errno == ESRCH)
    return make_error(ErrorCode::kUsage, fmt::format("there is no process {}", pid));
  if (!waits_for_freeze(pid)) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("process {} is no topspin watch; nothing was sent to it", pid));
  }
  const int sent =
      process
          ? static_cast<int>(::syscall(SYS_pidfd_send_signal, process.get(), SIGUSR1, nullptr, 0))
          : ::kill(pid, SIGUSR1);
  if (sent == 0) return {};
  return make_error(ErrorCode::kPermission,
                    fmt::format("cannot signal process {}: it belongs to another user", pid),
                    errno);
}

}  // namespace topspin
