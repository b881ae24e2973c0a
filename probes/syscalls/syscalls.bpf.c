// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* The cost of the subject's system calls: count, errors, latency, and the part of it off a CPU.
 * This is the top rung: each thread's state is in task storage.
 */
/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include "probes/bpf/kernel_types.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "probes/bpf/task.bpf.h"
#include "probes/syscalls/syscalls_logic.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* It needs the thread's structure from syscalls_abi.h. */
#include "probes/bpf/subject_thread.bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct thread_info___x86 {
  __u32 status;
};
struct task_struct___x86 {
  struct thread_info___x86 thread_info;
};
#pragma clang attribute pop

#define TS_COMPAT 2 /* x86: a call with the numbers of 32-bit programs */

TOPSPIN_INLINE bool is_compat(struct task_struct* task) {
  struct task_struct___x86* of_x86 = (void*)task;
  if (!bpf_core_field_exists(of_x86->thread_info.status)) return false;
  return BPF_CORE_READ(of_x86, thread_info.status) & TS_COMPAT;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(sys_enter, struct pt_regs* regs, long number) {
  struct task_struct* task = bpf_get_current_task_btf();
  struct topspin_watched_thread* thread = member(task);
  if (thread) on_enter(thread, number, is_compat(task));
  return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs* regs, long result) {
  struct topspin_watched_thread* thread = member(bpf_get_current_task_btf());
  if (thread) on_return(thread, result);
  return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct* prev, struct task_struct* next) {
  struct topspin_watched_thread* out = member(prev);
  struct topspin_watched_thread* in = member(next);
  __u64 now_ns;
  if (!out && !in) return 0;
  now_ns = bpf_ktime_get_ns();
  if (out) on_cpu_left(out, now_ns);
  if (in) on_cpu_gained(in, now_ns);
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
