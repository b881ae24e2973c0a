#include "load/wire/target.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>

#include "core/base/check.h"
#include "core/base/clock.h"
#include "core/base/unique_fd.h"

namespace topspin {
namespace {

constexpr uint16_t kHttpPort = 80, kHttpsPort = 443;

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

std::string SocketAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> host{};
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    inet_ntop(AF_INET, &v4.sin_addr, host.data(), host.size());
    return fmt::format("{}:{}", host.data(), ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
  inet_ntop(AF_INET6, &v6.sin6_addr, host.data(), host.size());
  return fmt::format("[{}]:{}", host.data(), ntohs(v6.sin6_port));
}

std::string TargetParts::host_header() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  const std::string name = is_v6 ? "[" + host.substr(0, host.find('%')) + "]" : host;
  return port == (is_tls ? kHttpsPort : kHttpPort) ? name : fmt::format("{}:{}", name, port);
}

std::string target_without_secrets(std::string_view text) {
  const size_t scheme = text.find("://");
  const size_t begin = scheme == std::string_view::npos ? 0 : scheme + 3;
  // The last '@' before the path; but a password may have been written with a '/' in it.
  const size_t colon = text.find(':', begin);
  const size_t end = std::min(text.find_first_of("/?#", begin), text.size());
  size_t at = text.substr(0, end).rfind('@');
  if (at == std::string_view::npos && colon < end) {
    const std::string_view behind = text.substr(colon + 1, end - colon - 1);
    const bool is_port =
        !behind.empty() && behind.find_first_not_of("0123456789") == std::string_view::npos;
    if (!is_port && !text.substr(begin).starts_with('[')) at = text.rfind('@');
  }
  if (at == std::string_view::npos || at < begin || colon > at) return std::string(text);
  return fmt::format("{}***{}", text.substr(0, colon + 1), text.substr(at));
}

Result<TargetParts> split_target(const std::string& text) {
  const auto wrong = [&](std::string_view why) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("the target \"{}\": {}; write HOST:PORT, [IPV6]:PORT or http://HOST:PORT/PATH",
                    target_without_secrets(text), why));
  };
  TargetParts parts;
  std::string_view rest = text;
  if (const size_t scheme = rest.find("://"); scheme != std::string_view::npos) {
    std::string name(rest.substr(0, scheme));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    parts.is_tls = name == "https";
    if (name != "http" && name != "https")
      return wrong(
          fmt::format("the load does not know the scheme {}; use http:// or https://", name));
    parts.is_url = true;
    rest.remove_prefix(scheme + 3);
    rest = rest.substr(0, rest.find('#'));  // a fragment is never sent
    const size_t end = rest.find_first_of("/?");
    if (end != std::string_view::npos) {
      parts.path = rest.substr(end);
      if (parts.path.front() == '?') parts.path.insert(0, "/");
      rest = rest.substr(0, end);
    }
    if (rest.find('@') != std::string_view::npos)
      return wrong(
          "leave out the user name and password; --header 'Authorization: ...' sends them");
  } else if (rest.find('@') != std::string_view::npos) {
    return wrong("leave out the user name and password");
  }
  std::string_view port;
  bool has_port = false;
  if (rest.starts_with('[')) {
    const size_t close = rest.find(']');
    if (close == std::string_view::npos) return wrong("a bracket is not closed");
    parts.host = rest.substr(1, close - 1);
    rest.remove_prefix(close + 1);
    if (!rest.empty() && rest.front() != ':') return wrong("a port must follow the bracket");
    has_port = !rest.empty();
    if (has_port) port = rest.substr(1);
    // In a URL the "%" before a zone is written as "%25".
    if (const size_t zone = parts.host.find("%25"); parts.is_url && zone != std::string::npos)
      parts.host.erase(zone + 1, 2);
  } else {
    const size_t colon = rest.rfind(':');
    has_port = colon != std::string_view::npos;
    parts.host = rest.substr(0, colon);
    if (has_port) port = rest.substr(colon + 1);
    if (parts.host.find(':') != std::string::npos)
      return wrong("write an IPv6 address in brackets");
    if (const size_t slash = port.find('/'); slash != std::string_view::npos && !parts.is_url)
      return wrong("only a URL has a path; write http://HOST:PORT/PATH");
  }
  if (parts.host.empty()) return wrong("no host");
  if (!has_port && !parts.is_url) return wrong("no port");
  if (!has_port) {
    parts.port = parts.is_tls ? kHttpsPort : kHttpPort;
    return parts;
  }
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), parts.port);
  if (error != std::errc() || end != port.data() + port.size() || parts.port == 0)
    return wrong("the port must be a number from 1 to 65535");
  return parts;
}

std::string Target::described() const {
  const std::string at = address.text();
  return text.find(at) != std::string::npos || parts.host.find(':') != std::string::npos
             ? text
             : fmt::format("{} ({})", text, at);
}

namespace {

uint16_t port_of(const SocketAddress& address) {
  return ntohs(address.storage.ss_family == AF_INET
                   ? reinterpret_cast<const sockaddr_in&>(address.storage).sin_port
                   : reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_port);
}

}  // namespace

bool lists_udp_end(std::string_view table, const SocketAddress& address) {
  // "  0: 0100007F:22B8 00000000:0000 07 ...": slot, local end, remote end, state. An address is
  // printed as 32-bit words in memory order.
  const auto hex = [](const void* bytes, size_t size) {
    std::string text;
    for (size_t at = 0; at < size; at += 4) {
      uint32_t word = 0;
      std::memcpy(&word, static_cast<const char*>(bytes) + at, 4);
      text += fmt::format("{:08X}", word);
    }
    return text;
  };
  std::vector<std::string> ends;  // a socket bound to one of these receives the datagrams
  in6_addr v6{};
  ends.push_back(hex(&v6, 16));
  if (address.storage.ss_family == AF_INET) {
    const in_addr v4 = reinterpret_cast<const sockaddr_in&>(address.storage).sin_addr;
    ends.emplace_back("00000000");
    ends.push_back(hex(&v4, 4));
    v6.s6_addr[10] = v6.s6_addr[11] = 0xff;
    std::memcpy(&v6.s6_addr[12], &v4, 4);
  } else {
    v6 = reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_addr;
  }
  ends.push_back(hex(&v6, 16));
  for (std::string& end : ends) end += fmt::format(":{:04X}", port_of(address));
  constexpr std::string_view kUnconnected = "07";
  std::istringstream lines{std::string(table)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string slot, local, remote, state;
    if (!(words >> slot >> local >> remote >> state) || state != kUnconnected) continue;
    if (std::find(ends.begin(), ends.end(), local) != ends.end()) return true;
  }
  return false;
}

namespace {

/// Whether the address belongs to this host. The port does not matter.
bool is_of_this_host(SocketAddress address, int socket_type) {
  if (address.storage.ss_family == AF_INET)
    reinterpret_cast<sockaddr_in&>(address.storage).sin_port = 0;
  else
    reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port = 0;
  const UniqueFd fd(socket(address.storage.ss_family, socket_type | SOCK_CLOEXEC, 0));
  return fd && bind(fd.get(), address.get(), address.length) == 0;
}

/// Whether an unconnected UDP socket has the port, by the kernel's list. True if there is no list.
bool somebody_has_udp_port(const SocketAddress& address) {
  bool listed = false;
  for (const char* path : {"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"}) {
    std::ifstream file(path);
    if (!file) continue;
    listed = true;
    std::stringstream text;
    text << file.rdbuf();
    if (lists_udp_end(text.str(), address)) return true;
  }
  return !listed;
}

/// Why no server can be reached there; empty if one may be. For an address of this host nothing is
/// sent: if we cannot bind the port, another socket has it.
std::string why_nobody_is_there(const SocketAddress& address, int socket_type, int64_t timeout_ns) {
  const int family = address.storage.ss_family;
  const int one = 1;
  {
    UniqueFd fd(socket(family, socket_type | SOCK_CLOEXEC, 0));
    if (!fd) return std::strerror(errno);
    // For TCP this ignores connections in TIME_WAIT; for UDP it would ignore a server.
    if (socket_type == SOCK_STREAM)
      (void)setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (family == AF_INET6) (void)setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd.get(), address.get(), address.length) == 0) return "nobody listens";
    if (errno == EADDRINUSE) return {};
    // An ordinary user may not bind a port below 1024.
    if (errno == EACCES && socket_type == SOCK_DGRAM && is_of_this_host(address, socket_type))
      return somebody_has_udp_port(address) ? std::string() : "nobody listens";
  }
  UniqueFd fd(socket(family, socket_type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return std::strerror(errno);
  if (connect(fd.get(), address.get(), address.length) == 0) return {};
  if (errno != EINPROGRESS) return std::strerror(errno);
  pollfd wait{fd.get(), POLLOUT, 0};
  const auto timeout_ms = static_cast<int>(std::max<int64_t>(1, timeout_ns / kNanosPerMilli));
  if (poll(&wait, 1, timeout_ms) != 1) return "no answer within the timeout";
  int number = 0;
  socklen_t length = sizeof number;
  if (getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &number, &length) != 0) number = errno;
  return number == 0 ? std::string() : std::strerror(number);
}

}  // namespace

ChosenAddress choose_address(const std::vector<SocketAddress>& addresses, int socket_type,
                             int64_t timeout_ns) {
  CHECK(!addresses.empty());
  ChosenAddress chosen{addresses.front(), {}};
  if (addresses.size() == 1) return chosen;
  for (const SocketAddress& address : addresses) {
    const std::string why = why_nobody_is_there(address, socket_type, timeout_ns);
    if (why.empty()) return {address, {}};
    chosen.why_unreachable +=
        fmt::format("{}{} ({})", chosen.why_unreachable.empty() ? "" : ", ", address.text(), why);
  }
  return chosen;
}

Result<Target> resolve_target(const std::string& text, int socket_type, int64_t timeout_ns) {
  Target target;
  target.text = text;
  TOPSPIN_ASSIGN(target.parts, split_target(text));
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = socket_type;
  addrinfo* raw = nullptr;
  const std::string port = std::to_string(target.parts.port);
  if (const int code = getaddrinfo(target.parts.host.c_str(), port.c_str(), &hints, &raw);
      code != 0) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("the target \"{}\": cannot resolve {}: {}; give a name that has an "
                    "address, or the address itself",
                    text, target.parts.host, gai_strerror(code)));
  }
  const std::unique_ptr<addrinfo, FreeAddresses> list(raw);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    SocketAddress address;
    if ((entry->ai_family != AF_INET && entry->ai_family != AF_INET6) ||
        entry->ai_addrlen > sizeof address.storage)
      continue;
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.length = entry->ai_addrlen;
    if (std::none_of(addresses.begin(), addresses.end(),
                     [&](const SocketAddress& known) { return known.same_end(address.storage); }))
      addresses.push_back(address);
  }
  CHECK(!addresses.empty());
  ChosenAddress chosen = choose_address(addresses, socket_type, timeout_ns);
  target.address = chosen.address;
  target.why_unreachable = std::move(chosen.why_unreachable);
  target.family = target.address.storage.ss_family;
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
