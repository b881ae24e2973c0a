/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What the scheduler's BPF programs and user space both see: the only header that they share.
 *
 * Every counter here only grows; user space keeps the previous reading and subtracts. Times are
 * nanoseconds of CLOCK_MONOTONIC unless a name says otherwise.
 */
#ifndef TOPSPIN_PROBES_SCHEDULER_ABI_H
#define TOPSPIN_PROBES_SCHEDULER_ABI_H

#include <linux/types.h>

#include "core/histogram_abi.h"

/* Written on one CPU only, with interrupts off, so no atomics; user space maps it. The count of
 * samples is the sum of the cells. */
struct topspin_cells {
  __u64 sum;
  __u64 max;
  __u64 cells[TOPSPIN_HISTOGRAM_BUCKETS];
};

/* One element of the map `cpus` for each possible CPU. */
struct topspin_cpu {
  __u64 events;        /* changes whenever something below does: unchanged CPUs are not read */
  __u64 left_censored; /* waits under way when their thread joined: their begin is unknown */
  __u64 recovered;     /* waits whose end was not shown, and whose length is run_delay's growth */
  __u64 reserved[5];
  struct topspin_cells queue_wait;      /* wakeup -> running */
  struct topspin_cells preemption_wait; /* switched out while runnable -> running */
  struct topspin_cells wake_delivery;   /* waking -> wakeup */
};

/* The kernel's own account of a thread, or of all of them. */
struct topspin_counters {
  __u64 cpu_ns;
  __u64 run_delay_ns;
  __u64 voluntary_switches;
  __u64 involuntary_switches;
  __u64 migrations;
  __u64 minor_faults; /* faults count from the start of the thread, the rest from joining */
  __u64 major_faults;
};

/* Sums over all threads, those that left included: each thread's account is folded in here when it
 * exits and whenever user space makes the programs walk the threads (iter/task). */
struct topspin_totals {
  struct topspin_counters counters;
  __u64 threads_joined;
  __u64 threads_refused; /* no room in the map of threads: not measured at all */
  __u64 rows_refused;    /* beyond the limit of rows: measured, but without a row of their own */
  __u64 exits_unsent;    /* exited threads whose row found no room in the ring */
};

#define TOPSPIN_RECORD_EXITED 1u  /* its last record */
#define TOPSPIN_RECORD_CHANGED 2u /* ran or waited since the previous walk, and has a row */
#define TOPSPIN_RECORD_QUEUED 4u  /* a wait is open */
#define TOPSPIN_RECORD_ZOMBIE 8u  /* exited, not yet reaped */
#define TOPSPIN_RECORD_LEADER 16u /* stands for its process */
#define TOPSPIN_RECORD_LIVE 32u   /* with LEADER: some thread of the process has not exited */

/* A thread of the subject, from the walk or (exited) from the ring. */
struct topspin_record {
  __s32 pid; /* both as seen in the reader's pid namespace */
  __s32 tid;
  __u32 flags;
  __u32 reserved;
  __u64 start_boottime_ns; /* since boot */
  __u64 waits;
  __u64 wait_max_ns;
  struct topspin_counters since_joining;
  char comm[16];
};

/* Where a thread stands, for the pairing of events. */
#define TOPSPIN_UNKNOWN 0u /* joined, nothing seen yet */
#define TOPSPIN_BLOCKED 1u
#define TOPSPIN_QUEUED 2u          /* woken, waits for a CPU since queued_ns */
#define TOPSPIN_PREEMPTED 3u       /* put off its CPU while runnable, waits since queued_ns */
#define TOPSPIN_QUEUED_CENSORED 4u /* waits since an unknown time */
#define TOPSPIN_RUNNING 5u

/* Membership of a thread in the subject. */
#define TOPSPIN_NO_MEMBER 0u /* was one, left the cgroup */
#define TOPSPIN_MEMBER 1u
#define TOPSPIN_SEEDED                                                       \
  2u /* named by user space; the first walk takes its baseline and admits it \
      */

/* What is kept for each thread, in task storage (tp_btf) or under its tid (raw_tp). */
struct topspin_thread {
  __u32 member;
  __u32 state;
  __u64 queued_ns;
  __u64 waking_ns;    /* 0: no waking seen for the wakeup to come */
  __u64 run_delay_ns; /* the kernel's sum when the thread last left its CPU, or joined */
  __u64 waits;
  __u64 wait_max_ns;
  __u64 reported_waits;
  __u64 reported_cpu_ns;
  __u64 start_boottime_ns;
  __u32 settled; /* switches of it were seen: a disagreement with `state` is a miss */
  __u32 recover; /* a switch was not shown: take the wait from run_delay when it next leaves */
  __u32 rebase_run_delay; /* the kernel counts a censored wait as a whole: leave it out */
  __u32 has_row;
  __u32 fold_lock;
  __u32 dead; /* folded for the last time */
  __u32 reserved;
  __s32 pid;
  __s32 tid;
  __u32 refold; /* asks the holder of fold_lock to fold once more */
  struct topspin_counters baseline;
  struct topspin_counters folded; /* the part of the kernel's account that is in the totals */
};

/* raw_tp's element: no walk fetches the name, so it is kept here. */
struct topspin_raw_thread {
  struct topspin_thread thread;
  char comm[16];
};

#ifdef __cplusplus
static_assert(sizeof(topspin_cells) == 16 + 8 * TOPSPIN_HISTOGRAM_BUCKETS);
static_assert(sizeof(topspin_cpu) == 64 + 3 * sizeof(topspin_cells));
static_assert(sizeof(topspin_counters) == 56);
static_assert(sizeof(topspin_totals) == 56 + 32);
static_assert(sizeof(topspin_record) == 112);
static_assert(sizeof(topspin_thread) == 112 + 2 * 56);
static_assert(sizeof(topspin_raw_thread) == sizeof(topspin_thread) + 16);
#else
_Static_assert(sizeof(struct topspin_cells) == 16 + 8 * TOPSPIN_HISTOGRAM_BUCKETS, "layout");
_Static_assert(sizeof(struct topspin_cpu) == 64 + 3 * sizeof(struct topspin_cells), "layout");
_Static_assert(sizeof(struct topspin_counters) == 56, "layout");
_Static_assert(sizeof(struct topspin_totals) == 56 + 32, "layout");
_Static_assert(sizeof(struct topspin_record) == 112, "layout");
_Static_assert(sizeof(struct topspin_thread) == 112 + 2 * 56, "layout");
_Static_assert(sizeof(struct topspin_raw_thread) == sizeof(struct topspin_thread) + 16, "layout");
#endif

#endif
