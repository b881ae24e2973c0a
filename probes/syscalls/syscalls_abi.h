/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Shared by syscalls.bpf.c and user space. Every counter only grows. Times are nanoseconds of
 * CLOCK_MONOTONIC.
 */
#ifndef TOPSPIN_PROBES_SYSCALLS_ABI_H
#define TOPSPIN_PROBES_SYSCALLS_ABI_H

#include <linux/types.h>

#include "probes/bpf/cells_abi.h"

#define TOPSPIN_SYSCALL_NUMBERS 1024 /* x86_64 and aarch64 have none above */
/* How many kinds of calls there is room for. A versatile process uses about 80. */
#define TOPSPIN_SYSCALL_SLOTS 128

/* One kind of call on one CPU: element cpu * TOPSPIN_SYSCALL_SLOTS + slot - 1 of the map `cells`.
 * Only that CPU writes it. The count of calls is the sum of the histogram's cells. */
struct topspin_syscall {
  __u64 calls; /* changes with everything below; unchanged elements are not read */
  __u64 errors;
  __u64 blocked_ns;
  __u64 reserved;
  struct topspin_cells latency;
};

/* The state of a thread, in task storage (tp_btf) or by its number (tracepoint). */
struct topspin_watched_thread {
  __u32 member;
  __u32 inside; /* the call's number + 1; 0: none */
  __u64 entered_ns;
  __u64 off_cpu_at_entry_ns;
  __u64 off_cpu_ns;  /* since the thread joined */
  __u64 left_cpu_ns; /* when it left its CPU; 0: it is on one, or not known */
  __u32 forked;      /* created by a fork, from which it will return without having entered it */
  __u32 settled;     /* entered or returned once, so another return without an entry is a miss */
};

#ifdef __cplusplus
static_assert(sizeof(topspin_syscall) == 32 + sizeof(topspin_cells));
#else
_Static_assert(sizeof(struct topspin_syscall) == 32 + sizeof(struct topspin_cells), "layout");
#endif

#endif
