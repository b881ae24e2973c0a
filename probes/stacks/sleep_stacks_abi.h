/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Shared by sleep_stacks.bpf.c and its readers. Plain C. */
#ifndef TOPSPIN_PROBES_STACKS_SLEEP_STACKS_ABI_H
#define TOPSPIN_PROBES_STACKS_SLEEP_STACKS_ABI_H

#include <linux/types.h>

/* Shorter sleeps have no rows and are only summed by reason. They are the majority, and do not
 * explain a slow reply of some milliseconds. */
#define TOPSPIN_SHORT_SLEEP_NS 100000u
#define TOPSPIN_MOST_STACKS                                                                   \
  16384u                         /* distinct ones; an element has room for the deepest: 1 KiB \
                                  */
#define TOPSPIN_STACK_DEPTH 127u /* the kernel's own limit (kernel.perf_event_max_stack) */
#define TOPSPIN_MOST_SLEEP_KEYS 16384u
#define TOPSPIN_COMM 16u

/* A stack is the number of an element, or a negative errno if there is none. */
struct topspin_sleep_key {
  __s32 pid; /* of the process, as the reader sees it; 0: not visible to it */
  __s32 user_stack;
  __s32 kernel_stack;
  __s32 waker_stack; /* the kernel's part of the stack that woke it */
  __u32 reason;      /* TOPSPIN_BLOCKED_BY_ */
  __u32 known_waker; /* 0: the wakeup was not seen */
  char thread[TOPSPIN_COMM];
  char waker[TOPSPIN_COMM]; /* "": the CPU was idle, so an interrupt woke it */
};

struct topspin_sleep_sum {
  __u64 sleeps;
  __u64 ns;
};

/* Shorter stretches are never shown one by one: they delay nobody, and they are nearly all. */
#define TOPSPIN_SHORT_STRETCH_NS 1000000u
#define TOPSPIN_STRETCHES_A_THREAD 8u /* the longest of each tick */
#define TOPSPIN_STRETCH_RING_BYTES (256u << 10)

/* A long busy stretch, as it ends. */
struct topspin_stretch {
  __u64 began_ns; /* CLOCK_MONOTONIC */
  __u64 length_ns;
  __u64 cpu_ns;
  __s32 pid; /* as the reader sees it; 0: it does not */
  __s32 tid;
  char thread[TOPSPIN_COMM];
};

#endif
