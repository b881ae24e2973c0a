// A UDP server that answers pings, and pauses 10 ms every 2 s.
//
// usage: server PORT fault|twin
//
// fault: its receive buffer holds three pings (SO_RCVBUF 1024, which the kernel raises).
// twin:  the buffer has the default size; pings of the pause wait in it.
#include "../http.h"

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  int fd = bound_socket(SOCK_DGRAM, atoi(argv[1])), size = 1024;
  if (strcmp(argv[2], "fault") == 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  long next_pause = now_ms() + 2000;
  for (;;) {
    char ping[2048];
    struct sockaddr_in client;
    socklen_t length = sizeof client;
    ssize_t got = recvfrom(fd, ping, sizeof ping, 0, (struct sockaddr*)&client, &length);
    if (got >= 0) sendto(fd, ping, (size_t)got, 0, (struct sockaddr*)&client, length);
    if (now_ms() >= next_pause) {
      nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
      next_pause = now_ms() + 2000;
    }
  }
}
