// Subject: a resolved SubjectSpec. It is a process (pid and start time, so that a reused pid is not
// taken for it) or a cgroup (its id, which BPF sees, and its directory). Plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <sys/types.h>

#include "core/base/result.h"
#include "core/base/unique_fd.h"
#include "probes/proc/proc_reader.h"

namespace topspin {

/// What to watch: a process and its descendants (fork, exec and exit are followed), or a cgroup
/// (v2, including the cgroups below it).
struct SubjectSpec {
  enum class Kind : uint8_t { kNone, kProcessTree, kCgroup };
  Kind kind = Kind::kNone;
  pid_t pid = 0;
  std::string cgroup_path;  // absolute, or below the cgroup2 mount
};

struct Subject {
  SubjectSpec::Kind kind = SubjectSpec::Kind::kNone;
  int32_t pid = 0;
  uint64_t start_ticks = 0;
  uint64_t cgroup_id = 0;
  std::string cgroup_directory;
  int32_t own_pid = 0;  // of topspin, which is not in its own subject unless it was named
  std::string remark;   // what the user should know about the choice; may be empty
};

/// Where cgroup2 is mounted, as /proc says it: with octal escapes.
std::optional<std::string> cgroup2_mount(const std::string& proc_root);

/// The number of a thread stands for its process; the remark says so. kUsage if the process or
/// cgroup does not exist; kPermission if /proc hides the process.
Result<Subject> resolve_subject(const SubjectSpec& spec, ProcReader& proc);

/// Notices when the subject's cgroup is removed, and when a cgroup is created again at its path.
/// Lives with Probes, on its thread.
class CgroupPath {
 public:
  explicit CgroupPath(const Subject& subject);

  struct Change {
    std::string sentence;
    uint64_t new_id = 0;  // 0: it does not exist now
  };
  /// The change since the last call; nullopt if there was none.
  std::optional<Change> look();

  /// Readable when something was created or removed in the cgroup's parent directory. -1 if that
  /// cannot be watched, or if the subject is not a cgroup.
  int notice_fd() const { return notices_.get(); }

 private:
  std::string directory_;  // empty: the subject is not a cgroup
  uint64_t id_ = 0;        // 0: it does not exist
  UniqueFd notices_;
};

}  // namespace topspin
