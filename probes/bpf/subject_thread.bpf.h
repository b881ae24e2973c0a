/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Keeps track of the threads that belong to the subject, for BPF objects that keep a state for each
 * thread. It works as in scheduler.bpf.c, without its accounts. BPF side only, after
 * kernel_types.bpf.h, libbpf's headers and task.bpf.h.
 *
 * REQUIRES: struct topspin_watched_thread, whose first member is `__u32 member`. A zeroed one is a
 * thread about which nothing is known yet.
 *
 * A thread is a member if its element in `threads` says so. The element is created at fork (for the
 * child of a member; in cgroup mode for every thread below the cgroup), or in a walk. User space
 * walks while opening, until a walk finds no new thread, and in cgroup mode once per tick.
 */
#ifndef TOPSPIN_PROBES_SUBJECT_THREAD_BPF_H
#define TOPSPIN_PROBES_SUBJECT_THREAD_BPF_H

#include "probes/bpf/kernel_cast.bpf.h"
#include "probes/bpf/local_storage.bpf.h"

/* 0 if the subject is a process tree. User space changes it when the cgroup is created again. */
__u64 subject_cgroup_id;
__s32 own_process; /* topspin, which runs the walk and is not of the subject */

__u64 threads_joined;
__u64 threads_refused; /* no room: not measured at all */

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct topspin_watched_thread);
} threads SEC(".maps");

/* Most threads of a host have no task storage. For them this is a single load. */
static inline __attribute__((always_inline)) struct topspin_watched_thread* member(
    struct task_struct* task) {
  struct topspin_watched_thread* thread;
  if (!FOLLOW(task, bpf_storage)) return NULL;
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

/* Cgroup mode only. For a process with several threads, this sees only one of them; the walk finds
 * the others. */
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

/* Writes no output. User space reads the iterator to its end for its side effects. */
SEC("iter/task")
int walk_threads(struct bpf_iter__task* context) {
  struct task_struct* task = context->task;
  struct topspin_watched_thread* thread;
  if (context->meta->seq_num == 0) {
    struct task_struct* reader = bpf_get_current_task_btf();
    reader_pid_level = FOLLOW(reader, thread_pid, level);
    own_process = reader->tgid;
  }
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
