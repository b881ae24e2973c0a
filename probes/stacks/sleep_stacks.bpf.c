// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* Where the subject's threads sleep, and who wakes them. The stack is taken when a thread leaves
 * its CPU voluntarily, the waker is noted when it wakes the thread, and the sleep is counted when
 * the thread runs again. A sleep sends nothing to user space.
 *
 * Also how long they work between two sleeps. The longest of these stretches, of each thread and
 * epoch, goes to user space.
 */
/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include "probes/bpf/kernel_types.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

/* Programs of this kind may follow the kernel's pointers directly. */
#define KERNEL_READ(pointer, ...) ___arrow(pointer, __VA_ARGS__)
#define KERNEL_FOLLOW(pointer, ...) FOLLOW(pointer, __VA_ARGS__)

#include "probes/bpf/kernel_cast.bpf.h"
#include "probes/bpf/task.bpf.h"
#include "probes/scheduler/bpf/blocked_by.bpf.h"
#include "probes/stacks/busy_stretch.bpf.h"
#include "probes/stacks/sleep_stacks_abi.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct topspin_watched_thread {
  __u32 member;
  __u32 reason;
  __u64 left_ns;  /* 0: not asleep */
  __u64 woken_ns; /* 0: not woken, or the wakeup was not seen */
  __s32 user_stack;
  __s32 kernel_stack;
  __s32 waker_stack;
  __u32 reserved;
  char waker[TOPSPIN_COMM];
  struct topspin_stretch_state stretch;
};

/* It needs the thread's structure. */
#include "probes/bpf/subject_thread.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_STACK_TRACE);
  __uint(max_entries, TOPSPIN_MOST_STACKS);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, TOPSPIN_STACK_DEPTH * sizeof(__u64));
} stacks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, TOPSPIN_MOST_SLEEP_KEYS);
  __type(key, struct topspin_sleep_key);
  __type(value, struct topspin_sleep_sum);
} slept SEC(".maps");

struct topspin_sleep_sum short_sleeps[16]; /* by reason */
struct topspin_sleep_sum unstored[16];

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, TOPSPIN_STRETCH_RING_BYTES);
} stretches SEC(".maps");

__u64 stretch_epoch; /* user space increments it with each tick */
__u64 stretches_lost;

TOPSPIN_INLINE void add_sleep(struct topspin_sleep_sum* sum, __u64 ns) {
  __sync_fetch_and_add(&sum->sleeps, 1);
  __sync_fetch_and_add(&sum->ns, ns);
}

TOPSPIN_INLINE void count_sleep(struct task_struct* task, struct topspin_watched_thread* thread,
                                __u64 now_ns) {
  static const struct topspin_sleep_sum nothing = {};
  __u64 end_ns = thread->woken_ns ? thread->woken_ns : now_ns;
  __u64 ns = end_ns > thread->left_ns ? end_ns - thread->left_ns : 0;
  __u64 reason = unknown_to_compiler(thread->reason) & 15;
  struct topspin_sleep_sum* sum;
  struct topspin_sleep_key key;
  thread->left_ns = 0;
  if (ns < TOPSPIN_SHORT_SLEEP_NS) {
    add_sleep(&short_sleeps[reason], ns);
    return;
  }
  __builtin_memset(&key, 0, sizeof(key));
  key.pid = pid_for_reader(task->group_leader);
  key.user_stack = thread->user_stack;
  key.kernel_stack = thread->kernel_stack;
  key.reason = reason;
  if (thread->woken_ns) {
    key.known_waker = 1;
    key.waker_stack = thread->waker_stack;
    __builtin_memcpy(key.waker, thread->waker, sizeof(key.waker));
  }
  bpf_probe_read_kernel_str(key.thread, sizeof(key.thread), task->comm);
  sum = bpf_map_lookup_elem(&slept, &key);
  if (!sum) {
    bpf_map_update_elem(&slept, &key, &nothing, BPF_NOEXIST); /* another CPU may have been first */
    sum = bpf_map_lookup_elem(&slept, &key);
  }
  add_sleep(sum ? sum : &unstored[reason], ns);
}

static __attribute__((noinline)) int send_stretch(struct task_struct* task, __u64 began_ns,
                                                  __u64 length_ns, __u64 cpu_ns) {
  struct topspin_stretch* stretch = bpf_ringbuf_reserve(&stretches, sizeof(*stretch), 0);
  if (!stretch) {
    __sync_fetch_and_add(&stretches_lost, 1);
    return 0;
  }
  stretch->began_ns = began_ns;
  stretch->length_ns = length_ns;
  stretch->cpu_ns = cpu_ns;
  stretch->pid = pid_for_reader(BPF_CORE_READ(task, group_leader));
  stretch->tid = pid_for_reader(task);
  bpf_probe_read_kernel_str(stretch->thread, sizeof(stretch->thread), task->comm);
  bpf_ringbuf_submit(stretch, BPF_RB_NO_WAKEUP);
  return 0;
}

TOPSPIN_INLINE void end_stretch(struct task_struct* task, struct topspin_stretch_state* stretch,
                                __u64 now_ns) {
  __u64 began_ns = stretch->began_ns;
  __u64 length_ns = stretch_ends(stretch, now_ns);
  if (is_long_stretch(stretch, *(volatile __u64*)&stretch_epoch, length_ns))
    send_stretch(task, began_ns, length_ns, task->se.sum_exec_runtime - stretch->began_cpu_ns);
}

SEC("tp_btf/sched_waking")
int BPF_PROG(sched_waking, struct task_struct* task) {
  struct topspin_watched_thread* thread = member(task);
  struct task_struct* waker;
  if (!thread || !thread->left_ns || thread->woken_ns) return 0;
  waker = bpf_get_current_task_btf();
  __builtin_memset(thread->waker, 0, sizeof(thread->waker));
  if (waker->pid != 0) bpf_probe_read_kernel_str(thread->waker, sizeof(thread->waker), waker->comm);
  thread->waker_stack = bpf_get_stackid(ctx, &stacks, 0);
  thread->woken_ns = bpf_ktime_get_ns();
  return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct* prev, struct task_struct* next,
             unsigned int prev_state) {
  struct topspin_watched_thread* out = member(prev);
  struct topspin_watched_thread* in = member(next);
  __u64 now_ns;
  if (!out && !in) return 0;
  now_ns = bpf_ktime_get_ns();
  if (in) {
    stretch_runs(&in->stretch, in->left_ns != 0, now_ns, next->se.sum_exec_runtime);
    if (in->left_ns) count_sleep(next, in, now_ns);
  }
  if (!out) return 0;
  out->left_ns = 0;
  if (preempt || prev_state == 0) {
    stretch_is_preempted(&out->stretch);
    return 0;
  }
  end_stretch(prev, &out->stretch, now_ns);
  if (prev_state & TASK_DEAD) return 0;
  out->reason = blocked_by(prev, prev_state);
  out->user_stack = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
  out->kernel_stack = bpf_get_stackid(ctx, &stacks, 0);
  out->woken_ns = 0;
  out->left_ns = now_ns;
  return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_process_fork, struct task_struct* parent, struct task_struct* child) {
  struct topspin_watched_thread* thread;
  if (!forks_into_subject(parent, child)) return 0;
  thread = join(child);
  if (thread) thread->stretch.is_new = 1;
  return 0;
}
