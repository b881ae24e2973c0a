// Target: the destination of a load, and the source addresses that its clients can have.
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

/// The parts of a target's text. Names are not resolved.
struct TargetParts {
  std::string host;  // without brackets; IPv6 may have a zone: fe80::1%eth0
  uint16_t port = 0;
  bool is_url = false;
  bool is_tls = false;  // an https:// URL
  std::string path;     // of a URL, with its query; empty: not given

  /// The host of an HTTP request: in brackets if it is an IPv6 address, without a zone (which means
  /// something only on this machine), and without the default port.
  std::string host_header() const;
};

/// The text of a target for messages: a password in it is shown as "***".
std::string target_without_secrets(std::string_view text);

/// Parses "HOST:PORT", "[IPV6]:PORT" or "http://HOST[:PORT][/PATH]", also with https://. kUsage
/// says what is wrong. Pure.
Result<TargetParts> split_target(const std::string& text);

struct Target {
  std::string text;  // as given
  TargetParts parts;
  SocketAddress address;
  int family = AF_INET;
  bool is_loopback = false;  // 127.0.0.0/8, ::1
  bool can_spread = false;   // 127.0.0.0/8: any address there can be a source
  // If a name has several addresses and none answers: each address with the reason.
  std::string why_unreachable;

  /// The text as given; for a name, with the address that was chosen.
  std::string described() const;
};

/// Resolves names and takes the first address at which somebody answers (choose_address). kUsage
/// says what is wrong.
Result<Target> resolve_target(const std::string& text, int socket_type,
                              int64_t timeout_ns = 1'000'000'000);

/// Whether a text like /proc/net/udp or udp6 has an unconnected socket that receives what is sent
/// to the address, because it is bound to it or to all addresses. Pure.
bool lists_udp_end(std::string_view table, const SocketAddress& address);

/// Chooses the first of several addresses that can be the target.
///
/// For an address of this host it asks the kernel whether somebody holds the port, which sends
/// nothing. For others it connects: with TCP it waits at most `timeout_ns` for the handshake; with
/// UDP it only checks the route. If no address works, it returns the first one, and
/// `why_unreachable` names all of them.
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
