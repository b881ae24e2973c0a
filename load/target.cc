#include "load/target.h"

#include <charconv>
#include <cstring>
#include <memory>

#include <fmt/format.h>
#include <netdb.h>

#include "core/check.h"

namespace topspin {
namespace {

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

}  // namespace

bool SocketAddress::same_end(const sockaddr_storage& other) const {
  if (other.ss_family != storage.ss_family) return false;
  if (storage.ss_family == AF_INET) {
    const auto& a = reinterpret_cast<const sockaddr_in&>(storage);
    const auto& b = reinterpret_cast<const sockaddr_in&>(other);
    return a.sin_port == b.sin_port && a.sin_addr.s_addr == b.sin_addr.s_addr;
  }
  const auto& a = reinterpret_cast<const sockaddr_in6&>(storage);
  const auto& b = reinterpret_cast<const sockaddr_in6&>(other);
  return a.sin6_port == b.sin6_port && std::memcmp(&a.sin6_addr, &b.sin6_addr, 16) == 0;
}

Result<Target> resolve_target(const std::string& text, int socket_type) {
  const auto wrong = [&](std::string_view why) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("--target \"{}\": {}; write HOST:PORT or [IPV6]:PORT", text, why));
  };
  Target target;
  target.text = text;
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return wrong("no port");
  target.host = text.substr(0, colon);
  const std::string port = text.substr(colon + 1);
  if (target.host.size() >= 2 && target.host.front() == '[' && target.host.back() == ']') {
    target.host = target.host.substr(1, target.host.size() - 2);
  } else if (target.host.find(':') != std::string::npos) {
    return wrong("an IPv6 address stands in brackets");
  }
  if (target.host.empty()) return wrong("no host");
  uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number == 0) {
    return wrong("the port is no number from 1 to 65535");
  }
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = socket_type;
  addrinfo* raw = nullptr;
  if (const int code = getaddrinfo(target.host.c_str(), port.c_str(), &hints, &raw); code != 0) {
    return wrong(fmt::format("cannot resolve {}: {}", target.host, gai_strerror(code)));
  }
  const std::unique_ptr<addrinfo, FreeAddresses> list(raw);
  // An IPv4 address is taken first: "localhost" then has as many source addresses as one can want.
  const addrinfo* chosen = list.get();
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family == AF_INET) {
      chosen = entry;
      break;
    }
  }
  CHECK(chosen != nullptr && chosen->ai_addrlen <= sizeof target.address.storage);
  std::memcpy(&target.address.storage, chosen->ai_addr, chosen->ai_addrlen);
  target.address.length = chosen->ai_addrlen;
  target.family = chosen->ai_family;
  if (target.family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(target.address.storage);
    target.is_loopback = target.can_spread = (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
  } else {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(target.address.storage);
    target.is_loopback = IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
  }
  return target;
}

uint32_t spread_address(uint32_t index) {
  CHECK(index < kSourceAddresses);
  return kSpreadBase + index;
}

}  // namespace topspin
