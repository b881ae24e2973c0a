// SchedulerRung: one way to measure what the scheduler does with the subject. Each rung has its own
// file and, if it uses BPF, its own object, so that a refusal affects only one rung. Probes owns
// the rung that opened, on its thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/tick/sample.h"
#include "probes/probe.h"
#include "probes/proc/proc_reader.h"
#include "probes/proc/subject.h"
#include "probes/scheduler/bpf/scheduler_abi.h"

namespace topspin {

/// Everything since opening: sums and losses only grow from one reading to the next. The rows of
/// CPUs (totals.cpus) cover the time since the previous reading.
struct SchedulerReading {
  SchedulerInterval totals;
  LossInterval losses;      // the scheduler_* and thread_* fields
  uint64_t open_waits = 0;  // waits that had not ended at the reading
  std::optional<uint64_t> minor_faults;
  std::optional<uint64_t> major_faults;
  std::optional<int64_t> bpf_ns;
  std::vector<ThreadRow> changed_threads;         // since the previous reading; their current state
  std::vector<CpuHolderRow> changed_cpu_holders;  // likewise
  std::vector<int32_t> processes;                 // alive, ascending
};

/// Adds the kernel's own account of a thread, or of all of them.
void add_counters(SchedulerReading& reading, const topspin_counters& counters);

inline constexpr const char* kTimersNeedBpf =
    "timers are measured only beside a BPF rung of the scheduler probe";

class SchedulerRung {
 public:
  virtual ~SchedulerRung() = default;
  virtual SchedulerReading read() = 0;
  /// Why timer oversleep is not measured; empty: it is.
  virtual std::string timers_missing() const { return kTimersNeedBpf; }
  /// The subject's cgroup was removed and created again; its threads are now in the new one.
  virtual void follow_cgroup(uint64_t /*id*/) {}
  /// The map (task storage of topspin_thread) with the threads' waits; -1: this rung has none.
  virtual int task_storage_fd() const { return -1; }
};

using SchedulerRungResult = Result<std::unique_ptr<SchedulerRung>>;

// The rungs, best first. Each fails with a sentence that says what is missing.
SchedulerRungResult open_scheduler_tp_btf(const Subject& subject, const ProbeOptions& options,
                                          int thread_storage_fd);
SchedulerRungResult open_scheduler_raw_tp(const Subject& subject, const ProbeOptions& options,
                                          ProcReader& proc);
SchedulerRungResult open_scheduler_tracepoint(const Subject& subject, const ProbeOptions& options,
                                              ProcReader& proc);
SchedulerRungResult open_scheduler_perf(const Subject& subject, const ProbeOptions& options,
                                        ProcReader& proc);
SchedulerRungResult open_scheduler_proc(const Subject& subject, const ProbeOptions& options,
                                        ProcReader& proc);

inline constexpr Rung kSchedulerLadder[] = {Rung::kTpBtf, Rung::kRawTracepoint, Rung::kTracepoint,
                                            Rung::kPerf, Rung::kProc};

/// The probe "timers" has one rung, raw_tp, beside either BPF rung of "scheduler".
inline bool wants_timers(const ProbeOptions& options) {
  const auto forced = options.forced.find("timers");
  return forced == options.forced.end() || forced->second == Rung::kRawTracepoint;
}

/// Opens one rung of the ladder, and no other. `thread_storage_fd`: the top rung's map of
/// threads (make_task_storage()); -1: it makes its own.
SchedulerRungResult open_scheduler_rung(Rung rung, const Subject& subject,
                                        const ProbeOptions& options, ProcReader& proc,
                                        int thread_storage_fd = -1);

}  // namespace topspin
