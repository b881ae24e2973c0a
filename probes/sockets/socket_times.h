// SocketTimes: how long connections waited to be accepted, data to be read, and of what each
// reply's time was made, by BPF (sockets.bpf.c). docs/sockets.md defines the numbers. Two features,
// "accepts" and "replies", of one object and of one rung, tp_btf; each can be had without the
// other. Owned by Probes, on its thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "core/base/result.h"
#include "core/tick/sample.h"
#include "probes/proc/subject.h"

namespace topspin {

struct SocketFeatures {
  bool accepts = false;
  bool replies = false;
};

/// What it has seen since opening, but for the fullest queue: that is since the previous reading.
struct SocketTimesReading {
  SocketInterval totals;  // the histograms of the features that are open
  std::optional<uint64_t> accept_queue_max;
  std::optional<uint64_t> accept_queue_limit;
  std::optional<uint64_t> udp_drops;  // with replies: at full sockets that it knows of
  LossInterval losses;                // the socket_* and repl* fields
  int64_t bpf_ns = 0;                 // 0: the kernel does not count it
};

class SocketTimes {
 public:
  virtual ~SocketTimes() = default;
  /// All of `features`, or an error. `scheduler_threads_fd` is SchedulerRung::task_storage_fd():
  /// with it waits for a CPU are those of the scheduler probe, without (-1) those of the kernel's
  /// run_delay, which leaves many short ones out.
  static Result<std::unique_ptr<SocketTimes>> open(const Subject& subject,
                                                   const SocketFeatures& features,
                                                   int scheduler_threads_fd);
  virtual SocketTimesReading read() = 0;
  /// The subject's cgroup was removed and made again.
  virtual void follow_cgroup(uint64_t id) = 0;

  /// Readable when handle_notices() is due: the subject has begun to listen or to serve. What it
  /// does before that call is measured in part only.
  virtual int notice_fd() const = 0;
  virtual void handle_notices() = 0;
};

}  // namespace topspin
