/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What the functions in BPF headers share. BPF side only. */
#ifndef TOPSPIN_PROBES_INLINE_BPF_H
#define TOPSPIN_PROBES_INLINE_BPF_H

#define TOPSPIN_INLINE static inline __attribute__((always_inline))

/* A function that the verifier checks once, whatever it is called with. It checks all others again
 * at each call, in each state that the caller may be in. Such a function takes numbers and pointers
 * to structures of ours, compares each pointer to NULL, and returns a number. Linux 5.12. */
#define TOPSPIN_CHECKED_ONCE __attribute__((noinline))

/* Returns the number, but hides from the compiler what it knows about it. Then a later comparison
 * stays as written, on the same number that is used as an index. Otherwise clang may transform it
 * into something that the verifier does not understand. */
TOPSPIN_INLINE __u64 unknown_to_compiler(__u64 number) {
  asm volatile("" : "+r"(number));
  return number;
}

/* The number, a __u64, if it is below `limit`, a constant; else 0. Unlike after a comparison in C,
 * the verifier knows this wherever the compiler keeps the number. Older verifiers (6.1) do not
 * apply a comparison to the copy on the stack that the compared register came from. */
#define TOPSPIN_BELOW(limit, number)                                                \
  ({                                                                                \
    __u64 topspin_number = (number);                                                \
    asm volatile("if %0 < %1 goto +1\n%0 = 0" : "+r"(topspin_number) : "i"(limit)); \
    topspin_number;                                                                 \
  })

#endif
