// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* Time in interrupts, by CPU, and how much of it was taken from the subject's threads. This is the
 * top rung: task storage marks the subject's threads.
 */
/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include "probes/bpf/kernel_types.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "probes/bpf/task.bpf.h"
#include "probes/interrupts/interrupts_logic.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The state of a thread of the subject. User space only knows its size. */
struct topspin_watched_thread {
  __u32 member;
};
#include "probes/bpf/subject_thread.bpf.h"

TOPSPIN_INLINE bool subject_runs(void) { return member(bpf_get_current_task_btf()) != NULL; }

SEC("tp_btf/irq_handler_entry")
int BPF_PROG(irq_handler_entry) {
  on_hardirq_entry(subject_runs());
  return 0;
}

SEC("tp_btf/irq_handler_exit")
int BPF_PROG(irq_handler_exit) {
  on_hardirq_exit();
  return 0;
}

SEC("tp_btf/softirq_entry")
int BPF_PROG(softirq_entry) {
  on_softirq_entry(subject_runs());
  return 0;
}

SEC("tp_btf/softirq_exit")
int BPF_PROG(softirq_exit) {
  on_softirq_exit();
  return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_process_fork, struct task_struct* parent, struct task_struct* child) {
  if (forks_into_subject(parent, child)) join(child);
  return 0;
}
