// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* The second rung: raw tracepoints, which need no BTF of the kernel. It measures time in interrupts
 * only by CPU, because it does not know which thread an interrupt stopped.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
/* libbpf's headers need the kernel's types before them. */
#include <bpf/bpf_helpers.h>

#include "probes/interrupts/interrupts_logic.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("raw_tp/irq_handler_entry")
int irq_handler_entry(void* context) {
  on_hardirq_entry(false);
  return 0;
}

SEC("raw_tp/irq_handler_exit")
int irq_handler_exit(void* context) {
  on_hardirq_exit();
  return 0;
}

SEC("raw_tp/softirq_entry")
int softirq_entry(void* context) {
  on_softirq_entry(false);
  return 0;
}

SEC("raw_tp/softirq_exit")
int softirq_exit(void* context) {
  on_softirq_exit();
  return 0;
}
