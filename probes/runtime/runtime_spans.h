// RuntimeSpans: the BPF side of the probe "runtime": counts spans between points in the subject's
// programs. An uprobe is attached to the file, for every process that runs it; those of others than
// the subject's are left out in BPF. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/base/result.h"
#include "core/number/histogram.h"
#include "probes/proc/subject.h"
#include "probes/runtime/runtime_points.h"

namespace topspin {

/// Sums since it was opened.
struct RuntimeReading {
  std::array<Histogram, TOPSPIN_RUNTIME_KINDS> spans;
  uint64_t unfinished = 0;
  uint64_t no_room = 0;
  int64_t bpf_ns = 0;
};

class RuntimeSpans {
 public:
  virtual ~RuntimeSpans() = default;

  static Result<std::unique_ptr<RuntimeSpans>> open(const Subject& subject);

  /// All of these points of the file at `path`, or none of them.
  virtual Status attach(const std::string& path, std::span<const PlacedPoint> points) = 0;

  /// `kinds`: whether to read each.
  virtual RuntimeReading read(const std::array<bool, TOPSPIN_RUNTIME_KINDS>& kinds) = 0;

  /// Makes room that processes hold which have ended.
  virtual void forget_ended(const std::string& proc_root) = 0;

  virtual void follow_cgroup(uint64_t new_id) = 0;
};

}  // namespace topspin
