#include "tests/load/misbehaving_udp_server.h"

#include <array>
#include <cstring>
#include <ctime>
#include <queue>
#include <random>
#include <set>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "core/base/check.h"
#include "core/base/clock.h"

namespace topspin {
namespace {

struct Answer {
  int64_t at_ns;
  sockaddr_storage to;
  socklen_t to_length;
  std::string bytes;
  bool operator<(const Answer& other) const { return at_ns > other.at_ns; }
};

}  // namespace

MisbehavingUdpServer::MisbehavingUdpServer(const UdpMisbehaviour& behaviour,
                                           const std::string& host)
    : behaviour_(behaviour) {
  const bool v6 = host.find(':') != std::string::npos;
  sockaddr_storage address{};
  socklen_t length = 0;
  if (v6) {
    auto& a = reinterpret_cast<sockaddr_in6&>(address);
    a.sin6_family = AF_INET6;
    CHECK(inet_pton(AF_INET6, host.c_str(), &a.sin6_addr) == 1);
    length = sizeof a;
  } else {
    auto& a = reinterpret_cast<sockaddr_in&>(address);
    a.sin_family = AF_INET;
    CHECK(inet_pton(AF_INET, host.c_str(), &a.sin_addr) == 1);
    length = sizeof a;
  }
  fd_.reset(socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  CHECK(bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
  CHECK(getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  const int buffer = 4 << 20;
  (void)setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  const uint16_t port = ntohs(v6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                 : reinterpret_cast<sockaddr_in&>(address).sin_port);
  target_ = v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
  thread_ = std::thread([this] { run(); });
}

MisbehavingUdpServer::~MisbehavingUdpServer() { stop(); }

const UdpTruth& MisbehavingUdpServer::stop() {
  stopping_.store(true);
  if (thread_.joinable()) thread_.join();
  return truth_;
}

void MisbehavingUdpServer::run() {
  std::mt19937_64 random(behaviour_.seed);
  const auto dice = [&](int permille) { return static_cast<int>(random() % 1000) < permille; };
  std::priority_queue<Answer> later;
  std::set<std::string> ends;
  int64_t first_ns = 0;
  bool stalled = false, is_empty = false;
  while (!stopping_.load() || !is_empty) {
    const int64_t now = monotonic_now_ns();
    if (!stalled && behaviour_.stall_after_ns >= 0 && first_ns != 0 &&
        now - first_ns >= behaviour_.stall_after_ns) {
      stalled = true;
      const timespec pause{behaviour_.stall_ns / kNanosPerSecond,
                           behaviour_.stall_ns % kNanosPerSecond};
      nanosleep(&pause, nullptr);
    }
    while (!later.empty() && later.top().at_ns <= now) {
      const Answer& answer = later.top();
      (void)sendto(fd_.get(), answer.bytes.data(), answer.bytes.size(), 0,
                   reinterpret_cast<const sockaddr*>(&answer.to), answer.to_length);
      later.pop();
    }
    pollfd poller{fd_.get(), POLLIN, 0};
    const bool is_to_end = stopping_.load();
    poll(&poller, 1, is_to_end ? 0 : later.empty() ? 10 : 1);
    for (int i = 0; i < 64; ++i) {
      std::array<char, 2048> bytes;
      sockaddr_storage from{};
      socklen_t from_length = sizeof from;
      const ssize_t got = recvfrom(fd_.get(), bytes.data(), bytes.size(), 0,
                                   reinterpret_cast<sockaddr*>(&from), &from_length);
      is_empty = is_to_end && got < 0;
      if (got < 0) break;
      if (first_ns == 0) first_ns = monotonic_now_ns();
      ++truth_.received;
      ends.emplace(reinterpret_cast<const char*>(&from), from_length);
      const std::string answer =
          behaviour_.echo ? std::string(bytes.data(), static_cast<size_t>(got)) : "PONG";
      const auto send_now = [&](const std::string& text) {
        (void)sendto(fd_.get(), text.data(), text.size(), 0,
                     reinterpret_cast<const sockaddr*>(&from), from_length);
      };
      // Only one thing happens to each datagram, so that the counts add up.
      if (dice(behaviour_.drop_permille)) {
        ++truth_.dropped;
      } else if (dice(behaviour_.delay_permille)) {
        ++truth_.delayed;
        later.push({monotonic_now_ns() + behaviour_.delay_ns, from, from_length, answer});
      } else {
        send_now(answer);
        if (dice(behaviour_.duplicate_permille)) {
          ++truth_.duplicated;
          send_now(answer);
        } else if (dice(behaviour_.foreign_permille)) {
          ++truth_.foreign;
          send_now("???");
        }
      }
    }
  }
  truth_.flows = ends.size();
}

}  // namespace topspin
