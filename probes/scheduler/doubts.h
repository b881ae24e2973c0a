// Whether the scheduler probe's numbers agree with the kernel's own. Pure.
#pragma once

#include <optional>
#include <string>

#include "core/tick/sample.h"
#include "probes/probe.h"

namespace topspin {

/// `kernel_counts_sleep`: whether this kernel may count sleep as waiting.
SchedulerSelfTest judge_self_test(uint64_t histogram_sum_ns, uint64_t run_delay_ns, uint64_t waits,
                                  bool kernel_counts_sleep);

/// Why the probe's sums of a run are in doubt, compared with `usage`; nullopt: they are not.
std::optional<std::string> doubt_sums(Rung rung, const SchedulerInterval& sums,
                                      const CommandUsage& usage);

}  // namespace topspin
