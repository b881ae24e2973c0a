// Sends datagrams to a port of loopback where nobody needs to listen.
#pragma once

#include <cstdint>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>

#include "core/base/unique_fd.h"

namespace topspin::test {

class DatagramSender {
 public:
  explicit DatagramSender(uint16_t port) : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    to_.sin_family = AF_INET;
    to_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to_.sin_port = htons(port);
  }

  /// As sendto(2).
  ssize_t send(std::string_view payload) const {
    return ::sendto(fd_.get(), payload.data(), payload.size(), 0,
                    reinterpret_cast<const sockaddr*>(&to_), sizeof to_);
  }

 private:
  UniqueFd fd_;
  sockaddr_in to_{};
};

}  // namespace topspin::test
