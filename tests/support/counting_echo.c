// A UDP echo server that counts what it received, from whom, and when in a period: an independent
// witness of what load generators say. On SIGTERM it prints, for each source address,
//   ADDRESS PACKETS EARLIEST_US
// (EARLIEST_US: the smallest arrival modulo the period, in CLOCK_REALTIME), then
//   total PACKETS DROPPED.
#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define SOURCES 64

static volatile sig_atomic_t ended;
static void on_end(int number) {
  (void)number;
  ended = 1;
}

int main(int count, char** words) {
  if (count != 3) return 2;
  const struct sigaction action = {.sa_handler = on_end};
  sigaction(SIGTERM, &action, NULL);
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  const int bytes = 32 << 20;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  const struct sockaddr_in here = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)atoi(words[1]))};
  if (bind(fd, (const struct sockaddr*)&here, sizeof here) != 0) return 1;
  const int64_t period_us = atoll(words[2]);
  static struct {
    uint32_t address;
    unsigned long packets;
    int64_t earliest_us;
  } sources[SOURCES];
  unsigned long total = 0;
  puts("listening");
  fflush(stdout);
  static char data[65536];
  while (!ended) {
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    const ssize_t got = recvfrom(fd, data, sizeof data, 0, (struct sockaddr*)&peer, &length);
    if (got < 0) continue;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const int64_t at_us = (now.tv_sec * 1000000 + now.tv_nsec / 1000) % period_us;
    ++total;
    for (int i = 0; i < SOURCES; ++i) {
      if (sources[i].packets > 0 && sources[i].address != peer.sin_addr.s_addr) continue;
      sources[i].address = peer.sin_addr.s_addr;
      if (sources[i].packets++ == 0 || at_us < sources[i].earliest_us)
        sources[i].earliest_us = at_us;
      break;
    }
    (void)sendto(fd, data, (size_t)got, 0, (const struct sockaddr*)&peer, length);
  }
  for (int i = 0; i < SOURCES && sources[i].packets > 0; ++i) {
    const struct in_addr address = {sources[i].address};
    printf("%s %lu %lld\n", inet_ntoa(address), sources[i].packets,
           (long long)sources[i].earliest_us);
  }
  uint32_t info[SK_MEMINFO_VARS] = {0};
  socklen_t size = sizeof info;
  (void)getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size);
  printf("total %lu %u\n", total, info[SK_MEMINFO_DROPS]);
  return 0;
}
