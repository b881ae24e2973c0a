// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* The scheduler probe's second rung: raw tracepoints, state in a hash under the thread's number.
 * For kernels or policies that refuse BTF-typed tracepoints or task storage. About twice as dear.
 *
 * There is no walk here (iter/task is a program of the refused kind): each switch copies the
 * kernel's account of the thread that leaves the CPU into its element, user space sums the
 * elements, and an exiting thread adds its account to the totals. Numbers are those of the initial
 * pid namespace.
 */
/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include "probes/bpf/kernel_types.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "probes/bpf/task_cgroup.bpf.h"
#include "probes/scheduler/scheduler_abi.h"
#include "probes/scheduler/scheduler_logic.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u64 max_rows = 0;
const volatile __s32 own_process = 0; /* topspin, which is not of the subject */

/* What a new element begins as: larger than the stack. */
const volatile struct topspin_raw_thread blank = {};

/* 0: the subject is a process tree. Changed by user space when the cgroup is made again. */
__u64 subject_cgroup_id;

struct topspin_totals totals; /* counters: of threads that have exited */
__u64 rows_granted;           /* to threads that have not exited */

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC); /* an element is 1 KiB: memory follows the threads */
  __uint(max_entries, 1);               /* set by user space */
  __type(key, __s32);
  __type(value, struct topspin_raw_thread);
} threads SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct topspin_cpu);
} cpus SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 8 << 20); /* 40,000 threads that exit at once, at a few cells each */
} exits SEC(".maps");

/* Where an exit's record is put together, once a CPU: programs do not preempt each other. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct topspin_exit);
} exit_scratch SEC(".maps");

TOPSPIN_INLINE struct topspin_exit* this_cpu_scratch(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&exit_scratch, &zero);
}

TOPSPIN_INLINE struct topspin_cpu* this_cpu(void) {
  __u32 cpu = bpf_get_smp_processor_id();
  return bpf_map_lookup_elem(&cpus, &cpu);
}

TOPSPIN_INLINE void read_counters(struct task_struct* task, struct topspin_counters* out) {
  out->cpu_ns = BPF_CORE_READ(task, se.sum_exec_runtime);
  out->run_delay_ns = BPF_CORE_READ(task, sched_info.run_delay);
  out->voluntary_switches = BPF_CORE_READ(task, nvcsw);
  out->involuntary_switches = BPF_CORE_READ(task, nivcsw);
  out->migrations = BPF_CORE_READ(task, se.nr_migrations);
  out->minor_faults = BPF_CORE_READ(task, min_flt);
  out->major_faults = BPF_CORE_READ(task, maj_flt);
}

TOPSPIN_INLINE void describe(struct topspin_raw_thread* raw, struct task_struct* task) {
  raw->thread.pid = BPF_CORE_READ(task, tgid);
  raw->thread.tid = BPF_CORE_READ(task, pid);
  raw->thread.start_boottime_ns = raw->task_start_ns = BPF_CORE_READ(task, start_boottime);
}

/* The limit is of rows at one time: an exit gives its row back. */
TOPSPIN_INLINE void grant_row(struct topspin_thread* thread) {
  if (__sync_fetch_and_add(&rows_granted, 1) < max_rows) {
    thread->has_row = 1;
    return;
  }
  __sync_fetch_and_sub(&rows_granted, 1);
  __sync_fetch_and_add(&totals.rows_refused, 1);
}

TOPSPIN_INLINE void join(struct topspin_thread* thread) {
  __sync_fetch_and_add(&totals.threads_joined, 1);
  grant_row(thread);
}

/* The element of a member. One that user space made begins its account with its first event. */
TOPSPIN_INLINE struct topspin_raw_thread* member(struct task_struct* task, __s32 tid) {
  struct topspin_raw_thread* raw;
  struct topspin_counters now;
  if (tid == 0) return NULL;
  raw = bpf_map_lookup_elem(&threads, &tid);
  if (!raw) return NULL;
  if (raw->thread.member == TOPSPIN_SEEDED) {
    read_counters(task, &now);
    admit(&raw->thread, &now);
    describe(raw, task);
    join(&raw->thread);
    raw->thread.member = TOPSPIN_MEMBER;
  }
  return raw;
}

/* The thread's own copy of its account; nothing goes to the totals before it exits. */
TOPSPIN_INLINE void copy_account(struct topspin_raw_thread* raw, struct task_struct* task) {
  struct topspin_counters now;
  read_counters(task, &now);
  raw->thread.folded = now;
  bpf_probe_read_kernel_str(raw->comm, sizeof(raw->comm), task->comm);
}

/* Adds the thread's account to the totals, and sends its row for the last time. */
TOPSPIN_INLINE void end_row(struct topspin_raw_thread* raw) {
  struct topspin_record record;
  struct topspin_exit* out;
  __builtin_memset(&record, 0, sizeof(record));
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
  if (raw->thread.has_row) {
    __sync_fetch_and_sub(&rows_granted, 1);
    record.flags = TOPSPIN_RECORD_EXITED | TOPSPIN_RECORD_CHANGED;
    __builtin_memcpy(record.comm, raw->comm, sizeof(record.comm));
    out = this_cpu_scratch();
    if (!out) return; /* never */
    out->record = record;
    if (bpf_ringbuf_output(&exits, out, fill_exit(out, &raw->thread), BPF_RB_NO_WAKEUP))
      __sync_fetch_and_add(&totals.exits_unsent, 1);
  }
}

TOPSPIN_INLINE void leave_for_good(struct topspin_raw_thread* raw) {
  __s32 tid = raw->thread.tid;
  end_row(raw);
  bpf_map_delete_elem(&threads, &tid);
}

/* As in scheduler.bpf.c: stamped only for threads that last ran on another CPU. */
SEC("raw_tp/sched_waking")
int sched_waking(struct bpf_raw_tracepoint_args* context) {
  struct task_struct* task = (struct task_struct*)context->args[0];
  struct topspin_raw_thread* raw;
  struct topspin_cpu* cpu = this_cpu();
  bool remote = (__u32)BPF_CORE_READ(task, wake_cpu) != bpf_get_smp_processor_id();
  if (!cpu || (!remote && !cpu->firing.fired_ns)) return 0;
  raw = member(task, BPF_CORE_READ(task, pid));
  if (!raw) return 0;
  if (cpu->firing.fired_ns) on_timer(&raw->thread, &cpu->firing);
  if (remote) on_waking(&raw->thread, bpf_ktime_get_ns());
  return 0;
}

TOPSPIN_INLINE int woken(struct task_struct* task) {
  struct topspin_raw_thread* raw = member(task, BPF_CORE_READ(task, pid));
  struct topspin_cpu* cpu;
  __u64 now_ns;
  __u32 target;
  if (!raw || !begins_wait(&raw->thread)) return 0;
  now_ns = bpf_ktime_get_ns();
  on_wakeup(&raw->thread, now_ns);
  target = BPF_CORE_READ(task, thread_info.cpu);
  cpu = bpf_map_lookup_elem(&cpus, &target);
  if (cpu) count_queue_length(cpu, BPF_CORE_READ(task, se.cfs_rq, rq, nr_running));
  if (!raw->thread.waking_ns) return 0;
  cpu = this_cpu();
  if (cpu) on_delivery(&raw->thread, cpu, now_ns);
  return 0;
}

SEC("raw_tp/sched_wakeup")
int sched_wakeup(struct bpf_raw_tracepoint_args* context) {
  return woken((struct task_struct*)context->args[0]);
}

SEC("raw_tp/sched_wakeup_new")
int sched_wakeup_new(struct bpf_raw_tracepoint_args* context) {
  return woken((struct task_struct*)context->args[0]);
}

TOPSPIN_INLINE __u32 preemptor(struct task_struct* prev, struct task_struct* next) {
  if (BPF_CORE_READ(next, pid) == 0) return TOPSPIN_BY_NOBODY;
  if (BPF_CORE_READ(next, flags) & PF_KTHREAD) return TOPSPIN_BY_KERNEL_THREAD;
  if (BPF_CORE_READ(next, tgid) == BPF_CORE_READ(prev, tgid)) return TOPSPIN_BY_SAME_PROCESS;
  return BPF_CORE_READ(next, cgroups, dfl_cgrp) == BPF_CORE_READ(prev, cgroups, dfl_cgrp)
             ? TOPSPIN_BY_SAME_CGROUP
             : TOPSPIN_BY_OTHER;
}

/* As in scheduler.bpf.c. */
TOPSPIN_INLINE __u64 run_delay_on_arrival(struct task_struct* task) {
  __u64 queued = BPF_CORE_READ(task, sched_info.last_queued);
  __u64 clock = BPF_CORE_READ(task, se.cfs_rq, rq, clock);
  return BPF_CORE_READ(task, sched_info.run_delay) +
         (queued && clock > queued ? clock - queued : 0);
}

TOPSPIN_INLINE __u64 arrival_of(struct task_struct* task, __u64 now_ns) {
  __u64 arrival = BPF_CORE_READ(task, sched_info.last_arrival);
  __u64 clock = BPF_CORE_READ(task, se.cfs_rq, rq, clock);
  return clock > arrival ? now_ns - (clock - arrival) : now_ns;
}

SEC("raw_tp/sched_switch")
int sched_switch(struct bpf_raw_tracepoint_args* context) {
  bool preempt = context->args[0];
  struct task_struct* prev = (struct task_struct*)context->args[1];
  struct task_struct* next = (struct task_struct*)context->args[2];
  __u32 prev_state = context->args[3];
  struct topspin_raw_thread* out = member(prev, (__s32)bpf_get_current_pid_tgid());
  struct topspin_raw_thread* in = member(next, BPF_CORE_READ(next, pid));
  struct topspin_cpu* cpu;
  __u64 now_ns;
  if (!out && !in) return 0;
  now_ns = bpf_ktime_get_ns();
  cpu = this_cpu();
  if (!cpu) return 0; /* never: there is one for each possible CPU */
  if (in) {
    if (on_switch_in(&in->thread, cpu, now_ns))
      censor_wait(&in->thread, run_delay_on_arrival(next));
    if (in->thread.timer.fired_ns) on_timer_done(&in->thread, cpu, now_ns);
  }
  if (out) {
    bool runnable = preempt || prev_state == 0;
    if (out->thread.timer.fired_ns) on_timer_done(&out->thread, cpu, arrival_of(prev, now_ns));
    copy_account(out, prev);
    on_switch_out(&out->thread, cpu, runnable,
                  runnable ? preemptor(prev, next) : off_cpu_state(prev_state),
                  out->thread.folded.run_delay_ns, now_ns);
    if (prev_state & TASK_DEAD) leave_for_good(out);
  }
  return 0;
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
  join(&fresh->thread);
  fresh->thread.member = TOPSPIN_MEMBER;
  return 0;
}

/* Comes after the last switch, and catches those whose last switch was not shown. The number may
 * belong to somebody new by now. */
SEC("raw_tp/sched_process_free")
int sched_process_free(struct bpf_raw_tracepoint_args* context) {
  struct task_struct* task = (struct task_struct*)context->args[0];
  __s32 tid = BPF_CORE_READ(task, pid);
  struct topspin_raw_thread* raw = bpf_map_lookup_elem(&threads, &tid);
  if (!raw || raw->task_start_ns != BPF_CORE_READ(task, start_boottime)) return 0;
  copy_account(raw, task);
  leave_for_good(raw);
  return 0;
}

/* exec by another thread than the leader gives it the leader's number, whose own element has gone
 * with the leader. What the thread did under its own number ends its row; it goes on under the new
 * one, with its own start time and an account that begins at 0. */
SEC("raw_tp/sched_process_exec")
int sched_process_exec(struct bpf_raw_tracepoint_args* context) {
  struct task_struct* task = (struct task_struct*)context->args[0];
  __s32 old_tid = (__s32)context->args[1];
  __s32 tid = BPF_CORE_READ(task, pid);
  struct topspin_counters now;
  struct topspin_raw_thread* moved;
  struct topspin_raw_thread* old;
  if (old_tid == tid) return 0;
  old = member(task, old_tid);
  if (!old) return 0;
  read_counters(task, &now);
  old->thread.folded = now; /* and the name stays what it was before */
  end_row(old);
  old->thread.baseline = now;
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
