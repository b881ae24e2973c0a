// What the scheduler did, as JSON: of a run, and of a thread. Private to report.
#pragma once

#include "core/sample.h"
#include "report/json/json_parts.h"

namespace topspin {

/// `summary.scheduler` of a run's report.
Json scheduler_json(const SchedulerInterval& scheduler);

/// One of `threads`. `run_queue_wait_ns` and `on_cpu_ns` have the fields of every latency; on rungs
/// that know sums alone, all but `sum` are null.
Json thread_json(const ThreadRow& thread);

}  // namespace topspin
