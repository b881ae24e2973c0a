// ServiceNotice: tells systemd that a service is ready, lives and ends: the protocol of
// sd_notify(3), which is one datagram per message. Without $NOTIFY_SOCKET it does nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "app/watch/datagram_socket.h"

namespace topspin {

class ServiceNotice {
 public:
  /// Reads NOTIFY_SOCKET and WATCHDOG_USEC.
  ServiceNotice();

  void ready(std::string_view status) { send("READY=1\nSTATUS=" + std::string(status)); }
  void stopping() { send("STOPPING=1"); }
  /// Call it regularly: it tells the watchdog, twice in its time, that the service lives.
  void alive(int64_t now_ns);

 private:
  void send(const std::string& message);

  DatagramSocket socket_;  // sends nothing if nobody listens
  std::optional<int64_t> watchdog_ns_;
  int64_t told_ns_ = 0;
};

}  // namespace topspin
