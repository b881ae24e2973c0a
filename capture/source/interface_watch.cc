#include "capture/source/interface_watch.h"

#include <cstring>

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace topspin {

InterfaceWatch::InterfaceWatch() : socket_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}

InterfaceState InterfaceWatch::look(const std::string& name) const {
  InterfaceState state;
  ifreq request{};
  if (name.size() >= sizeof request.ifr_name) return state;
  std::memcpy(request.ifr_name, name.data(), name.size());
  if (ioctl(socket_.get(), SIOCGIFINDEX, &request) != 0) return state;
  state.index = static_cast<unsigned>(request.ifr_ifindex);
  if (ioctl(socket_.get(), SIOCGIFFLAGS, &request) == 0) {
    state.up = (request.ifr_flags & IFF_UP) != 0;
  }
  if (ioctl(socket_.get(), SIOCGIFMTU, &request) == 0 && request.ifr_mtu > 0) {
    state.mtu = static_cast<uint32_t>(request.ifr_mtu);
  }
  return state;
}

std::string InterfaceWatch::name_of(unsigned index) const {
  ifreq request{};
  request.ifr_ifindex = static_cast<int>(index);
  if (ioctl(socket_.get(), SIOCGIFNAME, &request) != 0) return {};
  return {request.ifr_name, strnlen(request.ifr_name, sizeof request.ifr_name)};
}

}  // namespace topspin
