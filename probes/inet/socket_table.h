// SocketTable: finds the process that holds the socket at an end of a flow. It is filled by one
// walk over all open files (SocketWalk), and then asked for each end. Pure; not thread-safe.
//
// An end belongs to the socket that would get its packets from the kernel: the one connected to
// exactly that peer, else the one bound to the end's address and port, else the one bound to the
// port on any address. The last counts only for an address of this host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/flow/flow.h"

namespace topspin {

struct SocketProcess {
  int32_t pid = 0;            // thread group
  int64_t start_time_ns = 0;  // since boot
  std::string name;           // comm of the group's leader

  bool same_as(const SocketProcess& other) const {
    return pid == other.pid && start_time_ns == other.start_time_ns;
  }
};

/// A TCP or UDP socket as the kernel describes it.
struct SocketSighting {
  uint8_t ip_version = 4;
  uint8_t protocol = 0;
  bool ipv6_only = false;  // its wildcard address does not include IPv4
  Endpoint local;
  Endpoint remote;  // port 0: not connected
};

/// One end of a flow and its peer.
struct FlowEnd {
  uint8_t ip_version = 4;
  uint8_t protocol = 0;
  Endpoint local;
  Endpoint remote;

  bool operator==(const FlowEnd&) const = default;
};
FlowEnd flow_end(const FlowRow& row, size_t side);  // 0: the initiator's

/// The end at which a socket is. An IPv6 socket used for IPv4 (::ffff:a.b.c.d) is an IPv4 end.
FlowEnd socket_end(const SocketSighting& socket);

struct FlowEndHash {
  size_t operator()(const FlowEnd& end) const;
};

class SocketTable {
 public:
  /// Beyond `max_sockets`, sockets are left out and counted in missed().
  explicit SocketTable(size_t max_sockets) : max_sockets_(max_sockets) {}

  void add(const SocketSighting& socket, const SocketProcess& process);

  struct Match {
    const SocketProcess* process;  // of several, the one that started first
    bool shared;                   // others hold the socket too, or another one on the same port
    bool connected;                // found by both ends, not only by the port
  };
  /// `is_local`: end.local.address belongs to this host.
  std::optional<Match> find(const FlowEnd& end, bool is_local) const;

  /// Whether a socket without a peer has the end's port. For TCP this means that a connection at
  /// this end was accepted.
  bool has_listener(FlowEnd end) const {
    end.remote = {};
    if (sockets_.contains(end)) return true;
    end.local.address = {};
    return sockets_.contains(end);
  }

  /// Calls visit(end, process) for each socket that is connected and was not accepted.
  template <typename Visit>
  void for_each_opened(Visit visit) const {
    for (const auto& [end, holder] : sockets_) {
      if (end.remote.port != 0 && !has_listener(end)) visit(end, processes_[holder.process]);
    }
  }

  size_t size() const { return sockets_.size(); }
  uint64_t missed() const { return missed_; }
  void clear();

 private:
  struct Holder {
    uint32_t process = 0;  // index into processes_
    bool shared = false;
  };
  uint32_t index_of(const SocketProcess& process);
  void add_end(const FlowEnd& end, uint32_t process);

  size_t max_sockets_;
  uint64_t missed_ = 0;
  std::vector<SocketProcess> processes_;
  std::unordered_map<int32_t, uint32_t> process_of_pid_;
  std::unordered_map<FlowEnd, Holder, FlowEndHash> sockets_;
};

}  // namespace topspin
