/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Finds the cgroup (v2) of any task, not only of the current one. It reads only with BPF_CORE_READ
 * and bpf_probe_read_kernel, so every kind of program can call it. That is slow: call it in forks
 * and walks, not in switches. BPF side only, after kernel_types.bpf.h and bpf_core_read.h.
 */
#ifndef TOPSPIN_PROBES_TASK_CGROUP_BPF_H
#define TOPSPIN_PROBES_TASK_CGROUP_BPF_H

#define TOPSPIN_MAX_CGROUP_DEPTH 64 /* deeper ones count as outside */

static inline __attribute__((always_inline)) bool is_below_cgroup(struct task_struct* task,
                                                                  __u64 cgroup_id) {
  struct cgroup* cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);
  int level = BPF_CORE_READ(cgroup, level);
  int depth;
  for (depth = 0; depth < TOPSPIN_MAX_CGROUP_DEPTH && depth <= level; depth++) {
    struct cgroup* ancestor = NULL;
    bpf_probe_read_kernel(
        &ancestor, sizeof(ancestor),
        (void*)cgroup + bpf_core_field_offset(struct cgroup, ancestors) + depth * sizeof(ancestor));
    if (BPF_CORE_READ(ancestor, kn, id) == cgroup_id) return true;
  }
  return false;
}

/* topspin's own threads and what they start are never of the subject, but for the command that user
 * space names itself. `own_process` is a number of the initial pid namespace. */
static inline __attribute__((always_inline)) bool is_own(struct task_struct* task,
                                                         int own_process) {
  return own_process && BPF_CORE_READ(task, tgid) == own_process;
}

#endif
