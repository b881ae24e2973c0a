/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The map `cpus` of every scheduler object. BPF side only, after libbpf's headers. */
#ifndef TOPSPIN_PROBES_SCHEDULER_CPUS_BPF_H
#define TOPSPIN_PROBES_SCHEDULER_CPUS_BPF_H

#include "probes/bpf/cells.bpf.h"
#include "probes/scheduler/bpf/scheduler_abi.h"

/* One element for each possible CPU. User space sets max_entries, and maps it. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct topspin_cpu);
} cpus SEC(".maps");

TOPSPIN_INLINE struct topspin_cpu* this_cpu(void) {
  __u32 cpu = bpf_get_smp_processor_id();
  return bpf_map_lookup_elem(&cpus, &cpu);
}

#endif
