// The list of probes: one line each, in the order in which they are opened and read. A line `x`
// stands for the function x_probe() of probes/x/.
#include "probes/probe.h"

// clang-format off
#define TOPSPIN_PROBES(line) \
  line(scheduler)            \
  line(resources)            \
  line(timers)               \
  line(sockets)              \
  line(syscalls)             \
  line(counters)             \
  line(stacks)               \
  line(interrupts)           \
  line(runtime)              \
  line(owners)
// clang-format on

namespace topspin {

#define TOPSPIN_DECLARE(name) ProbeKind name##_probe();
TOPSPIN_PROBES(TOPSPIN_DECLARE)
#undef TOPSPIN_DECLARE

const std::vector<ProbeKind>& all_probes() {
#define TOPSPIN_CALL(name) name##_probe(),
  static const std::vector<ProbeKind> kAll = {TOPSPIN_PROBES(TOPSPIN_CALL)};
#undef TOPSPIN_CALL
  return kAll;
}

}  // namespace topspin
