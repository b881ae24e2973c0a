// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* Three programs that do nothing, on the hooks that every context switch and its wakeup pass. They
 * show the cost of being attached at all.
 */
#include <linux/bpf.h>
/* libbpf's headers need the kernel's types before them. */
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp_btf/sched_waking")
int empty_waking(void* context) { return 0; }

SEC("tp_btf/sched_wakeup")
int empty_wakeup(void* context) { return 0; }

SEC("tp_btf/sched_switch")
int empty_switch(void* context) { return 0; }
