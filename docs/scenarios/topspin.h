/* What a scenario in WebAssembly can call: topspin's functions, for C and C++.
 *
 *   #include "topspin.h"
 *   TOPSPIN_CLIENT void client(int32_t id) {
 *     int32_t socket = topspin_udp(0, 0, 0);
 *     for (topspin_every(TOPSPIN_SECOND); topspin_turn();) { ... }
 *   }
 *
 *   clang --target=wasm32-wasi -O2 -nostartfiles -Wl,--no-entry -o scenario.wasm scenario.c
 *   topspin load script scenario.wasm --target 127.0.0.1:8888 --clients 1000
 *
 * Each client has an instance of the module, with a memory of its own, and runs `client` once. A
 * program with main() works as well: it is run for each client, and topspin_id() tells them apart.
 * The functions block as far as the client can see; all clients share one thread.
 *
 * In other languages, import them from the module "topspin", with the names and types below. A
 * pointer is an i32, and so is a length in bytes; texts need no zero at their end. Addresses and
 * lengths are checked: what is outside of the memory ends the client. So does everything that is
 * wrong in a way that no server can be the reason of.
 *
 * What fails because of the server returns -1, makes the message (the turn, or the step) count as
 * failed, and ends nothing. topspin_reason() has the reason, such as "timeout" or "refused".
 *
 * A timeout is a number of nanoseconds; a negative one means the load's --timeout.
 *
 * docs/scenarios.md describes turns, steps, checks and the limits. */
#ifndef TOPSPIN_H
#define TOPSPIN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TOPSPIN_CLIENT __attribute__((export_name("client")))
#define TOPSPIN_IMPORT(name) __attribute__((import_module("topspin"), import_name(name)))

#define TOPSPIN_MILLISECOND INT64_C(1000000)
#define TOPSPIN_SECOND INT64_C(1000000000)
#define TOPSPIN_DEFAULT_TIMEOUT INT64_C(-1)

/* For topspin_udp. */
#define TOPSPIN_KEEP 1 /* what came before a send is kept; otherwise it is dropped, and counted */

/* How topspin_recv waits. TOPSPIN_OPTIONAL is added to one of the others: nothing within the
 * timeout is no failure of the message then, though it still returns -1. */
#define TOPSPIN_ANY 0   /* a datagram; of a connection: what is there, at least one byte */
#define TOPSPIN_EXACT 1 /* of a connection: as many bytes as there is room for */
#define TOPSPIN_LINE 2  /* up to a line end, without it */
#define TOPSPIN_ALL 3   /* up to the end of the connection */
#define TOPSPIN_OPTIONAL 16

/* A number from 1 on, which another client gets when this one has left. */
TOPSPIN_IMPORT("id") int32_t topspin_id(void);
/* Nanoseconds since the load began. */
TOPSPIN_IMPORT("time_ns") int64_t topspin_time_ns(void);
TOPSPIN_IMPORT("sleep") void topspin_sleep(int64_t ns);
/* Begins a loop of turns. Their moments are those of the load's schedule, so nothing drifts. */
TOPSPIN_IMPORT("every") void topspin_every(int64_t period_ns);
/* Waits for the next turn and returns its number, from 1 on; 0 when the client's time is over. */
TOPSPIN_IMPORT("turn") int64_t topspin_turn(void);
TOPSPIN_IMPORT("step_begin") void topspin_step_begin(const char* name, uint32_t length);
TOPSPIN_IMPORT("step_end") void topspin_step_end(void);
/* Returns the condition, as 0 or 1. */
TOPSPIN_IMPORT("check") int32_t topspin_check(int32_t condition, const char* name, uint32_t length);
/* Makes the message and the open steps fail. */
TOPSPIN_IMPORT("fail") void topspin_fail(const char* reason, uint32_t length);
/* 64 random bits. A client's numbers are the same in every run with the same --seed. */
TOPSPIN_IMPORT("random") uint64_t topspin_random(void);

/* These write as much of a text as there is room for, and return its whole length. */
TOPSPIN_IMPORT("target") int32_t topspin_target(char* text, uint32_t room);
TOPSPIN_IMPORT("reason") int32_t topspin_reason(char* text, uint32_t room);

/* Sockets: a number from 0 on. An empty address is the target; --allow names others. */
TOPSPIN_IMPORT("udp") int32_t topspin_udp(const char* address, uint32_t length, uint32_t flags);
/* Connects. After a failure there is no socket: -1. */
TOPSPIN_IMPORT("tcp") int32_t topspin_tcp(const char* address, uint32_t length, int64_t timeout_ns);
/* Sends all of it. 0, or -1. */
TOPSPIN_IMPORT("send") int32_t topspin_send(int32_t socket, const void* bytes, uint32_t length);
/* The number of bytes that came, or -1. If it is larger than the room, the rest is lost, but for
 * TOPSPIN_ANY of a connection, which returns no more than there is room for. */
TOPSPIN_IMPORT("recv")
int32_t topspin_recv(int32_t socket, void* bytes, uint32_t room, uint32_t how, int64_t timeout_ns);
/* What comes before a text, without it. */
TOPSPIN_IMPORT("recv_till")
int32_t topspin_recv_till(int32_t socket, const char* mark, uint32_t mark_length, void* bytes,
                          uint32_t room, int64_t timeout_ns);
TOPSPIN_IMPORT("close") void topspin_close(int32_t socket);
TOPSPIN_IMPORT("is_open") int32_t topspin_is_open(int32_t socket);

/* A request over a connection that the client keeps, by http:// or https:// as the target says. An
 * empty method is GET, an empty path that of the target; headers are lines "Name: value". Returns
 * the status, or -1. */
TOPSPIN_IMPORT("http")
int32_t topspin_http(const char* method, uint32_t method_length, const char* path,
                     uint32_t path_length, const char* headers, uint32_t headers_length,
                     const void* body, uint32_t body_length, int64_t timeout_ns);
/* Of the last response: the body from an offset on (at most 1 MiB is kept), and a header. They
 * write as much as there is room for, and return the whole length; -1 if there is none. */
TOPSPIN_IMPORT("http_body")
int32_t topspin_http_body(void* bytes, uint32_t room, uint32_t offset);
TOPSPIN_IMPORT("http_header")
int32_t topspin_http_header(const char* name, uint32_t length, char* value, uint32_t room);

/* CSV files that --data names, by path or bare name. Rows count from 0, and begin again after the
 * last one. */
TOPSPIN_IMPORT("data_rows") int32_t topspin_data_rows(const char* file, uint32_t length);
TOPSPIN_IMPORT("data_cell")
int32_t topspin_data_cell(const char* file, uint32_t length, uint32_t row, const char* column,
                          uint32_t column_length, char* text, uint32_t room);

#ifdef __cplusplus
}
#endif

#endif
