// DatagramSocket: sends datagrams to a path of AF_UNIX, as systemd's protocols do.
#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>

#include <sys/socket.h>
#include <sys/un.h>

#include "core/base/unique_fd.h"

namespace topspin {

class DatagramSocket {
 public:
  /// Sends nothing.
  DatagramSocket() = default;
  /// To `path`, of which a first "@" begins an abstract name. Sends nothing if it is too long.
  explicit DatagramSocket(std::string_view path) {
    if (path.empty() || path.size() >= sizeof address_.sun_path) return;
    address_.sun_family = AF_UNIX;
    std::memcpy(address_.sun_path, path.data(), path.size());
    if (path.front() == '@') address_.sun_path[0] = '\0';
    address_size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    socket_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  }

  /// False if it was not taken, at once and whole.
  bool send(std::string_view bytes) const {
    return socket_ && ::sendto(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL,
                               reinterpret_cast<const sockaddr*>(&address_),
                               address_size_) == static_cast<ssize_t>(bytes.size());
  }

 private:
  sockaddr_un address_{};
  socklen_t address_size_ = 0;
  UniqueFd socket_;
};

}  // namespace topspin
