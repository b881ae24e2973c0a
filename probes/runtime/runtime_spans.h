// RuntimeSpans: the BPF side of the probe "runtime". It counts spans between points in the
// subject's programs. A uprobe is attached to the file, so it fires in every process that runs it;
// BPF ignores processes outside the subject. One thread.
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

  /// Attaches to all of these points of the file at `path`, or to none of them.
  virtual Status attach(const std::string& path, std::span<const PlacedPoint> points) = 0;

  /// Reads each kind for which `kinds` is true.
  virtual RuntimeReading read(const std::array<bool, TOPSPIN_RUNTIME_KINDS>& kinds) = 0;

  /// Frees the room that ended processes hold.
  virtual void forget_ended(const std::string& proc_root) = 0;

  virtual void follow_cgroup(uint64_t new_id) = 0;
};

}  // namespace topspin
