// Finds out how the kernel's two kinds of timers that count are recognised (bpf/timers.bpf.h).
#pragma once

#include "core/base/result.h"
#include "probes/scheduler/bpf/scheduler_abi.h"

namespace topspin {

/// REQUIRES: the programs are attached, and `known`, their variable, is mapped. Sleeps a few ms.
Status learn_timers(topspin_known_timers& known);

}  // namespace topspin
