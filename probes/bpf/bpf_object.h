// What the BPF rungs share in user space: libbpf's talk turned into a reason, the mapped per-CPU
// array, the ring of exits, and records turned into rows. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "core/result.h"
#include "core/sample.h"
#include "probes/scheduler/scheduler_abi.h"
#include "probes/scheduler/scheduler_rung.h"

namespace topspin {

/// While it lives, libbpf prints nothing to standard error and what it warns of is kept.
class BpfLog {
 public:
  BpfLog();
  ~BpfLog();
  BpfLog(const BpfLog&) = delete;
  BpfLog& operator=(const BpfLog&) = delete;

  /// One sentence for a libbpf call that failed with `os_errno` (positive) while doing `what`.
  Error error(std::string_view what, int os_errno, bool needs_btf = true) const;

 private:
  libbpf_print_fn_t previous_;
};

/// A BPF_F_MMAPABLE array of topspin_cpu: reading it needs no system call and no capability.
class CpuArray {
 public:
  static Result<CpuArray> map(int map_fd, uint32_t cpus);
  CpuArray(CpuArray&& other) noexcept;
  CpuArray& operator=(CpuArray&&) = delete;
  ~CpuArray();

  /// Sums the CPUs into `reading`, and gives each CPU's own row of the time since the last reading.
  void read(SchedulerReading& reading);

  /// From now on timers are measured too: their histograms are given, if only as empty ones.
  void add_timers() { with_timers_ = true; }

 private:
  CpuArray(const topspin_cpu* cpus, uint32_t count);
  struct Copy {
    uint64_t events = 0;
    Histogram queue_wait;
    Histogram preemption_wait;
    Histogram wake_delivery;
    Histogram on_cpu;
    Histogram timer_oversleep;
    Histogram timer_slack;
    Histogram timer_late;
    Histogram timer_queueing;
    CpuScheduling row;  // switches, waits and wait_ns since opening
    std::array<uint64_t, TOPSPIN_QUEUE_LENGTHS> queue_lengths{};
  };
  void take_row(uint32_t index, std::vector<CpuScheduling>& rows);

  const topspin_cpu* cpus_ = nullptr;
  uint32_t count_ = 0;
  bool with_timers_ = false;
  std::vector<Copy> copies_;  // CPUs on which nothing happened are not read again
};

/// Keeps rows that do not fit into one interval for the next: nothing of a thread is lost, since
/// rows are cumulative and a newer one of the same thread takes the place of the older.
class RowQueue {
 public:
  explicit RowQueue(uint64_t limit) : limit_(limit) {}
  void push(ThreadRow row);
  std::vector<ThreadRow> take();
  /// Rows that found no room: more than kBacklog intervals' rows may not wait.
  uint64_t dropped() const { return dropped_; }

 private:
  static constexpr uint64_t kBacklog = 4;
  using Identity = std::pair<int32_t, int64_t>;  // tid, start time
  uint64_t limit_;
  uint64_t dropped_ = 0;
  std::vector<ThreadRow> rows_;  // oldest first
  std::map<Identity, size_t> places_;
};

ThreadRow make_row(const topspin_record& record, const topspin_times& times);
/// From the ring of exits; nullopt if the bytes are not those of a record.
std::optional<ThreadRow> make_exit_row(const void* data, size_t size);
void add_counters(SchedulerReading& reading, const topspin_counters& counters);

/// Programs that the kernel skipped because they were running already on that CPU, and the time
/// spent in all of them if the kernel counts it (kernel.bpf_stats_enabled).
void add_program_stats(SchedulerReading& reading, std::span<const int> program_fds);

}  // namespace topspin
