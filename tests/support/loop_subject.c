/* An event loop with one thread that echoes datagrams, and does two kinds of work: a little for
 * each request, which is most of its CPU time, and 80 ms once a second, during which requests wait.
 * usage: loop_subject PORT */
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define MS 1000000LL

static int64_t now_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Inlined, and with few calls, so that nearly all samples are in the two functions below. */
static inline __attribute__((always_inline)) void burn(int64_t ns) {
  const int64_t end_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) + ns;
  volatile uint64_t sum = 0;
  do {
    for (uint64_t i = 0; i < 20000; i++) sum += i * i;
  } while (now_ns(CLOCK_THREAD_CPUTIME_ID) < end_ns);
}

__attribute__((noinline)) void loop_subject_serve(void) {
  burn(1 * MS);
  __asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) void loop_subject_block(void) {
  burn(80 * MS);
  __asm__ volatile("" ::: "memory");
}

int main(int count, char** words) {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int64_t next_ns = now_ns(CLOCK_MONOTONIC) + 1000 * MS;
  if (count != 2) return 2;
  address.sin_port = htons((uint16_t)atoi(words[1]));
  if (bind(fd, (struct sockaddr*)&address, sizeof address) != 0) return 1;
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    const int64_t left_ns = next_ns - now_ns(CLOCK_MONOTONIC);
    char request[2048];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t bytes;
    poll(&ready, 1, left_ns > 0 ? (int)(left_ns / MS) + 1 : 0);
    if (now_ns(CLOCK_MONOTONIC) >= next_ns) {
      next_ns += 1000 * MS;
      loop_subject_block();
    }
    bytes = recvfrom(fd, request, sizeof request, MSG_DONTWAIT, (struct sockaddr*)&from, &length);
    if (bytes < 0) continue;
    loop_subject_serve();
    sendto(fd, request, (size_t)bytes, 0, (struct sockaddr*)&from, length);
  }
}
