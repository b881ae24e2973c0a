#include "tests/load/misbehaving_tcp_server.h"

#include <array>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "core/base/check.h"

namespace topspin {

MisbehavingTcpServer::MisbehavingTcpServer(const TcpMisbehaviour& behaviour)
    : behaviour_(behaviour) {
  const int family = behaviour.v6 ? AF_INET6 : AF_INET;
  fd_.reset(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in6 v6{};
  sockaddr_in v4{};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = in6addr_loopback;
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* address =
      behaviour.v6 ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4);
  socklen_t length = behaviour.v6 ? sizeof v6 : sizeof v4;
  CHECK(bind(fd_.get(), address, length) == 0);
  CHECK(listen(fd_.get(), behaviour.backlog) == 0);
  CHECK(getsockname(fd_.get(), address, &length) == 0);
  target_ = behaviour.v6 ? fmt::format("[::1]:{}", ntohs(v6.sin6_port))
                         : fmt::format("127.0.0.1:{}", ntohs(v4.sin_port));
  if (behaviour_.accepts) thread_ = std::thread([this] { run(); });
}

MisbehavingTcpServer::~MisbehavingTcpServer() { stop(); }

const MisbehavingTcpServer::Truth& MisbehavingTcpServer::stop() {
  stopping_.store(true);
  if (thread_.joinable()) thread_.join();
  fd_.reset();
  return truth_;
}

TcpFate MisbehavingTcpServer::next_fate() {
  const TcpFate fate = behaviour_.fates[turn_++ % behaviour_.fates.size()];
  ++truth_.fates[fate];
  return fate;
}

bool MisbehavingTcpServer::meet(int fd, TcpFate fate) {
  const std::string body(64, 'x');
  const auto say = [&](const std::string& text) {
    (void)send(fd, text.data(), text.size(), MSG_NOSIGNAL);
  };
  const std::string head =
      behaviour_.http ? "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" : std::string();
  const linger reset{1, 0};
  switch (fate) {
    case TcpFate::kWhole: say(head + body); return behaviour_.http;
    case TcpFate::kChunked:
      say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" + body.substr(32) +
          "\r\n20;x=y\r\n" + body.substr(32) + "\r\n0\r\nTrailer: z\r\n\r\n");
      return true;
    case TcpFate::kUntilClose: say("HTTP/1.1 200 OK\r\n\r\n" + body); return false;
    case TcpFate::kTruncated: say(head + body.substr(32)); return false;
    case TcpFate::kResetBefore:
    case TcpFate::kResetAfter:
      if (fate == TcpFate::kResetAfter) say(head + body.substr(32));
      CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
      return false;
    case TcpFate::kSilence: return true;
    case TcpFate::kError:
      say("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 64\r\n\r\n" + body);
      return true;
    case TcpFate::kNotFound:
      say("HTTP/1.1 404 Not Found\r\nContent-Length: 64\r\n\r\n" + body);
      return true;
  }
  CHECK(false);
}

void MisbehavingTcpServer::run() {
  struct Connection {
    UniqueFd fd;
    std::string request;
  };
  std::vector<Connection> connections;
  while (!stopping_.load()) {
    std::vector<pollfd> pollers{{fd_.get(), POLLIN, 0}};
    for (const Connection& c : connections) pollers.push_back({c.fd.get(), POLLIN, 0});
    poll(pollers.data(), pollers.size(), 10);
    for (size_t i = connections.size(); i-- > 0;) {  // backwards, because some are erased
      if (pollers[i + 1].revents == 0) continue;
      std::array<char, 4096> bytes;
      const ssize_t got = recv(connections[i].fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      bool goes_on = got > 0;
      if (got > 0) {
        connections[i].request.append(bytes.data(), static_cast<size_t>(got));
        while (goes_on && behaviour_.http) {
          const size_t end = connections[i].request.find("\r\n\r\n");
          if (end == std::string::npos) break;
          if (truth_.first_request.empty())
            truth_.first_request = connections[i].request.substr(0, end + 4);
          connections[i].request.erase(0, end + 4);
          goes_on = meet(connections[i].fd.get(), next_fate());
        }
      }
      if (!goes_on) connections.erase(connections.begin() + static_cast<std::ptrdiff_t>(i));
    }
    while (true) {
      UniqueFd fd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) break;
      ++truth_.connections;
      if (behaviour_.http || meet(fd.get(), next_fate()))
        connections.push_back({std::move(fd), ""});
    }
  }
}

}  // namespace topspin
