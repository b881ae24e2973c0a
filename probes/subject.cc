#include "probes/subject.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

namespace topspin {
namespace {

/// Where cgroup2 is mounted; mountinfo has the file system's type after " - ", octal escapes kept.
std::optional<std::string> cgroup2_mount(const std::string& proc_root) {
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

bool is_cgroup2(const std::string& path) {
  struct statfs info {};
  return ::statfs(path.c_str(), &info) == 0 &&
         static_cast<uint64_t>(info.f_type) == CGROUP2_SUPER_MAGIC;
}

Result<Subject> resolve_cgroup(const std::string& path, const std::string& proc_root) {
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
  return subject;
}

}  // namespace

Result<Subject> resolve_subject(const SubjectSpec& spec, ProcReader& proc) {
  if (spec.kind == SubjectSpec::Kind::kNone) return Subject{};
  if (spec.kind == SubjectSpec::Kind::kCgroup) return resolve_cgroup(spec.cgroup_path, proc.root());
  const auto stat = spec.pid > 0 ? proc.stat(spec.pid) : std::nullopt;
  if (!stat || stat->ended())
    return make_error(
        ErrorCode::kUsage,
        fmt::format("no process {}: it has ended, or never was; give a running pid", spec.pid));
  Subject subject;
  subject.kind = SubjectSpec::Kind::kProcessTree;
  subject.pid = spec.pid;
  subject.start_ticks = stat->start_ticks;
  return subject;
}

}  // namespace topspin
