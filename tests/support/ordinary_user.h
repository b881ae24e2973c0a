// For servers that refuse to run as root, where the tests do.
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

namespace topspin::test {

/// Others may not pass a folder around this one, such as /root: shows it to this process at the
/// same place, in a mount namespace of its own.
inline void make_reachable(const std::string& folder) {
  std::error_code failed;
  if (!std::filesystem::is_directory(folder, failed)) return;
  std::filesystem::path around;
  bool is_closed = false;
  for (const auto& part : std::filesystem::path(folder)) {
    around /= part;
    struct stat info {};
    if (::stat(around.c_str(), &info) != 0) return;
    is_closed = (info.st_mode & S_IXOTH) == 0;
    if (is_closed) break;
  }
  const char* const aside = "/mnt";
  if (!is_closed || ::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount(folder.c_str(), aside, nullptr, MS_BIND | MS_REC, nullptr) != 0 ||
      ::mount("tmpfs", around.c_str(), "tmpfs", 0, "mode=755") != 0)
    return;
  std::filesystem::create_directories(folder, failed);
  (void)::mount(aside, folder.c_str(), nullptr, MS_MOVE, nullptr);
  (void)!::chdir("/");
}

/// In a child, before it becomes a program in `folder`: no longer root. False if it cannot be.
inline bool become_ordinary_user(const std::string& folder) {
  constexpr unsigned kNobody = 65534;
  if (::geteuid() != 0) return true;
  make_reachable(folder);
  return ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0;
}

}  // namespace topspin::test
