/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* A histogram as BPF programs keep it and user space reads it. */
#ifndef TOPSPIN_PROBES_CELLS_ABI_H
#define TOPSPIN_PROBES_CELLS_ABI_H

#include <linux/types.h>

#include "core/number/histogram_abi.h"

/* Written on one CPU only, with interrupts off, so no atomics; user space maps it. The count of
 * samples is the sum of the cells. */
struct topspin_cells {
  __u64 sum;
  __u64 max;
  __u64 cells[TOPSPIN_HISTOGRAM_BUCKETS];
};

#ifdef __cplusplus
static_assert(sizeof(topspin_cells) == 16 + 8 * TOPSPIN_HISTOGRAM_BUCKETS);
#else
_Static_assert(sizeof(struct topspin_cells) == 16 + 8 * TOPSPIN_HISTOGRAM_BUCKETS, "layout");
#endif

#endif
