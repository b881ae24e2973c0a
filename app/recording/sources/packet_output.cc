#include "app/recording/sources/packet_output.h"

#include <cerrno>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/host/output_place.h"
#include "app/host/privileges.h"

namespace topspin {
namespace {

Error no_packet_file(ErrorCode code, const std::string& path, std::string_view why,
                     int os_errno = 0) {
  return make_error(code, fmt::format("cannot write packets to {}: {}", path, why), os_errno);
}

Error cannot_open_packet_file(const std::string& path, int os_errno) {
  if (os_errno == ELOOP) {
    return no_packet_file(ErrorCode::kPermission, path,
                          "it is a symbolic link, which root does not follow for writing; name the "
                          "file that it points to",
                          os_errno);
  }
  if (os_errno == ENXIO)
    return no_packet_file(ErrorCode::kUsage, path, "nobody reads it yet", os_errno);
  const bool denied = os_errno == EACCES || os_errno == EPERM;
  return no_packet_file(denied ? ErrorCode::kPermission : ErrorCode::kOutput, path,
                        std::strerror(os_errno), os_errno);
}

}  // namespace

Result<std::unique_ptr<PacketFile>> open_packet_file(const std::string& path,
                                                     const std::string& database) {
  if (path == "-") {
    if (::isatty(STDOUT_FILENO) == 1) {
      return no_packet_file(ErrorCode::kUsage, "standard output",
                            "it is a terminal; name a file, or pipe it into a program");
    }
    UniqueFd out(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
    if (!out) return cannot_open_packet_file("standard output", errno);
    return std::make_unique<PacketFile>(std::move(out), "standard output");
  }
  if (path == database || is_database(path)) {
    return no_packet_file(ErrorCode::kUsage, path,
                          "it is a database (--db names the database); choose another file for -w");
  }
  // A pipe without a reader must not block the start. Root without sudo has all rights, so it
  // follows no links; under sudo, links are followed with the rights of the invoking user.
  const bool is_root = ::geteuid() == 0 && !invoking_user();
  const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  UniqueFd file(open_as_invoking_user(path.c_str(), is_root ? flags | O_NOFOLLOW : flags, 0666));
  if (!file) return cannot_open_packet_file(path, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return cannot_open_packet_file(path, errno);
  if (S_ISREG(info.st_mode)) {
    if (is_root && info.st_uid != 0 && is_shared_directory(path)) {
      return no_packet_file(ErrorCode::kPermission, path,
                            "it is a file of another user, in a directory that everybody may write "
                            "to; choose another file");
    }
    if (::ftruncate(file.get(), 0) != 0) return cannot_open_packet_file(path, errno);
  }
  return std::make_unique<PacketFile>(std::move(file), path);
}

}  // namespace topspin
