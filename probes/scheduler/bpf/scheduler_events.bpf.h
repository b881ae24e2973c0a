/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The handlers of the scheduler's tracepoints for rungs that see task_structs. They are shared by
 * scheduler.bpf.c (tp_btf) and scheduler_raw.bpf.c (raw_tp), which attach them in their own
 * sections. BPF side only, after kernel_types.bpf.h and libbpf's headers.
 *
 * REQUIRES: KERNEL_READ(pointer, field) and, for a path through several pointers,
 * KERNEL_FOLLOW(pointer, field...), which read as BPF_CORE_READ does; READ_AS
 * (bpf/kernel_cast.bpf.h); and the functions that are declared first.
 */
#ifndef TOPSPIN_PROBES_SCHEDULER_EVENTS_BPF_H
#define TOPSPIN_PROBES_SCHEDULER_EVENTS_BPF_H

#include "probes/scheduler/bpf/blocked_by.bpf.h"
#include "probes/scheduler/bpf/scheduler_cpus.bpf.h"
#include "probes/scheduler/bpf/scheduler_exits.bpf.h"
#include "probes/scheduler/bpf/scheduler_holders.bpf.h"

/* Defined by the rung: */

/* The thread's element if it belongs to the subject; else NULL. */
TOPSPIN_INLINE struct topspin_thread* member(struct task_struct* task);

/* The sleeps of a thread of the subject; NULL if there was no room. */
TOPSPIN_INLINE struct topspin_thread_sleeps* sleeps_of(struct task_struct* task);

/* The current time on CLOCK_MONOTONIC. REQUIRES: the lock of `rq` is held, the run queue of `cpu`,
 * onto which a thread is woken.
 */
TOPSPIN_INLINE __u64 woken_at(struct topspin_cpu* cpu, struct rq* rq);

/* The same at a switch. `task` is the thread that leaves the CPU, or if that is not of the subject,
 * the one that gets it. `in` is the one that gets it, if it is of the subject. */
TOPSPIN_INLINE __u64 switched_at(struct topspin_cpu* cpu, struct task_struct* task, bool runnable,
                                 const struct topspin_thread* in);

/* Called when the thread leaves its CPU; returns the kernel's run_delay of it. */
TOPSPIN_INLINE __u64 take_account(struct task_struct* task, struct topspin_thread* thread);

/* Called at the last switch of a thread. Its account is complete, and no event follows. */
TOPSPIN_INLINE void leave_for_good(struct task_struct* task, struct topspin_thread* thread);

/* Shared: */

const volatile __u64 max_rows = 0;

/* 0 if the subject is a process tree. User space changes it when the cgroup is created again. */
__u64 subject_cgroup_id;

struct topspin_totals totals;
__u64 rows_granted; /* to threads that have not exited */

TOPSPIN_INLINE void read_counters(struct task_struct* task, struct topspin_counters* out) {
  out->cpu_ns = KERNEL_READ(task, se.sum_exec_runtime);
  out->run_delay_ns = KERNEL_READ(task, sched_info.run_delay);
  out->voluntary_switches = KERNEL_READ(task, nvcsw);
  out->involuntary_switches = KERNEL_READ(task, nivcsw);
  out->migrations = KERNEL_READ(task, se.nr_migrations);
  out->minor_faults = KERNEL_READ(task, min_flt);
  out->major_faults = KERNEL_READ(task, maj_flt);
}

/* The limit is for rows at the same time: an exit frees its row. Each CPU may exceed the limit by
 * one row, because kernels before 5.12 refuse programs with an atomic addition that returns the
 * sum. */
TOPSPIN_INLINE void grant_row(struct topspin_thread* thread) {
  if (*(volatile __u64*)&rows_granted < max_rows) {
    __sync_fetch_and_add(&rows_granted, 1);
    thread->has_row = 1;
  } else {
    __sync_fetch_and_add(&totals.rows_refused, 1);
  }
}

/* Sends the row for the last time, and frees it. */
TOPSPIN_INLINE void end_row(struct topspin_thread* thread, struct topspin_thread_sleeps* sleeps,
                            const char* name) {
  struct topspin_exit* out;
  if (!thread->has_row) return;
  __sync_fetch_and_sub(&rows_granted, 1);
  out = this_cpu_scratch();
  if (!out) return; /* never happens */
  fill_record(&out->record, thread);
  if (sleeps)
    out->sleeps = *sleeps;
  else
    __builtin_memset(&out->sleeps, 0, sizeof(out->sleeps));
  bpf_probe_read_kernel_str(out->record.comm, sizeof(out->record.comm), name);
  if (!send_exit(out, thread)) __sync_fetch_and_add(&totals.exits_unsent, 1);
}

/* Wakeup delivery is measured for threads that last ran on another CPU than the waker's. On the
 * same CPU it is just a function call, which is not worth a clock reading each time. */
TOPSPIN_INLINE int waking(struct task_struct* task) {
  struct topspin_thread* thread;
  struct topspin_cpu* cpu = this_cpu();
  bool remote;
  if (!cpu) return 0; /* never: there is one for each possible CPU */
  remote = (__u32)KERNEL_READ(task, wake_cpu) != bpf_get_smp_processor_id();
  if (!remote && !cpu->firing.fired_ns) return 0;
  thread = member(task);
  if (!thread) return 0;
  if (cpu->firing.fired_ns) on_timer(thread, &cpu->firing);
  if (remote) on_waking(thread, bpf_ktime_get_ns());
  return 0;
}

TOPSPIN_INLINE __u32 cpu_of(struct task_struct* task) {
  struct task_struct___before_5_16* older = (void*)task;
  if (bpf_core_field_exists(task->thread_info.cpu)) return KERNEL_READ(task, thread_info.cpu);
  return KERNEL_READ(older, cpu);
}

TOPSPIN_INLINE int woken(struct task_struct* task) {
  struct topspin_thread* thread = member(task);
  struct topspin_cpu* cpu;
  struct topspin_cpu* wakers;
  struct rq* rq;
  __u64 now_ns;
  __u32 target;
  if (!thread || !begins_wait(thread)) return 0;
  target = cpu_of(task);
  cpu = bpf_map_lookup_elem(&cpus, &target);
  if (!cpu) return 0; /* never: there is one for each possible CPU */
  rq = KERNEL_FOLLOW(task, se.cfs_rq, rq);
  now_ns = woken_at(cpu, rq);
  on_wakeup(thread, now_ns);
  count_queue_length(cpu, KERNEL_READ(rq, nr_running));
  if (thread->waking_ns) {
    wakers = this_cpu();
    if (wakers) on_delivery(thread, wakers, now_ns);
  }
  if (is_throttled(task))
    wait_uncharged(thread, TOPSPIN_HELD_BY_QUOTA, now_ns);
  else
    begin_waiting(&cpu->queue, target, rq, thread, now_ns);
  return 0;
}

TOPSPIN_INLINE bool is_on_queue(struct task_struct* task) {
  __u32 on_rq = KERNEL_READ(task, on_rq);
  return bpf_core_field_size(task->on_rq) == 1 ? on_rq & 0xff : on_rq;
}

/* Only for a thread on a run queue; one that is being woken onto another CPU does not wait yet. */
TOPSPIN_INLINE int migrated(struct task_struct* task, int to) {
  struct topspin_thread* thread;
  if (!is_on_queue(task)) return 0;
  thread = member(task);
  if (thread && is_waiting(thread) && thread->queue) move_waiting(thread, to, bpf_ktime_get_ns());
  return 0;
}

TOPSPIN_INLINE __u32 preemptor(struct task_struct* prev, struct task_struct* next) {
  if (KERNEL_READ(next, pid) == 0) return TOPSPIN_BY_NOBODY;
  if (KERNEL_READ(next, flags) & PF_KTHREAD) return TOPSPIN_BY_KERNEL_THREAD;
  if (KERNEL_READ(next, tgid) == KERNEL_READ(prev, tgid)) return TOPSPIN_BY_SAME_PROCESS;
  return KERNEL_FOLLOW(next, cgroups, dfl_cgrp) == KERNEL_FOLLOW(prev, cgroups, dfl_cgrp)
             ? TOPSPIN_BY_SAME_CGROUP
             : TOPSPIN_BY_OTHER;
}

/* What run_delay will be right after the switch to `task`; the kernel adds the two itself. */
TOPSPIN_INLINE __u64 run_delay_on_arrival(struct task_struct* task) {
  __u64 queued = KERNEL_READ(task, sched_info.last_queued);
  __u64 clock = KERNEL_FOLLOW(task, se.cfs_rq, rq, clock);
  return KERNEL_READ(task, sched_info.run_delay) + (queued && clock > queued ? clock - queued : 0);
}

/* When a thread that a timer woke got its CPU, if the switch to it was hidden. */
TOPSPIN_INLINE __u64 arrival_of(struct task_struct* task, __u64 now_ns) {
  __u64 arrival = KERNEL_READ(task, sched_info.last_arrival);
  __u64 clock = KERNEL_FOLLOW(task, se.cfs_rq, rq, clock);
  return clock > arrival ? now_ns - (clock - arrival) : now_ns;
}

/* `out`, which is `prev`, leaves the CPU for `next`. `charged_ns`: end_hidden_wait(). */
TOPSPIN_INLINE void leave(struct topspin_thread* out, struct task_struct* prev,
                          struct task_struct* next, struct topspin_cpu* cpu, __u32 number,
                          __u32 prev_state, bool runnable, __u64 charged_ns, __u64 now_ns) {
  __u32 by = runnable ? preemptor(prev, next) : off_cpu_state(prev_state);
  __u64 hidden_ns;
  if (out->timer.fired_ns) on_timer_done(out, cpu, arrival_of(prev, now_ns));
  hidden_ns = on_switch_out(out, cpu, runnable, by,
                            runnable ? TOPSPIN_BLOCKED_BYS : blocked_by(prev, prev_state),
                            take_account(prev, out), now_ns);
  add_unnamed(&cpu->queue, TOPSPIN_HELD_BY_UNSEEN, charged_ns, hidden_ns);
  if (!runnable) {
    if (prev_state & TASK_DEAD) leave_for_good(prev, out);
  } else if (by == TOPSPIN_BY_NOBODY || is_throttled(prev)) {
    wait_uncharged(out, TOPSPIN_HELD_BY_QUOTA, now_ns);
  } else {
    begin_waiting(&cpu->queue, number, KERNEL_FOLLOW(prev, se.cfs_rq, rq), out, now_ns);
  }
}

/* `prev_state` is the state of `prev`; prev->__state may have changed since. */
TOPSPIN_INLINE int switched(bool preempt, struct task_struct* prev, struct task_struct* next,
                            __u32 prev_state) {
  struct topspin_thread* out = member(prev);
  struct topspin_thread* in = member(next);
  bool runnable = preempt || prev_state == 0;
  __u32 number = bpf_get_smp_processor_id();
  struct topspin_cpu* cpu = bpf_map_lookup_elem(&cpus, &number);
  __u64 now_ns, charged_ns = 0;
  bool waits;
  if (!cpu) return 0; /* never: there is one for each possible CPU */
  waits = has_waiters(&cpu->queue);
  if (out) {
    now_ns = switched_at(cpu, prev, runnable, in);
    if (is_waiting(out)) charged_ns = end_hidden_wait(&cpu->queue, number, out);
  } else if (in) {
    now_ns = switched_at(cpu, next, runnable, in);
  } else {
    if (!waits) return 0;
    now_ns = bpf_ktime_get_ns();
  }
  if (waits) charge(&cpu->queue, prev, out != NULL, now_ns);
  if (out) leave(out, prev, next, cpu, number, prev_state, runnable, charged_ns, now_ns);
  if (in) {
    if (is_waiting(in)) end_waiting(&cpu->queue, number, in, now_ns);
    if (on_switch_in(in, in->state == TOPSPIN_QUEUED ? sleeps_of(next) : NULL, cpu, now_ns))
      censor_wait(in, run_delay_on_arrival(next));
    if (in->timer.fired_ns) on_timer_done(in, cpu, now_ns);
  } else if (cpu->queue.waiting && KERNEL_READ(next, pid) == 0) {
    empty_queue(&cpu->queue, now_ns);
  }
  return 0;
}

#endif
