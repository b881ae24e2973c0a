/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What user space passes to BPF programs on tracefs tracepoints. */
#ifndef TOPSPIN_PROBES_TRACEPOINTS_ABI_H
#define TOPSPIN_PROBES_TRACEPOINTS_ABI_H

#include <linux/types.h>

/* The offsets of the fields of tracepoints, from tracefs. */
struct topspin_tracepoint_offsets {
  __u32 switch_prev_pid;
  __u32 switch_prev_state;
  __u32 switch_next_pid;
  __u32 wakeup_pid;
  __u32 fork_parent_pid;
  __u32 fork_child_pid;
  __u32 exec_pid;
  __u32 exec_old_pid;
};

#ifdef __cplusplus
static_assert(sizeof(topspin_tracepoint_offsets) == 32);
#else
_Static_assert(sizeof(struct topspin_tracepoint_offsets) == 32, "layout");
#endif

#endif
