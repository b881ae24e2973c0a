// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* The scheduler probe's top rung: BTF-typed tracepoints, state in task storage.
 *
 * A thread belongs to the subject if it has an element in `threads`. Most threads of a host have no
 * task storage at all, and for those an event ends after one load. The element is created at fork
 * (for the child of a member; in cgroup mode, for every thread below the cgroup) or in the walk
 * (iter/task). User space runs the walk once per tick; it also folds each thread's account and
 * writes its record. A wakeup or a switch sends nothing to user space; an exiting thread sends one
 * record.
 */
/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include "probes/bpf/kernel_types.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "probes/bpf/inline.bpf.h"
#include "probes/bpf/kernel_cast.bpf.h"
#include "probes/bpf/local_storage.bpf.h"
#include "probes/bpf/task.bpf.h"

#define TOPSPIN_SELDOM TOPSPIN_CHECKED_ONCE

/* Programs of this kind may follow the kernel's pointers directly. */
#define KERNEL_READ(pointer, ...) ___arrow(pointer, __VA_ARGS__)
#define KERNEL_FOLLOW(pointer, ...) FOLLOW(pointer, __VA_ARGS__)

#include "probes/scheduler/bpf/scheduler_events.bpf.h"
#include "probes/scheduler/bpf/timers.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

__s32 own_process; /* topspin, which runs the walk */

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct topspin_thread);
} threads SEC(".maps");

/* Created together with the element of `threads`. */
struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct topspin_thread_sleeps);
} sleeps SEC(".maps");

TOPSPIN_INLINE __s32 shown_pid(struct task_struct* task) { return pid_for_reader(task); }

TOPSPIN_INLINE struct topspin_thread_sleeps* sleeps_of(struct task_struct* task) {
  return bpf_task_storage_get(&sleeps, task, NULL, 0);
}

TOPSPIN_INLINE struct topspin_thread* member(struct task_struct* task) {
  struct topspin_thread* thread;
  if (!FOLLOW(task, bpf_storage)) return NULL;
  thread = bpf_task_storage_get(&threads, task, NULL, 0);
  return thread && thread->member == TOPSPIN_MEMBER ? thread : NULL;
}

/* The walk and an exit may fold the same thread at the same time on two CPUs. The one that finds
 * the lock taken gives up; `refold`, set before trying, makes the holder fold again. */
TOPSPIN_INLINE void fold_thread(struct task_struct* task, struct topspin_thread* thread) {
  struct topspin_counters now;
  int round;
  thread->refold = 1;
  for (round = 0; round < 4; round++) {
    if (__sync_val_compare_and_swap(&thread->fold_lock, 0, 1)) return;
    __sync_lock_test_and_set(&thread->refold, 0);
    read_counters(task, &now);
    fold_counters(&totals, thread, &now);
    __sync_lock_test_and_set(&thread->fold_lock, 0);
    if (!*(volatile __u32*)&thread->refold) return;
  }
}

/* Makes `task` a member (again). The walk sets up the elements of members that user space named.
 * If there is no room, counts that and returns NULL. */
TOPSPIN_INLINE struct topspin_thread* join(struct task_struct* task) {
  struct topspin_thread* thread = made_task_storage(&threads, task);
  if (!thread) {
    __sync_fetch_and_add(&totals.threads_refused, 1);
    return NULL;
  }
  if (!__sync_val_compare_and_swap(&thread->start_boottime_ns, 0, task->start_boottime)) {
    __sync_fetch_and_add(&totals.threads_joined, 1);
    grant_row(thread);
  }
  made_task_storage(&sleeps, task);
  thread->pid = pid_for_reader(FOLLOW(task, group_leader));
  thread->tid = pid_for_reader(task);
  thread->kernel_tid = task->pid;
  return thread;
}

/* Makes a thread that has already run a member. Its account and its state begin now. */
TOPSPIN_INLINE struct topspin_thread* join_midway(struct task_struct* task) {
  struct topspin_counters now;
  struct topspin_thread* thread = join(task);
  if (!thread) return NULL;
  read_counters(task, &now);
  admit(thread, &now);
  thread->settled = 0;
  thread->recover = 0;
  thread->left_ns = 0;
  thread->arrival_ns = 0;
  thread->stretch_ns = 0;
  thread->waking_ns = 0;
  thread->timer.fired_ns = 0;
  if (task->on_cpu)
    thread->state = TOPSPIN_RUNNING;
  else if (task->on_rq && !task->__state)
    thread->state = TOPSPIN_QUEUED_CENSORED;
  else
    thread->state = TOPSPIN_BLOCKED;
  __sync_lock_test_and_set(&thread->member, TOPSPIN_MEMBER);
  return thread;
}

/* The current time on CLOCK_MONOTONIC, computed from a run queue's own clock, which was read a
 * moment ago. Reading CLOCK_MONOTONIC is the most expensive single operation of a program here. So
 * only the first events on a CPU in each quarter of a millisecond read both clocks, and all events
 * use the smallest difference seen. The result is never too late. It is too early by at most the
 * time for which the kernel has been busy since it read the run queue's clock. The smallest
 * difference of earlier periods still holds, except for the 488 ppm (1 / 2048) by which time
 * keeping may have changed since.
 */
#define CLOCK_GOOD_FOR_NS 250000
#define CLOCK_COMPARISONS 4

TOPSPIN_INLINE __u64 monotonic_now(struct topspin_clock* clock, __u64 rq_clock_ns) {
  __u64 elapsed_ns = rq_clock_ns - clock->since_ns;
  __u64 now_ns, ahead_ns;
  if (elapsed_ns < CLOCK_GOOD_FOR_NS && clock->comparisons >= CLOCK_COMPARISONS)
    return rq_clock_ns + clock->ahead_ns;
  now_ns = bpf_ktime_get_ns();
  ahead_ns = now_ns - rq_clock_ns;
  if (elapsed_ns >= CLOCK_GOOD_FOR_NS) {
    if (clock->since_ns)
      clock->ahead_ns += elapsed_ns >> 11;
    else
      clock->ahead_ns = ahead_ns;
    clock->since_ns = rq_clock_ns;
    clock->comparisons = 0;
  }
  if ((__s64)(ahead_ns - clock->ahead_ns) < 0) clock->ahead_ns = ahead_ns;
  clock->comparisons++;
  /* Not now_ns, so that a wakeup and its switch use the same clock. */
  return rq_clock_ns + clock->ahead_ns;
}

TOPSPIN_INLINE __u64 woken_at(struct topspin_cpu* cpu, struct rq* rq) {
  return monotonic_now(&cpu->clock, rq->clock);
}

TOPSPIN_INLINE __u64 take_account(struct task_struct* task, struct topspin_thread* thread) {
  return task->sched_info.run_delay; /* the rest of the account is folded at exit and in the walk */
}

TOPSPIN_INLINE void leave_for_good(struct task_struct* task, struct topspin_thread* thread) {
  if (thread->dead) return;
  thread->dead = 1;
  fold_thread(task, thread);
  end_row(thread, sleeps_of(task), task->comm);
}

/* The scheduler reads its clock when it begins to switch, except if a wakeup has just read it and
 * requested this switch, or if idling ends. Then the value may be microseconds old. Neither is the
 * case if a thread leaves its CPU voluntarily, with one exception: it blocks in the same call in
 * which it was asked to give way. Then the clock has not changed since the wakeup of `in`. */
TOPSPIN_INLINE __u64 switched_at(struct topspin_cpu* cpu, struct task_struct* task, bool runnable,
                                 const struct topspin_thread* in) {
  __u64 now_ns;
  if (runnable) return bpf_ktime_get_ns();
  now_ns = monotonic_now(&cpu->clock, FOLLOW(task, se.cfs_rq, rq, clock));
  return in && now_ns <= in->queued_ns ? bpf_ktime_get_ns() : now_ns;
}

/* Most threads of a host have no task storage at all. */
SEC("tp_btf/sched_waking")
int BPF_PROG(sched_waking, struct task_struct* task) {
  return FOLLOW(task, bpf_storage) ? waking(task) : 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(sched_wakeup, struct task_struct* task) { return woken(task); }

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(sched_wakeup_new, struct task_struct* task) { return woken(task); }

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct* prev, struct task_struct* next,
             unsigned int prev_state) {
  return switched(preempt, prev, next, prev_state);
}

SEC("tp_btf/sched_migrate_task")
int BPF_PROG(sched_migrate_task, struct task_struct* task, int to) {
  return FOLLOW(task, bpf_storage) ? migrated(task, to) : 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_process_fork, struct task_struct* parent, struct task_struct* child) {
  struct topspin_thread* thread;
  if (subject_cgroup_id) {
    if (is_own(parent, own_process) || !is_below_cgroup(child, subject_cgroup_id)) return 0;
  } else {
    if (!FOLLOW(parent, bpf_storage)) return 0;
    thread = bpf_task_storage_get(&threads, parent, NULL, 0);
    if (!thread || thread->member == TOPSPIN_NO_MEMBER) return 0;
  }
  thread = join(child);
  if (!thread) return 0;
  thread->state = TOPSPIN_BLOCKED; /* sched_wakeup_new comes next */
  __sync_lock_test_and_set(&thread->member, TOPSPIN_MEMBER);
  return 0;
}

/* A process that waits for an exiting thread is notified before the thread's last switch. So the
 * account is folded here too, and a reading made then misses only a few microseconds. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(sched_process_exit, struct task_struct* task) {
  struct topspin_thread* thread = member(task);
  if (thread) fold_thread(task, thread);
  return 0;
}

/* Comes after the last switch, and handles threads whose last switch was hidden. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(sched_process_free, struct task_struct* task) {
  struct topspin_thread* thread = member(task);
  if (thread) leave_for_good(task, thread);
  return 0;
}

/* Cgroup mode only. For a process with several threads, this sees only one of them; the walk finds
 * the others. */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(cgroup_attach_task, struct cgroup* to, const char* path, struct task_struct* task,
             bool threadgroup) {
  if (!member(task) && !is_own(task, own_process) && is_below_cgroup(task, subject_cgroup_id))
    join_midway(task);
  return 0;
}

/* If a thread other than the leader calls exec, it gets the leader's number. Its row under the old
 * number ends, and it continues under the new number with an account that begins at 0. exec sets
 * the name right after the number, so the name is still the old one here. */
SEC("tp_btf/task_rename")
int BPF_PROG(task_rename, struct task_struct* task) {
  struct topspin_thread_sleeps* slept;
  struct topspin_thread* thread;
  if (task != bpf_get_current_task_btf()) return 0;
  thread = member(task);
  if (!thread || thread->kernel_tid == task->pid) return 0;
  fold_thread(task, thread);
  slept = sleeps_of(task);
  end_row(thread, slept, task->comm);
  if (slept) __builtin_memset(slept, 0, sizeof(*slept));
  thread->baseline = thread->folded;
  thread->busy_stretch_max = 0;
  __builtin_memset(&thread->times, 0, sizeof(thread->times));
  thread->reported_cpu_ns = 0;
  thread->has_row = 0;
  grant_row(thread);
  thread->pid = pid_for_reader(FOLLOW(task, group_leader));
  thread->tid = pid_for_reader(task);
  thread->kernel_tid = task->pid;
  return 0;
}

/* The thread's record, as of the fold just made. */
TOPSPIN_INLINE void describe(struct task_struct* task, const struct topspin_thread* thread,
                             bool exited, struct topspin_record* out) {
  __builtin_memset(out, 0, sizeof(*out));
  fill_record(out, thread);
  if (thread->has_row && !thread->dead && thread->folded.cpu_ns != thread->reported_cpu_ns)
    out->flags |= TOPSPIN_RECORD_CHANGED;
  if (thread->state == TOPSPIN_QUEUED || thread->state == TOPSPIN_PREEMPTED)
    out->flags |= TOPSPIN_RECORD_QUEUED;
  if (exited) out->flags |= TOPSPIN_RECORD_ZOMBIE;
  if (FOLLOW(task, group_leader) == task) {
    out->flags |= TOPSPIN_RECORD_LEADER;
    if (FOLLOW(task, signal, live.counter) > 0) out->flags |= TOPSPIN_RECORD_LIVE;
  }
  bpf_probe_read_kernel_str(out->comm, sizeof(out->comm), task->comm);
}

SEC("iter/task")
int walk_threads(struct bpf_iter__task* context) {
  static const struct topspin_thread_sleeps no_sleeps = {};
  struct task_struct* task = context->task;
  struct topspin_thread_sleeps* slept;
  struct topspin_thread* thread;
  struct topspin_record out;
  struct seq_file* seq = context->meta->seq;
  bool exited;

  if (context->meta->seq_num == 0) {
    struct task_struct* reader = bpf_get_current_task_btf();
    reader_pid_level = FOLLOW(reader, thread_pid, level);
    own_process = reader->tgid;
  }
  if (!task || task->pid == 0) return 0;
  exited = task->exit_state != 0;
  thread = bpf_task_storage_get(&threads, task, NULL, 0);

  if (subject_cgroup_id) {
    bool inside = !is_own(task, own_process) && is_below_cgroup(task, subject_cgroup_id);
    if (inside && !exited && (!thread || thread->member != TOPSPIN_MEMBER))
      thread = join_midway(task);
    if (!inside && !exited && thread && thread->member == TOPSPIN_MEMBER) {
      fold_thread(task, thread);
      thread->member = TOPSPIN_NO_MEMBER;
    }
  } else if (!thread) {
    if (exited || is_own(task, own_process) || !relatives_storage(&threads, task)) return 0;
    thread = join_midway(task);
  } else if (thread->member == TOPSPIN_SEEDED) {
    thread = join_midway(task);
  }
  if (!thread || thread->member != TOPSPIN_MEMBER) return 0;

  /* Numbers as the current reader sees them. If exec has just changed one, task_rename handles it.
   */
  if (!exited && thread->kernel_tid == task->pid) {
    thread->pid = pid_for_reader(FOLLOW(task, group_leader));
    thread->tid = pid_for_reader(task);
  }
  fold_thread(task, thread);
  describe(task, thread, exited, &out);
  /* If the buffer is full, the kernel hands it over and shows this thread again from the start. */
  if (bpf_seq_write(seq, &out, sizeof(out))) return 0;
  if (!(out.flags & TOPSPIN_RECORD_CHANGED)) return 0;
  if (bpf_seq_write(seq, &thread->times, sizeof(thread->times))) return 0;
  slept = sleeps_of(task);
  if (bpf_seq_write(seq, slept ? (const void*)slept : &no_sleeps, sizeof(no_sleeps)) == 0)
    thread->reported_cpu_ns = thread->folded.cpu_ns;
  return 0;
}
