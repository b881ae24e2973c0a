/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* A thread's busy stretch: where it begins and ends, and whether it is one of the longest. The
 * logic alone: it does not know where the state is kept. It has its own file so that a test can
 * compile it as C++. BPF side only.
 *
 * A stretch begins when a thread runs that has slept, or is new, and ends when it goes to sleep.
 * Some kernels hide a switch now and then (scheduler_logic.bpf.h). If the beginning was hidden, the
 * stretch is not known. If the end was hidden, the next thing seen is the beginning of another one,
 * of a thread that seemed to run: that one is not known either, since nobody saw its thread sleep.
 */
#ifndef TOPSPIN_PROBES_STACKS_BUSY_STRETCH_BPF_H
#define TOPSPIN_PROBES_STACKS_BUSY_STRETCH_BPF_H

#include <linux/types.h>

#include "probes/bpf/inline.bpf.h"
#include "probes/stacks/sleep_stacks_abi.h"

struct topspin_stretch_state {
  __u64 began_ns; /* 0: none, or not known */
  __u64 began_cpu_ns;
  __u32 preempted; /* left its CPU, and wants it back */
  __u32 is_new;    /* has not run yet */
  /* The longest of an epoch, so that only what is among them costs more than a comparison. */
  __u64 epoch;
  __u64 least_ns; /* of the longest: what is not longer is not among them */
  __u64 longest_ns[TOPSPIN_STRETCHES_A_THREAD];
};

/* `cpu_ns`: of the thread's whole life. */
TOPSPIN_INLINE void stretch_runs(struct topspin_stretch_state* state, bool has_slept, __u64 now_ns,
                                 __u64 cpu_ns) {
  if (has_slept || state->is_new) {
    state->began_ns = now_ns;
    state->began_cpu_ns = cpu_ns;
    state->is_new = 0;
  } else if (!state->preempted) {
    state->began_ns = 0;
  }
  state->preempted = 0;
}

TOPSPIN_INLINE void stretch_is_preempted(struct topspin_stretch_state* state) {
  state->preempted = 1;
}

/* Its length; 0: not known. */
TOPSPIN_INLINE __u64 stretch_ends(struct topspin_stretch_state* state, __u64 now_ns) {
  __u64 began_ns = state->began_ns;
  state->began_ns = 0;
  return began_ns && now_ns > began_ns ? now_ns - began_ns : 0;
}

/* Whether it is one of the longest of its thread so far in this epoch. From then on it is counted
 * as one. */
TOPSPIN_INLINE bool is_long_stretch(struct topspin_stretch_state* state, __u64 epoch,
                                    __u64 length_ns) {
  __u64 *longest_ns = state->longest_ns, least_ns = ~0ULL;
  __u32 i, place = 0;
  if (length_ns <= TOPSPIN_SHORT_STRETCH_NS) return false;
  if (state->epoch != epoch) {
    state->epoch = epoch;
    state->least_ns = 0;
    for (i = 0; i < TOPSPIN_STRETCHES_A_THREAD; i++) longest_ns[i] = 0;
  }
  if (length_ns <= state->least_ns) return false;
  for (i = 0; i < TOPSPIN_STRETCHES_A_THREAD; i++) {
    if (longest_ns[i] >= least_ns) continue;
    least_ns = longest_ns[i];
    place = i;
  }
  longest_ns[place & (TOPSPIN_STRETCHES_A_THREAD - 1)] = length_ns;
  least_ns = ~0ULL;
  for (i = 0; i < TOPSPIN_STRETCHES_A_THREAD; i++) {
    if (longest_ns[i] < least_ns) least_ns = longest_ns[i];
  }
  state->least_ns = least_ns;
  return true;
}

#endif
