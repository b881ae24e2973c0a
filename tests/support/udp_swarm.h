// A UDP ping-pong whose numbers are known: N client sockets and one echo socket on loopback, in
// this process.
//
// Every client sends "PING" once per round and waits for nothing. The echo thread answers "PONG".
#pragma once

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace topspin::test {

class UdpSwarm {
 public:
  explicit UdpSwarm(int clients) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    server_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeval timeout{0, 50'000};
    setsockopt(server_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    const int room = 8 << 20;
    setsockopt(server_, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    ok_ = bind(server_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    socklen_t length = sizeof address;
    getsockname(server_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    for (int i = 0; ok_ && i < clients; ++i) {
      const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
      ok_ = fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
      if (fd >= 0) clients_.push_back(fd);
    }
    echo_ = std::thread([this] { echo(); });
  }
  UdpSwarm(const UdpSwarm&) = delete;
  UdpSwarm& operator=(const UdpSwarm&) = delete;
  ~UdpSwarm() {
    stop_ = true;
    echo_.join();
    for (const int fd : clients_) close(fd);
    close(server_);
  }

  bool ok() const { return ok_; }
  int port() const { return port_; }

  /// Each client sends once every 250 ms, for `duration`. The clients are spread over the 250 ms.
  void ping_for(std::chrono::milliseconds duration) {
    const auto start = std::chrono::steady_clock::now();
    const auto period = std::chrono::milliseconds(250);
    const auto step = period / static_cast<int>(clients_.size());
    for (size_t k = 0;; ++k) {
      const auto due = start + step * static_cast<int64_t>(k);
      if (due - start > duration) break;
      std::this_thread::sleep_until(due);
      const int fd = clients_[k % clients_.size()];
      char buffer[8];
      while (recv(fd, buffer, sizeof buffer, 0) > 0) {
      }
      if (send(fd, "PING", 4, 0) == 4) ++sent_;
    }
  }
  uint64_t sent() const { return sent_; }

 private:
  void echo() {
    while (!stop_) {
      char buffer[8];
      sockaddr_in peer{};
      socklen_t length = sizeof peer;
      if (recvfrom(server_, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&peer), &length) >
          0) {
        sendto(server_, "PONG", 4, 0, reinterpret_cast<sockaddr*>(&peer), length);
      }
    }
  }

  int server_ = -1;
  int port_ = 0;
  bool ok_ = false;
  std::vector<int> clients_;
  std::atomic<bool> stop_{false};
  uint64_t sent_ = 0;
  std::thread echo_;
};

}  // namespace topspin::test
