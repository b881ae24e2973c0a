/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The ring of exited threads of every scheduler object. BPF side only, after libbpf's headers.
 */
#ifndef TOPSPIN_PROBES_SCHEDULER_EXITS_BPF_H
#define TOPSPIN_PROBES_SCHEDULER_EXITS_BPF_H

#include "probes/scheduler/bpf/scheduler_logic.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 8 << 20); /* for 40,000 threads that exit at once, with a few cells each */
} exits SEC(".maps");

/* Where the record of an exit is built. One per CPU is enough: programs do not preempt each other.
 */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct topspin_exit);
} exit_scratch SEC(".maps");

TOPSPIN_INLINE struct topspin_exit* this_cpu_scratch(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&exit_scratch, &zero);
}

/* Sends `out`, whose record and sleeps are filled, with the thread's waits and slices. False: no
 * room. */
TOPSPIN_INLINE bool send_exit(struct topspin_exit* out, const struct topspin_thread* thread) {
  __u64 bytes;
  out->record.flags = TOPSPIN_RECORD_EXITED | TOPSPIN_RECORD_CHANGED;
  bytes = unknown_to_compiler(fill_exit(out, thread));
  if (bytes > sizeof(*out)) return false; /* never happens, but the verifier needs it */
  return !bpf_ringbuf_output(&exits, out, bytes, BPF_RB_NO_WAKEUP);
}

#endif
