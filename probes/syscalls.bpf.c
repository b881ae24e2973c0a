// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* What the subject's system calls cost: count, errors, latency, and the part of it off a CPU.
 *
 * A thread that enters stamps its own task storage, and takes the difference when it returns; the
 * result goes into its CPU's histogram of that kind of call. Meanwhile sched_switch adds up the
 * thread's time off a CPU, whose growth from entry to return is the blocked part. Kinds of call get
 * a slot when first seen. Nothing crosses to user space on a call.
 */
/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include "probes/kernel_types.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "probes/scheduler_logic.bpf.h" /* record */
#include "probes/syscalls_abi.h"
#include "probes/task_cgroup.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct topspin_watched_thread {
  __u32 member;
  __u32 inside; /* the call's number + 1; 0: none */
  __u64 entered_ns;
  __u64 off_cpu_at_entry_ns;
  __u64 off_cpu_ns;  /* since the thread joined */
  __u64 left_cpu_ns; /* while off a CPU, since when; 0: on one, or not known */
  __u32 forked;      /* born in a fork, which it has yet to return from without having entered it */
  __u32 settled;     /* entered or returned once: one more return without an entry is a miss */
};

#include "probes/subject_thread.bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct thread_info___x86 {
  __u32 status;
};
struct task_struct___x86 {
  struct thread_info___x86 thread_info;
};
#pragma clang attribute pop

#define TS_COMPAT 2 /* of x86: a call by the numbers of 32-bit programs */

/* Errors are -1 to -4095; these say that the call starts again once the signal is handled. */
#define ERESTARTSYS 512
#define ERESTART_RESTARTBLOCK 516

__u32 slots[TOPSPIN_SYSCALL_NUMBERS]; /* of each number; 0: none yet */
__u32 slots_granted;
__u64 uncounted;     /* calls that found no slot, or whose number is of another ABI */
__u64 left_censored; /* calls that were under way when their thread joined */

/* User space sets max_entries, and maps it. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct topspin_syscall);
} cells SEC(".maps");

TOPSPIN_INLINE bool is_compat(struct task_struct* task) {
  struct task_struct___x86* of_x86 = (void*)task;
  if (!bpf_core_field_exists(of_x86->thread_info.status)) return false;
  return BPF_CORE_READ(of_x86, thread_info.status) & TS_COMPAT;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(sys_enter, struct pt_regs* regs, long number) {
  struct task_struct* task = bpf_get_current_task_btf();
  struct topspin_watched_thread* thread = member(task);
  if (!thread) return 0;
  thread->settled = 1;
  thread->forked = 0;
  if (number < 0 || number >= TOPSPIN_SYSCALL_NUMBERS || is_compat(task)) {
    __sync_fetch_and_add(&uncounted, 1);
    thread->inside = 0;
    return 0;
  }
  thread->inside = number + 1;
  thread->off_cpu_at_entry_ns = thread->off_cpu_ns;
  thread->entered_ns = bpf_ktime_get_ns();
  return 0;
}

/* The slot of a number, one higher than its place; 0 if there is none left. */
TOPSPIN_INLINE __u32 slot_of(__u32 number) {
  __u32 slot = slots[number], before;
  if (slot) return slot;
  if (slots_granted >= TOPSPIN_SYSCALL_SLOTS) return 0;
  slot = __sync_fetch_and_add(&slots_granted, 1) + 1;
  if (slot > TOPSPIN_SYSCALL_SLOTS) return 0;
  before = __sync_val_compare_and_swap(&slots[number], 0, slot);
  return before ? before : slot; /* two CPUs at once waste a slot */
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs* regs, long result) {
  struct topspin_watched_thread* thread = member(bpf_get_current_task_btf());
  struct topspin_syscall* cell;
  __u64 latency_ns, blocked_ns;
  __u32 number, slot, place;
  if (!thread) return 0;
  if (!thread->inside) {
    if (!thread->settled && !thread->forked) __sync_fetch_and_add(&left_censored, 1);
    thread->settled = 1;
    thread->forked = 0;
    return 0;
  }
  latency_ns = bpf_ktime_get_ns() - thread->entered_ns;
  blocked_ns = thread->off_cpu_ns - thread->off_cpu_at_entry_ns;
  if (blocked_ns > latency_ns) blocked_ns = latency_ns; /* clocks of two CPUs, a few ns apart */
  number = thread->inside - 1;
  thread->inside = 0;
  if (number >= TOPSPIN_SYSCALL_NUMBERS) return 0; /* never; the verifier wants to be sure */
  slot = slot_of(number);
  place = bpf_get_smp_processor_id() * TOPSPIN_SYSCALL_SLOTS + slot - 1;
  cell = slot ? bpf_map_lookup_elem(&cells, &place) : NULL;
  if (!cell) {
    __sync_fetch_and_add(&uncounted, 1);
    return 0;
  }
  record(&cell->latency, latency_ns);
  cell->blocked_ns += blocked_ns;
  if (result < 0 && result >= -4095 &&
      !(result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK))
    cell->errors++;
  cell->calls++;
  return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct* prev, struct task_struct* next) {
  struct topspin_watched_thread* out = member(prev);
  struct topspin_watched_thread* in = member(next);
  __u64 now_ns;
  if (!out && !in) return 0;
  now_ns = bpf_ktime_get_ns();
  if (out) out->left_cpu_ns = now_ns;
  if (in && in->left_cpu_ns) {
    if (now_ns > in->left_cpu_ns) in->off_cpu_ns += now_ns - in->left_cpu_ns;
    in->left_cpu_ns = 0;
  }
  return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_process_fork, struct task_struct* parent, struct task_struct* child) {
  struct topspin_watched_thread* thread;
  if (!forks_into_subject(parent, child)) return 0;
  thread = join(child);
  if (thread) thread->forked = 1;
  return 0;
}
