// Target: where a load goes, and the source addresses that its clients can have.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

#include "core/base/result.h"

namespace topspin {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  bool same_end(const sockaddr_storage& other) const;  // family, address and port
  std::string text() const;                            // "127.0.0.1:80", "[::1]:80"
};

/// A target's text, taken apart and not resolved.
struct TargetParts {
  std::string host;  // without brackets; of IPv6 it may have a zone: fe80::1%eth0
  uint16_t port = 0;
  bool is_url = false;
  std::string path;  // of a URL, with its query; empty: none was given

  /// What an HTTP request names as its host: in brackets if it is an IPv6 address, without a zone
  /// (a zone means something on this machine alone), without a port that goes without saying.
  std::string host_header() const;
};

/// "HOST:PORT", "[IPV6]:PORT" or "http://HOST[:PORT][/PATH]". Pure. kUsage with what is wrong.
Result<TargetParts> split_target(const std::string& text);

struct Target {
  std::string text;  // as given
  TargetParts parts;
  SocketAddress address;
  int family = AF_INET;
  bool is_loopback = false;  // 127.0.0.0/8, ::1
  bool can_spread = false;   // 127.0.0.0/8: any address there is a source
  // Of a name with several addresses of which none answers: each with its reason.
  std::string why_unreachable;

  /// As given, with the address that was chosen where a name stands there.
  std::string described() const;
};

/// Asks the resolver for names, and takes the first address of a name at which somebody answers
/// (choose_address). kUsage with what is wrong.
Result<Target> resolve_target(const std::string& text, int socket_type,
                              int64_t timeout_ns = 1'000'000'000);

/// Whether an unconnected socket in a text as of /proc/net/udp or udp6 gets what is sent to the
/// address: bound to it, or to every address. Pure.
bool lists_udp_end(std::string_view table, const SocketAddress& address);

/// The first of several addresses that can be the target, in their order.
///
/// On an address of this host it asks the kernel whether somebody holds the port, which sends
/// nothing. Elsewhere it connects: of TCP with the handshake (for at most `timeout_ns`), of UDP by
/// the route alone. If none can be, the first one, and `why_unreachable` names all of them.
struct ChosenAddress {
  SocketAddress address;
  std::string why_unreachable;
};
ChosenAddress choose_address(const std::vector<SocketAddress>& addresses, int socket_type,
                             int64_t timeout_ns);

/// The `index`-th source address in 127.0.0.0/8, from 127.1.0.1 on, in host byte order.
/// REQUIRES: index < kSourceAddresses.
uint32_t spread_address(uint32_t index);
inline constexpr uint32_t kSpreadBase = 0x7F010001;  // 127.1.0.1
inline constexpr uint32_t kSourceAddresses = 0x7FFFFFFF - kSpreadBase - 255;

}  // namespace topspin
