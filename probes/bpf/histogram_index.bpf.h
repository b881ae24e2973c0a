/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The index of a value in a histogram, as BPF computes it. The result is the same as that of
 * histogram_abi.h. It has its own file so that a test can compile it as C++ and compare the two.
 */
#ifndef TOPSPIN_PROBES_HISTOGRAM_INDEX_BPF_H
#define TOPSPIN_PROBES_HISTOGRAM_INDEX_BPF_H

#include <linux/types.h>

#include "core/number/histogram_abi.h"

/* 1 << bit if value > limit, else 0. Both must be below 2^63. A comparison would be compiled to a
 * branch, and a branch that depends on measured values is often mispredicted. */
static inline __attribute__((always_inline)) __u32 bit_if_above(__u64 value, __u64 limit,
                                                                __u32 bit) {
  __u64 difference = limit - value;
  asm volatile("" : "+r"(difference));
  return TOPSPIN_U32(difference >> (63 - bit)) & (1u << bit);
}

/* BPF has no instruction for leading zeros before mcpu v4, and clang 14 crashes on the builtin when
 * it is inlined into larger programs. Therefore this is a binary search for the highest bit. */
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
