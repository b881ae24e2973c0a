#include "app/watch/service_notice.h"

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace topspin {

ServiceNotice::ServiceNotice() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@') ||
      std::strlen(path) >= sizeof(sockaddr_un::sun_path))
    return;
  path_ = path;
  socket_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const char* pid = std::getenv("WATCHDOG_PID");
  const char* usec = std::getenv("WATCHDOG_USEC");
  if (usec == nullptr || (pid != nullptr && std::to_string(::getpid()) != pid)) return;
  int64_t microseconds = 0;
  const char* end = usec + std::strlen(usec);
  if (std::from_chars(usec, end, microseconds).ptr == end && microseconds > 0)
    watchdog_ns_ = microseconds * 1000;
}

void ServiceNotice::alive(int64_t now_ns) {
  if (!watchdog_ns_ || (told_ns_ != 0 && now_ns - told_ns_ < *watchdog_ns_ / 2)) return;
  told_ns_ = now_ns;
  send("WATCHDOG=1");
}

/// What cannot be sent is left out: the service matters more than who watches it.
void ServiceNotice::send(const std::string& message) {
  if (!socket_) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.data(), path_.size());
  if (path_[0] == '@') address.sun_path[0] = '\0';
  (void)::sendto(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size()));
}

}  // namespace topspin
