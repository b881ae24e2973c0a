// CgroupReader: reads the memory, CPU quota and stalls of a process's control groups. It supports
// version 2, and the memory and cpu hierarchies of version 1, which many hosts still have. Owned by
// ResourceProbe, on its thread.
//
// A limit may be set in any group above that of the process, so memory and quota are looked for up
// to the root of the mount. Mounts are read once. The process's group is read at each reading,
// because the process may be moved.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/tick/sample.h"
#include "probes/proc/proc_reader.h"

namespace topspin {

/// cpu.stat of a group, since it was created. Version 2 has `throttled_usec`, version 1
/// `throttled_time` (ns).
struct CpuQuotaUse {
  uint64_t periods = 0;
  uint64_t throttled_periods = 0;
  uint64_t throttled_ns = 0;
};
/// nullopt: the group has no CPU controller.
std::optional<CpuQuotaUse> parse_cpu_stat(std::string_view text);

struct CgroupMount {
  std::string root;         // the group at the top of the mount
  std::string mount_point;  // where it is mounted
};
/// Finds in /proc/self/mountinfo the mount of version 2 (`controller` empty), or of the version 1
/// hierarchy with that controller.
std::optional<CgroupMount> find_cgroup_mount(std::string_view mountinfo,
                                             std::string_view controller);
/// Finds in /proc/PID/cgroup the group's path in that hierarchy.
std::optional<std::string> find_cgroup_path(std::string_view text, std::string_view controller);

/// Values since the group was created, except for memory, which is current.
struct CgroupReading {
  std::string name;  // changes when the process is moved to another group
  std::optional<int64_t> memory_bytes;
  std::optional<int64_t> memory_room_bytes;  // left until the tightest limit; nullopt: no limit
  std::optional<CpuQuotaUse> quota;          // summed over the group and those above it
  StallInterval stalls;
};

class CgroupReader {
 public:
  /// `directory` is the subject's group of version 2, if the subject is one. Otherwise groups are
  /// found by pid.
  CgroupReader(ProcReader& proc, std::string directory);

  /// REQUIRES: `pid` is a process of the subject. Values that cannot be read are absent.
  CgroupReading read(int32_t pid);

 private:
  struct Hierarchy {
    std::optional<CgroupMount> mount;
    std::string_view controller;
  };
  /// The group's directory, below the top of the mount. Empty if it does not exist.
  std::string directory_of(const Hierarchy& hierarchy, std::string_view cgroup_text) const;
  void read_memory(const std::string& directory, const std::string& top, bool v2,
                   CgroupReading& into);
  void read_quota(const std::string& directory, const std::string& top, CgroupReading& into);
  std::optional<int64_t> read_number(const std::string& path);

  ProcReader& proc_;
  std::string directory_;
  Hierarchy unified_{std::nullopt, ""};
  Hierarchy memory_{std::nullopt, "memory"};
  Hierarchy cpu_{std::nullopt, "cpu"};
};

}  // namespace topspin
