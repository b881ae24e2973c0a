/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Returns elements of local storage and creates those that do not exist. BPF side only, after
 * kernel_types.bpf.h and bpf_helpers.h.
 *
 * Two CPUs may race to create the element of a new thread or socket: the walk and a fork, or two
 * threads that first use a socket. The loser gets no element, and retries the lookup. NULL means
 * that there is no room. */
#ifndef TOPSPIN_PROBES_LOCAL_STORAGE_BPF_H
#define TOPSPIN_PROBES_LOCAL_STORAGE_BPF_H

struct sock;

static inline __attribute__((always_inline)) void* made_task_storage(void* map,
                                                                     struct task_struct* task) {
  void* element = bpf_task_storage_get(map, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (element) return element;
  return bpf_task_storage_get(map, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* For a thread without an element: that of its process, or of its parent. From it, a walk knows
 * that the thread belongs to the subject. NULL if it does not. */
static inline __attribute__((always_inline)) void* relatives_storage(void* map,
                                                                     struct task_struct* task) {
  struct task_struct* leader = task->group_leader;
  void* element = NULL;
  if (leader != task) element = bpf_task_storage_get(map, leader, NULL, 0);
  if (!element) element = bpf_task_storage_get(map, task->real_parent, NULL, 0);
  return element;
}

static inline __attribute__((always_inline)) void* made_socket_storage(void* map, struct sock* sk) {
  void* element = bpf_sk_storage_get(map, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (element) return element;
  return bpf_sk_storage_get(map, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

#endif
