#include "probes/proc/subject.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/base/text.h"

namespace topspin {
namespace {

bool is_cgroup2(const std::string& path) {
  struct statfs info {};
  return ::statfs(path.c_str(), &info) == 0 &&
         static_cast<uint64_t>(info.f_type) == CGROUP2_SUPER_MAGIC;
}

/// 0 if /proc was made by a test.
int32_t own_pid(const ProcReader& proc) { return proc.root() == "/proc" ? ::getpid() : 0; }

Result<Subject> resolve_cgroup(const std::string& path, const std::string& proc_root,
                               int32_t own_pid) {
  std::string directory = path;
  if (!is_cgroup2(directory)) {
    const auto mount = cgroup2_mount(proc_root);
    if (!mount)
      return make_error(ErrorCode::kUnsupported,
                        "cannot watch a cgroup: cgroup2 is not mounted; use --pid");
    directory = *mount + (path.starts_with('/') ? "" : "/") + path;
  }
  struct ::stat info {};
  if (::stat(directory.c_str(), &info) != 0)
    return make_error(ErrorCode::kUsage,
                      fmt::format("no cgroup {}: {}; give its path below the cgroup2 mount", path,
                                  std::strerror(errno)),
                      errno);
  if (!S_ISDIR(info.st_mode) || !is_cgroup2(directory))
    return make_error(ErrorCode::kUsage,
                      fmt::format("{} is not a directory of cgroup2; give one, such as "
                                  "/sys/fs/cgroup/system.slice",
                                  path));
  Subject subject;
  subject.kind = SubjectSpec::Kind::kCgroup;
  subject.cgroup_directory = directory;
  subject.cgroup_id = info.st_ino;  // kernfs: the inode number is the id
  subject.own_pid = own_pid;
  return subject;
}

/// The process of a thread; `tid` may be the pid of a process.
std::optional<int32_t> process_of(int32_t tid, ProcReader& proc) {
  const auto status = proc.status(tid);
  return status ? status->process : std::nullopt;
}

/// Whether /proc hides other users' processes (hidepid).
bool hides_processes(const std::string& proc_root) {
  std::ifstream mounts(proc_root + "/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(" - proc ") == std::string::npos) continue;
    for (const char* option : {"hidepid=1", "hidepid=2", "hidepid=4", "hidepid=noaccess",
                               "hidepid=invisible", "hidepid=ptraceable"})
      if (line.find(option) != std::string::npos) return true;
  }
  return false;
}

/// The error for a process that cannot be watched.
Error no_such_process(int32_t pid, const std::string& proc_root) {
  const bool exists = pid > 0 && proc_root == "/proc" && (::kill(pid, 0) == 0 || errno == EPERM);
  if (exists && hides_processes(proc_root))
    return make_error(
        ErrorCode::kPermission,
        fmt::format("process {} runs, but {} is mounted with hidepid and hides it from this user; "
                    "run with sudo, give topspin cap_sys_ptrace, or mount {} with gid=GROUP of a "
                    "group of yours",
                    pid, proc_root, proc_root),
        EPERM);
  if (exists)
    return make_error(ErrorCode::kPermission,
                      fmt::format("process {} runs, but {} does not show it; is it the /proc of "
                                  "another pid namespace?",
                                  pid, proc_root),
                      EPERM);
  return make_error(
      ErrorCode::kUsage,
      fmt::format(
          "no process {}: it has ended, or never existed; give the pid of a running process", pid));
}

}  // namespace

std::optional<std::string> cgroup2_mount(const std::string& proc_root) {
  // In mountinfo the file system's type follows " - ".
  std::ifstream mounts(proc_root + "/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const size_t separator = line.find(" - ");
    if (separator == std::string::npos || line.compare(separator + 3, 8, "cgroup2 ") != 0) continue;
    std::istringstream words(line);
    std::string id, parent, device, root, mount_point;
    words >> id >> parent >> device >> root >> mount_point;
    return mount_point;
  }
  return std::nullopt;
}

Result<Subject> resolve_subject(const SubjectSpec& spec, ProcReader& proc) {
  if (spec.kind == SubjectSpec::Kind::kNone) return Subject{};
  if (spec.kind == SubjectSpec::Kind::kCgroup)
    return resolve_cgroup(spec.cgroup_path, proc.root(), own_pid(proc));
  Subject subject;
  subject.kind = SubjectSpec::Kind::kProcessTree;
  subject.own_pid = own_pid(proc);
  subject.pid = spec.pid;
  const auto process = spec.pid > 0 ? process_of(spec.pid, proc) : std::nullopt;
  if (process && *process != spec.pid) {
    const auto thread = proc.thread_stat(*process, spec.pid);
    subject.pid = *process;
    subject.remark = fmt::format(
        "{} is a thread{} of process {}: the whole process is watched", spec.pid,
        thread ? fmt::format(" ({})", sanitize_for_terminal(thread->name)) : "", *process);
  }
  const auto stat = subject.pid > 0 ? proc.stat(subject.pid) : std::nullopt;
  if (!stat) return no_such_process(spec.pid, proc.root());
  if (stat->ended())
    return make_error(
        ErrorCode::kUsage,
        fmt::format(
            "no process {}: it has ended, or never existed; give the pid of a running process",
            spec.pid));
  subject.start_ticks = stat->start_ticks;
  return subject;
}

CgroupPath::CgroupPath(const Subject& subject)
    : directory_(subject.cgroup_directory), id_(subject.cgroup_id) {
  if (directory_.empty()) return;
  std::string above = directory_;
  while (above.size() > 1 && above.ends_with('/')) above.pop_back();
  above.resize(std::max<size_t>(1, above.rfind('/')));
  notices_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  // If this fails, nothing is lost: each tick also looks.
  if (notices_ && ::inotify_add_watch(notices_.get(), above.c_str(), IN_CREATE | IN_DELETE) < 0)
    notices_.reset();
}

std::optional<CgroupPath::Change> CgroupPath::look() {
  if (directory_.empty()) return std::nullopt;
  std::array<char, 4096> events;  // ignored: the directory itself shows what happened
  while (notices_ && ::read(notices_.get(), events.data(), events.size()) > 0) {
  }
  struct ::stat info {};
  const uint64_t now = ::stat(directory_.c_str(), &info) == 0 ? info.st_ino : 0;
  if (now == id_) return std::nullopt;
  const bool was_there = id_ != 0;
  id_ = now;
  if (now == 0) return Change{fmt::format("the cgroup {} was removed", directory_), 0};
  return Change{
      fmt::format("the cgroup {} was {}created again: its processes are watched from here on",
                  directory_, was_there ? "removed and " : ""),
      now};
}

}  // namespace topspin
