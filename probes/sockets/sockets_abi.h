/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What sockets.bpf.c and user space share. Every counter only grows; times are nanoseconds of
 * CLOCK_MONOTONIC. */
#ifndef TOPSPIN_PROBES_SOCKETS_ABI_H
#define TOPSPIN_PROBES_SOCKETS_ABI_H

#include <linux/types.h>

#include "probes/bpf/cells_abi.h"

/* The parts of a reply, in the order of ReplyPart in core/tick/reply_parts.h. From ready to read:
 */
#define TOPSPIN_UNREAD_BUSY 0u
#define TOPSPIN_UNREAD_QUEUED 1u
#define TOPSPIN_UNREAD_ASLEEP 2u
#define TOPSPIN_UNREAD_STOPPED 3u
#define TOPSPIN_UNREAD_UNKNOWN 4u
/* From read to sent: */
#define TOPSPIN_INSIDE_ON_CPU 5u
#define TOPSPIN_INSIDE_QUEUED 6u
#define TOPSPIN_INSIDE_BETWEEN 7u
#define TOPSPIN_INSIDE_HELD 8u
#define TOPSPIN_INSIDE_UNKNOWN 9u
#define TOPSPIN_INSIDE_ASLEEP 10u /* and the TOPSPIN_BLOCKED_BY_ reasons from here on */
#define TOPSPIN_REPLY_PARTS 20u

/* Four buckets of the full layout are one bucket here. */
#define TOPSPIN_REPLY_CELLS (TOPSPIN_HISTOGRAM_BUCKETS / 4)
/* Shorter replies are only in `time`. */
#define TOPSPIN_TAIL_REPLY_NS (1u << 17)

/* What list_files says of a socket that was open already; its value in the map `sockets` follows.
 */
struct topspin_open_socket {
  __u64 inode; /* of the socket's file */
  __s32 tid;   /* a thread that has it open, as the reader of the list sees it */
  __u32 fd;    /* its descriptor there */
};

struct topspin_reply_cells {
  __u64 sum;
  __u64 max;
  __u64 cells[TOPSPIN_REPLY_CELLS];
};

/* Replies that had some of the part. Replies for which it is 0 are not counted here. */
struct topspin_reply_part {
  struct topspin_reply_cells time;
  struct topspin_reply_cells with;    /* the whole replies */
  struct topspin_reply_cells without; /* what they would have taken without it */
  struct topspin_reply_cells mostly;  /* the whole replies of which it is the longest part */
};

struct topspin_slow_reply {
  __u64 ready_ns;
  __u64 total_ns;
  __u64 parts[TOPSPIN_REPLY_PARTS];
  __u8 local[16];
  __u8 remote[16];
  __u16 local_port;
  __u16 remote_port; /* 0: not known */
  __u8 protocol;
  __u8 ip_version;
  __u16 reserved;
  __s32 reader_tid; /* both in the initial PID namespace */
  __s32 sender_tid;
  char sender[16];
};

/* The slowest replies of one epoch on one CPU. */
#define TOPSPIN_SLOW_REPLIES 32u
struct topspin_slowest {
  __u64 epoch; /* to which they belong */
  __u64 least_ns;
  __u32 least; /* the index of the fastest of them, once all places are taken */
  __u32 used;
  __u32 busy; /* a program is writing here */
  __u32 reserved;
  struct topspin_slow_reply replies[TOPSPIN_SLOW_REPLIES];
};

/* One element of the map `cpus` for each possible CPU, written on that CPU only, by programs that
 * run in the subject's own system calls. */
struct topspin_socket_cpu {
  __u64 events; /* changes with everything below; CPUs where it is unchanged are not read */
  __u64 left_censored;
  __u64 unmatched;
  __u64 splits_cut;
  __u64 udp_drops;   /* at sockets of the subject that were full */
  __u64 multiplexed; /* turns of TLS handshakes, HTTP/2 and the like: not split */
  struct topspin_cells accept_delay;
  struct topspin_cells socket_wait;
  struct topspin_cells reply_socket;
  struct topspin_cells reply_cpu_queue;
  struct topspin_cells reply_runtime;
  struct topspin_cells reply;
  struct topspin_cells nagle_held; /* written only in softirq */
  struct topspin_reply_part parts[TOPSPIN_REPLY_PARTS];
  struct topspin_slowest slowest[2]; /* of even and odd epochs */
};

/* The fullest accept queue since user space last changed `epoch`: depth << 32 | limit. */
struct topspin_accept_queues {
  __u64 fullest[2]; /* of even and odd epochs */
  __u64 epoch;
};

#ifdef __cplusplus
#define TOPSPIN_SIZE(type, bytes) static_assert(sizeof(type) == (bytes))
#else
#define TOPSPIN_SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), "layout")
#endif
TOPSPIN_SIZE(topspin_reply_cells, 16 + 8 * TOPSPIN_REPLY_CELLS);
TOPSPIN_SIZE(topspin_slow_reply, 80 + 8 * TOPSPIN_REPLY_PARTS);
TOPSPIN_SIZE(topspin_slowest, 32 + TOPSPIN_SLOW_REPLIES * sizeof(struct topspin_slow_reply));
TOPSPIN_SIZE(topspin_socket_cpu, 48 + 7 * sizeof(struct topspin_cells) +
                                     TOPSPIN_REPLY_PARTS * sizeof(struct topspin_reply_part) +
                                     2 * sizeof(struct topspin_slowest));
#undef TOPSPIN_SIZE

#endif
