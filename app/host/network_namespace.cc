#include "app/host/network_namespace.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>

#include "core/base/text.h"
#include "core/base/unique_fd.h"

namespace topspin {

Status enter_network_namespace(std::string_view name) {
  const bool is_pid =
      !name.empty() && std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
  if (name.empty() || name.find('/') != std::string_view::npos || name == "." || name == "..")
    return make_error(ErrorCode::kUsage,
                      "--netns must be the number of a process, or a name that `ip netns` lists");
  const std::string shown = sanitize_for_terminal(name);
  const std::string path =
      is_pid ? fmt::format("/proc/{}/ns/net", name) : fmt::format("/run/netns/{}", name);
  const UniqueFd space(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!space && (errno == EACCES || errno == EPERM))
    return make_error(
        ErrorCode::kPermission,
        fmt::format("cannot look into the network namespace of {}: needs cap_sys_ptrace; run with "
                    "sudo",
                    shown),
        errno);
  if (!space)
    return make_error(ErrorCode::kUsage,
                      is_pid ? fmt::format("cannot enter the network namespace of process {}: {}; "
                                           "give the pid of a running process",
                                           shown, std::strerror(errno))
                             : fmt::format("no network namespace {}: {}; give a name that `ip "
                                           "netns` lists, or the number of a process",
                                           shown, std::strerror(errno)),
                      errno);
  if (::setns(space.get(), CLONE_NEWNET) != 0)
    return make_error(
        errno == EPERM ? ErrorCode::kPermission : ErrorCode::kUsage,
        errno == EPERM
            ? fmt::format("cannot enter the network namespace {}: needs cap_sys_admin; run with "
                          "sudo",
                          shown)
            : fmt::format("cannot enter the network namespace {}: {}", shown, std::strerror(errno)),
        errno);
  return {};
}

bool shares_network_namespace(int32_t pid) {
  struct stat own {
  }, other{};
  return ::stat("/proc/self/ns/net", &own) == 0 &&
         ::stat(fmt::format("/proc/{}/ns/net", pid).c_str(), &other) == 0 &&
         own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

}  // namespace topspin
