// ResourceProbe: measures the resources of the subject's processes, how near they are to their
// limits, and the pressure on the host and on the subject's cgroup, from /proc and the cgroup
// files. Owned by Probes, on its thread.
//
// status, stat and the fd count cost about 20 us per process. They are read for every process at
// every reading, within a budget: a subject of tens of thousands of processes gets nullopt, not a
// sum over a part of them. The cost of three other numbers depends on their size. pss walks the
// page tables under the subject's mmap lock; it is not read if that would take long, estimated from
// rss. The number of mappings walks the list of mappings. The kinds of fds read the link of each
// descriptor. Each of them is read so rarely that it takes at most 2% of the time; between readings
// it is absent, not repeated.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/tick/sample.h"
#include "probes/proc/cgroup_reader.h"
#include "probes/proc/proc_reader.h"

namespace topspin {

class ResourceProbe {
 public:
  /// `cgroup_directory` is that of the subject, if the subject is a cgroup (v2); else it is empty.
  explicit ResourceProbe(ProcReader& proc, std::string cgroup_directory = {});

  /// Begins the interval of pressure that the first read() ends. REQUIRES: `pid` belongs to the
  /// subject.
  void begin_pressure(int32_t pid);

  /// Sums over `processes`, which were alive a moment ago. `now_ns` is monotonic.
  ResourceReading read(const std::vector<int32_t>& processes, int64_t now_ns);

  /// The pressure between the last two calls of read(). Absent at first, and after the subject's
  /// cgroup has changed.
  const PressureInterval& pressure() const { return pressure_; }

 private:
  /// Something too expensive to read each time.
  struct Paced {
    int64_t next_ns = INT64_MIN;
    bool due(int64_t now_ns) const { return now_ns >= next_ns; }
    void took(int64_t begin_ns, int64_t end_ns);
  };
  struct Limits {
    std::optional<ProcLimits> limits;
    int64_t read_ns = 0;
    int64_t first_read_ns = 0;
  };

  const std::optional<ProcLimits>& limits_of(int32_t pid, int64_t now_ns);
  void read_mappings(const std::vector<int32_t>& processes, ResourceReading& reading);
  void read_fd_kinds(const std::vector<int32_t>& processes, ResourceReading& reading);
  void read_pss(const std::vector<int32_t>& processes, ResourceReading& reading);
  void set_memory_use(ResourceReading& reading) const;
  void read_surroundings(const std::vector<int32_t>& processes, ResourceReading& reading);

  ProcReader& proc_;
  bool watches_cgroup_;
  CgroupReader cgroup_;
  Paced pss_, mappings_, fd_kinds_;
  std::map<int32_t, Limits> limits_;
  int64_t minor_faults_ = 0;  // greatest so far: the sum over processes falls when one leaves
  int64_t major_faults_ = 0;  // unreaped, but the result must not
  std::optional<StallInterval> host_stalls_;
  std::optional<CgroupReading> cgroup_reading_;
  PressureInterval pressure_;
  std::optional<int64_t> memory_room_bytes_;  // as of this reading
  std::optional<int64_t> swap_share_bytes_;   // read together with pss_bytes
};

}  // namespace topspin
