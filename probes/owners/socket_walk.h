// SocketWalk: a walk over the open files of all processes, which finds the sockets among them. It
// may take several calls, because a host can have a million open files and a tick cannot wait for
// them. Private to probes; one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "probes/inet/socket_table.h"
#include "probes/proc/subject.h"

namespace topspin {

/// A TCP connection whose creation BPF saw.
struct SocketEvent {
  SocketSighting socket;  // of one end
  SocketProcess process;  // the caller of connect(), or if `accepted`, of listen()
  bool accepted = false;
};

class SocketWalk {
 public:
  virtual ~SocketWalk() = default;

  /// Continues the walk, or starts a new one if the last one is complete. Returns true when
  /// everything was seen, and false when `deadline_ns` (monotonic) has passed. After an error the
  /// walk is over.
  virtual Result<bool> advance(SocketTable& into, int64_t deadline_ns) = 0;

  /// The events since the last call; empty on rungs without events.
  virtual void take_events(std::vector<SocketEvent>&) {}
  /// The number of lost events since open.
  virtual uint64_t events_missed() const { return 0; }

  virtual std::vector<int> capabilities_needed() const = 0;
};

/// BPF: iter/task_file and tp_btf/inet_sock_set_state.
Result<std::unique_ptr<SocketWalk>> open_bpf_socket_walk();

/// NETLINK_SOCK_DIAG and /proc/PID/fd, the subject's processes first.
Result<std::unique_ptr<SocketWalk>> open_proc_socket_walk(const Subject& subject,
                                                          const std::string& proc_root);

}  // namespace topspin
