#include "load/wire/tcp_socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace topspin {
namespace {

constexpr uint32_t kRotationAddresses = 4096;

}  // namespace

TcpBeginning begin_connect(const Target& target, std::optional<uint32_t> source) {
  TcpBeginning begun;
  begun.fd.reset(socket(target.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!begun.fd) {
    begun.local_errno = errno;
    return begun;
  }
  const int fd = begun.fd.get();
  const int one = 1;
  (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (source) {
    // Let connect() choose the port. It knows the other end, so ports can be shared.
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(spread_address(*source));
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      begun.local_errno = errno;
      return begun;
    }
  }
  if (connect(fd, target.address.get(), target.address.length) != 0 && errno != EINPROGRESS) {
    // On loopback the answer arrives before connect() returns.
    if (errno == ECONNREFUSED || errno == ECONNRESET || errno == ETIMEDOUT) {
      begun.remote_errno = errno;
    } else {
      begun.local_errno = errno;
    }
  }
  return begun;
}

int take_socket_error(int fd) {
  int number = 0;
  socklen_t length = sizeof number;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length) != 0) return errno;
  return number;
}

uint64_t syn_retries(int fd) {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return 0;
  return info.tcpi_total_retrans;
}

std::string_view failure_name(int number) {
  switch (number) {
    case ECONNREFUSED: return "refused";
    case ECONNRESET:
    case EPIPE: return "reset by the server";
    case ETIMEDOUT: return "timeout";
    default: break;
  }
  const char* name = strerrorname_np(number);
  return name != nullptr ? name : "error";
}

bool is_local_failure(int number) {
  switch (number) {
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ETIMEDOUT: return false;
    default: return true;
  }
}

void count_failure(TcpAccounts& tcp, int number, bool has_bytes) {
  switch (number) {
    case ECONNREFUSED: ++tcp.refused; break;
    case ETIMEDOUT: ++tcp.timeouts; break;
    case ECONNRESET:
    case EPIPE: ++(has_bytes ? tcp.reset_after_bytes : tcp.reset_before_bytes); break;
    default: ++tcp.failed;
  }
}

void SourceRotation::prepare(const Target& target, uint64_t connections, uint32_t usable_ports) {
  if (target.can_spread && connections > usable_ports / 2) {
    per_address_ = std::max(1u, usable_ports / 2);
  }
}

std::optional<uint32_t> SourceRotation::next() {
  if (per_address_ == 0) return std::nullopt;
  return static_cast<uint32_t>(count_++ / per_address_ % kRotationAddresses);
}

}  // namespace topspin
