/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Numbers of threads as topspin sees them, which may run in a pid namespace. BPF side only, after
 * kernel_types.bpf.h and libbpf's headers. */
#ifndef TOPSPIN_PROBES_READER_PID_BPF_H
#define TOPSPIN_PROBES_READER_PID_BPF_H

__u32 reader_pid_level; /* depth of the pid namespace of the one who walks: the walk sets it */

/* 0: the thread is reaped, or there is no number for it there. */
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
