// A UDP server that does a given amount of work for each reply, so that 10% more work is exact.
//
// usage: busy_udp_server PORT ROUNDS. Prints "listening" when it is ready; ends by signal.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[1])));
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return 1;
  std::puts("listening");
  std::fflush(stdout);
  const int64_t rounds = std::atoll(argv[2]);
  volatile uint64_t result = 1;
  std::array<char, 2048> buffer{};
  for (;;) {
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    auto* raw = reinterpret_cast<sockaddr*>(&peer);
    const ssize_t bytes = ::recvfrom(fd, buffer.data(), buffer.size(), 0, raw, &length);
    if (bytes < 0) continue;
    for (int64_t i = 0; i < rounds; ++i) result = result * 6364136223846793005u + 1;
    if (::sendto(fd, buffer.data(), static_cast<size_t>(bytes), 0, raw, length) < 0) continue;
  }
}
