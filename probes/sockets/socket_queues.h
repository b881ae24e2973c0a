// SocketQueues: the accept queues, receive buffers and drops of the subject's sockets, without BPF
// or privileges. NETLINK_SOCK_DIAG has the state of each socket, /proc/PID/fd its owner,
// /proc/net/netstat the reasons for which connections were refused. It sees topspin's own network
// namespace. Owned by Probes, on its thread.
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

  /// kUnsupported: the kernel cannot do it, or the subject is in another network namespace.
  static Result<std::unique_ptr<SocketQueues>> open(const Subject& subject,
                                                    const std::string& proc_root,
                                                    uint64_t max_rows);

  /// `processes`: the subject's living processes. Walks through their open files only if an unknown
  /// socket appeared, and only for a bounded time and share of the time.
  virtual SocketLedger::Reading read(const std::vector<int32_t>& processes) = 0;
};

}  // namespace topspin
