/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The one log-linear histogram layout, shared by BPF programs and C++.
 *
 * 32 sub-buckets an octave: a bucket is never wider than 1/32 of its lower bound. Values 0 to 63
 * have a bucket each; from there every power of two is cut into 32 equal parts, up to 2^44 - 1
 * (4.9 hours, as nanoseconds). Larger values fall into the last bucket.
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

#endif
