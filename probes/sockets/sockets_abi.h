/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What sockets.bpf.c and user space both see. Every counter only grows; times are nanoseconds of
 * CLOCK_MONOTONIC.
 */
#ifndef TOPSPIN_PROBES_SOCKETS_ABI_H
#define TOPSPIN_PROBES_SOCKETS_ABI_H

#include <linux/types.h>

#include "probes/bpf/cells_abi.h"

/* One element of the map `cpus` for each possible CPU, written on that CPU only, by programs that
 * run in the subject's own system calls. */
struct topspin_socket_cpu {
  __u64 events; /* changes with everything below: unchanged CPUs are not read */
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
};

/* The fullest accept queue since user space last changed `epoch`: depth << 32 | limit. */
struct topspin_accept_queues {
  __u64 fullest[2]; /* of even and odd epochs */
  __u64 epoch;
};

#ifdef __cplusplus
static_assert(sizeof(topspin_socket_cpu) == 48 + 5 * sizeof(topspin_cells));
#else
_Static_assert(sizeof(struct topspin_socket_cpu) == 48 + 5 * sizeof(struct topspin_cells),
               "layout");
#endif

#endif
