/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Handles the beginning and end of an interrupt. The rungs share this logic. BPF side only, after
 * libbpf's headers.
 *
 * The handlers of hard interrupts run with interrupts disabled, so a CPU runs one at a time. A
 * softirq interrupts no other softirq, but hard interrupts may interrupt it; their time is
 * subtracted. An end without a beginning (the interrupt was running when the programs were
 * attached) does not count.
 */
#ifndef TOPSPIN_PROBES_INTERRUPTS_LOGIC_BPF_H
#define TOPSPIN_PROBES_INTERRUPTS_LOGIC_BPF_H

#include "probes/bpf/inline.bpf.h"
#include "probes/interrupts/interrupts_abi.h"

/* User space sets max_entries, and maps it. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct topspin_interrupt_cpu);
} cpus SEC(".maps");

TOPSPIN_INLINE struct topspin_interrupt_cpu* this_cpu(void) {
  __u32 cpu = bpf_get_smp_processor_id();
  return bpf_map_lookup_elem(&cpus, &cpu);
}

TOPSPIN_INLINE void on_hardirq_entry(bool interrupts) {
  struct topspin_interrupt_cpu* cpu = this_cpu();
  if (!cpu) return;
  cpu->hardirq_interrupts = interrupts;
  cpu->hardirq_begin_ns = bpf_ktime_get_ns();
}

TOPSPIN_INLINE void on_hardirq_exit(void) {
  struct topspin_interrupt_cpu* cpu = this_cpu();
  __u64 ns;
  if (!cpu || !cpu->hardirq_begin_ns) return;
  ns = bpf_ktime_get_ns() - cpu->hardirq_begin_ns;
  cpu->hardirq_begin_ns = 0;
  cpu->hardirq_ns += ns;
  cpu->hardirqs++;
  if (!cpu->hardirq_interrupts) return;
  cpu->interrupted_hardirq_ns += ns;
  cpu->interrupted++;
}

TOPSPIN_INLINE void on_softirq_entry(bool interrupts) {
  struct topspin_interrupt_cpu* cpu = this_cpu();
  if (!cpu) return;
  cpu->softirq_interrupts = interrupts;
  cpu->hardirq_ns_at_softirq = cpu->hardirq_ns;
  cpu->softirq_begin_ns = bpf_ktime_get_ns();
}

TOPSPIN_INLINE void on_softirq_exit(void) {
  struct topspin_interrupt_cpu* cpu = this_cpu();
  __u64 ns, within_ns;
  if (!cpu || !cpu->softirq_begin_ns) return;
  ns = bpf_ktime_get_ns() - cpu->softirq_begin_ns;
  within_ns = cpu->hardirq_ns - cpu->hardirq_ns_at_softirq;
  ns = ns > within_ns ? ns - within_ns : 0;
  cpu->softirq_begin_ns = 0;
  cpu->softirq_ns += ns;
  cpu->softirqs++;
  if (!cpu->softirq_interrupts) return;
  cpu->interrupted_softirq_ns += ns;
  cpu->interrupted++;
}

#endif
