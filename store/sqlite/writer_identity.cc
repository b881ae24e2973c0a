#include "store/sqlite/writer_identity.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/proc_stat.h"
#include "core/base/unique_fd.h"

namespace topspin {
namespace {

/// The first bytes of a small file under /proc; empty if it cannot be read.
std::string read_small(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  std::array<char, 1024> buffer;
  const ssize_t length = ::read(fd.get(), buffer.data(), buffer.size());
  return length <= 0 ? std::string() : std::string(buffer.data(), static_cast<size_t>(length));
}

std::optional<ProcStat> read_process_stat(int64_t pid) {
  return parse_proc_stat(read_small("/proc/" + std::to_string(pid) + "/stat"));
}

std::string read_boot_id() {
  std::string id = read_small("/proc/sys/kernel/random/boot_id");
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

int64_t read_pid_namespace() {
  struct stat status {};
  return ::stat("/proc/self/ns/pid", &status) == 0 ? static_cast<int64_t>(status.st_ino) : 0;
}

}  // namespace

WriterIdentity this_writer() {
  WriterIdentity identity;
  identity.boot_id = read_boot_id();
  identity.pid_namespace = read_pid_namespace();
  identity.pid = ::getpid();
  if (const auto stat = read_process_stat(identity.pid))
    identity.start_ticks = static_cast<int64_t>(stat->start_ticks);
  return identity;
}

WriterFate fate_of(const WriterIdentity& writer) {
  if (writer.boot_id != read_boot_id()) return WriterFate::kGone;
  if (writer.pid_namespace != read_pid_namespace()) return WriterFate::kHidden;
  // For kill(), 0 and negative numbers are process groups. Only damaged files contain them.
  if (writer.pid <= 0 || writer.pid > INT32_MAX) return WriterFate::kGone;
  if (const auto stat = read_process_stat(writer.pid)) {
    if (stat->ended()) return WriterFate::kGone;
    if (writer.start_ticks != 0 && static_cast<int64_t>(stat->start_ticks) != writer.start_ticks) {
      return WriterFate::kGone;
    }
    return WriterFate::kAlive;
  }
  // If /proc hides other users' processes, this still shows whether the pid is in use.
  const bool taken = ::kill(static_cast<pid_t>(writer.pid), 0) == 0 || errno == EPERM;
  return taken ? WriterFate::kAlive : WriterFate::kGone;
}

}  // namespace topspin
