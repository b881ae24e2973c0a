// SockDiag: the TCP and UDP sockets of our network namespace, by NETLINK_SOCK_DIAG. Needs no
// privilege. It knows a socket's inode and not who holds it: /proc/PID/fd says that. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <linux/inet_diag.h>

#include "core/base/result.h"
#include "core/base/unique_fd.h"
#include "probes/inet/socket_table.h"

namespace topspin {

/// A socket and the inode of its file. Sockets that no process has open (not accepted yet, in
/// TIME_WAIT) have none and are left out.
struct DiagSocket {
  uint64_t inode = 0;
  SocketSighting socket;
};

/// The inode in a link of /proc/PID/fd, "socket:[12345]".
std::optional<uint64_t> parse_socket_link(std::string_view link);

/// Parses the payload of one SOCK_DIAG_BY_FAMILY message, an inet_diag_msg with its attributes.
/// nullopt if it is too short, of another family, without an inode, or a TCP socket that neither
/// listens nor is connected.
std::optional<DiagSocket> parse_diag_socket(std::span<const char> payload, uint8_t protocol);

/// A listening TCP socket or a UDP socket without a peer, with its queue.
struct DiagQueue {
  uint64_t cookie = 0;
  uint64_t inode = 0;
  uint8_t protocol = 0;
  uint8_t ip_version = 4;
  Endpoint local;
  uint64_t queue = 0;  // connections to be accepted, or bytes in the receive buffer
  uint64_t limit = 0;  // of the same
  uint64_t drops = 0;  // since the socket was created
};

/// nullopt if it is too short, of another family, or without the socket's memory
/// (INET_DIAG_SKMEMINFO).
std::optional<DiagQueue> parse_diag_queue(std::span<const char> payload, uint8_t protocol);

/// A TCP connection, with what its sender knows about the path (TCP_INFO).
struct DiagConnection {
  uint64_t cookie = 0;
  uint64_t inode = 0;  // 0: no process has it open (any more); the kernel may still send
  uint16_t local_port = 0;
  std::optional<uint64_t>
      srtt_ns;              // smoothed; the kernel keeps microseconds. Absent: no sample yet
  uint64_t cwnd_bytes = 0;  // congestion window: segments times MSS
  // Since it was created. Absent: the kernel does not report it (before 4.10).
  std::optional<uint64_t> busy_ns;          // data to send, or not acknowledged yet
  std::optional<uint64_t> rwnd_limited_ns;  // the part of it limited by the peer's receive window
};

/// nullopt if it is too short, of another family, or without INET_DIAG_INFO.
std::optional<DiagConnection> parse_diag_connection(std::span<const char> payload);

class SockDiag {
 public:
  static Result<SockDiag> open();

  /// All current sockets, in one dump: about 1 us per socket.
  Result<std::vector<DiagSocket>> sockets();

  /// The listening TCP sockets and the UDP sockets without a peer.
  Result<std::vector<DiagQueue>> queues();

  /// TCP connections, including closed ones that the kernel still has: all, or only those from the
  /// given local ports (the kernel filters them). Stops at `max`; about 2 us per connection.
  struct Connections {
    std::vector<DiagConnection> found;
    bool cut = false;  // there may be more
  };
  static constexpr size_t kMaxPorts = 64;
  /// REQUIRES: at most kMaxPorts.
  Result<Connections> connections(size_t max, std::span<const uint16_t> local_ports = {});

 private:
  explicit SockDiag(UniqueFd fd) : fd_(std::move(fd)) {}
  /// `states` has bit N for state N; `extensions` has bit N - 1 for attribute N.
  struct Question {
    uint8_t family = 0;
    uint8_t protocol = 0;
    uint32_t states = 0;
    uint8_t extensions = 0;
    std::vector<inet_diag_bc_op> filter = {};
  };
  /// Returns false to end the dump.
  using VisitPayload = std::function<bool(std::span<const char>)>;
  Status dump(const Question& question, const VisitPayload& visit);
  Status ask(const Question& question);

  UniqueFd fd_;
  uint32_t sequence_ = 0;
  std::vector<char> buffer_;
};

}  // namespace topspin
