#include "probes/scheduler/rungs/scheduler_rung.h"

#include <fmt/format.h>

namespace topspin {

void add_counters(SchedulerReading& reading, const topspin_counters& counters) {
  const auto add = [](std::optional<uint64_t>& sum, uint64_t value) {
    sum = sum.value_or(0) + value;
  };
  add(reading.totals.cpu_ns, counters.cpu_ns);
  add(reading.totals.kernel_run_delay_ns, counters.run_delay_ns);
  add(reading.totals.voluntary_switches, counters.voluntary_switches);
  add(reading.totals.involuntary_switches, counters.involuntary_switches);
  add(reading.totals.migrations, counters.migrations);
  add(reading.minor_faults, counters.minor_faults);
  add(reading.major_faults, counters.major_faults);
}

SchedulerRungResult open_scheduler_rung(Rung rung, const Subject& subject,
                                        const ProbeOptions& options, ProcReader& proc,
                                        int thread_storage_fd) {
  switch (rung) {
    case Rung::kTpBtf: return open_scheduler_tp_btf(subject, options, thread_storage_fd);
    case Rung::kRawTracepoint: return open_scheduler_raw_tp(subject, options, proc);
    case Rung::kProc: return open_scheduler_proc(subject, options, proc);
    case Rung::kTracepoint: return open_scheduler_tracepoint(subject, options, proc);
    case Rung::kPerf: return open_scheduler_perf(subject, options, proc);
    case Rung::kFentry:
    case Rung::kNone: break;
  }
  return make_error(ErrorCode::kUnsupported,
                    fmt::format("the scheduler probe has no rung {}", rung_name(rung)));
}

}  // namespace topspin
