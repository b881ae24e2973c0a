// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* The scheduler probe's second rung: raw tracepoints, with the state in a hash by thread number. It
 * is for kernels or policies that refuse BTF-typed tracepoints or task storage, and costs about
 * twice as much.
 *
 * There is no walk here, because iter/task is refused too. Instead, each switch copies the kernel's
 * account of the thread that leaves the CPU into its element, user space sums the elements, and an
 * exiting thread adds its account to the totals. Thread numbers are those of the initial pid
 * namespace.
 */
/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include "probes/bpf/kernel_types.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "probes/bpf/task.bpf.h"

#define KERNEL_READ(pointer, ...) BPF_CORE_READ(pointer, __VA_ARGS__)
#define KERNEL_FOLLOW(pointer, ...) BPF_CORE_READ(pointer, __VA_ARGS__)
#define READ_AS(type, address, field) BPF_CORE_READ((struct type*)(address), field)
#include "probes/bpf/kernel_cast.bpf.h"
#include "probes/scheduler/bpf/scheduler_events.bpf.h"
#include "probes/scheduler/bpf/timers.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __s32 own_process = 0; /* topspin, which is not in the subject */

/* The initial value of a new element. It is too large for the stack. */
const volatile struct topspin_raw_thread blank = {};
const volatile struct topspin_thread_sleeps no_sleeps = {};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC); /* an element is 1 KiB, so memory grows with the threads */
  __uint(max_entries, 1);               /* set by user space */
  __type(key, __s32);
  __type(value, struct topspin_raw_thread);
} threads SEC(".maps");

/* By thread too: created and removed together with the element of `threads`. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1); /* set by user space */
  __type(key, __s32);
  __type(value, struct topspin_thread_sleeps);
} sleeps SEC(".maps");

TOPSPIN_INLINE struct topspin_thread_sleeps* sleeps_of(struct task_struct* task) {
  __s32 tid = BPF_CORE_READ(task, pid);
  return bpf_map_lookup_elem(&sleeps, &tid);
}

TOPSPIN_INLINE __s32 shown_pid(struct task_struct* task) { return BPF_CORE_READ(task, pid); }

TOPSPIN_INLINE void describe(struct topspin_raw_thread* raw, struct task_struct* task) {
  raw->thread.pid = BPF_CORE_READ(task, tgid);
  raw->thread.tid = BPF_CORE_READ(task, pid);
  raw->thread.start_boottime_ns = raw->task_start_ns = BPF_CORE_READ(task, start_boottime);
}

TOPSPIN_INLINE void join(struct topspin_thread* thread) {
  __sync_fetch_and_add(&totals.threads_joined, 1);
  grant_row(thread);
}

/* The element of a member. If user space created it, its account begins with the first event. */
TOPSPIN_INLINE struct topspin_raw_thread* member_of(struct task_struct* task, __s32 tid) {
  struct topspin_raw_thread* raw;
  struct topspin_counters now;
  if (tid == 0) return NULL;
  raw = bpf_map_lookup_elem(&threads, &tid);
  if (!raw) return NULL;
  if (raw->thread.member == TOPSPIN_SEEDED) {
    read_counters(task, &now);
    admit(&raw->thread, &now);
    describe(raw, task);
    bpf_map_update_elem(&sleeps, &tid, (const void*)&no_sleeps, BPF_NOEXIST);
    join(&raw->thread);
    raw->thread.member = TOPSPIN_MEMBER;
  }
  return raw;
}

TOPSPIN_INLINE struct topspin_thread* member(struct task_struct* task) {
  struct topspin_raw_thread* raw = member_of(task, BPF_CORE_READ(task, pid));
  return raw ? &raw->thread : NULL;
}

TOPSPIN_INLINE __u64 woken_at(struct topspin_cpu* cpu, struct rq* rq) { return bpf_ktime_get_ns(); }

TOPSPIN_INLINE __u64 switched_at(struct topspin_cpu* cpu, struct task_struct* task, bool runnable,
                                 const struct topspin_thread* in) {
  return bpf_ktime_get_ns();
}

/* Updates the thread's copy of its account. Nothing is added to the totals before it exits. */
TOPSPIN_INLINE __u64 take_account(struct task_struct* task, struct topspin_thread* thread) {
  struct topspin_raw_thread* raw = (struct topspin_raw_thread*)thread; /* `thread` is its head */
  struct topspin_counters now;
  read_counters(task, &now);
  raw->thread.folded = now;
  bpf_probe_read_kernel_str(raw->comm, sizeof(raw->comm), task->comm);
  return now.run_delay_ns;
}

/* Adds the thread's account to the totals, and sends its row for the last time. */
TOPSPIN_INLINE void end_account(struct topspin_raw_thread* raw, __s32 tid) {
  struct topspin_record record;
  fill_record(&record, &raw->thread);
#define TOPSPIN_ADD(field) __sync_fetch_and_add(&totals.counters.field, record.since_joining.field)
  TOPSPIN_ADD(cpu_ns);
  TOPSPIN_ADD(run_delay_ns);
  TOPSPIN_ADD(voluntary_switches);
  TOPSPIN_ADD(involuntary_switches);
  TOPSPIN_ADD(migrations);
  TOPSPIN_ADD(minor_faults);
  TOPSPIN_ADD(major_faults);
#undef TOPSPIN_ADD
  end_row(&raw->thread, bpf_map_lookup_elem(&sleeps, &tid), raw->comm);
  bpf_map_delete_elem(&sleeps, &tid);
}

TOPSPIN_INLINE void leave_for_good(struct task_struct* task, struct topspin_thread* thread) {
  __s32 tid = thread->tid;
  end_account((struct topspin_raw_thread*)thread, tid);
  bpf_map_delete_elem(&threads, &tid);
}

SEC("raw_tp/sched_waking")
int sched_waking(struct bpf_raw_tracepoint_args* context) {
  return waking((struct task_struct*)context->args[0]);
}

SEC("raw_tp/sched_wakeup")
int sched_wakeup(struct bpf_raw_tracepoint_args* context) {
  return woken((struct task_struct*)context->args[0]);
}

SEC("raw_tp/sched_wakeup_new")
int sched_wakeup_new(struct bpf_raw_tracepoint_args* context) {
  return woken((struct task_struct*)context->args[0]);
}

/* Kernels before 5.18 do not say in what state `prev` leaves. It may have been woken since; then
 * its state is another one, but not 0. */
TOPSPIN_INLINE __u32 state_of(struct task_struct* prev) {
  struct task_struct___before_5_14* older = (void*)prev;
  if (bpf_core_field_exists(older->state)) return BPF_CORE_READ(older, state);
  return BPF_CORE_READ(prev, __state);
}

SEC("raw_tp/sched_switch")
int sched_switch(struct bpf_raw_tracepoint_args* context) {
  struct task_struct* prev = (struct task_struct*)context->args[1];
  struct task_struct* next = (struct task_struct*)context->args[2];
  __u32 prev_state =
      LINUX_KERNEL_VERSION < TOPSPIN_LINUX(5, 18) ? state_of(prev) : (__u32)context->args[3];
  return switched(context->args[0], prev, next, prev_state);
}

SEC("raw_tp/sched_migrate_task")
int sched_migrate_task(struct bpf_raw_tracepoint_args* context) {
  return migrated((struct task_struct*)context->args[0], context->args[1]);
}

SEC("raw_tp/sched_process_fork")
int sched_process_fork(struct bpf_raw_tracepoint_args* context) {
  struct task_struct* parent = (struct task_struct*)context->args[0];
  struct task_struct* child = (struct task_struct*)context->args[1];
  struct topspin_raw_thread* fresh;
  __s32 tid = BPF_CORE_READ(parent, pid);
  if (subject_cgroup_id) {
    if (is_own(parent, own_process) || !is_below_cgroup(child, subject_cgroup_id)) return 0;
  } else if (!bpf_map_lookup_elem(&threads, &tid)) {
    return 0;
  }
  tid = BPF_CORE_READ(child, pid);
  if (bpf_map_update_elem(&threads, &tid, (const void*)&blank, BPF_ANY) ||
      !(fresh = bpf_map_lookup_elem(&threads, &tid))) {
    __sync_fetch_and_add(&totals.threads_refused, 1);
    return 0;
  }
  describe(fresh, child);
  bpf_probe_read_kernel_str(fresh->comm, sizeof(fresh->comm), child->comm);
  fresh->thread.state = TOPSPIN_BLOCKED; /* sched_wakeup_new comes next */
  bpf_map_update_elem(&sleeps, &tid, (const void*)&no_sleeps, BPF_ANY);
  join(&fresh->thread);
  fresh->thread.member = TOPSPIN_MEMBER;
  return 0;
}

/* Comes after the last switch, and handles threads whose last switch was hidden. The number may
 * already belong to a new thread. */
SEC("raw_tp/sched_process_free")
int sched_process_free(struct bpf_raw_tracepoint_args* context) {
  struct task_struct* task = (struct task_struct*)context->args[0];
  __s32 tid = BPF_CORE_READ(task, pid);
  struct topspin_raw_thread* raw = bpf_map_lookup_elem(&threads, &tid);
  if (!raw || raw->task_start_ns != BPF_CORE_READ(task, start_boottime)) return 0;
  take_account(task, &raw->thread);
  leave_for_good(task, &raw->thread);
  return 0;
}

/* If a thread other than the leader calls exec, it gets the number of the leader, whose element is
 * gone by then. The thread's row under its old number ends, and it continues under the new number,
 * with its own start time and an account that begins at 0. */
SEC("raw_tp/sched_process_exec")
int sched_process_exec(struct bpf_raw_tracepoint_args* context) {
  struct task_struct* task = (struct task_struct*)context->args[0];
  __s32 old_tid = (__s32)context->args[1];
  __s32 tid = BPF_CORE_READ(task, pid);
  struct topspin_counters now;
  struct topspin_raw_thread* moved;
  struct topspin_raw_thread* old;
  if (old_tid == tid) return 0;
  old = member_of(task, old_tid);
  if (!old) return 0;
  read_counters(task, &now);
  old->thread.folded = now; /* the name stays the old one */
  end_account(old, old_tid);
  bpf_map_update_elem(&sleeps, &tid, (const void*)&no_sleeps, BPF_ANY);
  old->thread.baseline = now;
  old->thread.busy_stretch_max = 0;
  __builtin_memset(&old->thread.times, 0, sizeof(old->thread.times));
  old->thread.has_row = 0;
  if (bpf_map_update_elem(&threads, &tid, old, BPF_ANY) ||
      !(moved = bpf_map_lookup_elem(&threads, &tid))) {
    __sync_fetch_and_add(&totals.threads_refused, 1);
  } else {
    moved->thread.pid = BPF_CORE_READ(task, tgid);
    moved->thread.tid = tid;
    moved->task_start_ns = BPF_CORE_READ(task, start_boottime);
    bpf_probe_read_kernel_str(moved->comm, sizeof(moved->comm), task->comm);
    grant_row(&moved->thread);
  }
  bpf_map_delete_elem(&threads, &old_tid);
  return 0;
}
