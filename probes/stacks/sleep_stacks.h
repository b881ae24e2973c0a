// SleepStacks: where the subject's threads slept, and who woke them. A part of the probe "stacks".
//
// BPF programs count sleeps by stack, reason and waker; each tick reads the sums and puts names in
// the place of addresses. A sleep is counted when the thread runs again, and its time ends with the
// wakeup, as in the scheduler's off_cpu. Owned by StacksProbe, on its thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/result.h"
#include "core/tick/sample.h"
#include "probes/proc/subject.h"
#include "probes/stacks/cpu_stacks.h"

namespace topspin {

class SleepStacks {
 public:
  /// kPermission or kUnsupported where the programs do not load.
  static Result<std::unique_ptr<SleepStacks>> open(const Subject& subject);
  ~SleepStacks();

  /// The rows that grew since the last call, as they stand now. `names` has read its rings.
  std::vector<SleepStackRow> take_interval(CpuStacks& names);

 private:
  struct Object;
  explicit SleepStacks(std::unique_ptr<Object> object);
  std::unique_ptr<Object> object_;
};

}  // namespace topspin
