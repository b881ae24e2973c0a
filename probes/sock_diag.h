// SockDiag: the TCP and UDP sockets of our network namespace, by NETLINK_SOCK_DIAG. Needs no
// privilege. It knows a socket's inode and not who holds it: /proc/PID/fd says that. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/result.h"
#include "core/unique_fd.h"
#include "probes/socket_table.h"

namespace topspin {

/// A socket and the inode of its file. Sockets that no process has open (not accepted yet, in
/// TIME_WAIT) have none and are left out.
struct DiagSocket {
  uint64_t inode = 0;
  SocketSighting socket;
};

/// The payload of one SOCK_DIAG_BY_FAMILY message, an inet_diag_msg with its attributes. nullopt:
/// too short, of another family, without an inode, or a TCP socket that neither listens nor is
/// connected.
std::optional<DiagSocket> parse_diag_socket(std::span<const char> payload, uint8_t protocol);

class SockDiag {
 public:
  static Result<SockDiag> open();

  /// All there are now, in one go: about 1 us a socket.
  Result<std::vector<DiagSocket>> sockets();

 private:
  explicit SockDiag(UniqueFd fd) : fd_(std::move(fd)) {}
  Status dump(uint8_t family, uint8_t protocol, std::vector<DiagSocket>& into);

  UniqueFd fd_;
  uint32_t sequence_ = 0;
  std::vector<char> buffer_;
};

}  // namespace topspin
