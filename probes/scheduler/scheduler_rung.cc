#include "probes/scheduler/scheduler_rung.h"

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

}  // namespace topspin
