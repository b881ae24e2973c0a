/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What a thread of the subject did between two moments: the times off the CPU, by reason. BPF
 * side only; part of sockets.bpf.c. */
#ifndef TOPSPIN_PROBES_SOCKETS_THREAD_TIMES_BPF_H
#define TOPSPIN_PROBES_SOCKETS_THREAD_TIMES_BPF_H

#define RECENT_PERIODS 64

/* A time off the CPU: a sleep and the wait for a CPU after it, or the wait after a preemption. */
struct off_period {
  __u64 end_ns;
  __u64 queued_ns; /* the last part of it, in which the thread waited for a CPU */
  __u64 away;      /* the time before that, as ns << 8 | its part (TOPSPIN_INSIDE_) */
};

/* What a thread did from one moment to another: the parts from TOPSPIN_INSIDE_QUEUED on. For the
 * rest of that time it was on a CPU. record_reply() uses the members after these parts. */
struct reply_times {
  __u64 from_ns;
  __u64 to_ns;
  __u64 covered_ns;     /* what it did before is not known yet */
  __u64 first_woken_ns; /* the end of the first sleep that ends within; 0: there is none */
  __u64 parts[TOPSPIN_REPLY_PARTS];
  __u64 left_ns;
  __u64 total_ns;
  __u64 longest_ns;
  __u32 longest;
  __u32 total_index;
  __u32 sender; /* the id of the thread that sent */
  __u32 reserved;
};

struct topspin_watched_thread {
  __u32 member;
  __u32 periods;        /* written into the ring so far */
  __u64 switched_in_ns; /* the start of the current or last time on a CPU; 0: not seen yet */
  __u64 waited_ns;      /* BY_CLOCK: the scheduler probe's sum after the wait that ended there;
                           BY_RUN_DELAY: the kernel's sum before it */
  __u64 source;         /* where that sum comes from */
  __u64 switches;       /* the kernel's count of switches away from it, when it was switched in */
  __u64 turn_ns;        /* when it last read a request or sent a reply */
  __u64 read_ns;        /* when it last read a request */
  __u32 periods_at_read;
  __u32 reserved;
  __u64 forgotten[TOPSPIN_REPLY_PARTS]; /* since read_ns, no longer in the ring */
  /* Scratch space of the programs that run in its own calls. */
  struct reply_times times;
  struct place_walk walk;
  struct off_period recent[RECENT_PERIODS];
};

#include "probes/bpf/subject_thread.bpf.h"

/* The scheduler probe's map, if that probe is on tp_btf: user space replaces this map with it.
 * The scheduler's program on sched_switch was attached before ours, and therefore runs before
 * it. */
struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct topspin_thread);
} scheduler_threads SEC(".maps");

const volatile __u32 scheduler_threads_shared = 0;

/* BY_RUN_DELAY knows only waits for a CPU, and not when a thread slept. */
enum { BY_RUN_DELAY = 1, BY_CLOCK = 2 };

/* The period's place in the ring is reused, and the period came after the thread last read a
 * request. */
TOPSPIN_INLINE void forget_period(struct topspin_watched_thread* thread,
                                  const struct off_period* period) {
  __u64 part = TOPSPIN_BELOW(TOPSPIN_REPLY_PARTS, period->away & 0xff); /* as it always is */
  if (thread->periods - thread->periods_at_read == RECENT_PERIODS)
    __builtin_memset(thread->forgotten, 0, sizeof(thread->forgotten));
  thread->forgotten[TOPSPIN_INSIDE_QUEUED] += period->queued_ns;
  thread->forgotten[part] += period->away >> 8;
}

TOPSPIN_INLINE void remember_period(struct topspin_watched_thread* thread, __u64 end_ns,
                                    __u64 queued_ns, __u64 away_ns, __u32 part) {
  struct off_period* period = &thread->recent[thread->periods & (RECENT_PERIODS - 1)];
  if (thread->periods - thread->periods_at_read >= RECENT_PERIODS) forget_period(thread, period);
  period->end_ns = end_ns;
  period->queued_ns = queued_ns;
  period->away = away_ns << 8 | part;
  thread->periods++;
}

/* The wait that ended in the first switch to a thread that we see. There is no earlier sum to
 * subtract from the scheduler probe's, so its timestamps are used, unless a switch was hidden. */
TOPSPIN_INLINE __u64 first_wait_ns(const struct topspin_thread* measured) {
  __u64 begin_ns =
      measured->queued_ns > measured->left_ns ? measured->queued_ns : measured->left_ns;
  if (!begin_ns || measured->recover || measured->arrival_ns <= begin_ns) return 0;
  return measured->arrival_ns - begin_ns;
}

/* The scheduler probe has just noted that the thread runs. If the kernel has counted another
 * switch away from the thread than the one that the probe knows, or the probe knows none, what
 * the thread did since it last ran is not known. */
TOPSPIN_INLINE void switched_in_by_clock(struct topspin_watched_thread* thread,
                                         const struct topspin_thread* measured, __u64 switches) {
  __u64 end_ns = measured->arrival_ns, begin_ns = measured->left_ns;
  __u32 part = TOPSPIN_INSIDE_ASLEEP + measured->blocked_by;
  bool hidden = measured->recover;
  __s64 queued_ns, off_ns;
  if (thread->source == BY_CLOCK) {
    queued_ns = measured->times.wait_ns - thread->waited_ns;
    hidden |= switches != thread->switches + 1;
    if (hidden) begin_ns = thread->switched_in_ns;
  } else {
    queued_ns = first_wait_ns(measured);
    if (hidden || !begin_ns) begin_ns = end_ns - queued_ns;
  }
  off_ns = end_ns - begin_ns;
  if (off_ns < 0) off_ns = 0; /* clocks of two CPUs, a few ns apart */
  if (queued_ns < 0) queued_ns = 0;
  if (queued_ns > off_ns) queued_ns = off_ns;
  if (hidden || measured->blocked_by >= TOPSPIN_BLOCKED_BYS) part = TOPSPIN_INSIDE_UNKNOWN;
  remember_period(thread, end_ns, queued_ns, off_ns - queued_ns, part);
  thread->waited_ns = measured->times.wait_ns;
  thread->source = BY_CLOCK;
  thread->switched_in_ns = end_ns;
}

/* The kernel adds a wait to run_delay only after this program, so this takes the previous wait.
 * Wakeups that ended idling or preempted a thread are not in run_delay at all. */
TOPSPIN_INLINE void switched_in_by_run_delay(struct topspin_watched_thread* thread,
                                             struct task_struct* task) {
  __u64 waited_ns = task->sched_info.run_delay;
  if (thread->source == BY_RUN_DELAY && waited_ns > thread->waited_ns)
    remember_period(thread, thread->switched_in_ns, waited_ns - thread->waited_ns, 0,
                    TOPSPIN_INSIDE_UNKNOWN);
  thread->waited_ns = waited_ns;
  thread->source = BY_RUN_DELAY;
  thread->switched_in_ns = bpf_ktime_get_ns();
}

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct* prev, struct task_struct* next) {
  struct topspin_watched_thread* thread = member(next);
  struct topspin_thread* measured = NULL;
  __u64 switches;
  if (!thread) return 0;
  switches = next->nvcsw + next->nivcsw;
  if (scheduler_threads_shared) measured = bpf_task_storage_get(&scheduler_threads, next, NULL, 0);
  if (measured && measured->member == TOPSPIN_MEMBER)
    switched_in_by_clock(thread, measured, switches);
  else
    switched_in_by_run_delay(thread, next);
  thread->switches = switches;
  return 0;
}

/* The current thread is a kernel thread of a process's io_uring, which no fork event announces. It
 * joins the subject if the process belongs to it. */
TOPSPIN_CHECKED_ONCE int join_as_io_worker(void) {
  struct task_struct* task = bpf_get_current_task_btf();
  return member(task->group_leader) && join(task);
}

/* The current thread, if it belongs to the subject. */
TOPSPIN_INLINE struct topspin_watched_thread* serving_thread(struct task_struct* task) {
  struct topspin_watched_thread* thread = member(task);
  if (thread || !(task->flags & PF_IO_WORKER) || !join_as_io_worker()) return thread;
  return member(task);
}

TOPSPIN_INLINE __u64 overlap(__u64 begin_ns, __u64 end_ns, const struct reply_times* times) {
  if (begin_ns < times->from_ns) begin_ns = times->from_ns;
  if (end_ns > times->to_ns) end_ns = times->to_ns;
  return end_ns > begin_ns ? end_ns - begin_ns : 0;
}

/* Adds one period: the latest first. */
static long add_period(__u32 step, struct topspin_watched_thread** current) {
  struct topspin_watched_thread* thread = *current;
  struct reply_times* times = &thread->times;
  const struct off_period* period;
  __u64 begin_ns, woken_ns, away_ns, part;
  if (step >= thread->periods) return 1;
  period = &thread->recent[(thread->periods - 1 - step) & (RECENT_PERIODS - 1)];
  if (period->end_ns <= times->from_ns) {
    times->covered_ns = times->from_ns;
    return 1;
  }
  away_ns = period->away >> 8;
  woken_ns = period->end_ns - period->queued_ns;
  begin_ns = woken_ns - away_ns;
  times->parts[TOPSPIN_INSIDE_QUEUED] += overlap(woken_ns, period->end_ns, times);
  part = TOPSPIN_BELOW(TOPSPIN_REPLY_PARTS, period->away & 0xff); /* as it always is */
  times->parts[part] += overlap(begin_ns, woken_ns, times);
  if (away_ns && woken_ns > times->from_ns) times->first_woken_ns = woken_ns;
  times->covered_ns = begin_ns > times->from_ns ? begin_ns : times->from_ns;
  return begin_ns <= times->from_ns;
}

/* BY_RUN_DELAY: by now, the wait that ended in the last switch is in the kernel's sum. Only waits
 * are known. */
TOPSPIN_INLINE void add_what_run_delay_knows(struct topspin_watched_thread* thread,
                                             __u64 run_delay_ns) {
  struct reply_times* times = &thread->times;
  __u64 whole_ns = times->to_ns - times->from_ns, queued_ns;
  if (thread->source == BY_RUN_DELAY && run_delay_ns > thread->waited_ns)
    times->parts[TOPSPIN_INSIDE_QUEUED] += overlap(
        thread->switched_in_ns - (run_delay_ns - thread->waited_ns), thread->switched_in_ns, times);
  queued_ns = times->parts[TOPSPIN_INSIDE_QUEUED];
  times->parts[TOPSPIN_INSIDE_UNKNOWN] = whole_ns > queued_ns ? whole_ns - queued_ns : 0;
}

/* Sums the forgotten periods since read_ns, from which on the thread's parts are wanted. */
TOPSPIN_INLINE void add_forgotten(struct topspin_watched_thread* thread) {
  __u32 part;
  if (thread->periods - thread->periods_at_read <= RECENT_PERIODS) return;
  for (part = TOPSPIN_INSIDE_QUEUED; part < TOPSPIN_REPLY_PARTS; part++)
    thread->times.parts[part] += thread->forgotten[part];
}

/* Fills the parts of `thread->times`: what the current thread did from one moment to another,
 * which is about now. `run_delay_ns`: the kernel's sum of its waits. */
TOPSPIN_CHECKED_ONCE int look_back(struct topspin_watched_thread* thread,
                                   struct topspin_socket_cpu* cpu, __u64 run_delay_ns,
                                   __u64 from_ns, __u64 to_ns) {
  struct reply_times* times;
  if (!thread || !cpu) return 0; /* never */
  times = &thread->times;
  __builtin_memset(times->parts, 0, sizeof(times->parts));
  times->first_woken_ns = 0;
  times->from_ns = from_ns;
  times->to_ns = to_ns;
  times->covered_ns = to_ns;
  if (to_ns <= from_ns) return 0;
  bpf_loop(RECENT_PERIODS, add_period, &thread, 0);
  if (times->covered_ns > from_ns && thread->periods > RECENT_PERIODS) {
    if (thread->read_ns == from_ns) {
      add_forgotten(thread);
      times->covered_ns = from_ns;
    } else {
      cpu->splits_cut++;
    }
  }
  if (thread->source != BY_CLOCK)
    add_what_run_delay_knows(thread, run_delay_ns);
  else
    times->parts[TOPSPIN_INSIDE_UNKNOWN] += times->covered_ns - from_ns;
  return 0;
}

/* The current thread has read a request, now. */
TOPSPIN_INLINE void note_read(struct topspin_watched_thread* thread, __u64 now_ns) {
  thread->turn_ns = now_ns;
  thread->read_ns = now_ns;
  thread->periods_at_read = thread->periods;
}

#endif
