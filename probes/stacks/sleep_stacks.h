// SleepStacks: where the subject's threads slept, who woke them, and how long they worked between
// two sleeps. Part of the probe "stacks".
//
// BPF programs count sleeps by stack, reason and waker. Each tick reads the sums and replaces
// addresses by names. A sleep is counted when the thread runs again, and its time ends with the
// wakeup, as in the scheduler's off_cpu. The longest busy stretches of each thread and tick come
// one by one. Owned by StacksProbe, on its thread.
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
  /// Fails with kPermission or kUnsupported if the programs do not load.
  static Result<std::unique_ptr<SleepStacks>> open(const Subject& subject);
  ~SleepStacks();

  /// The current state of the rows that grew since the last call. REQUIRES: `names` has read its
  /// rings.
  std::vector<SleepStackRow> take_interval(CpuStacks& names);

  /// The longest busy stretches of each thread that ended since the last call, without samples.
  std::vector<BusyStretch> take_stretches();
  /// Those that found no room in the ring, since the beginning.
  uint64_t stretches_lost() const;

 private:
  struct Object;
  explicit SleepStacks(std::unique_ptr<Object> object);
  std::unique_ptr<Object> object_;
};

}  // namespace topspin
