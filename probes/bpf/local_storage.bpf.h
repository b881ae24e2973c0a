/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Elements of local storage, made where there is none yet. BPF side only, after kernel_types.bpf.h
 * and bpf_helpers.h.
 *
 * Two CPUs may come upon a new thread or socket at once: the walk just when a fork is shown, two
 * threads at their first use of a socket. The kernel gives who comes second no element, so that one
 * asks again. NULL: there is no room. */
#ifndef TOPSPIN_PROBES_LOCAL_STORAGE_BPF_H
#define TOPSPIN_PROBES_LOCAL_STORAGE_BPF_H

struct sock;

static inline __attribute__((always_inline)) void* made_task_storage(void* map,
                                                                     struct task_struct* task) {
  void* element = bpf_task_storage_get(map, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (element) return element;
  return bpf_task_storage_get(map, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

static inline __attribute__((always_inline)) void* made_socket_storage(void* map, struct sock* sk) {
  void* element = bpf_sk_storage_get(map, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (element) return element;
  return bpf_sk_storage_get(map, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

#endif
