/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Who has a CPU while threads of the subject wait for it. BPF side only, after kernel_types.bpf.h
 * and libbpf's headers.
 *
 * Each CPU knows how many threads of the subject wait for it, and the sum of the times at which
 * they began to wait (topspin_queue). At each switch, the thread that leaves the CPU is charged
 * with what all of them have waited since the previous switch. So a wakeup costs two additions, a
 * switch while nobody waits costs a comparison, and the charges add up to the waits, to the
 * nanosecond.
 *
 * REQUIRES: KERNEL_READ and KERNEL_FOLLOW (scheduler_events.bpf.h), and the function that is
 * declared first.
 */
#ifndef TOPSPIN_PROBES_SCHEDULER_HOLDERS_BPF_H
#define TOPSPIN_PROBES_SCHEDULER_HOLDERS_BPF_H

#include "probes/scheduler/bpf/scheduler_cpus.bpf.h"
#include "probes/scheduler/bpf/scheduler_logic.bpf.h"

/* A task's number in topspin's PID namespace; 0: it has none. */
TOPSPIN_INLINE __s32 shown_pid(struct task_struct* task);

/* By the kernel's number of the thread group. Elements are created under the lock of a run
 * queue, so they are preallocated. User space removes those of processes that have ended. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __type(key, __u32);
  __type(value, struct topspin_holder);
} holders SEC(".maps");

/* Fields that not all kernels have. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct cfs_rq___quota {
  int throttle_count; /* CONFIG_CFS_BANDWIDTH */
};
#pragma clang attribute pop

/* Whether the quota of its cgroup, or of one above that, is used up on its CPU. */
TOPSPIN_INLINE bool is_throttled(struct task_struct* task) {
  struct cfs_rq___quota* queue = (void*)KERNEL_FOLLOW(task, se.cfs_rq);
  return bpf_core_field_exists(queue->throttle_count) && KERNEL_READ(queue, throttle_count);
}

TOPSPIN_INLINE bool is_waiting(const struct topspin_thread* thread) {
  return thread->state == TOPSPIN_QUEUED || thread->state == TOPSPIN_PREEMPTED;
}

/* The time of interrupts and of a hypervisor: the run queue's clock counts it, and its task
 * clock does not. */
TOPSPIN_INLINE __u64 stolen_from(struct rq* rq) {
  return KERNEL_READ(rq, clock) - KERNEL_READ(rq, clock_task);
}

/* REQUIRES of the three: the lock of the run queue `rq` is held, which is that of CPU number `cpu`.
 */
TOPSPIN_INLINE void begin_waiting(struct topspin_queue* queue, __u32 cpu, struct rq* rq,
                                  struct topspin_thread* thread, __u64 now_ns) {
  if (!queue->waiting) queue->stolen_ns = stolen_from(rq);
  queue->waiting++;
  queue->since_sum_ns += now_ns;
  thread->queue = cpu + 1;
  thread->emptied = queue->emptied;
}

/* Its time from now on is charged in one sum when it runs. */
TOPSPIN_INLINE void wait_uncharged(struct topspin_thread* thread, __u32 as, __u64 now_ns) {
  thread->queue = 0;
  thread->uncharged_as = as;
  thread->uncharged_ns = now_ns;
}

/* Whether the thread is still counted in this queue. It is not if its CPU went idle meanwhile:
 * the kernel would have run it if it could. */
TOPSPIN_INLINE bool is_counted(const struct topspin_queue* queue, __u32 cpu,
                               const struct topspin_thread* thread) {
  return thread->queue == cpu + 1 && thread->emptied == (__u16)queue->emptied && queue->waiting;
}

TOPSPIN_INLINE __u64 wait_began(const struct topspin_thread* thread) {
  return thread->state == TOPSPIN_QUEUED ? thread->queued_ns : thread->left_ns;
}

TOPSPIN_INLINE void add_unnamed(struct topspin_queue* queue, __u32 as, __u64 from_ns,
                                __u64 now_ns) {
  if (as < TOPSPIN_HOLDERS && now_ns > from_ns) queue->held_ns[as] += now_ns - from_ns;
}

/* The thread gets the CPU; what it waited has been charged. */
TOPSPIN_INLINE void end_waiting(struct topspin_queue* queue, __u32 cpu,
                                struct topspin_thread* thread, __u64 now_ns) {
  __u64 from_ns = thread->uncharged_ns;
  if (is_counted(queue, cpu, thread)) {
    queue->waiting--;
    queue->since_sum_ns -= now_ns;
  } else if (thread->queue == cpu + 1) {
    from_ns = wait_began(thread);
    if (from_ns < queue->emptied_ns) from_ns = queue->emptied_ns;
    add_unnamed(queue, TOPSPIN_HELD_BY_QUOTA, from_ns, now_ns);
  } else if (!thread->queue) {
    add_unnamed(queue, thread->uncharged_as, from_ns, now_ns);
  }
  thread->queue = 0;
}

/* The thread got the CPU in a hidden switch. Returns how much of its wait was charged. */
TOPSPIN_INLINE __u64 end_hidden_wait(struct topspin_queue* queue, __u32 cpu,
                                     struct topspin_thread* thread) {
  __u64 began_ns = wait_began(thread);
  __u64 charged_ns = 0;
  if (is_counted(queue, cpu, thread)) {
    if (queue->charged_ns > began_ns) charged_ns = queue->charged_ns - began_ns;
    queue->waiting--;
    queue->since_sum_ns -= began_ns + charged_ns;
  }
  thread->queue = 0;
  return charged_ns;
}

/* The CPU goes idle. Threads that are still counted here cannot run: the quota holds them back,
 * or they are gone. */
TOPSPIN_INLINE void empty_queue(struct topspin_queue* queue, __u64 now_ns) {
  queue->waiting = 0;
  queue->since_sum_ns = 0;
  queue->emptied++;
  queue->emptied_ns = now_ns;
}

/* Another process takes the slot of the CPU. What the previous process held goes to that
 * process's element. */
static __attribute__((noinline)) int take_slot(struct topspin_queue* queue,
                                               struct topspin_holder_slot* slot,
                                               struct task_struct* task, bool of_subject) {
  struct topspin_holder fresh = {};
  struct topspin_holder* holder;
  __u32 tgid = slot->tgid;
  if (tgid) {
    holder = bpf_map_lookup_elem(&holders, &tgid);
    if (holder)
      __sync_fetch_and_add(&holder->held_ns, slot->held_ns);
    else
      queue->held_ns[TOPSPIN_HELD_BY_UNSEEN] += slot->held_ns;
  }
  slot->held_ns = 0;
  slot->tgid = 0;
  tgid = KERNEL_READ(task, tgid);
  fresh.kind = KERNEL_READ(task, flags) & PF_KTHREAD ? TOPSPIN_HELD_BY_KERNEL_THREAD
               : of_subject                          ? TOPSPIN_HELD_BY_SUBJECT
                                                     : TOPSPIN_HELD_BY_PROCESS;
  fresh.pid = shown_pid(KERNEL_FOLLOW(task, group_leader));
  BPF_CORE_READ_STR_INTO(&fresh.comm, task, group_leader, comm);
  holder = bpf_map_lookup_elem(&holders, &tgid);
  if (holder) fresh.held_ns = holder->held_ns;
  if (bpf_map_update_elem(&holders, &tgid, &fresh, BPF_ANY)) {
    queue->no_room++;
    return 0;
  }
  slot->tgid = tgid;
  return 0;
}

/* 70 minutes between two switches of a CPU, summed over its waiting threads. More means that the
 * queue is out of step, and it is reset. */
#define MOST_WAITED_NS (1ull << 42)

/* What the threads that wait have waited, all together, since their waits were last charged. The
 * sum of the times of those that arrived has lost its high bits, which a difference does not need.
 */
TOPSPIN_INLINE __u64 waited_since(const struct topspin_queue* queue, __u64 now_ns) {
  __u64 waited_ns = queue->waiting * now_ns - queue->since_sum_ns;
  return (__s64)(waited_ns << TOPSPIN_ARRIVED_BITS) >> TOPSPIN_ARRIVED_BITS;
}

/* `task` leaves the CPU: charges it with what the subject's threads have waited meanwhile. */
TOPSPIN_INLINE void charge(struct topspin_queue* queue, struct task_struct* task, bool of_subject,
                           __u64 now_ns) {
  __u64 waited_ns = waited_since(queue, now_ns);
  __u64 stolen = stolen_from(KERNEL_FOLLOW(task, se.cfs_rq, rq));
  __u64 stolen_ns = queue->stolen_ns ? (stolen - queue->stolen_ns) * queue->waiting : 0;
  struct topspin_holder_slot* slot;
  __u32 tgid;
  queue->since_sum_ns = queue->waiting * now_ns;
  queue->charged_ns = now_ns;
  queue->stolen_ns = stolen;
  if ((__s64)waited_ns <= 0) return; /* two CPUs' clocks are a few ns apart */
  if (waited_ns > MOST_WAITED_NS) {
    empty_queue(queue, now_ns);
    return;
  }
  if (stolen_ns) {
    if (stolen_ns > waited_ns) stolen_ns = waited_ns;
    queue->held_ns[TOPSPIN_HELD_BY_INTERRUPTS] += stolen_ns;
    waited_ns -= stolen_ns;
  }
  if (KERNEL_READ(task, pid) == 0) {
    queue->held_ns[TOPSPIN_HELD_BY_IDLE] += waited_ns;
    return;
  }
  tgid = KERNEL_READ(task, tgid);
  slot = &queue->slots[tgid % TOPSPIN_HOLDER_SLOTS];
  if (slot->tgid != tgid) {
    __sync_fetch_and_add(&queue->slots_changed, 1);
    take_slot(queue, slot, task, of_subject);
    __sync_fetch_and_add(&queue->slots_changed, 1);
  }
  if (slot->tgid == tgid)
    slot->held_ns += waited_ns;
  else
    queue->held_ns[TOPSPIN_HELD_BY_UNSEEN] += waited_ns;
}

/* Takes the threads that were moved here into the queue. REQUIRES: its lock is held. */
TOPSPIN_INLINE void take_arrived(struct topspin_queue* queue) {
  __u64 arrived = *(volatile __u64*)&queue->arrived;
  if (!arrived) return;
  if (!queue->waiting) queue->stolen_ns = 0;
  queue->waiting += arrived & ((1u << TOPSPIN_ARRIVED_BITS) - 1);
  queue->since_sum_ns += arrived >> TOPSPIN_ARRIVED_BITS;
  /* Others may arrive right now. */
  __sync_fetch_and_sub(&queue->arrived, arrived);
}

/* Whether there is something to charge at a switch of this CPU. */
TOPSPIN_INLINE bool has_waiters(struct topspin_queue* queue) {
  take_arrived(queue);
  return queue->waiting || queue->since_sum_ns;
}

/* The kernel moves a waiting thread from the CPU whose lock it holds to CPU `to`, whose lock it
 * takes later. So this leaves a note there, which is one addition: several threads may be moved to
 * a CPU before its next switch. */
TOPSPIN_INLINE void move_waiting(struct topspin_thread* thread, __u32 to, __u64 now_ns) {
  __u32 from = (__u32)thread->queue - 1;
  struct topspin_cpu* cpu = bpf_map_lookup_elem(&cpus, &from);
  if (!cpu) return;          /* never: there is one for each possible CPU */
  take_arrived(&cpu->queue); /* it may be one of them, and be moved on */
  if (!is_counted(&cpu->queue, from, thread)) {
    wait_uncharged(thread, TOPSPIN_HELD_BY_QUOTA, cpu->queue.emptied_ns);
    return;
  }
  cpu->queue.waiting--;
  cpu->queue.since_sum_ns -= now_ns;
  cpu = bpf_map_lookup_elem(&cpus, &to);
  if (!cpu) return;
  __sync_fetch_and_add(&cpu->queue.arrived, (now_ns << TOPSPIN_ARRIVED_BITS) + 1);
  thread->queue = to + 1;
  thread->emptied = cpu->queue.emptied;
}

#endif
