// An HTTP server whose capacity is known: it answers one request after the other, and no more than
// so many a second. usage: paced_server PORT REQUESTS_PER_S sleep|burn
//
// It waits for the moment of each answer by sleeping, or by using its CPU. A moment that came late
// is made up for, so the capacity does not depend on how exactly the host sleeps. It says
// "listening", and on SIGTERM "answered N".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_CONNECTIONS 65536
static const int64_t kMostMadeUpNs = 20000000;  // 20 ms

static volatile sig_atomic_t is_over;
static void on_signal(int number) {
  (void)number;
  is_over = 1;
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void wait_until(int64_t moment_ns, int burn) {
  if (burn) {
    while (now_ns() < moment_ns && !is_over) continue;
    return;
  }
  struct timespec moment = {.tv_sec = moment_ns / 1000000000, .tv_nsec = moment_ns % 1000000000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL) == EINTR && !is_over)
    continue;
}

// The bytes of the empty line at the end of a request that have been seen, by connection.
static unsigned char seen[MOST_CONNECTIONS];

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int64_t step_ns = 1000000000 / atoi(argv[2]);
  const int burn = strcmp(argv[3], "burn") == 0;
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)atoi(argv[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr*)&address, sizeof address) != 0 ||
      listen(listener, 4096) != 0) {
    perror("paced_server");
    return 1;
  }
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  printf("listening\n");
  fflush(stdout);
  unsigned long answered = 0;
  int64_t next_ns = 0;
  while (!is_over) {
    const int n = epoll_wait(epoll, events, 256, 100);
    for (int i = 0; i < n && !is_over; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        const int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (connection < 0) continue;
        if (connection >= MOST_CONNECTIONS) {
          close(connection);
          continue;
        }
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        seen[connection] = 0;
        event.events = EPOLLIN;
        event.data.fd = connection;
        epoll_ctl(epoll, EPOLL_CTL_ADD, connection, &event);
        continue;
      }
      char buffer[4096];
      const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (got <= 0) {
        close(fd);
        continue;
      }
      for (ssize_t at = 0; at < got; ++at) {
        seen[fd] = buffer[at] == "\r\n\r\n"[seen[fd]] ? seen[fd] + 1 : buffer[at] == '\r';
        if (seen[fd] < 4) continue;
        seen[fd] = 0;
        const int64_t now = now_ns();
        next_ns = (next_ns > now - kMostMadeUpNs ? next_ns : now - kMostMadeUpNs) + step_ns;
        wait_until(next_ns, burn);
        static const char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        if (send(fd, kAnswer, sizeof kAnswer - 1, MSG_NOSIGNAL) > 0) ++answered;
      }
    }
  }
  printf("answered %lu\n", answered);
  return 0;
}
