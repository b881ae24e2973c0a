#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

enum { WORK = 100000, DROP_EVERY = 0 };

int main(void) {
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(8899);
  if (bind(s, (struct sockaddr*)&address, sizeof address) != 0) return 1;
  for (unsigned requests = 1;; ++requests) {
    char data[2048];
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    if (recvfrom(s, data, sizeof data, 0, (struct sockaddr*)&peer, &length) < 0) return 1;
    for (volatile int i = 0; i < WORK; ++i) {
    }
    if (DROP_EVERY != 0 && requests % (unsigned)DROP_EVERY == 0) continue;
    sendto(s, "PONG", 4, 0, (struct sockaddr*)&peer, length);
  }
}
