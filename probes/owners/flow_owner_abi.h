/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Written by flow_owner.bpf.c and read by socket_walk_bpf.cc: a socket and a process that holds it.
 */
#ifndef TOPSPIN_PROBES_FLOW_OWNER_ABI_H
#define TOPSPIN_PROBES_FLOW_OWNER_ABI_H

#include <linux/types.h>

/* topspin_socket.flags */
#define TOPSPIN_SOCKET_IPV6 1      /* addresses of 16 bytes; else the first 4 count */
#define TOPSPIN_SOCKET_IPV6_ONLY 2 /* its wildcard address does not include IPv4 */
#define TOPSPIN_SOCKET_ACCEPTED 4  /* in events: the process listened and did not connect */

struct topspin_socket {
  __u64 start_boottime_ns;
  __s32 pid; /* thread group, in the reader's pid namespace */
  __u16 local_port;
  __u16 remote_port; /* 0: not connected */
  __u8 local[16];    /* network byte order */
  __u8 remote[16];
  __u8 protocol;
  __u8 flags;
  __u8 reserved[6];
  char comm[16]; /* of the group's leader */
};

#endif
