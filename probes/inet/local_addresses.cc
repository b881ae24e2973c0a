#include "probes/inet/local_addresses.h"

#include <cstring>

#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace topspin {

LocalAddresses LocalAddresses::read() {
  LocalAddresses local;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return local;
  for (const ifaddrs* entry = all; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    std::array<uint8_t, 16> address{};
    if (entry->ifa_addr->sa_family == AF_INET) {
      sockaddr_in ipv4;
      std::memcpy(&ipv4, entry->ifa_addr, sizeof(ipv4));
      std::memcpy(address.data(), &ipv4.sin_addr, 4);
      local.add(4, address);
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 ipv6;
      std::memcpy(&ipv6, entry->ifa_addr, sizeof(ipv6));
      std::memcpy(address.data(), &ipv6.sin6_addr, 16);
      local.add(6, address);
    }
  }
  ::freeifaddrs(all);
  return local;
}

void LocalAddresses::add(uint8_t ip_version, const std::array<uint8_t, 16>& address) {
  addresses_.emplace(ip_version, address);
}

bool LocalAddresses::contains(uint8_t ip_version, const std::array<uint8_t, 16>& address) const {
  if (ip_version == 4 && address[0] == 127) return true;
  return addresses_.contains({ip_version, address});
}

}  // namespace topspin
