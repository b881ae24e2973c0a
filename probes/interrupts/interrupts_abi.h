/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Shared by the BPF programs of this folder and user space. Plain C. */
#ifndef TOPSPIN_PROBES_INTERRUPTS_ABI_H
#define TOPSPIN_PROBES_INTERRUPTS_ABI_H

#include <linux/types.h>

/* One CPU: an element of the map `cpus`, which only that CPU writes. All members except the last
 * five only grow. Times are nanoseconds of CLOCK_MONOTONIC. */
struct topspin_interrupt_cpu {
  __u64 hardirqs;
  __u64 hardirq_ns;
  __u64 softirqs;
  __u64 softirq_ns; /* without the hard interrupts within them */
  /* Those that interrupted a thread of the subject. */
  __u64 interrupted; /* hard and soft */
  __u64 interrupted_hardirq_ns;
  __u64 interrupted_softirq_ns;

  __u64 hardirq_begin_ns; /* of the running one; 0: none */
  __u64 softirq_begin_ns;
  __u64 hardirq_ns_at_softirq; /* hardirq_ns when the softirq began */
  __u32 hardirq_interrupts;    /* the running one interrupted a thread of the subject */
  __u32 softirq_interrupts;
  __u64 reserved[5]; /* fills two cache lines of 64 bytes, so CPUs share none */
};

#ifdef __cplusplus
static_assert(sizeof(topspin_interrupt_cpu) == 128);
#else
_Static_assert(sizeof(struct topspin_interrupt_cpu) == 128, "layout");
#endif

#endif
