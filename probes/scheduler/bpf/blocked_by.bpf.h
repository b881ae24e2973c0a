/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Finds what a thread that leaves its CPU voluntarily waits for, from the system call in progress.
 * No system call is traced. BPF side only, after kernel_types.bpf.h and libbpf's headers.
 *
 * REQUIRES: KERNEL_READ and KERNEL_FOLLOW (scheduler_events.bpf.h) and READ_AS
 * (bpf/kernel_cast.bpf.h).
 */
#ifndef TOPSPIN_PROBES_SCHEDULER_BLOCKED_BY_BPF_H
#define TOPSPIN_PROBES_SCHEDULER_BLOCKED_BY_BPF_H

#include "probes/scheduler/bpf/scheduler_logic.bpf.h"

/* By the number of the call; user space fills it in before loading. */
const volatile __u8 blocked_by_of_call[TOPSPIN_CALLS] = {};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs___x86 {
  unsigned long di;
  unsigned long orig_ax;
};
struct pt_regs___of_arm64 { /* libbpf has a pt_regs___arm64 of its own when it builds for arm64 */
  __u64 regs[31];
  int syscallno;
};
struct thread_info___x86 {
  __u32 status;
};
struct task_struct___x86 {
  struct thread_info___x86 thread_info;
};
#pragma clang attribute pop

#define TS_COMPAT 2 /* x86: a call with the numbers of 32-bit programs */

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFDIR 0040000
#define S_IFIFO 0010000
#define S_ANON_INODE (1u << 19) /* from Linux 6.16 on; before, such an inode has no type */

TOPSPIN_INLINE __u32 blocked_by_file(struct task_struct* task, __u32 number) {
  struct fdtable* table = KERNEL_FOLLOW(task, files, fdt);
  struct file** files = KERNEL_READ(table, fd);
  struct file* file;
  struct inode* inode;
  __u32 type;
  if (number >= KERNEL_READ(table, max_fds)) return TOPSPIN_BLOCKED_BY_OTHER;
  file = (struct file*)READ_AS(hlist_head, files + number, first);
  inode = READ_AS(file, file, f_inode);
  type = READ_AS(inode, inode, i_mode) & S_IFMT;
  if (type == S_IFSOCK) return TOPSPIN_BLOCKED_BY_SOCKET;
  if (type == S_IFIFO) return TOPSPIN_BLOCKED_BY_PIPE;
  if (type == 0) return file ? TOPSPIN_BLOCKED_BY_POLL : TOPSPIN_BLOCKED_BY_OTHER;
  if (type == S_IFREG && READ_AS(inode, inode, i_flags) & S_ANON_INODE)
    return TOPSPIN_BLOCKED_BY_POLL;
  return type == S_IFREG || type == S_IFBLK || type == S_IFDIR ? TOPSPIN_BLOCKED_BY_DISK
                                                               : TOPSPIN_BLOCKED_BY_OTHER;
}

#define X86_THREAD_SIZE (16 << 10) /* of a kernel stack */

/* The registers of the current thread's system call. Kernels before 5.15 have no function that
 * returns them; on x86 they are at the top of the thread's stack. NULL: not known. */
TOPSPIN_INLINE void* call_registers(struct task_struct* task) {
  struct pt_regs___x86* of_x86 = NULL;
  if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
    return (void*)bpf_task_pt_regs(bpf_get_current_task_btf());
  if (!bpf_core_field_exists(of_x86->orig_ax)) return NULL;
  return KERNEL_READ(task, stack) + X86_THREAD_SIZE - bpf_core_type_size(struct pt_regs___x86);
}

/* REQUIRES: `task` is the current one. */
TOPSPIN_INLINE __u32 blocked_by(struct task_struct* task, __u32 state) {
  void* regs = call_registers(task);
  struct pt_regs___x86* of_x86 = regs;
  struct pt_regs___of_arm64* of_arm64 = regs;
  struct task_struct___x86* task_of_x86 = (void*)task;
  __u32 reason = TOPSPIN_BLOCKED_BY_OTHER;
  bool is_x86 = bpf_core_field_exists(of_x86->orig_ax);
  __s64 call = -1;
  if (state & (TASK_STOPPED | TASK_TRACED | TASK_PARKED | TASK_FROZEN))
    return TOPSPIN_BLOCKED_BY_STOPPED;
  if (KERNEL_READ(task, flags) & PF_IO_WORKER) return TOPSPIN_BLOCKED_BY_OTHER;
  if (is_x86)
    call = KERNEL_READ(of_x86, orig_ax);
  else if (bpf_core_field_exists(of_arm64->syscallno))
    call = KERNEL_READ(of_arm64, syscallno);
  else
    return TOPSPIN_BLOCKED_BY_OTHER;
  if (call < 0) return TOPSPIN_BLOCKED_BY_PAGE_FAULT;
  if (is_x86 && KERNEL_READ(task_of_x86, thread_info.status) & TS_COMPAT)
    return TOPSPIN_BLOCKED_BY_OTHER;
  if (call < TOPSPIN_CALLS) reason = blocked_by_of_call[call];
  if (reason == TOPSPIN_BLOCKED_BY_FILE)
    reason = blocked_by_file(
        task, is_x86 ? (__u32)KERNEL_READ(of_x86, di) : (__u32)KERNEL_READ(of_arm64, regs[0]));
  if (reason == TOPSPIN_BLOCKED_BY_OTHER && state & TASK_UNINTERRUPTIBLE && !(state & TASK_NOLOAD))
    return TOPSPIN_BLOCKED_BY_DISK;
  return reason;
}

#endif
