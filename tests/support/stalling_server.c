// A UDP echo server with one thread, which stalls once.
//
//   stalling_server AFTER_MS STALL_MS
//
// It prints "port N", answers every datagram, sleeps once for STALL_MS when AFTER_MS have passed
// (0: never), prints "stalled BEGIN_NS END_NS" on the monotonic clock, and goes on until it is
// killed.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

static long long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const long long after_ns = atoll(argv[1]) * 1000000LL, stall_ns = atoll(argv[2]) * 1000000LL;
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  if (bind(fd, (struct sockaddr*)&address, length) != 0 ||
      getsockname(fd, (struct sockaddr*)&address, &length) != 0)
    return 1;
  const struct timeval timeout = {0, 5000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  printf("port %d\n", ntohs(address.sin_port));
  fflush(stdout);
  const long long start_ns = now_ns();
  for (int has_stalled = stall_ns == 0;;) {
    char data[64];
    struct sockaddr_in peer;
    socklen_t peer_length = sizeof peer;
    const ssize_t got = recvfrom(fd, data, sizeof data, 0, (struct sockaddr*)&peer, &peer_length);
    if (got > 0) sendto(fd, data, (size_t)got, 0, (struct sockaddr*)&peer, peer_length);
    if (has_stalled || now_ns() - start_ns < after_ns) continue;
    has_stalled = 1;
    const struct timespec pause = {stall_ns / 1000000000LL, stall_ns % 1000000000LL};
    const long long begin_ns = now_ns();
    nanosleep(&pause, NULL);
    printf("stalled %lld %lld\n", begin_ns, now_ns());
    fflush(stdout);
  }
}
