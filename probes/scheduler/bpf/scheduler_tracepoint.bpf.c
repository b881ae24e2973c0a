// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* The scheduler probe's third rung: BPF on tracefs tracepoints. It needs no BTF of the kernel,
 * because it reads only the fields of the tracepoints, at the offsets that tracefs gives.
 *
 * So there is no task_struct here. Waits are measured with CLOCK_MONOTONIC from wakeup and from
 * preemption, the kernel's own sums come from /proc, and the preemptor is not known. Threads are
 * identified by their numbers in the initial pid namespace.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
/* libbpf's headers need the kernel's types before them. */
#include <bpf/bpf_helpers.h>

#include "probes/bpf/tracepoints_abi.h"
#include "probes/scheduler/bpf/scheduler_cpus.bpf.h"
#include "probes/scheduler/bpf/scheduler_exits.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The offsets of the fields, from the tracepoints' format files. */
const volatile struct topspin_tracepoint_offsets offsets = {};

/* The initial value of a new element. It is too large for the stack. */
const volatile struct topspin_thread blank = {};

__u64 threads_refused;
__u64 exits_unsent;

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC); /* an element is 1 KiB, so memory grows with the threads */
  __uint(max_entries, 1);               /* set by user space */
  __type(key, __s32);
  __type(value, struct topspin_thread);
} threads SEC(".maps");

/* prev_state as the tracepoint prints it, which is not the kernel's own value. */
#define SHOWN_SLEEPING 0x1u
#define SHOWN_UNINTERRUPTIBLE 0x2u
#define SHOWN_DEAD 0x10u
#define SHOWN_ZOMBIE 0x20u
#define SHOWN_PREEMPTED 0x100u /* and 0: runnable */

TOPSPIN_INLINE __s32 number_at(void* context, __u32 offset) {
  __s32 number = 0;
  bpf_probe_read_kernel(&number, sizeof(number), context + offset);
  return number;
}

TOPSPIN_INLINE struct topspin_thread* member(__s32 tid) {
  return tid ? bpf_map_lookup_elem(&threads, &tid) : NULL;
}

TOPSPIN_INLINE int woken(void* context) {
  struct topspin_thread* thread = member(number_at(context, offsets.wakeup_pid));
  if (thread && begins_wait(thread)) on_wakeup(thread, bpf_ktime_get_ns());
  return 0;
}

SEC("tp/sched/sched_wakeup")
int sched_wakeup(void* context) { return woken(context); }

SEC("tp/sched/sched_wakeup_new")
int sched_wakeup_new(void* context) { return woken(context); }

TOPSPIN_INLINE void leave_for_good(struct topspin_thread* thread, __s32 tid) {
  struct topspin_exit* out = this_cpu_scratch();
  if (out) {
    __builtin_memset(&out->record, 0, sizeof(out->record));
    __builtin_memset(&out->sleeps, 0, sizeof(out->sleeps));
    out->record.tid = tid;
    out->record.busy_stretch_max = thread->busy_stretch_max;
    if (!send_exit(out, thread)) __sync_fetch_and_add(&exits_unsent, 1);
  }
  bpf_map_delete_elem(&threads, &tid);
}

SEC("tp/sched/sched_switch")
int sched_switch(void* context) {
  __s32 out_tid = number_at(context, offsets.switch_prev_pid);
  struct topspin_thread* out = member(out_tid);
  struct topspin_thread* in = member(number_at(context, offsets.switch_next_pid));
  struct topspin_cpu* cpu = this_cpu();
  if (!cpu) return 0; /* never: there is one for each possible CPU */
  /* Two tests: the compiler would turn a combined one into an "or" of pointers, which the verifier
   * refuses. */
  if (in) on_switch_in(in, NULL, cpu, bpf_ktime_get_ns());
  if (out) {
    __u64 state = 0;
    bool runnable;
    bpf_probe_read_kernel(&state, sizeof(state), context + offsets.switch_prev_state);
    runnable = state == 0 || (state & SHOWN_PREEMPTED);
    on_switch_out(out, cpu, runnable,
                  runnable                        ? TOPSPIN_BY_OTHER
                  : state & SHOWN_SLEEPING        ? TOPSPIN_OFF_SLEEPING
                  : state & SHOWN_UNINTERRUPTIBLE ? TOPSPIN_OFF_UNINTERRUPTIBLE
                                                  : TOPSPIN_OFF_OTHER,
                  TOPSPIN_BLOCKED_BYS, out->run_delay_ns, bpf_ktime_get_ns());
    if (!runnable && (state & (SHOWN_DEAD | SHOWN_ZOMBIE))) leave_for_good(out, out_tid);
  }
  return 0;
}

SEC("tp/sched/sched_process_fork")
int sched_process_fork(void* context) {
  __s32 parent = number_at(context, offsets.fork_parent_pid);
  __s32 child = number_at(context, offsets.fork_child_pid);
  struct topspin_thread* fresh;
  if (!bpf_map_lookup_elem(&threads, &parent)) return 0;
  if (bpf_map_update_elem(&threads, &child, (const void*)&blank, BPF_ANY) ||
      !(fresh = bpf_map_lookup_elem(&threads, &child))) {
    __sync_fetch_and_add(&threads_refused, 1);
    return 0;
  }
  fresh->state = TOPSPIN_BLOCKED; /* sched_wakeup_new comes next */
  return 0;
}

/* If a thread other than the leader calls exec, it gets the leader's number. Its row under the old
 * number ends, and it continues under the new one. */
SEC("tp/sched/sched_process_exec")
int sched_process_exec(void* context) {
  __s32 tid = number_at(context, offsets.exec_pid);
  __s32 old_tid = number_at(context, offsets.exec_old_pid);
  struct topspin_thread* old;
  struct topspin_thread* moved;
  if (old_tid == tid) return 0;
  moved = member(tid); /* the leader's, which ended under another number */
  if (moved) leave_for_good(moved, tid);
  old = member(old_tid);
  if (!old) return 0;
  if (bpf_map_update_elem(&threads, &tid, old, BPF_ANY) ||
      !(moved = bpf_map_lookup_elem(&threads, &tid)))
    __sync_fetch_and_add(&threads_refused, 1);
  else {
    __builtin_memset(&moved->times, 0, sizeof(moved->times));
    moved->busy_stretch_max = 0;
  }
  leave_for_good(old, old_tid);
  return 0;
}
