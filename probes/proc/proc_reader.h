// ProcReader: reads processes and threads from /proc. The parsers are pure functions of a text; the
// reader reads the files below a root, which tests replace. Lives on one thread.
//
// A process may end between any two reads. Values that cannot be read are nullopt, never 0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/proc_stat.h"
#include "core/base/result.h"

namespace topspin {

/// /proc/PID/status. Kernel threads and zombies have no memory lines.
struct ProcStatus {
  std::optional<int32_t> process;  // the thread's process, because /proc/TID exists for each thread
  std::optional<int64_t> rss_bytes;
  std::optional<int64_t> anonymous_bytes;
  std::optional<int64_t> vsz_bytes;
  std::optional<int64_t> swap_bytes;
  std::optional<int64_t> file_bytes;
  std::optional<int64_t> shared_bytes;
  std::optional<int64_t> page_table_bytes;
  std::optional<int64_t> threads;
  std::optional<uint64_t> voluntary_switches;    // of this thread only
  std::optional<uint64_t> involuntary_switches;  // likewise
};
ProcStatus parse_proc_status(std::string_view text);

/// /proc/PID/task/TID/schedstat, which exists even if the kernel was built without SCHEDSTATS.
struct ProcSchedstat {
  uint64_t cpu_ns = 0;
  uint64_t run_delay_ns = 0;
  uint64_t timeslices = 0;
};
std::optional<ProcSchedstat> parse_proc_schedstat(std::string_view text);

/// The Pss and SwapPss lines of /proc/PID/smaps_rollup. They divide shared memory among its users,
/// so that a sum over processes counts it once.
struct ProcShare {
  int64_t pss_bytes = 0;
  int64_t swap_bytes = 0;
};
std::optional<ProcShare> parse_smaps_rollup(std::string_view text);

/// The soft limits of /proc/PID/limits; nullopt: unlimited, or not there.
struct ProcLimits {
  std::optional<int64_t> open_files;
  std::optional<int64_t> address_space_bytes;
};
ProcLimits parse_proc_limits(std::string_view text);

/// /proc/meminfo.
struct ProcMemory {
  std::optional<int64_t> total_bytes;
  std::optional<int64_t> available_bytes;
};
ProcMemory parse_meminfo(std::string_view text);

/// The "total" of each line of a PSI file (/proc/pressure/* and a cgroup's *.pressure). Kernels
/// before 5.13 give no "full" line for CPU.
struct ProcPressure {
  std::optional<uint64_t> some_ns;
  std::optional<uint64_t> full_ns;
};
ProcPressure parse_pressure(std::string_view text);

/// How many of the ports of ip_local_port_range are not in ip_local_reserved_ports.
std::optional<int64_t> count_ephemeral_ports(std::string_view range, std::string_view reserved);

/// Open file descriptors by kind.
struct FdKinds {
  int64_t sockets = 0;
  int64_t pipes = 0;
  int64_t files = 0;
  int64_t anonymous = 0;  // epoll, eventfd, timerfd, ...
  int64_t others = 0;
};

class ProcReader {
 public:
  explicit ProcReader(std::string root);

  std::vector<int32_t> processes() const;
  std::vector<int32_t> threads(int32_t pid) const;

  std::optional<ProcStat> stat(int32_t pid);
  std::optional<ProcStat> thread_stat(int32_t pid, int32_t tid);
  std::optional<ProcStatus> status(int32_t pid);
  std::optional<ProcStatus> thread_status(int32_t pid, int32_t tid);
  std::optional<ProcSchedstat> thread_schedstat(int32_t pid, int32_t tid);

  /// Walks the page tables with the process's mmap lock held for reading, which takes some ms per
  /// GiB.
  std::optional<ProcShare> share(int32_t pid);
  /// Counts the lines of maps: about 1 us each. Gives up (nullopt) beyond `deadline_ns`
  /// (monotonic).
  std::optional<int64_t> mappings(int32_t pid, int64_t deadline_ns);
  /// Open file descriptors: the size of the directory fd if the kernel reports it (6.2), else
  /// counted.
  std::optional<int64_t> fds(int32_t pid);
  /// Reads the link of each: about 1 us each. Gives up (nullopt) beyond `deadline_ns` (monotonic).
  std::optional<FdKinds> fd_kinds(int32_t pid, int64_t deadline_ns);
  std::optional<ProcLimits> limits(int32_t pid);

  // Of the host, or of the namespace that this process is in.
  ProcMemory memory();
  std::optional<ProcPressure> pressure(std::string_view resource);  // "cpu", "memory", "io"
  std::optional<int64_t> max_map_count();
  std::optional<int64_t> ephemeral_ports();

  const std::string& root() const { return root_; }

  /// The file's text, at most 64 KiB, in a buffer that the next call of any function reuses.
  std::optional<std::string_view> read(const std::string& path);

 private:
  std::string root_;
  bool is_procfs_;  // not a folder made by a test
  std::string buffer_;
};

}  // namespace topspin
