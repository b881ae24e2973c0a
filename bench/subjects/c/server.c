// The servers of bench/plans in C, each with one thread. usage: server ROLE PORT
//
//   udp          echoes every datagram
//   http         "Hello, world" with a Content-Length, keep-alive unless asked to close
//   accept       sends five bytes to whoever connects, and closes
//   accept-leak  the same, but forgets to close: every connection costs a descriptor forever
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char* what) {
  perror(what);
  exit(1);
}

static int bound_socket(int type, int port) {
  int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (fd < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr*)&address, sizeof address) != 0) die("bind");
  if (type == SOCK_STREAM && listen(fd, 4096) != 0) die("listen");
  return fd;
}

static void serve_udp(int fd) {
  char buffer[65536];
  for (;;) {
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    ssize_t got = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr*)&peer, &length);
    if (got >= 0) sendto(fd, buffer, (size_t)got, 0, (struct sockaddr*)&peer, length);
  }
}

static void serve_accept(int fd, int leak) {
  for (;;) {
    int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0) continue;
    send(connection, "hello", 5, MSG_NOSIGNAL);
    if (leak)
      shutdown(connection, SHUT_WR);
    else
      close(connection);
  }
}

// A request ends with an empty line and has no body. Pipelined requests are answered one by one.
struct request {
  size_t used;
  char text[2048];
};
static struct request* requests[1 << 20];

static int answer(int fd, struct request* request) {
  static const char kKeep[] = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world\n";
  static const char kClose[] =
      "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nHello, world\n";
  char* end;
  while ((end = strstr(request->text, "\r\n\r\n")) != NULL) {
    *end = '\0';
    int last = strcasestr(request->text, "connection: close") != NULL;
    if (send(fd, last ? kClose : kKeep, last ? sizeof kClose - 1 : sizeof kKeep - 1, MSG_NOSIGNAL) <
            0 ||
        last)
      return 0;
    size_t taken = (size_t)(end + 4 - request->text);
    request->used -= taken;
    memmove(request->text, end + 4, request->used + 1);
  }
  return request->used + 1 < sizeof request->text;
}

static void serve_http(int listener) {
  int epoll = epoll_create1(EPOLL_CLOEXEC), on = 1;
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int n = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < n; ++i) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (connection < 0) continue;
        if (connection >= 1 << 20 || !(requests[connection] = calloc(1, sizeof(struct request)))) {
          close(connection);
          continue;
        }
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        event.events = EPOLLIN;
        event.data.fd = connection;
        epoll_ctl(epoll, EPOLL_CTL_ADD, connection, &event);
        continue;
      }
      struct request* request = requests[fd];
      ssize_t got =
          recv(fd, request->text + request->used, sizeof request->text - request->used - 1, 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (got > 0) {
        request->used += (size_t)got;
        request->text[request->used] = '\0';
      }
      if (got <= 0 || !answer(fd, request)) {
        free(request);
        requests[fd] = NULL;
        close(fd);
      }
    }
  }
}

int main(int argc, char** argv) {
  const char* role = argc == 3 ? argv[1] : "";
  int port = argc == 3 ? atoi(argv[2]) : 0;
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  if (!strcmp(role, "udp")) serve_udp(bound_socket(SOCK_DGRAM, port));
  if (!strcmp(role, "http")) serve_http(bound_socket(SOCK_STREAM, port));
  if (!strcmp(role, "accept")) serve_accept(bound_socket(SOCK_STREAM, port), 0);
  if (!strcmp(role, "accept-leak")) serve_accept(bound_socket(SOCK_STREAM, port), 1);
  fprintf(stderr, "usage: server udp|http|accept|accept-leak PORT\n");
  return 2;
}
