/* pingpong.lua in C: each client sends one ping per second, and waits for its answer.
 *
 *   clang --target=wasm32-wasi -O2 -nostartfiles -Wl,--no-entry -o pingpong.wasm pingpong.c
 *   topspin load script pingpong.wasm --target 127.0.0.1:8888 --clients 5000 --hold 30s */
#include "topspin.h"

static const char kCheck[] = "the answer has 4 bytes";

TOPSPIN_CLIENT void client(int32_t id) {
  (void)id;
  char answer[64];
  const int32_t socket = topspin_udp(0, 0, 0);
  for (topspin_every(TOPSPIN_SECOND); topspin_turn();) {
    topspin_send(socket, "PING", 4);
    const int32_t length = topspin_recv(socket, answer, sizeof answer, TOPSPIN_ANY, TOPSPIN_SECOND);
    topspin_check(length == 4, kCheck, sizeof kCheck - 1);
  }
}
