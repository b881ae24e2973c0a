/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Which threads belong to the subject, for BPF objects that keep a state of their own for each: the
 * same idea as in scheduler.bpf.c, without its accounts. BPF side only, after kernel_types.bpf.h,
 * libbpf's headers and task_cgroup.bpf.h.
 *
 * REQUIRES: struct topspin_watched_thread, whose first member is `__u32 member`. A zeroed one is a
 * thread of which nothing is known yet.
 *
 * A thread is a member if it has an element in `threads` that says so. The element is made at fork
 * (the child of a member; in cgroup mode whoever is below the cgroup), or in the walk, which user
 * space makes while opening until it finds nobody new, and in cgroup mode once a tick.
 */
#ifndef TOPSPIN_PROBES_SUBJECT_THREAD_BPF_H
#define TOPSPIN_PROBES_SUBJECT_THREAD_BPF_H

#include "probes/bpf/local_storage.bpf.h"

/* 0: the subject is a process tree. Changed by user space when the cgroup is made again. */
__u64 subject_cgroup_id;
__s32 own_process; /* who walks: topspin, which is not of the subject */

__u64 threads_joined;
__u64 threads_refused; /* no room: not measured at all */

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct topspin_watched_thread);
} threads SEC(".maps");

/* Most threads of a host have no task storage at all: for those this is one load. */
static inline __attribute__((always_inline)) struct topspin_watched_thread* member(
    struct task_struct* task) {
  struct topspin_watched_thread* thread;
  if (!task->bpf_storage) return NULL;
  thread = bpf_task_storage_get(&threads, task, NULL, 0);
  return thread && thread->member ? thread : NULL;
}

static inline __attribute__((always_inline)) struct topspin_watched_thread* join(
    struct task_struct* task) {
  struct topspin_watched_thread* thread = made_task_storage(&threads, task);
  if (!thread) {
    __sync_fetch_and_add(&threads_refused, 1);
    return NULL;
  }
  if (!thread->member) {
    __sync_fetch_and_add(&threads_joined, 1);
    thread->member = 1;
  }
  return thread;
}

static inline __attribute__((always_inline)) bool forks_into_subject(struct task_struct* parent,
                                                                     struct task_struct* child) {
  if (subject_cgroup_id)
    return !is_own(parent, own_process) && is_below_cgroup(child, subject_cgroup_id);
  return member(parent) != NULL;
}

/* Cgroup mode only. A process of many threads is named by one of them here; the walk finds the
 * rest. */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(cgroup_attach_task, struct cgroup* to, const char* path, struct task_struct* task,
             bool threadgroup) {
  struct topspin_watched_thread* thread;
  if (!is_own(task, own_process) && is_below_cgroup(task, subject_cgroup_id)) {
    join(task);
    return 0;
  }
  thread = bpf_task_storage_get(&threads, task, NULL, 0);
  if (thread) thread->member = 0;
  return 0;
}

/* Writes nothing: user space reads it to its end for what it does. */
SEC("iter/task")
int walk_threads(struct bpf_iter__task* context) {
  struct task_struct* task = context->task;
  struct topspin_watched_thread* thread;
  if (context->meta->seq_num == 0) own_process = bpf_get_current_task_btf()->tgid;
  if (!task || task->pid == 0 || task->exit_state != 0) return 0;
  thread = bpf_task_storage_get(&threads, task, NULL, 0);
  if (subject_cgroup_id) {
    if (!is_own(task, own_process) && is_below_cgroup(task, subject_cgroup_id))
      join(task);
    else if (thread)
      thread->member = 0;
    return 0;
  }
  if (thread || is_own(task, own_process)) return 0;
  if (relatives_storage(&threads, task)) join(task);
  return 0;
}

#endif
