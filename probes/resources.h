// ResourceProbe: what the subject's processes hold, from /proc. Owned by Probes, on its thread.
//
// status, stat and the fd count cost about 20 us a process and are read for every process on every
// reading, within a budget: a subject of tens of thousands of processes gets nullopt rather than a
// sum over part of it. pss and mappings walk the subject's page tables and mappings under its mmap
// lock, which disturbs it. They are read at most so often that they take 2% of the time, and never
// when the walk would be long (estimated from rss); between, they are absent, not repeated.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/sample.h"
#include "probes/proc_reader.h"

namespace topspin {

class ResourceProbe {
 public:
  explicit ResourceProbe(ProcReader& proc) : proc_(proc) {}

  /// Sums over `processes`, all of them alive a moment ago. `now_ns` is monotonic.
  ResourceReading read(const std::vector<int32_t>& processes, int64_t now_ns);

 private:
  ProcReader& proc_;
  int64_t next_walk_ns_ = INT64_MIN;
  int64_t minor_faults_ = 0;  // a sum over processes falls when one leaves unreaped; the answer
  int64_t major_faults_ = 0;  // does not
};

}  // namespace topspin
