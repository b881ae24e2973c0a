#include "app/commands/export_target.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/host/output_place.h"
#include "app/host/privileges.h"

namespace topspin {
namespace {

/// A collector has a socket buffer of limited size, and UDP does not wait. So there is a pause
/// after this many bytes, which lets it keep up (at most 10 MB/s).
constexpr size_t kPauseAfterBytes = 10'000;
constexpr useconds_t kPauseUs = 1000;

Error no_collector(const std::string& text) {
  return make_error(
      ErrorCode::kUsage,
      fmt::format("--collector {} must be ADDRESS:PORT, such as 127.0.0.1:4739", text));
}

/// Extensions of well-known formats that topspin does not write.
constexpr std::array<std::string_view, 22> kForeignEndings = {
    "pdf", "doc",  "docx", "odt", "rtf", "tex",  "ps",  "eps", "xls",  "xlsx", "ods",
    "ppt", "pptx", "odp",  "png", "jpg", "jpeg", "gif", "svg", "webp", "epub", "parquet"};

/// The descriptor for a name such as /dev/stdout.
std::optional<int> own_descriptor(std::string_view path) {
  if (path == "/dev/stdout") return STDOUT_FILENO;
  if (path == "/dev/stderr") return STDERR_FILENO;
  for (const std::string_view prefix : {"/dev/fd/", "/proc/self/fd/"}) {
    if (!path.starts_with(prefix)) continue;
    int fd = -1;
    const char* end = path.data() + path.size();
    const auto [stop, error] = std::from_chars(path.data() + prefix.size(), end, fd);
    if (error == std::errc() && stop == end && fd >= 0) return fd;
  }
  return std::nullopt;
}

Error planted(const std::string& path, std::string_view what) {
  return make_error(ErrorCode::kPermission,
                    fmt::format("{} is {} of another user, in a directory that everybody may write "
                                "to; choose another file for -o",
                                path, what));
}

/// The target of a link, if it may be followed.
Result<std::string> follow(const std::string& path, const struct stat& link) {
  if (::geteuid() == 0) {
    return make_error(ErrorCode::kOutput,
                      fmt::format("{} is a symbolic link, which root does not follow for writing; "
                                  "name the file that it points to",
                                  path),
                      ELOOP);
  }
  if (link.st_uid != ::geteuid() && is_shared_directory(path))
    return planted(path, "a symbolic link");
  const std::unique_ptr<char, decltype(&std::free)> target(::realpath(path.c_str(), nullptr),
                                                           &std::free);
  if (target == nullptr) {
    return make_error(ErrorCode::kOutput,
                      fmt::format("cannot write to {}: the link leads nowhere", path), errno);
  }
  return std::string(target.get());
}

/// Refuses a database. If the file may not be read, its path shows that it is the command's
/// database.
Status check_is_no_database(const std::string& path, const std::string& database) {
  const auto refuse = [&](std::string_view what) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("-o {} is {}, which the output would replace; choose another "
                                  "file for -o (--db names the database to read)",
                                  path, what));
  };
  if (is_database(path)) return refuse("an SQLite database");
  struct stat target {};
  const bool there = ::stat(path.c_str(), &target) == 0;
  for (const std::string_view ending : {"", "-wal", "-shm", "-journal"}) {
    struct stat part {};
    const std::string name = database + std::string(ending);
    if (there && ::stat(name.c_str(), &part) == 0 && part.st_dev == target.st_dev &&
        part.st_ino == target.st_ino)
      return refuse(ending.empty() ? "the database itself" : "a part of the database");
    if (!ending.empty() && path.ends_with(ending) &&
        is_database(path.substr(0, path.size() - ending.size())))
      return refuse("a part of a database");
  }
  return {};
}

/// Writes all of `bytes` and returns 0, or returns the errno.
int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

}  // namespace

std::string name_ending(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos || dot == 0) return {};
  std::string ending = name.substr(dot + 1);
  for (char& c : ending) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return ending;
}

Status check_output_name(const std::string& path, const std::string& formats) {
  const std::string ending = name_ending(path);
  if (std::find(kForeignEndings.begin(), kForeignEndings.end(), ending) == kForeignEndings.end())
    return {};
  return make_error(
      ErrorCode::kUsage,
      fmt::format("-o {}: topspin writes no {}; the formats are {}", path, ending, formats));
}

Result<ExportTarget> ExportTarget::open(const std::string& path, const std::string& database) {
  ExportTarget target;
  if (path.empty() || path == "-") {
    target.fd_ = STDOUT_FILENO;
    target.name_ = "standard output";
    return target;
  }
  target.name_ = path;
  if (const auto fd = own_descriptor(path)) {
    target.owned_ = UniqueFd(::fcntl(*fd, F_DUPFD_CLOEXEC, 0));
    if (!target.owned_) return target.cannot_write(errno);
    target.fd_ = target.owned_.get();
    return target;
  }
  std::string file = path;
  struct stat info {};
  bool there = ::lstat(file.c_str(), &info) == 0;
  if (!there && errno != ENOENT) return target.cannot_write(errno);
  if (there && S_ISLNK(info.st_mode)) {
    TOPSPIN_ASSIGN(file, follow(path, info));
    there = ::lstat(file.c_str(), &info) == 0;
  }
  if (!there || S_ISREG(info.st_mode)) {
    TOPSPIN_TRY(check_is_no_database(file, database));
    const auto user = invoking_user();  // of sudo
    const bool trusted = !there || info.st_uid == ::geteuid() || info.st_uid == 0 ||
                         (user && info.st_uid == user->uid);
    if (!trusted && is_shared_directory(file)) return planted(path, "a file");
    TOPSPIN_TRY(target.begin_beside(file));
  } else {  // a pipe or a device
    target.owned_ = UniqueFd(::open(file.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW));
    if (!target.owned_) return target.cannot_write(errno);
  }
  target.fd_ = target.owned_.get();
  return target;
}

/// Opens the file that will become `path`: a new file in its directory, or an unnamed one if the
/// directory is not writable but the file exists.
Status ExportTarget::begin_beside(const std::string& path) {
  struct stat info {};
  const bool there = ::lstat(path.c_str(), &info) == 0;
  std::string pattern = directory_of(path) + "/.topspin.XXXXXX";
  owned_ = UniqueFd(::mkostemp(pattern.data(), O_CLOEXEC));
  if (owned_) {
    unfinished_ = pattern;
    const mode_t mask = ::umask(0);
    ::umask(mask);
    constexpr mode_t kUsual = 0666;
    // Root keeps the file's owner. The mode is set before, while the file still belongs to us.
    if (::fchmod(owned_.get(), there ? info.st_mode & 0777 : kUsual & ~mask) != 0)
      return cannot_write(errno);
    if (there && ::geteuid() == 0) (void)!::fchown(owned_.get(), info.st_uid, info.st_gid);
  } else {
    const int os_errno = errno;
    const bool in_place = there && ::access(path.c_str(), W_OK) == 0 &&
                          (os_errno == EACCES || os_errno == EPERM || os_errno == EROFS);
    if (!in_place) return cannot_write(os_errno);
    owned_ = UniqueFd(::open(P_tmpdir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!owned_) owned_ = UniqueFd(::memfd_create("topspin export", MFD_CLOEXEC));
    if (!owned_) return cannot_write(errno);
  }
  path_ = path;
  return {};
}

Result<ExportTarget> ExportTarget::connect_udp(const std::string& collector) {
  const size_t colon = collector.rfind(':');
  if (colon == std::string::npos) return no_collector(collector);
  std::string host = collector.substr(0, colon);
  const std::string port = collector.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0)
    return no_collector(collector);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  ExportTarget target;
  target.name_ = collector;
  target.datagrams_ = true;
  target.owned_ = UniqueFd(::socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!target.owned_ || ::connect(target.owned_.get(), found->ai_addr, found->ai_addrlen) != 0)
    return target.cannot_write(errno);
  target.fd_ = target.owned_.get();
  return target;
}

ExportTarget::ExportTarget(ExportTarget&& other) noexcept
    : owned_(std::move(other.owned_)),
      fd_(std::exchange(other.fd_, -1)),
      datagrams_(other.datagrams_),
      sent_bytes_(other.sent_bytes_),
      name_(std::move(other.name_)),
      path_(std::move(other.path_)),
      unfinished_(std::exchange(other.unfinished_, {})) {}

ExportTarget::~ExportTarget() {
  if (!unfinished_.empty()) discard_output(*this);
}

Error ExportTarget::cannot_write(int os_errno) const {
  const auto code =
      os_errno == EACCES || os_errno == EPERM ? ErrorCode::kPermission : ErrorCode::kOutput;
  if (os_errno == ECONNREFUSED) {
    return make_error(code, fmt::format("nobody listens at {}; start the collector first", name_),
                      os_errno);
  }
  return make_error(code, fmt::format("cannot write to {}: {}", name_, std::strerror(os_errno)),
                    os_errno);
}

Status ExportTarget::write(std::string_view bytes) {
  if (datagrams_) {
    if (::send(fd_, bytes.data(), bytes.size(), 0) < 0) return cannot_write(errno);
    sent_bytes_ += bytes.size();
    if (sent_bytes_ >= kPauseAfterBytes) {
      ::usleep(kPauseUs);
      sent_bytes_ = 0;
    }
    return {};
  }
  const int os_errno = write_all(fd_, bytes);
  return os_errno == 0 ? Status() : cannot_write(os_errno);
}

Status ExportTarget::finish() {
  if (path_.empty()) return {};
  TOPSPIN_TRY(finish_output(*this));
  unfinished_.clear();
  return {};
}

std::string ExportTarget::directory() const {
  return path_.empty() ? std::string() : directory_of(path_);
}

void ExportTarget::discard_here() const {
  if (!unfinished_.empty()) ::unlink(unfinished_.c_str());
}

Status ExportTarget::finish_here() const {
  if (unfinished_.empty()) return copy_into_place();
  if (::rename(unfinished_.c_str(), path_.c_str()) == 0) return {};
  // The file may be a mount point, as with docker's --volume of a file.
  if (errno != EBUSY && errno != EXDEV) return cannot_write(errno);
  TOPSPIN_TRY(copy_into_place());
  ::unlink(unfinished_.c_str());
  return {};
}

/// Replaces the old content only now that the new text is complete. Reserves the space first, so
/// that a full disk is noticed before.
Status ExportTarget::copy_into_place() const {
  const UniqueFd file(::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (!file || ::fstat(fd_, &info) != 0) return cannot_write(errno);
  if (info.st_size > 0 && ::fallocate(file.get(), FALLOC_FL_KEEP_SIZE, 0, info.st_size) != 0 &&
      errno != EOPNOTSUPP && errno != ENOSYS)
    return cannot_write(errno);
  const UniqueFd whole(unfinished_.empty() ? ::dup(fd_)
                                           : ::open(unfinished_.c_str(), O_RDONLY | O_CLOEXEC));
  if (!whole || ::lseek(whole.get(), 0, SEEK_SET) != 0) return cannot_write(errno);
  std::array<char, 65'536> buffer;
  while (true) {
    const ssize_t got = ::read(whole.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return cannot_write(errno);
    if (got == 0) break;
    const int os_errno = write_all(file.get(), {buffer.data(), static_cast<size_t>(got)});
    if (os_errno != 0) return cannot_write(os_errno);
  }
  return ::ftruncate(file.get(), info.st_size) == 0 ? Status() : cannot_write(errno);
}

}  // namespace topspin
