// Shared by the subjects in C: an HTTP server with a thread for each connection.
// serve_http(port, handle) calls handle() for each request, in the thread of its connection, and
// then answers. It never returns.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void (*handle_request)(void);

static void* serve_connection(void* argument) {
  static const char kReply[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
  int fd = (int)(intptr_t)argument;
  char request[4096];
  ssize_t length;
  while ((length = read(fd, request, sizeof request)) > 0) {  // a request is one segment here
    handle_request();
    if (write(fd, kReply, sizeof kReply - 1) < 0) break;
  }
  close(fd);
  return NULL;
}

static int bound_socket(int type, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, type, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (fd < 0 || bind(fd, (struct sockaddr*)&address, sizeof address) != 0) {
    perror("bind");
    exit(1);
  }
  return fd;
}

__attribute__((unused)) static void serve_http(int port, void (*handle)(void)) {
  int listener = bound_socket(SOCK_STREAM, port);
  listen(listener, 1024);
  handle_request = handle;
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;
    pthread_t thread;
    pthread_create(&thread, NULL, serve_connection, (void*)(intptr_t)fd);
    pthread_detach(thread);
  }
}
