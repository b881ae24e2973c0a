// SocketQueues: the accept queues, receive buffers and drops of the subject's sockets, without BPF
// and without privilege: NETLINK_SOCK_DIAG says how each socket stands, /proc/PID/fd whose it is,
// /proc/net/netstat why connections were refused. Of topspin's own network namespace. Owned by
// Probes, on its thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "probes/proc/subject.h"
#include "probes/sockets/socket_ledger.h"

namespace topspin {

class SocketQueues {
 public:
  virtual ~SocketQueues() = default;

  /// kUnsupported: the kernel cannot, or the subject lives in another network namespace.
  static Result<std::unique_ptr<SocketQueues>> open(const Subject& subject,
                                                    const std::string& proc_root,
                                                    uint64_t max_rows);

  /// `processes`: those of the subject that are alive. Looks through their open files only if a
  /// socket came up that it does not know, for a bounded time, and a bounded share of all time.
  virtual SocketLedger::Reading read(const std::vector<int32_t>& processes) = 0;
};

}  // namespace topspin
