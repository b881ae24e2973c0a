#include "probes/scheduler_rung.h"
namespace topspin {
SchedulerRungResult open_scheduler_perf(const Subject&, const ProbeOptions&, ProcReader&) {
  return make_error(ErrorCode::kUnsupported, "not built yet");
}
}  // namespace topspin
