// Speaks HTTP by hand over TCP, and sends cells of a CSV file over UDP: what main_program.c leaves
// out.
#include <stdlib.h>
#include <string.h>

#include "topspin.h"

#ifndef ECHO

static const char kRequest[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

static int ask(void) {
  char text[256] = {0};
  const int32_t socket = topspin_tcp(0, 0, TOPSPIN_SECOND);
  topspin_send(socket, kRequest, sizeof kRequest - 1);
  int32_t length = topspin_recv(socket, text, sizeof text, TOPSPIN_LINE, TOPSPIN_DEFAULT_TIMEOUT);
  topspin_check(length == 15 && memcmp(text, "HTTP/1.1 200 OK", 15) == 0, "status line", 11);
  length = topspin_recv_till(socket, "\r\n\r\n", 4, text, sizeof text - 1, TOPSPIN_SECOND);
  text[length < 0 ? 0 : length] = 0;
  const char* field = strstr(text, "ontent-Length: ");
  const int bytes = field ? atoi(field + 15) : 0;
  topspin_check(bytes > 0, "has a length", 12);
  length = topspin_recv(socket, text, (uint32_t)bytes, TOPSPIN_EXACT, TOPSPIN_SECOND);
  topspin_check(length == bytes, "has the body", 12);
  topspin_check(topspin_is_open(socket), "is kept open", 12);
  // Nothing more comes, which is no failure.
  length = topspin_recv(socket, text, sizeof text, TOPSPIN_ANY | TOPSPIN_OPTIONAL,
                        50 * TOPSPIN_MILLISECOND);
  char reason[16] = {0};
  topspin_check(length == -1 && topspin_reason(reason, sizeof reason) == 7 &&
                    memcmp(reason, "timeout", 7) == 0,
                "nothing more", 12);
  topspin_close(socket);
  topspin_check(!topspin_is_open(socket), "is closed", 9);
  return 0;
}

#else

static int echo(void) {
  char cell[32], answer[32];
  const int32_t rows = topspin_data_rows("users.csv", 9);
  const int32_t length =
      topspin_data_cell("users.csv", 9, (uint32_t)topspin_id() - 1, "name", 4, cell, sizeof cell);
  const int32_t socket = topspin_udp(0, 0, TOPSPIN_KEEP);
  topspin_send(socket, cell, (uint32_t)length);
  const int32_t got = topspin_recv(socket, answer, sizeof answer, TOPSPIN_ANY, TOPSPIN_SECOND);
  topspin_check(rows == 2 && got == length && memcmp(cell, answer, (size_t)got) == 0, "echo", 4);
  // The length of what has no room is still said.
  topspin_check(topspin_data_cell("users.csv", 9, 1, "name", 4, cell, 2) == 5, "cut", 3);
  return 0;
}

#endif

int main(void) {
  topspin_step_begin("all", 3);
#ifdef ECHO
  const int code = echo();
#else
  const int code = ask();
#endif
  topspin_step_end();
  return code;
}
