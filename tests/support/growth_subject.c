/* A TCP echo server whose cost per client is known, for tests of resources.
 * usage: growth_subject PORT BYTES clean|leak|reserve
 *
 * Each client takes one descriptor and BYTES of memory before an inaccessible page, so that no two
 * clients' memory becomes one mapping. clean: the memory is touched, and all is given back when the
 * client leaves. leak: the memory is touched, and nothing is given back. reserve: the memory is not
 * touched (PROT_NONE), and all is given back.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kMostClients = 65536, kPage = 4096 };
static void* memory_of[kMostClients];

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const size_t bytes = strtoull(argv[2], NULL, 10);
  const int leaks = strcmp(argv[3], "leak") == 0;
  const int reserves = strcmp(argv[3], "reserve") == 0;
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)atoi(argv[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(listening, (struct sockaddr*)&address, sizeof address) != 0 ||
      listen(listening, 4096) != 0)
    return 3;
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listening};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[256];
    const int count = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listening) {
        const int client = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0 || client >= kMostClients) return 4;
        char* memory = mmap(NULL, bytes + kPage, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) return 5;
        if (!reserves) {
          if (mprotect(memory, bytes, PROT_READ | PROT_WRITE) != 0) return 6;
          madvise(memory, bytes, MADV_NOHUGEPAGE);
          for (size_t at = 0; at < bytes; at += kPage) memory[at] = 1;
        }
        memory_of[client] = memory;
        event.data.fd = client;
        epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event);
        continue;
      }
      char buffer[64];
      const ssize_t got = read(fd, buffer, sizeof buffer);
      if (got > 0) {
        if (write(fd, buffer, (size_t)got) < 0) continue;
      } else {
        epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
        if (leaks) continue;
        munmap(memory_of[fd], bytes + kPage);
        close(fd);
      }
    }
  }
}
