/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Where a value goes in a histogram, as BPF computes it: the same answer as histogram_abi.h. Apart,
 * so that a test can compile it as C++ and hold the two against each other.
 */
#ifndef TOPSPIN_PROBES_HISTOGRAM_INDEX_BPF_H
#define TOPSPIN_PROBES_HISTOGRAM_INDEX_BPF_H

#include <linux/types.h>

#include "core/number/histogram_abi.h"

/* 1 << bit if value > limit, else 0; both below 2^63. A comparison would become a branch, and one
 * that depends on measured values is mispredicted. */
static inline __attribute__((always_inline)) __u32 bit_if_above(__u64 value, __u64 limit,
                                                                __u32 bit) {
  __u64 difference = limit - value;
  asm volatile("" : "+r"(difference));
  return TOPSPIN_U32(difference >> (63 - bit)) & (1u << bit);
}

/* BPF before mcpu v4 counts no leading zeros, and clang 14 crashes on the
 * builtin where it is inlined into larger programs; so the highest bit is searched by halves. */
static inline __attribute__((always_inline)) __u32 histogram_index(__u64 value) {
  __u64 rest = value;
  __u32 exponent, shift;
  if (value < TOPSPIN_HISTOGRAM_SUB_BUCKETS) return TOPSPIN_U32(value);
  if (value >> TOPSPIN_HISTOGRAM_MAX_BITS) return TOPSPIN_HISTOGRAM_BUCKETS - 1;
  exponent = bit_if_above(rest, 0xffffffff, 5);
  rest >>= exponent;
  shift = bit_if_above(rest, 0xffff, 4);
  rest >>= shift, exponent |= shift;
  shift = bit_if_above(rest, 0xff, 3);
  rest >>= shift, exponent |= shift;
  shift = bit_if_above(rest, 0xf, 2);
  rest >>= shift, exponent |= shift;
  shift = bit_if_above(rest, 0x3, 1);
  rest >>= shift, exponent |= shift;
  exponent += TOPSPIN_U32(rest >> 1);
  shift = exponent - TOPSPIN_HISTOGRAM_SUB_BITS;
  return shift * TOPSPIN_HISTOGRAM_SUB_BUCKETS + TOPSPIN_U32(value >> shift);
}

#endif
