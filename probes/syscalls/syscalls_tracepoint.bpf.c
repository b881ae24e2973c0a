// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* The second rung of the probe "syscalls": BPF on tracefs tracepoints, which needs no BTF of the
 * kernel. It reads only the fields of the tracepoints, at the offsets that tracefs gives. Threads
 * are identified by their numbers in the initial pid namespace. Calls with the numbers of 32-bit
 * programs cannot be told from others, because only the thread's own structure shows that.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
/* libbpf's headers need the kernel's types before them. */
#include <bpf/bpf_helpers.h>

#include "probes/bpf/tracepoints_abi.h"
#include "probes/syscalls/syscalls_logic.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The offsets of the fields, from the tracepoints' format files. */
const volatile struct topspin_tracepoint_offsets offsets = {};
const volatile __u32 enter_number = 0;
const volatile __u32 exit_result = 0;

__u64 threads_refused;

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1); /* set by user space */
  __type(key, __s32);
  __type(value, struct topspin_watched_thread);
} threads SEC(".maps");

TOPSPIN_INLINE struct topspin_watched_thread* member(__s32 tid) {
  return tid ? bpf_map_lookup_elem(&threads, &tid) : NULL;
}

TOPSPIN_INLINE struct topspin_watched_thread* current(void) {
  return member((__s32)bpf_get_current_pid_tgid());
}

TOPSPIN_INLINE __s32 number_at(void* context, __u32 offset) {
  __s32 number = 0;
  bpf_probe_read_kernel(&number, sizeof(number), context + offset);
  return number;
}

TOPSPIN_INLINE long long_at(void* context, __u32 offset) {
  long number = 0;
  bpf_probe_read_kernel(&number, sizeof(number), context + offset);
  return number;
}

SEC("tp/raw_syscalls/sys_enter")
int sys_enter(void* context) {
  struct topspin_watched_thread* thread = current();
  if (thread) on_enter(thread, long_at(context, enter_number), false);
  return 0;
}

SEC("tp/raw_syscalls/sys_exit")
int sys_exit(void* context) {
  struct topspin_watched_thread* thread = current();
  if (thread) on_return(thread, long_at(context, exit_result));
  return 0;
}

SEC("tp/sched/sched_switch")
int sched_switch(void* context) {
  struct topspin_watched_thread* out = member(number_at(context, offsets.switch_prev_pid));
  struct topspin_watched_thread* in = member(number_at(context, offsets.switch_next_pid));
  /* Two tests: the compiler would turn a combined one into an "or" of pointers, which the verifier
   * refuses. */
  if (out) on_cpu_left(out, bpf_ktime_get_ns());
  if (in) on_cpu_gained(in, bpf_ktime_get_ns());
  return 0;
}

SEC("tp/sched/sched_process_fork")
int sched_process_fork(void* context) {
  __s32 parent = number_at(context, offsets.fork_parent_pid);
  __s32 child = number_at(context, offsets.fork_child_pid);
  struct topspin_watched_thread fresh = {.member = 1, .forked = 1};
  if (!member(parent)) return 0;
  if (bpf_map_update_elem(&threads, &child, &fresh, BPF_ANY))
    __sync_fetch_and_add(&threads_refused, 1);
  return 0;
}

/* Runs on the thread that exits, which returns from no further call. */
SEC("tp/sched/sched_process_exit")
int sched_process_exit(void* context) {
  __s32 tid = (__s32)bpf_get_current_pid_tgid();
  if (member(tid)) bpf_map_delete_elem(&threads, &tid);
  return 0;
}

/* If a thread other than the leader calls exec, it gets the leader's number. */
SEC("tp/sched/sched_process_exec")
int sched_process_exec(void* context) {
  __s32 tid = number_at(context, offsets.exec_pid);
  __s32 old_tid = number_at(context, offsets.exec_old_pid);
  struct topspin_watched_thread* old;
  if (old_tid == tid) return 0;
  old = member(old_tid);
  if (!old) return 0;
  if (bpf_map_update_elem(&threads, &tid, old, BPF_ANY)) __sync_fetch_and_add(&threads_refused, 1);
  bpf_map_delete_elem(&threads, &old_tid);
  return 0;
}
