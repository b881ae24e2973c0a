#include "app/watch/service_notice.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include <sys/un.h>
#include <unistd.h>

namespace topspin {

ServiceNotice::ServiceNotice() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (path[0] != '/' && path[0] != '@') ||
      std::strlen(path) >= sizeof(sockaddr_un::sun_path))
    return;
  socket_ = DatagramSocket(path);
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
void ServiceNotice::send(const std::string& message) { (void)socket_.send(message); }

}  // namespace topspin
