/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Handles the entry to and return from system calls, and switches. The rungs share this logic. It
 * does not depend on how a thread's state is found or how the kernel's structures are read. BPF
 * side only.
 *
 * A thread that enters a call writes the time into its own state, and takes the difference when it
 * returns. The result goes into its CPU's histogram of that kind of call. Switches add up the
 * thread's time off a CPU; its growth from entry to return is the blocked part. A kind of call gets
 * a slot when it is first seen. Nothing crosses to user space during a call.
 */
#ifndef TOPSPIN_PROBES_SYSCALLS_LOGIC_BPF_H
#define TOPSPIN_PROBES_SYSCALLS_LOGIC_BPF_H

#include "probes/bpf/cells.bpf.h"
#include "probes/syscalls/syscalls_abi.h"

/* Errors are -1 to -4095. These ones mean that the call restarts after the signal was handled. */
#define ERESTARTSYS 512
#define ERESTART_RESTARTBLOCK 516

__u32 slots[TOPSPIN_SYSCALL_NUMBERS]; /* by number; 0: none yet */
__u32 slots_granted;
__u64 uncounted;     /* calls that found no slot, or whose number is of another ABI */
__u64 left_censored; /* calls that were in progress when their thread joined */

/* User space sets max_entries, and maps it. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct topspin_syscall);
} cells SEC(".maps");

TOPSPIN_INLINE void on_enter(struct topspin_watched_thread* thread, long number, bool other_abi) {
  thread->settled = 1;
  thread->forked = 0;
  if (number < 0 || number >= TOPSPIN_SYSCALL_NUMBERS || other_abi) {
    __sync_fetch_and_add(&uncounted, 1);
    thread->inside = 0;
    return;
  }
  thread->inside = number + 1;
  thread->off_cpu_at_entry_ns = thread->off_cpu_ns;
  thread->entered_ns = bpf_ktime_get_ns();
}

/* The slot of a number, which is its position plus one; 0 if there is none left. */
TOPSPIN_INLINE __u32 slot_of(__u32 number) {
  __u32 slot = slots[number], before;
  if (slot) return slot;
  if (slots_granted >= TOPSPIN_SYSCALL_SLOTS) return 0;
  slot = __sync_fetch_and_add(&slots_granted, 1) + 1;
  if (slot > TOPSPIN_SYSCALL_SLOTS) return 0;
  before = __sync_val_compare_and_swap(&slots[number], 0, slot);
  return before ? before : slot; /* if two CPUs race, one slot is wasted */
}

TOPSPIN_INLINE void on_return(struct topspin_watched_thread* thread, long result) {
  struct topspin_syscall* cell;
  __u64 latency_ns, blocked_ns;
  __u32 number, slot, place;
  if (!thread->inside) {
    if (!thread->settled && !thread->forked) __sync_fetch_and_add(&left_censored, 1);
    thread->settled = 1;
    thread->forked = 0;
    return;
  }
  latency_ns = bpf_ktime_get_ns() - thread->entered_ns;
  blocked_ns = thread->off_cpu_ns - thread->off_cpu_at_entry_ns;
  if (blocked_ns > latency_ns) blocked_ns = latency_ns; /* clocks of two CPUs, a few ns apart */
  number = thread->inside - 1;
  thread->inside = 0;
  if (number >= TOPSPIN_SYSCALL_NUMBERS) return; /* never happens, but the verifier needs it */
  slot = slot_of(number);
  place = bpf_get_smp_processor_id() * TOPSPIN_SYSCALL_SLOTS + slot - 1;
  cell = slot ? bpf_map_lookup_elem(&cells, &place) : NULL;
  if (!cell) {
    __sync_fetch_and_add(&uncounted, 1);
    return;
  }
  record(&cell->latency, latency_ns);
  cell->blocked_ns += blocked_ns;
  if (result < 0 && result >= -4095 &&
      !(result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK))
    cell->errors++;
  cell->calls++;
}

TOPSPIN_INLINE void on_cpu_left(struct topspin_watched_thread* thread, __u64 now_ns) {
  thread->left_cpu_ns = now_ns;
}

TOPSPIN_INLINE void on_cpu_gained(struct topspin_watched_thread* thread, __u64 now_ns) {
  if (!thread->left_cpu_ns) return;
  if (now_ns > thread->left_cpu_ns) thread->off_cpu_ns += now_ns - thread->left_cpu_ns;
  thread->left_cpu_ns = 0;
}

#endif
