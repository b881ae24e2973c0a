/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The one log-linear histogram layout, shared by BPF programs and C++.
 *
 * There are 32 sub-buckets per octave, so a bucket is never wider than 1/32 of its lower bound.
 * Values 0 to 63 have one bucket each. From there on every power of two is divided into 32 equal
 * parts, up to 2^44 - 1 (4.9 hours in nanoseconds). Larger values fall into the last bucket.
 *
 *   index(v) = v                               for v < 32
 *   index(v) = 32*(e-5) + (v >> (e-5))         for e = floor(log2 v) >= 5
 *
 * The shift leaves 32..63, so octaves join without a gap: index(63) = 63, index(64) = 64.
 */
#ifndef TOPSPIN_CORE_HISTOGRAM_ABI_H
#define TOPSPIN_CORE_HISTOGRAM_ABI_H

#define TOPSPIN_HISTOGRAM_SUB_BITS 5
#define TOPSPIN_HISTOGRAM_SUB_BUCKETS (1 << TOPSPIN_HISTOGRAM_SUB_BITS)
#define TOPSPIN_HISTOGRAM_MAX_BITS 44
#define TOPSPIN_HISTOGRAM_BUCKETS \
  ((TOPSPIN_HISTOGRAM_MAX_BITS - TOPSPIN_HISTOGRAM_SUB_BITS + 1) * TOPSPIN_HISTOGRAM_SUB_BUCKETS)

#ifdef __cplusplus
#define TOPSPIN_U32(x) static_cast<unsigned int>(x)
#else
#define TOPSPIN_U32(x) ((unsigned int)(x))
#endif

static inline __attribute__((always_inline)) unsigned int topspin_histogram_index(
    unsigned long long value) {
  unsigned int exponent, shift;
  if (value < TOPSPIN_HISTOGRAM_SUB_BUCKETS) return TOPSPIN_U32(value);
  exponent = 63u - TOPSPIN_U32(__builtin_clzll(value));
  if (exponent >= TOPSPIN_HISTOGRAM_MAX_BITS) return TOPSPIN_HISTOGRAM_BUCKETS - 1;
  shift = exponent - TOPSPIN_HISTOGRAM_SUB_BITS;
  return shift * TOPSPIN_HISTOGRAM_SUB_BUCKETS + TOPSPIN_U32(value >> shift);
}

/* The coarse layout, for histograms that every thread has: 80 cells of 32 bits, with 4 sub-buckets
 * per octave, so a bucket is never wider than 1/4 of its lower bound. Cell 0 holds everything below
 * 2^10 (1.02 us in nanoseconds), and the last cell everything from 0.81 s on. Every other coarse
 * bucket is 8 fine ones.
 */
#define TOPSPIN_COARSE_CELLS 80
#define TOPSPIN_COARSE_MIN_BITS 10
#define TOPSPIN_COARSE_SKIPPED 23 /* index of 2^10 / 8, minus 1 for the cell below it */

static inline __attribute__((always_inline)) unsigned int topspin_coarse_index(
    unsigned int histogram_index) {
  unsigned int index = histogram_index / 8;
  if (index <= TOPSPIN_COARSE_SKIPPED) return 0;
  index -= TOPSPIN_COARSE_SKIPPED;
  return index < TOPSPIN_COARSE_CELLS ? index : TOPSPIN_COARSE_CELLS - 1;
}

#endif
