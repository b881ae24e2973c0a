/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Records a value in a histogram. BPF side only. */
#ifndef TOPSPIN_PROBES_CELLS_BPF_H
#define TOPSPIN_PROBES_CELLS_BPF_H

#include "probes/bpf/cells_abi.h"
#include "probes/bpf/histogram_index.bpf.h"
#include "probes/bpf/inline.bpf.h"

TOPSPIN_INLINE void record_at(struct topspin_cells* cells, __u32 index, __u64 value) {
  if (index >= TOPSPIN_HISTOGRAM_BUCKETS) return; /* never happens, but the verifier needs it */
  cells->cells[index]++;
  cells->sum += value;
  if (value > cells->max) cells->max = value;
}

TOPSPIN_INLINE void record(struct topspin_cells* cells, __u64 value) {
  record_at(cells, histogram_index(value), value);
}

#endif
