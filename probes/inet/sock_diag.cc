#include "probes/inet/sock_diag.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

namespace topspin {
namespace {

// States as the kernel numbers them (TCP_ESTABLISHED = 1, ...); UDP uses ESTABLISHED and CLOSE.
constexpr uint8_t kListen = 10;
constexpr uint32_t kConnected = 1U << 1 | 1U << 4 | 1U << 5 | 1U << 8;  // includes half-closed ones
constexpr uint32_t kEveryState = 0xffffffff;
constexpr uint32_t kTimeWait = 1U << 6;
constexpr uint32_t kUnconnected = 1U << 7;  // of UDP
constexpr size_t kBufferBytes = 256 << 10;  // the kernel fills at most 32 KiB at once
constexpr int kAnswerSeconds = 5;           // it answers at once, unless something is very wrong

/// Calls visit(type, value) for each attribute that lies within the payload.
template <typename Visit>
void for_each_attribute(std::span<const char> payload, Visit visit) {
  for (size_t at = sizeof(inet_diag_msg); at + sizeof(nlattr) <= payload.size();) {
    nlattr attribute;
    std::memcpy(&attribute, payload.data() + at, sizeof(attribute));
    if (attribute.nla_len < sizeof(attribute) || at + attribute.nla_len > payload.size()) break;
    visit(attribute.nla_type & NLA_TYPE_MASK,
          payload.subspan(at + sizeof(attribute), attribute.nla_len - sizeof(attribute)));
    at += NLA_ALIGN(attribute.nla_len);
  }
}

/// A program for the kernel that accepts sockets whose local port is one of these. It has for each
/// port a comparison (two words) and, except after the last, a jump to the end. Without ports there
/// is no program.
std::vector<inet_diag_bc_op> one_of_ports(std::span<const uint16_t> ports) {
  constexpr uint8_t kCompare = 2 * sizeof(inet_diag_bc_op), kJump = sizeof(inet_diag_bc_op);
  std::vector<inet_diag_bc_op> program;
  for (size_t i = 0; i < ports.size(); ++i) {
    // If the port differs, goes on behind the jump. After the last comparison that is beyond the
    // end, which means that the socket is rejected.
    program.push_back({INET_DIAG_BC_S_EQ, kCompare, kCompare + kJump});
    program.push_back({0, 0, ports[i]});
    const size_t left = ports.size() - 1 - i;
    if (left == 0) break;
    // The last port has no jump, but this jump counts.
    const size_t to_end = left * (kCompare + kJump);
    program.push_back({INET_DIAG_BC_JMP, kJump, static_cast<uint16_t>(to_end)});
  }
  return program;
}

Error diag_error(int os_errno) {
  return make_error(ErrorCode::kUnsupported,
                    fmt::format("cannot list the sockets: {}; it needs a kernel with "
                                "CONFIG_INET_DIAG and CONFIG_INET_UDP_DIAG",
                                std::strerror(os_errno)),
                    os_errno);
}

}  // namespace

std::optional<uint64_t> parse_socket_link(std::string_view link) {
  constexpr std::string_view kPrefix = "socket:[";
  if (!link.starts_with(kPrefix) || !link.ends_with(']')) return std::nullopt;
  link = link.substr(kPrefix.size(), link.size() - kPrefix.size() - 1);
  uint64_t inode = 0;
  const auto [end, error] = std::from_chars(link.data(), link.data() + link.size(), inode);
  if (error != std::errc() || end != link.data() + link.size()) return std::nullopt;
  return inode;
}

std::optional<DiagSocket> parse_diag_socket(std::span<const char> payload, uint8_t protocol) {
  inet_diag_msg message;
  if (payload.size() < sizeof(message)) return std::nullopt;
  std::memcpy(&message, payload.data(), sizeof(message));
  if (message.idiag_family != AF_INET && message.idiag_family != AF_INET6) return std::nullopt;
  DiagSocket found;
  found.inode = message.idiag_inode;
  found.socket.ip_version = message.idiag_family == AF_INET6 ? 6 : 4;
  found.socket.protocol = protocol;
  const size_t address_bytes = found.socket.ip_version == 6 ? 16 : 4;
  std::memcpy(found.socket.local.address.data(), message.id.idiag_src, address_bytes);
  std::memcpy(found.socket.remote.address.data(), message.id.idiag_dst, address_bytes);
  found.socket.local.port = ntohs(message.id.idiag_sport);
  found.socket.remote.port = ntohs(message.id.idiag_dport);
  if (found.inode == 0 || found.socket.local.port == 0) return std::nullopt;
  if (protocol == IPPROTO_TCP && found.socket.remote.port == 0 && message.idiag_state != kListen)
    return std::nullopt;

  for_each_attribute(payload, [&](int type, std::span<const char> value) {
    if (type == INET_DIAG_SKV6ONLY && !value.empty()) found.socket.ipv6_only = value[0] != 0;
  });
  return found;
}

std::optional<DiagQueue> parse_diag_queue(std::span<const char> payload, uint8_t protocol) {
  inet_diag_msg message;
  if (payload.size() < sizeof(message)) return std::nullopt;
  std::memcpy(&message, payload.data(), sizeof(message));
  if (message.idiag_family != AF_INET && message.idiag_family != AF_INET6) return std::nullopt;
  DiagQueue found;
  found.cookie =
      static_cast<uint64_t>(message.id.idiag_cookie[1]) << 32 | message.id.idiag_cookie[0];
  found.inode = message.idiag_inode;
  found.protocol = protocol;
  found.ip_version = message.idiag_family == AF_INET6 ? 6 : 4;
  std::memcpy(found.local.address.data(), message.id.idiag_src, found.ip_version == 6 ? 16 : 4);
  found.local.port = ntohs(message.id.idiag_sport);
  bool accounted = false;
  for_each_attribute(payload, [&](int type, std::span<const char> value) {
    uint32_t memory[SK_MEMINFO_DROPS + 1];
    if (type != INET_DIAG_SKMEMINFO || value.size() < sizeof(memory)) return;
    std::memcpy(memory, value.data(), sizeof(memory));
    accounted = true;
    found.drops = memory[SK_MEMINFO_DROPS];
    found.queue = memory[SK_MEMINFO_RMEM_ALLOC];
    found.limit = memory[SK_MEMINFO_RCVBUF];
  });
  if (!accounted) return std::nullopt;
  if (protocol == IPPROTO_TCP) {
    found.queue = message.idiag_rqueue;
    found.limit = message.idiag_wqueue;
  }
  return found;
}

std::optional<DiagConnection> parse_diag_connection(std::span<const char> payload) {
  inet_diag_msg message;
  if (payload.size() < sizeof(message)) return std::nullopt;
  std::memcpy(&message, payload.data(), sizeof(message));
  if (message.idiag_family != AF_INET && message.idiag_family != AF_INET6) return std::nullopt;
  DiagConnection found;
  found.cookie =
      static_cast<uint64_t>(message.id.idiag_cookie[1]) << 32 | message.id.idiag_cookie[0];
  found.inode = message.idiag_inode;
  found.local_port = ntohs(message.id.idiag_sport);
  bool informed = false;
  for_each_attribute(payload, [&](int type, std::span<const char> value) {
    tcp_info info{};
    // Newer kernels have a longer tcp_info, older ones a shorter one.
    if (type != INET_DIAG_INFO || value.size() < offsetof(tcp_info, tcpi_advmss)) return;
    std::memcpy(&info, value.data(), std::min(value.size(), sizeof(info)));
    informed = true;
    if (info.tcpi_rtt > 0) found.srtt_ns = uint64_t{info.tcpi_rtt} * 1'000;
    found.cwnd_bytes = uint64_t{info.tcpi_snd_cwnd} * info.tcpi_snd_mss;
    if (value.size() < offsetof(tcp_info, tcpi_sndbuf_limited)) return;
    found.busy_ns = uint64_t{info.tcpi_busy_time} * 1'000;
    found.rwnd_limited_ns = uint64_t{info.tcpi_rwnd_limited} * 1'000;
  });
  if (!informed) return std::nullopt;
  return found;
}

Result<SockDiag> SockDiag::open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return diag_error(errno);
  const timeval timeout{kAnswerSeconds, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  return SockDiag(std::move(fd));
}

Result<std::vector<DiagSocket>> SockDiag::sockets() {
  std::vector<DiagSocket> found;
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    for (const uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
      TOPSPIN_TRY(
          dump({family, protocol, kEveryState & ~kTimeWait, 0}, [&](std::span<const char> payload) {
            if (auto socket = parse_diag_socket(payload, protocol)) found.push_back(*socket);
            return true;
          }));
    }
  }
  return found;
}

Result<std::vector<DiagQueue>> SockDiag::queues() {
  std::vector<DiagQueue> found;
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    for (const uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
      const uint32_t states = protocol == kProtocolTcp ? 1U << kListen : kUnconnected;
      TOPSPIN_TRY(dump({family, protocol, states, 1U << (INET_DIAG_SKMEMINFO - 1)},
                       [&](std::span<const char> payload) {
                         if (auto queue = parse_diag_queue(payload, protocol))
                           found.push_back(*queue);
                         return true;
                       }));
    }
  }
  return found;
}

Result<SockDiag::Connections> SockDiag::connections(size_t max,
                                                    std::span<const uint16_t> local_ports) {
  Connections connections;
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    const Question question{family, kProtocolTcp, kConnected, 1U << (INET_DIAG_INFO - 1),
                            one_of_ports(local_ports)};
    size_t seen = 0;  // includes those without an owner, which cost the same
    TOPSPIN_TRY(dump(question, [&](std::span<const char> payload) {
      if (++seen > max) {
        connections.cut = true;
        return false;
      }
      if (auto found = parse_diag_connection(payload)) connections.found.push_back(*found);
      return true;
    }));
  }
  return connections;
}

Status SockDiag::ask(const Question& question) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message{};
  const size_t filter_bytes = question.filter.size() * sizeof(inet_diag_bc_op);
  nlattr attribute{static_cast<uint16_t>(sizeof(nlattr) + filter_bytes), INET_DIAG_REQ_BYTECODE};
  const size_t attribute_bytes = filter_bytes > 0 ? attribute.nla_len : 0;
  message.header.nlmsg_len = static_cast<uint32_t>(sizeof(message) + attribute_bytes);
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.header.nlmsg_seq = ++sequence_;
  message.request.sdiag_family = question.family;
  message.request.sdiag_protocol = question.protocol;
  message.request.idiag_states = question.states;
  message.request.idiag_ext = question.extensions;
  std::vector<char> bytes(message.header.nlmsg_len);
  std::memcpy(bytes.data(), &message, sizeof(message));
  if (filter_bytes > 0) {
    std::memcpy(bytes.data() + sizeof(message), &attribute, sizeof(attribute));
    std::memcpy(bytes.data() + sizeof(message) + sizeof(attribute), question.filter.data(),
                filter_bytes);
  }
  if (::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) return diag_error(errno);
  return {};
}

Status SockDiag::dump(const Question& question, const VisitPayload& visit) {
  TOPSPIN_TRY(ask(question));
  buffer_.resize(kBufferBytes);
  while (true) {
    const ssize_t got = ::recv(fd_.get(), buffer_.data(), buffer_.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return diag_error(got < 0 ? errno : EPIPE);
    const auto size = static_cast<size_t>(got);
    for (size_t at = 0; at + sizeof(nlmsghdr) <= size;) {
      nlmsghdr header;
      std::memcpy(&header, buffer_.data() + at, sizeof(header));
      if (header.nlmsg_len < sizeof(header) || at + header.nlmsg_len > size) break;
      const std::span<const char> payload(buffer_.data() + at + NLMSG_HDRLEN,
                                          header.nlmsg_len - NLMSG_HDRLEN);
      at += NLMSG_ALIGN(header.nlmsg_len);
      if (header.nlmsg_seq != sequence_) continue;  // belongs to a dump that was ended early
      if (header.nlmsg_type == NLMSG_DONE) return {};
      if (header.nlmsg_type == NLMSG_ERROR) {
        nlmsgerr error{};
        std::memcpy(&error, payload.data(), std::min(payload.size(), sizeof(error)));
        // A kernel without IPv6 has no IPv6 sockets.
        if (error.error == -ENOENT && question.family == AF_INET6) return {};
        return diag_error(-error.error);
      }
      if (visit(payload)) continue;
      TOPSPIN_ASSIGN(*this, open());  // the kernel starts no dump until the previous one has ended
      return {};
    }
  }
}

}  // namespace topspin
