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

#include "core/result.h"
#include "core/unique_fd.h"
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

/// The payload of one SOCK_DIAG_BY_FAMILY message, an inet_diag_msg with its attributes. nullopt:
/// too short, of another family, without an inode, or a TCP socket that neither listens nor is
/// connected.
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
  uint64_t drops = 0;  // since the socket was made
};

/// nullopt: too short, of another family, or without an account of its memory
/// (INET_DIAG_SKMEMINFO).
std::optional<DiagQueue> parse_diag_queue(std::span<const char> payload, uint8_t protocol);

class SockDiag {
 public:
  static Result<SockDiag> open();

  /// All there are now, in one go: about 1 us a socket.
  Result<std::vector<DiagSocket>> sockets();

  /// The listening TCP sockets and the UDP sockets without a peer.
  Result<std::vector<DiagQueue>> queues();

 private:
  explicit SockDiag(UniqueFd fd) : fd_(std::move(fd)) {}
  using VisitPayload = std::function<void(std::span<const char>)>;
  /// `states`: a bit for each; `extensions`: a bit for each attribute asked for, less one.
  Status dump(uint8_t family, uint8_t protocol, uint32_t states, uint8_t extensions,
              const VisitPayload& visit);

  UniqueFd fd_;
  uint32_t sequence_ = 0;
  std::vector<char> buffer_;
};

}  // namespace topspin
