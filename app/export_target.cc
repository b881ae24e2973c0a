#include "app/export_target.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace topspin {
namespace {

/// A collector reads into a socket buffer of limited size, and UDP does not wait: a pause after
/// each such stretch lets it keep up (10 MB/s at most).
constexpr size_t kPauseAfterBytes = 10'000;
constexpr useconds_t kPauseUs = 1000;

Error no_collector(const std::string& text) {
  return make_error(ErrorCode::kUsage,
                    fmt::format("--collector {} is no ADDRESS:PORT such as 127.0.0.1:4739", text));
}

bool is_regular_or_missing(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return errno == ENOENT;
  return S_ISREG(info.st_mode);
}

}  // namespace

Result<ExportTarget> ExportTarget::open(const std::string& path) {
  ExportTarget target;
  if (path.empty() || path == "-") {
    target.fd_ = STDOUT_FILENO;
    target.name_ = "standard output";
    return target;
  }
  target.name_ = path;
  if (is_regular_or_missing(path)) {
    std::string pattern = path + ".XXXXXX";
    target.owned_ = UniqueFd(::mkostemp(pattern.data(), O_CLOEXEC));
    if (target.owned_) {
      target.path_ = path;
      target.unfinished_ = pattern;
      struct stat info {};
      const bool there = ::stat(path.c_str(), &info) == 0;
      const mode_t mask = ::umask(0);
      ::umask(mask);
      constexpr mode_t kUsual = 0666;
      if (::fchmod(target.owned_.get(), there ? info.st_mode & 0777 : kUsual & ~mask) != 0)
        return target.cannot_write(errno);
    }
  } else {  // a pipe, a device, a link: written through
    target.owned_ =
        UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666));
  }
  if (!target.owned_) return target.cannot_write(errno);
  target.fd_ = target.owned_.get();
  return target;
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
  if (!unfinished_.empty()) ::unlink(unfinished_.c_str());
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
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return cannot_write(errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

Status ExportTarget::finish() {
  if (unfinished_.empty()) return {};
  if (::rename(unfinished_.c_str(), path_.c_str()) != 0) return cannot_write(errno);
  unfinished_.clear();
  return {};
}

}  // namespace topspin
