/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The kernel types that our BPF programs read, with only the fields in use. CO-RE relocates each
 * field when a program is loaded. So the build needs no kernel's BTF, and an object loads on every
 * kernel that has these fields (6.1 and later). A structure named X___before_VERSION has what X had
 * instead in older kernels. BPF side only.
 */
#ifndef TOPSPIN_PROBES_KERNEL_TYPES_BPF_H
#define TOPSPIN_PROBES_KERNEL_TYPES_BPF_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pid_namespace;
struct seq_file;
struct bpf_local_storage;

struct upid {
  int nr;
};

/* numbers[i] is the pid as seen in the namespace at depth i; reached by computed offset. */
struct pid {
  unsigned int level;
  struct upid numbers[1];
};

struct kernfs_node {
  __u64 id;
};

/* ancestors[i] is the ancestor at depth i; the cgroup itself is at `level`. Its offset is computed.
 */
struct cgroup {
  int level;
  struct kernfs_node* kn;
  struct cgroup* ancestors[1];
};

struct cgroup___before_6_0 {
  __u64 ancestor_ids[1];
};

struct css_set {
  struct cgroup* dfl_cgrp;
};

struct rq {
  unsigned int nr_running;
  __u64 clock;
  __u64 clock_task; /* without the time of interrupts and the hypervisor */
};

struct cfs_rq {
  struct rq* rq;
};

/* cfs_rq and its rq belong to the CPU that the thread runs or waits on, whatever its scheduling
 * class is (CONFIG_FAIR_GROUP_SCHED). We do not use the symbol `runqueues`, because not every
 * kernel exports it (CONFIG_KALLSYMS_ALL). */
struct sched_entity {
  struct cfs_rq* cfs_rq;
  __u64 sum_exec_runtime;
  __u64 nr_migrations;
};

struct sched_info {
  unsigned long long run_delay;
  unsigned long long last_arrival;
  unsigned long long last_queued;
};

struct thread_info {
  __u32 cpu;
};

typedef struct {
  int counter;
} atomic_t;

struct signal_struct {
  atomic_t live;
};

/* A structure that begins with a pointer. An element of an array of pointers is read as one. */
struct hlist_head {
  struct hlist_node* first;
};

struct inode {
  unsigned short i_mode;
  unsigned int i_flags;
  unsigned long i_ino;
};

struct file {
  void* private_data;
  struct inode* f_inode;
};

struct fdtable {
  unsigned int max_fds;
  struct file** fd;
};

struct files_struct {
  struct fdtable* fdt;
};

struct task_struct {
  struct thread_info thread_info;
  unsigned int __state;
  void* stack;
  unsigned int flags;
  unsigned int on_cpu; /* from Linux 7 on a byte, and then read as one */
  int wake_cpu;
  unsigned int on_rq; /* likewise */
  struct sched_entity se;
  struct sched_info sched_info;
  int exit_state;
  int pid;
  int tgid;
  struct task_struct* real_parent;
  struct task_struct* group_leader;
  struct pid* thread_pid;
  unsigned long nvcsw;
  unsigned long nivcsw;
  __u64 start_boottime;
  unsigned long min_flt;
  unsigned long maj_flt;
  char comm[16];
  struct signal_struct* signal;
  struct files_struct* files;
  struct css_set* cgroups;
  struct bpf_local_storage* bpf_storage;
};

struct task_struct___before_5_14 {
  long state;
};

struct task_struct___before_5_16 {
  unsigned int cpu;
};

struct timerqueue_node {
  __s64 expires;
};

struct hrtimer_clock_base {
  __s64 offset;
};

struct hrtimer {
  struct timerqueue_node node;
  __s64 _softexpires;
  void* function;
  struct hrtimer_clock_base* base;
};

struct bpf_iter_meta {
  struct seq_file* seq;
  __u64 session_id;
  __u64 seq_num;
};

struct bpf_iter__task {
  struct bpf_iter_meta* meta;
  struct task_struct* task;
};

#pragma clang attribute pop

#endif
