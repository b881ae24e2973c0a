/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The state of a thread, and how events change it. The rungs share this logic. It does not depend
 * on where the state is kept, or on how the kernel's structures are read. BPF side only.
 *
 *            waking, wakeup                  switched in
 *   BLOCKED ----------------> QUEUED ------------------------> RUNNING
 *      ^                                 PREEMPTED ----------->   |  |
 *      |                                     ^ switched out,      |  |
 *      |                                     | still runnable     |  |
 *      |                                     +--------------------+  |
 *      +-------------------------------------------------------------+  switched out, blocked
 *
 * The scheduler's locks put the events of one thread in order, whichever CPUs they happen on.
 */
#ifndef TOPSPIN_PROBES_SCHEDULER_LOGIC_BPF_H
#define TOPSPIN_PROBES_SCHEDULER_LOGIC_BPF_H

#include "probes/bpf/cells.bpf.h"
#include "probes/scheduler/bpf/scheduler_abi.h"

/* prev_state of sched_switch */
#define TASK_INTERRUPTIBLE 0x1u
#define TASK_UNINTERRUPTIBLE 0x2u
#define TASK_STOPPED 0x4u
#define TASK_TRACED 0x8u
#define TASK_PARKED 0x40u
#define TASK_FROZEN 0x8000u
#define TASK_DEAD 0x80u /* the last switch of a thread */
#define TASK_NOLOAD 0x400u

/* What is called seldom and is long. A rung that needs a newer kernel anyway defines it as
 * TOPSPIN_CHECKED_ONCE, because the verifier would check it in a hundred states. */
#ifndef TOPSPIN_SELDOM
#define TOPSPIN_SELDOM TOPSPIN_INLINE
#endif

#define PF_IO_WORKER 0x00000010u /* a worker of io_uring: it runs no system calls */
#define PF_KTHREAD 0x00200000u

TOPSPIN_INLINE void record_coarse(__u32* cells, __u32 full_index) {
  __u64 index = unknown_to_compiler(topspin_coarse_index(full_index));
  if (index < TOPSPIN_COARSE_CELLS) cells[index]++; /* always true; for the verifier */
}

TOPSPIN_INLINE void add_to(struct topspin_sum* sum, __u64 ns) {
  sum->count++;
  sum->ns += ns;
}

TOPSPIN_INLINE void record_wait(struct topspin_thread* thread, struct topspin_cpu* cpu,
                                bool preempted, __u64 wait_ns) {
  struct topspin_times* times = &thread->times;
  __u32 index = histogram_index(wait_ns);
  record_coarse(times->waits, index);
  times->wait_ns += wait_ns;
  if (wait_ns > times->wait_ns_max) times->wait_ns_max = wait_ns;
  if (preempted) {
    __u32 by = thread->left_as;
    record_at(&cpu->preemption_wait, index, wait_ns);
    if (by >= TOPSPIN_PREEMPTORS) return; /* never happens */
    add_to(&cpu->preempted[by], wait_ns);
    times->preempted[by]++;
  } else {
    record_at(&cpu->queue_wait, index, wait_ns);
  }
}

/* `of_thread` is NULL if sleeps are not kept by thread. */
TOPSPIN_INLINE void record_sleep(struct topspin_thread* thread,
                                 struct topspin_thread_sleeps* of_thread, struct topspin_cpu* cpu) {
  __u64 sleep_ns = thread->queued_ns > thread->left_ns ? thread->queued_ns - thread->left_ns : 0;
  __u32 state = thread->left_as, reason = thread->blocked_by;
  __u32 index = histogram_index(sleep_ns) / 4;
  struct topspin_sleeps* sleeps;
  if (state < TOPSPIN_OFF_STATES) add_to(&cpu->off_cpu[state], sleep_ns); /* always true */
  if (reason >= TOPSPIN_BLOCKED_BYS || index >= TOPSPIN_SLEEP_CELLS) return;
  sleeps = &cpu->blocked_by[reason];
  sleeps->cells[index]++;
  sleeps->sum += sleep_ns;
  if (sleep_ns > sleeps->max) sleeps->max = sleep_ns;
  if (!of_thread) return;
  of_thread->ns[reason] += sleep_ns;
  of_thread->count[reason]++;
}

TOPSPIN_INLINE void record_slice(struct topspin_thread* thread, struct topspin_cpu* cpu,
                                 __u32 index, __u64 slice_ns) {
  struct topspin_times* times = &thread->times;
  record_at(&cpu->on_cpu, index, slice_ns);
  record_coarse(times->slices, index);
  times->slice_ns += slice_ns;
  if (slice_ns > times->slice_ns_max) times->slice_ns_max = slice_ns;
}

/* A timer fires on this CPU and wakes the thread. If the thread seems to be running, it has left
 * its CPU in a hidden switch, or is about to leave it. */
TOPSPIN_INLINE void on_timer(struct topspin_thread* thread, const struct topspin_firing* firing) {
  if (thread->state == TOPSPIN_BLOCKED || thread->state == TOPSPIN_RUNNING) thread->timer = *firing;
}

TOPSPIN_INLINE void on_waking(struct topspin_thread* thread, __u64 now_ns) {
  if (thread->state == TOPSPIN_BLOCKED) thread->waking_ns = now_ns;
}

/* Whether a wakeup begins a wait. A wakeup of a thread that is queued or running does not. */
TOPSPIN_INLINE bool begins_wait(const struct topspin_thread* thread) {
  return thread->state == TOPSPIN_BLOCKED || thread->state == TOPSPIN_UNKNOWN;
}

TOPSPIN_INLINE void on_wakeup(struct topspin_thread* thread, __u64 now_ns) {
  thread->state = TOPSPIN_QUEUED;
  thread->queued_ns = now_ns;
}

TOPSPIN_INLINE void count_queue_length(struct topspin_cpu* cpu, __u32 length) {
  if (length >= TOPSPIN_QUEUE_LENGTHS) length = TOPSPIN_QUEUE_LENGTHS - 1;
  cpu->queue_lengths[length]++;
}

TOPSPIN_INLINE void on_delivery(struct topspin_thread* thread, struct topspin_cpu* cpu,
                                __u64 now_ns) {
  record(&cpu->wake_delivery, now_ns > thread->waking_ns ? now_ns - thread->waking_ns : 0);
  thread->waking_ns = 0;
  cpu->events++;
}

/* A wait that began before the thread joined is in no histogram. The kernel's sum counts all of
 * it, and is `run_delay_ns` once the wait has ended. It is left out of the totals and of the
 * thread's row. */
TOPSPIN_INLINE void censor_wait(struct topspin_thread* thread, __u64 run_delay_ns) {
  if (run_delay_ns <= thread->folded.run_delay_ns) return;
  thread->baseline.run_delay_ns += run_delay_ns - thread->folded.run_delay_ns;
  thread->folded.run_delay_ns = run_delay_ns;
}

/* Some kernels switch without calling the tracepoint (seen on a virtual 6.18: about one switch in a
 * thousand, always away from a few system threads). Then the end or the beginning of a wait is
 * hidden, but the kernel's run_delay has grown by that wait.
 *
 * run_delay alone is not enough: if a wakeup preempts the running thread or ends idling, the kernel
 * does not read its clock again before the switch. It then counts no wait, although the switch took
 * microseconds.
 *
 * True: the caller, which knows the kernel's sum, must censor the wait that ended. */
TOPSPIN_INLINE bool on_switch_in(struct topspin_thread* thread,
                                 struct topspin_thread_sleeps* sleeps, struct topspin_cpu* cpu,
                                 __u64 now_ns) {
  __u32 state = thread->state;
  /* The clocks of two CPUs may be a few ns apart, so avoid negative differences. */
  if (state == TOPSPIN_QUEUED) {
    record_wait(thread, cpu, false, now_ns > thread->queued_ns ? now_ns - thread->queued_ns : 0);
    if (thread->left_ns) record_sleep(thread, sleeps, cpu);
    thread->stretch_ns = now_ns;
  } else if (state == TOPSPIN_PREEMPTED) {
    record_wait(thread, cpu, true, now_ns > thread->left_ns ? now_ns - thread->left_ns : 0);
  } else {
    thread->stretch_ns = 0;
    if (thread->settled)
      thread->recover = 1; /* its last switch out, or its wakeup, was hidden */
    else
      cpu->left_censored++; /* its wait began before it joined */
  }
  thread->state = TOPSPIN_RUNNING;
  thread->arrival_ns = now_ns;
  cpu->switches++;
  cpu->events++;
  if (thread->settled) return false;
  thread->settled = 1;
  return state != TOPSPIN_QUEUED && state != TOPSPIN_PREEMPTED;
}

/* A timer woke the thread, and the thread runs at `now_ns`, which completes its lateness. */
TOPSPIN_SELDOM int on_timer_done(struct topspin_thread* thread, struct topspin_cpu* cpu,
                                 __u64 now_ns) {
  const struct topspin_firing* timer;
  __u64 queueing_ns;
  if (!thread || !cpu) return 0; /* never */
  timer = &thread->timer;
  queueing_ns = now_ns > timer->fired_ns ? now_ns - timer->fired_ns : 0;
  record(&cpu->timer_slack, timer->slack_ns);
  record(&cpu->timer_late, timer->late_ns);
  record(&cpu->timer_queueing, queueing_ns);
  record(&cpu->timer_oversleep, timer->slack_ns + timer->late_ns + queueing_ns);
  thread->timer.fired_ns = 0;
  return 0;
}

TOPSPIN_INLINE __u32 off_cpu_state(__u32 prev_state) {
  if (prev_state & TASK_INTERRUPTIBLE) return TOPSPIN_OFF_SLEEPING;
  if ((prev_state & TASK_UNINTERRUPTIBLE) && !(prev_state & TASK_NOLOAD))
    return TOPSPIN_OFF_UNINTERRUPTIBLE;
  return TOPSPIN_OFF_OTHER;
}

/* A slice ends. If the thread goes to sleep, its busy stretch ends too, and is mostly the same. */
TOPSPIN_INLINE void end_slice(struct topspin_thread* thread, struct topspin_cpu* cpu, bool to_sleep,
                              __u64 now_ns) {
  __u64 slice_ns = now_ns > thread->arrival_ns ? now_ns - thread->arrival_ns : 0;
  __u32 index = histogram_index(slice_ns);
  __u64 stretch_ns = slice_ns, units;
  record_slice(thread, cpu, index, slice_ns);
  if (!to_sleep || !thread->stretch_ns) return;
  if (thread->stretch_ns != thread->arrival_ns) {
    stretch_ns = now_ns > thread->stretch_ns ? now_ns - thread->stretch_ns : 0;
    index = histogram_index(stretch_ns);
  }
  record_at(&cpu->busy_stretch, index, stretch_ns);
  units = (stretch_ns + TOPSPIN_STRETCH_NS - 1) / TOPSPIN_STRETCH_NS;
  if (units > thread->busy_stretch_max) thread->busy_stretch_max = units < ~0u ? units : ~0u;
}

TOPSPIN_SELDOM int record_hidden_wait(struct topspin_thread* thread, struct topspin_cpu* cpu,
                                      __u64 wait_ns) {
  if (thread && cpu) record_wait(thread, cpu, thread->state == TOPSPIN_PREEMPTED, wait_ns);
  return 0;
}

/* `left_as`: if the thread is still runnable, by whom it was preempted; otherwise its
 * TOPSPIN_OFF_ state, and `blocked_by` is what it waits for. sched_yield looks the same as
 * preemption here, and to the kernel's own counters. Returns the wait that was hidden, and is
 * recorded now; 0: none. */
TOPSPIN_INLINE __u64 on_switch_out(struct topspin_thread* thread, struct topspin_cpu* cpu,
                                   bool runnable, __u32 left_as, __u32 blocked_by,
                                   __u64 run_delay_ns, __u64 now_ns) {
  __u32 state = thread->state;
  __u64 hidden_ns = 0;
  if (thread->settled && state != TOPSPIN_RUNNING) thread->recover = 1;
  if (thread->recover) {
    thread->recover = 0;
    cpu->hidden++;
    if (run_delay_ns > thread->run_delay_ns) {
      hidden_ns = run_delay_ns - thread->run_delay_ns;
      record_hidden_wait(thread, cpu, hidden_ns);
    }
  }
  /* The slice that was under way when the thread joined began earlier, and the beginning of one
   * after a hidden switch is not known. */
  if (state == TOPSPIN_RUNNING && thread->arrival_ns) end_slice(thread, cpu, !runnable, now_ns);
  thread->run_delay_ns = run_delay_ns;
  thread->settled = 1;
  thread->left_as = left_as;
  thread->left_ns = now_ns;
  cpu->events++;
  if (runnable) {
    thread->state = TOPSPIN_PREEMPTED;
  } else {
    thread->state = TOPSPIN_BLOCKED;
    thread->blocked_by = blocked_by;
    thread->waking_ns = 0;
  }
  return hidden_ns;
}

/* Starts a thread's account at `now`, or continues it if the thread is back in the cgroup. Faults
 * count from the thread's start. */
TOPSPIN_INLINE void admit(struct topspin_thread* thread, const struct topspin_counters* now) {
#define TOPSPIN_ADMIT(field)                                   \
  thread->baseline.field += now->field - thread->folded.field; \
  thread->folded.field = now->field
  TOPSPIN_ADMIT(cpu_ns);
  TOPSPIN_ADMIT(run_delay_ns);
  TOPSPIN_ADMIT(voluntary_switches);
  TOPSPIN_ADMIT(involuntary_switches);
  TOPSPIN_ADMIT(migrations);
#undef TOPSPIN_ADMIT
  thread->run_delay_ns = now->run_delay_ns;
}

TOPSPIN_INLINE void fold_one(__u64* total, __u64* folded, __u64 current) {
  __u64 before = *folded;
  if (current <= before) return;
  *folded = current;
  __sync_fetch_and_add(total, current - before);
}

/* Adds to the totals the growth of the kernel's account of a thread since the last fold. */
TOPSPIN_INLINE void fold_counters(struct topspin_totals* totals, struct topspin_thread* thread,
                                  const struct topspin_counters* now) {
  fold_one(&totals->counters.cpu_ns, &thread->folded.cpu_ns, now->cpu_ns);
  fold_one(&totals->counters.run_delay_ns, &thread->folded.run_delay_ns, now->run_delay_ns);
  fold_one(&totals->counters.voluntary_switches, &thread->folded.voluntary_switches,
           now->voluntary_switches);
  fold_one(&totals->counters.involuntary_switches, &thread->folded.involuntary_switches,
           now->involuntary_switches);
  fold_one(&totals->counters.migrations, &thread->folded.migrations, now->migrations);
  fold_one(&totals->counters.minor_faults, &thread->folded.minor_faults, now->minor_faults);
  fold_one(&totals->counters.major_faults, &thread->folded.major_faults, now->major_faults);
}

/* Fills in the thread's record as of its last fold. The caller sets flags, names and numbers. */
TOPSPIN_INLINE void fill_record(struct topspin_record* out, const struct topspin_thread* thread) {
  out->pid = thread->pid;
  out->tid = thread->tid;
  out->start_boottime_ns = thread->start_boottime_ns;
  out->busy_stretch_max = thread->busy_stretch_max;
  out->since_joining.cpu_ns = thread->folded.cpu_ns - thread->baseline.cpu_ns;
  out->since_joining.run_delay_ns = thread->folded.run_delay_ns - thread->baseline.run_delay_ns;
  out->since_joining.voluntary_switches =
      thread->folded.voluntary_switches - thread->baseline.voluntary_switches;
  out->since_joining.involuntary_switches =
      thread->folded.involuntary_switches - thread->baseline.involuntary_switches;
  out->since_joining.migrations = thread->folded.migrations - thread->baseline.migrations;
  out->since_joining.minor_faults = thread->folded.minor_faults - thread->baseline.minor_faults;
  out->since_joining.major_faults = thread->folded.major_faults - thread->baseline.major_faults;
}

/* 0 if `count` is 0, else 1. Without a comparison, which the compiler would turn into a branch. */
TOPSPIN_INLINE __u32 is_some(__u32 count) {
  __u64 negative = 0 - (__u64)count;
  asm volatile("" : "+r"(negative));
  return negative >> 63;
}

/* Adds the cells to the record of an exited thread. Returns how many bytes are used. The loop has
 * no branch, so the verifier follows only one path. */
TOPSPIN_SELDOM int fill_exit(struct topspin_exit* out, const struct topspin_thread* thread) {
  const struct topspin_times* times;
  __u32 used = 0, index;
  if (!out || !thread) return 0; /* never */
  times = &thread->times;
  out->wait_ns = times->wait_ns;
  out->wait_ns_max = times->wait_ns_max;
  out->slice_ns = times->slice_ns;
  out->slice_ns_max = times->slice_ns_max;
  for (index = 0; index < TOPSPIN_PREEMPTORS; index++)
    out->preempted[index] = times->preempted[index];
  for (index = 0; index < TOPSPIN_COARSE_CELLS; index++) {
    out->entries[used & (TOPSPIN_EXIT_ENTRIES - 1)] = (__u64)index << 32 | times->waits[index];
    used += is_some(times->waits[index]);
  }
  for (index = 0; index < TOPSPIN_COARSE_CELLS; index++) {
    out->entries[used & (TOPSPIN_EXIT_ENTRIES - 1)] =
        (__u64)(TOPSPIN_COARSE_CELLS + index) << 32 | times->slices[index];
    used += is_some(times->slices[index]);
  }
  used &= TOPSPIN_EXIT_ENTRIES - 1;
  out->entries_used = used;
  return __builtin_offsetof(struct topspin_exit, entries) + used * sizeof(out->entries[0]);
}

#endif
