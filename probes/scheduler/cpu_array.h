// CpuArray sums what the scheduler's BPF programs have counted over all CPUs. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/tick/sample.h"
#include "probes/bpf/mapped_array.h"
#include "probes/scheduler/bpf/scheduler_abi.h"
#include "probes/scheduler/rungs/scheduler_rung.h"

namespace topspin {

class CpuArray {
 public:
  explicit CpuArray(MappedBpfArray<topspin_cpu> cpus)
      : cpus_(std::move(cpus)), copies_(cpus_.size()) {}

  /// Sums the CPUs into `reading`, with a row for each CPU since the last reading.
  void read(SchedulerReading& reading);

  const MappedBpfArray<topspin_cpu>& cpus() const { return cpus_; }

  /// From now on timers are measured too: their histograms are present, even if empty.
  void add_timers() { with_timers_ = true; }

 private:
  struct Copy {
    uint64_t events = 0;
    Histogram queue_wait;
    Histogram preemption_wait;
    Histogram wake_delivery;
    Histogram on_cpu;
    Histogram busy_stretch;
    std::array<Histogram, kBlockedByCount> blocked_by;
    Histogram timer_oversleep;
    Histogram timer_slack;
    Histogram timer_late;
    Histogram timer_queueing;
    CpuScheduling row;  // switches, waits and wait_ns since opening
    std::array<uint64_t, TOPSPIN_QUEUE_LENGTHS> queue_lengths{};
  };
  static void refresh(Copy& copy, const topspin_cpu& cpu);
  void add(const topspin_cpu& cpu, const Copy& copy, SchedulerReading& reading) const;
  void take_row(uint32_t index, std::vector<CpuScheduling>& rows);

  MappedBpfArray<topspin_cpu> cpus_;
  bool with_timers_ = false;
  std::vector<Copy> copies_;  // CPUs on which nothing happened are not read again
};

}  // namespace topspin
