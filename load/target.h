// Target: where a load goes, and the source addresses that its clients can have.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>

#include "core/result.h"

namespace topspin {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  bool same_end(const sockaddr_storage& other) const;  // family, address and port
};

struct Target {
  std::string text;  // as given
  std::string host;  // without port and brackets
  SocketAddress address;
  int family = AF_INET;
  bool is_loopback = false;  // 127.0.0.0/8, ::1
  bool can_spread = false;   // 127.0.0.0/8: any address there is a source
};

/// "HOST:PORT" or "[IPV6]:PORT". Asks the resolver for names. kUsage with what is wrong.
Result<Target> resolve_target(const std::string& text, int socket_type);

/// The `index`-th source address in 127.0.0.0/8, from 127.1.0.1 on, in host byte order.
/// REQUIRES: index < kSourceAddresses.
uint32_t spread_address(uint32_t index);
inline constexpr uint32_t kSpreadBase = 0x7F010001;  // 127.1.0.1
inline constexpr uint32_t kSourceAddresses = 0x7FFFFFFF - kSpreadBase - 255;

}  // namespace topspin
