/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Functions about any task, not only the current one: its cgroup (v2), whether it is topspin's, and
 * its number as topspin sees it. They read only with BPF_CORE_READ and bpf_probe_read_kernel, so
 * every kind of program can call them. That is slow, so call them in forks and walks, not in
 * switches. BPF side only, after kernel_types.bpf.h and libbpf's headers.
 */
#ifndef TOPSPIN_PROBES_TASK_BPF_H
#define TOPSPIN_PROBES_TASK_BPF_H

#define TOPSPIN_MAX_CGROUP_DEPTH 64 /* deeper ones count as outside */

static inline __attribute__((always_inline)) bool is_below_cgroup(struct task_struct* task,
                                                                  __u64 cgroup_id) {
  struct cgroup* cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);
  struct cgroup___before_6_0* older = (void*)cgroup;
  int level = BPF_CORE_READ(cgroup, level);
  int depth;
  for (depth = 0; depth < TOPSPIN_MAX_CGROUP_DEPTH && depth <= level; depth++) {
    struct cgroup* ancestor = NULL;
    if (bpf_core_field_exists(older->ancestor_ids)) {
      __u64 id = 0;
      bpf_probe_read_kernel(&id, sizeof(id),
                            (void*)older +
                                bpf_core_field_offset(struct cgroup___before_6_0, ancestor_ids) +
                                depth * sizeof(id));
      if (id == cgroup_id) return true;
      continue;
    }
    bpf_probe_read_kernel(
        &ancestor, sizeof(ancestor),
        (void*)cgroup + bpf_core_field_offset(struct cgroup, ancestors) + depth * sizeof(ancestor));
    if (BPF_CORE_READ(ancestor, kn, id) == cgroup_id) return true;
  }
  return false;
}

/* topspin's own threads, and everything they start, are never part of the subject, except the
 * command that user space itself names. `own_process` is a pid of the initial pid namespace. */
static inline __attribute__((always_inline)) bool is_own(struct task_struct* task,
                                                         int own_process) {
  return own_process && BPF_CORE_READ(task, tgid) == own_process;
}

__u32 reader_pid_level; /* depth of the pid namespace of the walk's reader; the walk sets it */

/* 0: the thread was reaped, or has no number in the reader's pid namespace. */
static inline __attribute__((always_inline)) __s32 pid_for_reader(struct task_struct* task) {
  struct pid* pid = BPF_CORE_READ(task, thread_pid);
  __u32 level = reader_pid_level;
  __s32 number = 0;
  if (!pid || level > 32) return 0;
  bpf_probe_read_kernel(&number, sizeof(number),
                        (void*)pid + bpf_core_field_offset(struct pid, numbers) +
                            level * bpf_core_type_size(struct upid) +
                            bpf_core_field_offset(struct upid, nr));
  return number;
}

#endif
