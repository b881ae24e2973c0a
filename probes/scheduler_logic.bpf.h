/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What an event means for the state of a thread: the logic that the rungs share. It knows neither
 * where the state is kept nor how the kernel's structures are read. BPF side only.
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

#include "probes/histogram_index.bpf.h"
#include "probes/scheduler_abi.h"

#define TOPSPIN_INLINE static inline __attribute__((always_inline))

#define TASK_DEAD 0x80u /* prev_state of the last switch of a thread */

TOPSPIN_INLINE void record(struct topspin_cells* cells, __u64 value) {
  __u32 index = histogram_index(value);
  if (index >= TOPSPIN_HISTOGRAM_BUCKETS) return; /* never; the verifier wants to be sure */
  cells->cells[index]++;
  cells->sum += value;
  if (value > cells->max) cells->max = value;
}

TOPSPIN_INLINE void record_wait(struct topspin_thread* thread, struct topspin_cpu* cpu,
                                bool preempted, __u64 wait_ns) {
  record(preempted ? &cpu->preemption_wait : &cpu->queue_wait, wait_ns);
  thread->waits++;
  if (wait_ns > thread->wait_max_ns) thread->wait_max_ns = wait_ns;
}

TOPSPIN_INLINE void on_waking(struct topspin_thread* thread, __u64 now_ns) {
  if (thread->state == TOPSPIN_BLOCKED) thread->waking_ns = now_ns;
}

/* Whether this wakeup begins a wait, whose begin the caller then stamps: one of a thread that is
 * already queued or running does not. */
TOPSPIN_INLINE bool on_wakeup(struct topspin_thread* thread) {
  if (thread->state != TOPSPIN_BLOCKED && thread->state != TOPSPIN_UNKNOWN) return false;
  thread->state = TOPSPIN_QUEUED;
  return true;
}

TOPSPIN_INLINE void on_delivery(struct topspin_thread* thread, struct topspin_cpu* cpu,
                                __u64 now_ns) {
  if (now_ns >= thread->waking_ns) record(&cpu->wake_delivery, now_ns - thread->waking_ns);
  thread->waking_ns = 0;
  cpu->events++;
}

/* Some kernels switch without calling the tracepoint (seen on a virtual 6.18: about one switch in a
 * thousand, always out of a few system threads). Then the end of a wait, or its begin, is not
 * shown; the kernel's run_delay has grown by that wait all the same.
 *
 * sched_yield looks the same as preemption here, and to the kernel's own counters. */
TOPSPIN_INLINE void on_switch_out(struct topspin_thread* thread, struct topspin_cpu* cpu,
                                  bool runnable, __u64 run_delay_ns, __u64 now_ns) {
  if (thread->settled && thread->state != TOPSPIN_RUNNING) thread->recover = 1;
  if (thread->recover) {
    thread->recover = 0;
    if (run_delay_ns > thread->run_delay_ns) {
      record_wait(thread, cpu, thread->state == TOPSPIN_PREEMPTED,
                  run_delay_ns - thread->run_delay_ns);
      cpu->recovered++;
      cpu->events++;
    }
  }
  thread->run_delay_ns = run_delay_ns;
  thread->settled = 1;
  if (runnable) {
    thread->state = TOPSPIN_PREEMPTED;
    thread->queued_ns = now_ns;
  } else {
    thread->state = TOPSPIN_BLOCKED;
    thread->waking_ns = 0;
  }
}

TOPSPIN_INLINE void on_switch_in(struct topspin_thread* thread, struct topspin_cpu* cpu,
                                 __u64 now_ns) {
  __u32 state = thread->state;
  thread->state = TOPSPIN_RUNNING;
  if (state == TOPSPIN_QUEUED || state == TOPSPIN_PREEMPTED) {
    /* Two CPUs' clocks may be a few ns apart. */
    record_wait(thread, cpu, state == TOPSPIN_PREEMPTED,
                now_ns > thread->queued_ns ? now_ns - thread->queued_ns : 0);
  } else if (thread->settled) {
    thread->recover = 1; /* its last switch out, or its wakeup, was not shown */
  } else {
    cpu->left_censored++; /* its wait began before it joined */
    thread->rebase_run_delay = 1;
  }
  thread->settled = 1;
  cpu->events++;
}

/* A wait whose begin we did not see is in no histogram; the kernel counts it as a whole. Leaves it
 * out of the totals and of the thread's row. Due once, after the thread was switched in. */
TOPSPIN_INLINE void rebase_run_delay(struct topspin_thread* thread, __u64 run_delay_ns) {
  if (!thread->rebase_run_delay) return;
  thread->rebase_run_delay = 0;
  if (run_delay_ns <= thread->folded.run_delay_ns) return;
  thread->baseline.run_delay_ns += run_delay_ns - thread->folded.run_delay_ns;
  thread->folded.run_delay_ns = run_delay_ns;
}

/* Starts (or, back in the cgroup, continues) a thread's account at `now`. Faults are counted whole.
 */
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

/* Adds to the totals what the kernel's account of a thread has grown since the last fold. */
TOPSPIN_INLINE void fold_counters(struct topspin_totals* totals, struct topspin_thread* thread,
                                  const struct topspin_counters* now) {
  if (thread->state == TOPSPIN_RUNNING) rebase_run_delay(thread, now->run_delay_ns);
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

/* The thread's record as of its last fold; flags, names and numbers are the caller's. */
TOPSPIN_INLINE void fill_record(struct topspin_record* out, const struct topspin_thread* thread) {
  out->pid = thread->pid;
  out->tid = thread->tid;
  out->start_boottime_ns = thread->start_boottime_ns;
  out->waits = thread->waits;
  out->wait_max_ns = thread->wait_max_ns;
  out->since_joining.cpu_ns = thread->folded.cpu_ns - thread->baseline.cpu_ns;
  out->since_joining.run_delay_ns = thread->folded.run_delay_ns - thread->baseline.run_delay_ns;
  out->since_joining.voluntary_switches =
      thread->folded.voluntary_switches - thread->baseline.voluntary_switches;
  out->since_joining.involuntary_switches =
      thread->folded.involuntary_switches - thread->baseline.involuntary_switches;
  out->since_joining.migrations = thread->folded.migrations - thread->baseline.migrations;
  out->since_joining.minor_faults = thread->folded.minor_faults;
  out->since_joining.major_faults = thread->folded.major_faults;
}

#endif
