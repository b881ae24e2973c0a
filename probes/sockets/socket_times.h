// SocketTimes: how long connections waited to be accepted, how long data waited to be read, and the
// parts of each reply's time, measured by BPF (sockets.bpf.c). docs/sockets.md defines the numbers.
// It has two features, "accepts" and "replies", in one object; each works without the other. The
// rung of "accepts" is tp_btf; "replies" also has fentry, for kernels before 6.3. Owned by Probes,
// on its thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/tick/sample.h"
#include "probes/proc/subject.h"

namespace topspin {

inline constexpr Rung kRepliesLadder[] = {Rung::kTpBtf, Rung::kFentry};

struct SocketFeatures {
  bool accepts = false;
  Rung replies_by = Rung::kNone;  // of kRepliesLadder; kNone: without replies

  bool replies() const { return replies_by != Rung::kNone; }
  bool operator==(const SocketFeatures&) const = default;
};

/// What it has seen since opening. The fullest queue and the slowest replies are since the previous
/// reading. A part that no reply had has only `time`.
struct SocketTimesReading {
  SocketInterval totals;  // the histograms of the features that are open
  std::optional<uint64_t> accept_queue_max;
  std::optional<uint64_t> accept_queue_limit;
  std::vector<SlowReply> slowest_replies;  // since the previous reading, the slowest first
  std::optional<uint64_t> udp_drops;       // with replies: drops at full sockets that it knows
  LossInterval losses;                     // the socket_* and repl* fields
  int64_t bpf_ns = 0;                      // 0: the kernel does not count it
};

class SocketTimes {
 public:
  virtual ~SocketTimes() = default;
  /// Loads all of `features`, or returns an error. May be called on another thread.
  /// `scheduler_threads_fd` is ProbeContext::task_storage_fd. With it, waits for a CPU come from
  /// the scheduler probe; without it (-1), from the kernel's run_delay, which leaves out many short
  /// ones.
  static Result<std::unique_ptr<SocketTimes>> load(const Subject& subject,
                                                   const SocketFeatures& features,
                                                   int scheduler_threads_fd);
  /// Begins to measure. REQUIRES: the scheduler's programs are attached, if it shares its map.
  virtual Status attach(const Subject& subject) = 0;
  /// Both.
  static Result<std::unique_ptr<SocketTimes>> open(const Subject& subject,
                                                   const SocketFeatures& features,
                                                   int scheduler_threads_fd);
  virtual SocketTimesReading read() = 0;
  /// Empty, or which of the sockets that were open already it does not see, and why. From attach()
  /// on.
  virtual const std::string& unseen() const = 0;
  /// The subject's cgroup was removed and created again.
  virtual void follow_cgroup(uint64_t id) = 0;

  /// Readable when handle_notices() must be called: the subject has begun to listen or to serve.
  /// What it does before that call is measured only in part.
  virtual int notice_fd() const = 0;
  virtual void handle_notices() = 0;
};

}  // namespace topspin
