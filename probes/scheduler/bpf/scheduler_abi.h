/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The only header that the scheduler's BPF programs and user space share.
 *
 * Every counter here only grows; user space keeps the previous reading and subtracts. Times are
 * nanoseconds of CLOCK_MONOTONIC unless a name says otherwise.
 */
#ifndef TOPSPIN_PROBES_SCHEDULER_ABI_H
#define TOPSPIN_PROBES_SCHEDULER_ABI_H

#include <linux/types.h>

#include "core/number/histogram_abi.h"
#include "probes/bpf/cells_abi.h"

struct topspin_sum {
  __u64 count;
  __u64 ns;
};

/* Who got the CPU when a runnable thread lost it, in the order of Preemptor in core/tick/sample.h.
 */
#define TOPSPIN_BY_SAME_PROCESS 0u
#define TOPSPIN_BY_SAME_CGROUP 1u
#define TOPSPIN_BY_OTHER 2u
#define TOPSPIN_BY_KERNEL_THREAD 3u
#define TOPSPIN_BY_NOBODY 4u
#define TOPSPIN_PREEMPTORS 5u

/* The state in which a thread left its CPU, in the order of OffCpuState. */
#define TOPSPIN_OFF_SLEEPING 0u
#define TOPSPIN_OFF_UNINTERRUPTIBLE 1u
#define TOPSPIN_OFF_OTHER 2u
#define TOPSPIN_OFF_STATES 3u

/* What it waited for, in the order of BlockedBy. */
#define TOPSPIN_BLOCKED_BY_FUTEX 0u
#define TOPSPIN_BLOCKED_BY_POLL 1u
#define TOPSPIN_BLOCKED_BY_SOCKET 2u
#define TOPSPIN_BLOCKED_BY_PIPE 3u
#define TOPSPIN_BLOCKED_BY_DISK 4u
#define TOPSPIN_BLOCKED_BY_SLEEP 5u
#define TOPSPIN_BLOCKED_BY_WAIT 6u
#define TOPSPIN_BLOCKED_BY_PAGE_FAULT 7u
#define TOPSPIN_BLOCKED_BY_STOPPED 8u
#define TOPSPIN_BLOCKED_BY_OTHER 9u
#define TOPSPIN_BLOCKED_BYS 10u
/* Only in the table of calls: the first argument is a descriptor, and the type of its file decides.
 */
#define TOPSPIN_BLOCKED_BY_FILE 10u
#define TOPSPIN_CALLS 512u

/* Sleeps of one reason on one CPU: 8 sub-buckets per octave, each 4 of the full layout. */
#define TOPSPIN_SLEEP_CELLS (TOPSPIN_HISTOGRAM_BUCKETS / 4)
struct topspin_sleeps {
  __u64 sum;
  __u64 max;
  __u64 cells[TOPSPIN_SLEEP_CELLS];
};

/* What held a CPU for which a thread waited, in the order of CpuHolder (core/tick/cpu_holder.h).
 * The first three have names and are in the map `holders`; the others are sums per CPU. */
#define TOPSPIN_HELD_BY_SUBJECT 0u
#define TOPSPIN_HELD_BY_PROCESS 1u
#define TOPSPIN_HELD_BY_KERNEL_THREAD 2u
#define TOPSPIN_HELD_BY_INTERRUPTS 3u
#define TOPSPIN_HELD_BY_IDLE 4u
#define TOPSPIN_HELD_BY_QUOTA 5u
#define TOPSPIN_HELD_BY_UNSEEN 6u
#define TOPSPIN_HOLDERS 7u

/* A process that held CPUs for which threads of the subject waited: an element of the map
 * `holders`, by thread group. Its latest time may still be in a slot of a CPU. */
struct topspin_holder {
  __u64 held_ns;
  __u32 kind;
  __s32 pid; /* as seen in the reader's pid namespace */
  char comm[16];
};

/* What a process held on one CPU since it took the slot: slot tgid % TOPSPIN_HOLDER_SLOTS. */
#define TOPSPIN_HOLDER_SLOTS 64u
struct topspin_holder_slot {
  __u64 held_ns;
  __u32 tgid; /* 0: free */
  __u32 reserved;
};

/* The threads of the subject that wait for a CPU, and what held the CPU meanwhile. Written under
 * the lock of its run queue (except `arrived`). At each switch, the thread that leaves the CPU is
 * charged with the time that all of them have waited since the previous switch:
 * waiting * now - since_sum_ns.
 */
struct topspin_queue {
  __u64 waiting;       /* how many */
  __u64 since_sum_ns;  /* for each of them the time from which its wait is uncharged, summed */
  __u64 arrived;       /* waiting threads that were moved here from other CPUs and are not yet in
                          `waiting`: how many, and above TOPSPIN_ARRIVED_BITS the sum of the times
                          at which they were moved. Written by the CPUs that they come from */
  __u64 charged_ns;    /* the last charge */
  __u64 stolen_ns;     /* at that time, the run queue's clock minus its task clock; 0: not known */
  __u64 emptied_ns;    /* when `waiting` was last set to 0 because the CPU went idle */
  __u32 emptied;       /* how often that happened */
  __u32 slots_changed; /* odd: a slot is being changed */
  __u64 no_room;       /* charges whose holder found no room */
  __u64 held_ns[TOPSPIN_HOLDERS]; /* for kinds without names */
  struct topspin_holder_slot slots[TOPSPIN_HOLDER_SLOTS];
};

/* Of topspin_queue::arrived. What overflows above is the sum's high bits, which are not needed. */
#define TOPSPIN_ARRIVED_BITS 16

#define TOPSPIN_QUEUE_LENGTHS 64u /* the last cell counts 63 and more */

/* A timer that is firing on a CPU. Every thread that is woken there between its entry and its exit
 * is woken by it. Written by timers.bpf.h. */
struct topspin_firing {
  __u64 fired_ns; /* CLOCK_MONOTONIC; 0: none fires */
  __u64 slack_ns; /* the part of the time since the requested expiry that the slack allows */
  __u64 late_ns;  /* the rest of that time */
};

/* The two kinds of timers that count: user space sets one of each, with an expiry (CLOCK_MONOTONIC)
 * that no other timer has, and the program finds its function. 0: not yet. */
struct topspin_known_timers {
  __u64 sleep_expiry_ns;
  __u64 timerfd_expiry_ns;
  __u64 sleep_function;
  __u64 timerfd_function;
};

/* How far CLOCK_MONOTONIC is ahead of a run queue's own clock: the smallest difference seen. */
struct topspin_clock {
  __u64 ahead_ns;
  __u64 since_ns;    /* on the run queue's clock, since when ahead_ns is valid; 0: it is not */
  __u64 comparisons; /* how many were made since then */
};

/* One element of the map `cpus` for each possible CPU. `clock`, `queue` and `queue_lengths` are
 * written under the lock of that CPU's run queue, by the CPU that wakes a thread onto it.
 * Everything else is written only on that CPU. */
struct topspin_cpu {
  __u64 events;        /* changes whenever something below does; unchanged CPUs are not read */
  __u64 left_censored; /* waits under way when their thread joined */
  __u64 hidden;        /* switches that were not shown, to or from a thread of the subject */
  __u64 switches;      /* threads of the subject that got this CPU */
  struct topspin_firing firing;
  __u64 reserved;
  struct topspin_sum preempted[TOPSPIN_PREEMPTORS];
  struct topspin_sum off_cpu[TOPSPIN_OFF_STATES];
  struct topspin_clock clock;
  struct topspin_queue queue;
  __u64 queue_lengths[TOPSPIN_QUEUE_LENGTHS];
  struct topspin_cells queue_wait;      /* wakeup -> running */
  struct topspin_cells preemption_wait; /* switched out while runnable -> running */
  struct topspin_cells wake_delivery;   /* waking -> wakeup */
  struct topspin_cells on_cpu;          /* running -> switched out */
  struct topspin_cells busy_stretch;    /* running after a sleep -> the next sleep */
  struct topspin_cells timer_oversleep; /* requested expiry -> running, the sum of the next three */
  struct topspin_cells timer_slack;
  struct topspin_cells timer_late;
  struct topspin_cells timer_queueing; /* fired -> running */
  struct topspin_sleeps blocked_by[TOPSPIN_BLOCKED_BYS];
};

/* The kernel's own account of a thread, or of all of them. */
struct topspin_counters {
  __u64 cpu_ns;
  __u64 run_delay_ns;
  __u64 voluntary_switches;
  __u64 involuntary_switches;
  __u64 migrations;
  __u64 minor_faults; /* faults count from the thread's start, the rest from when it joined */
  __u64 major_faults;
};

/* Sums over all threads, including those that left. Each thread's account is folded in here when it
 * exits, and whenever user space runs the walk over the threads (iter/task). */
struct topspin_totals {
  struct topspin_counters counters;
  __u64 threads_joined;
  __u64 threads_refused; /* no room in the map of threads: not measured at all */
  __u64 rows_refused;    /* measured, but without a row, because too many had one at that time */
  __u64 exits_unsent;    /* exited threads whose row found no room in the ring */
};

#define TOPSPIN_RECORD_EXITED 1u  /* its last record */
#define TOPSPIN_RECORD_CHANGED 2u /* ran since the previous walk and has a row: `times` follows */
#define TOPSPIN_RECORD_QUEUED 4u  /* a wait is open */
#define TOPSPIN_RECORD_ZOMBIE 8u  /* exited, not yet reaped */
#define TOPSPIN_RECORD_LEADER 16u /* the leader of its process */
#define TOPSPIN_RECORD_LIVE 32u   /* with LEADER: some thread of the process has not exited */

/* A thread's waits and slices. 32 bits per cell last for years; the sums are exact. */
struct topspin_times {
  __u64 wait_ns;
  __u64 wait_ns_max;
  __u64 slice_ns;
  __u64 slice_ns_max;
  __u32 preempted[TOPSPIN_PREEMPTORS];
  __u32 reserved;
  __u32 waits[TOPSPIN_COARSE_CELLS];
  __u32 slices[TOPSPIN_COARSE_CELLS];
};

/* A thread's sleeps by reason. They are in a second map, because topspin_thread would not fit into
 * 1 KiB with them. */
struct topspin_thread_sleeps {
  __u64 ns[TOPSPIN_BLOCKED_BYS];
  __u32 count[TOPSPIN_BLOCKED_BYS];
};

/* The unit of a thread's longest busy stretch, which is rounded up to it. */
#define TOPSPIN_STRETCH_NS 1024u

/* A thread of the subject, from the walk or (if it exited) from the ring. If CHANGED, its
 * topspin_times come right after it, and then its topspin_thread_sleeps. */
struct topspin_record {
  __s32 pid; /* both as seen in the reader's pid namespace */
  __s32 tid;
  __u32 flags;
  __u32 busy_stretch_max;  /* in TOPSPIN_STRETCH_NS */
  __u64 start_boottime_ns; /* since boot */
  struct topspin_counters since_joining;
  char comm[16];
};

/* An element of the ring of exits. Thousands of threads may exit at once, and most use few of their
 * cells, so there is one entry for each used cell: its index (of slices, plus
 * TOPSPIN_COARSE_CELLS) above its count of 32 bits. */
#define TOPSPIN_EXIT_ENTRIES 256u /* at most 2 * TOPSPIN_COARSE_CELLS are used */

struct topspin_exit {
  struct topspin_record record;
  __u64 wait_ns;
  __u64 wait_ns_max;
  __u64 slice_ns;
  __u64 slice_ns_max;
  __u32 preempted[TOPSPIN_PREEMPTORS];
  __u32 entries_used;
  struct topspin_thread_sleeps sleeps;
  __u64 entries[TOPSPIN_EXIT_ENTRIES];
};

/* The state of a thread, used to pair events. */
#define TOPSPIN_UNKNOWN 0u /* joined, nothing seen yet */
#define TOPSPIN_BLOCKED 1u
#define TOPSPIN_QUEUED 2u          /* woken, waits for a CPU */
#define TOPSPIN_PREEMPTED 3u       /* lost its CPU while runnable, waits */
#define TOPSPIN_QUEUED_CENSORED 4u /* already waited when it joined */
#define TOPSPIN_RUNNING 5u

/* Membership of a thread in the subject. */
#define TOPSPIN_NO_MEMBER 0u /* was a member, but left the cgroup */
#define TOPSPIN_MEMBER 1u
#define TOPSPIN_SEEDED                                                       \
  2u /* named by user space; the first walk takes its baseline and admits it \
      */

/* The data of each thread, in task storage (tp_btf) or by its tid (raw_tp, tracepoint). With the
 * kernel's own head of 72 bytes it fits into 1 KiB, so 15,000 threads take 15 MiB. The fields that
 * a switch reads and writes are together at the front. */
struct topspin_thread {
  __u32 member;
  __u8 state;
  __u8 left_as;    /* PREEMPTED: by whom; BLOCKED: its TOPSPIN_OFF_ state */
  __u8 blocked_by; /* BLOCKED: why; TOPSPIN_BLOCKED_BYS: not known on this rung */
  __u8 settled; /* a switch of it was seen, so a later conflict with `state` is a hidden switch */
  __u8 recover; /* a switch was hidden: take the wait from run_delay when it next leaves */
  __u8 has_row;
  __u8 dead;         /* folded for the last time */
  __u8 uncharged_as; /* waiting, in no queue: the holder charged with the time since uncharged_ns */
  __u16 queue;       /* waiting: 1 + the CPU in whose topspin_queue it is counted; 0: in none */
  __u16 emptied;     /* the low bits of that queue's `emptied` when it was counted */
  __u64 left_ns;     /* when it last left its CPU; 0: not seen */
  __u64 queued_ns;
  __u64 arrival_ns;
  __u64 stretch_ns;   /* when it first ran after its last sleep; 0: not seen */
  __u64 run_delay_ns; /* the kernel's sum when the thread last left its CPU, or joined */
  union {
    __u64 waking_ns;    /* BLOCKED: when its waking was seen; 0: not seen yet */
    __u64 uncharged_ns; /* waiting, in no queue: since when */
  };
  struct topspin_firing timer; /* that woke it, if it has not run since */
  struct topspin_times times;
  __u64 reported_cpu_ns;
  __u64 start_boottime_ns;
  __u32 fold_lock;
  __u32 refold;           /* asks the holder of fold_lock to fold once more */
  __u32 busy_stretch_max; /* in TOPSPIN_STRETCH_NS */
  __s32 pid;
  __s32 tid;
  __s32 kernel_tid; /* in the initial pid namespace */
  struct topspin_counters baseline;
  struct topspin_counters folded; /* the part of the kernel's account that is in the totals */
};

/* The element of raw_tp, which has no walk to fetch the name, so the name is kept here. */
struct topspin_raw_thread {
  struct topspin_thread thread;
  char comm[16];
  __u64 task_start_ns; /* of the current task: exec by a thread other than the leader gives it
                          the leader's, while the row keeps the thread's own */
};

#ifdef __cplusplus
#define TOPSPIN_SIZE(type, bytes) static_assert(sizeof(type) == (bytes))
#else
#define TOPSPIN_SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), "layout")
#endif
TOPSPIN_SIZE(topspin_cpu, 64 + 16 * (TOPSPIN_PREEMPTORS + TOPSPIN_OFF_STATES) + 24 +
                              sizeof(struct topspin_queue) + 8 * TOPSPIN_QUEUE_LENGTHS +
                              9 * sizeof(struct topspin_cells) +
                              TOPSPIN_BLOCKED_BYS * sizeof(struct topspin_sleeps));
TOPSPIN_SIZE(topspin_queue, 64 + 8 * TOPSPIN_HOLDERS + 16 * TOPSPIN_HOLDER_SLOTS);
TOPSPIN_SIZE(topspin_holder, 16 + 16);
TOPSPIN_SIZE(topspin_counters, 56);
TOPSPIN_SIZE(topspin_totals, 56 + 32);
TOPSPIN_SIZE(topspin_times, 56 + 8 * TOPSPIN_COARSE_CELLS);
TOPSPIN_SIZE(topspin_record, 24 + 56 + 16);
TOPSPIN_SIZE(topspin_thread_sleeps, 80 + 40);
TOPSPIN_SIZE(topspin_exit, 96 + 56 + 120 + 8 * TOPSPIN_EXIT_ENTRIES);
TOPSPIN_SIZE(topspin_sleeps, 16 + 8 * TOPSPIN_SLEEP_CELLS);
TOPSPIN_SIZE(topspin_thread, 88 + sizeof(struct topspin_times) + 40 + 2 * 56);
TOPSPIN_SIZE(topspin_raw_thread, sizeof(struct topspin_thread) + 24);
#undef TOPSPIN_SIZE

#endif
