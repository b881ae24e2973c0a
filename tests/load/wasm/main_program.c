// A program with main(): it runs once for each client, against MisbehavingTcpServer, which sends 64
// bytes and ends, and against its HTTP twin if the target is a URL.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topspin.h"

static void step(const char* name) { topspin_step_begin(name, (uint32_t)strlen(name)); }

int main(void) {
  char target[64];
  const int32_t length = topspin_target(target, sizeof target - 1);
  target[length < 63 ? length : 63] = 0;
  char* received = malloc(4096);
  if (strncmp(target, "http", 4) == 0) {
    step("ask");
    const int32_t status =
        topspin_http(0, 0, "/page", 5, "X-Client: me\r\n", 14, 0, 0, TOPSPIN_DEFAULT_TIMEOUT);
    topspin_step_end();
    char value[16] = {0};
    const int32_t header = topspin_http_header("content-length", 14, value, sizeof value - 1);
    const int32_t body = topspin_http_body(received, 4096, 0);
    topspin_check(header > 0 && atoi(value) == body, "length", 6);
    printf("status %d\n", status);
    return status == 200 ? 0 : 7;
  }
  step("take");
  const int32_t socket = topspin_tcp(0, 0, TOPSPIN_DEFAULT_TIMEOUT);
  int32_t got = 0;
  if (topspin_id() % 2 == 0) {
    got = topspin_recv(socket, received, 4096, TOPSPIN_ALL, TOPSPIN_DEFAULT_TIMEOUT);
  } else {
    while (got < 64) {
      const int32_t more =
          topspin_recv(socket, received + got, 10, TOPSPIN_ANY, TOPSPIN_DEFAULT_TIMEOUT);
      if (more < 0) break;
      if (more > 10) return 8;
      got += more;
    }
  }
  topspin_check(got == 64, "all bytes", 9);
  topspin_step_end();
  topspin_close(socket);
  return got == 64 ? 0 : 7;
}
