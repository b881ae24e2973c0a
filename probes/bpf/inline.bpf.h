/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What the functions in BPF headers share. BPF side only. */
#ifndef TOPSPIN_PROBES_INLINE_BPF_H
#define TOPSPIN_PROBES_INLINE_BPF_H

#define TOPSPIN_INLINE static inline __attribute__((always_inline))

/* The same number, of which the compiler knows nothing. A comparison that follows stays as it is
 * written, of the number that is then used as an index: what clang makes of it otherwise, the
 * verifier may not understand. */
TOPSPIN_INLINE __u64 unknown_to_compiler(__u64 number) {
  asm volatile("" : "+r"(number));
  return number;
}

#endif
