/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The declaration specifiers of functions in BPF headers. BPF side only. */
#ifndef TOPSPIN_PROBES_INLINE_BPF_H
#define TOPSPIN_PROBES_INLINE_BPF_H

#define TOPSPIN_INLINE static inline __attribute__((always_inline))

#endif
