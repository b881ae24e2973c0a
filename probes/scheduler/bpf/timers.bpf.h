/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Timer oversleep: two programs of the scheduler's objects. User space loads an object without them
 * if the kernel refuses them. BPF side only, after kernel_types.bpf.h and libbpf's headers.
 *
 * While a timer's function runs, that timer wakes every thread that is woken on its CPU. The entry
 * notes in the CPU's element when the timer fired and how late that was. The scheduler's programs
 * take it from there at sched_waking, and finish when the thread runs. Only two kinds of timer
 * count: those that wake a sleeping thread (nanosleep; the timeouts of epoll_wait, poll, select and
 * futexes) and timerfd. They are recognised by their functions, whose addresses user space cannot
 * read without privilege. So it sets one timer of each kind to an expiry time that no other timer
 * has, and the entry of that timer shows the function.
 */
#ifndef TOPSPIN_PROBES_TIMERS_BPF_H
#define TOPSPIN_PROBES_TIMERS_BPF_H

#include "probes/scheduler/bpf/scheduler_cpus.bpf.h"

struct topspin_known_timers known_timers;

SEC("raw_tp/hrtimer_expire_entry")
int hrtimer_expire_entry(struct bpf_raw_tracepoint_args* context) {
  struct hrtimer* timer = (struct hrtimer*)context->args[0];
  __u64 function = (__u64)BPF_CORE_READ(timer, function);
  __u64 fired_ns, late_ns, slack_ns;
  struct topspin_cpu* cpu;
  __s64 soft_ns, asked_ns;
  bool learning = !known_timers.sleep_function || !known_timers.timerfd_function;
  if (!learning && function != known_timers.sleep_function &&
      function != known_timers.timerfd_function)
    return 0;
  soft_ns = BPF_CORE_READ(timer, _softexpires); /* the requested expiry, on the timer's own clock */
  if (learning) {
    if (known_timers.sleep_expiry_ns && (__u64)soft_ns == known_timers.sleep_expiry_ns)
      known_timers.sleep_function = function;
    if (known_timers.timerfd_expiry_ns && (__u64)soft_ns == known_timers.timerfd_expiry_ns)
      known_timers.timerfd_function = function;
    return 0;
  }
  cpu = this_cpu();
  if (!cpu) return 0; /* never: there is one for each possible CPU */
  fired_ns = bpf_ktime_get_ns();
  asked_ns = soft_ns - BPF_CORE_READ(timer, base, offset); /* converted to CLOCK_MONOTONIC */
  late_ns = asked_ns > 0 && fired_ns > (__u64)asked_ns ? fired_ns - asked_ns : 0;
  slack_ns = BPF_CORE_READ(timer, node.expires) - soft_ns;
  if (slack_ns > late_ns) slack_ns = late_ns; /* another interrupt came within the slack */
  cpu->firing.slack_ns = slack_ns;
  cpu->firing.late_ns = late_ns - slack_ns;
  cpu->firing.fired_ns = fired_ns;
  return 0;
}

SEC("raw_tp/hrtimer_expire_exit")
int hrtimer_expire_exit(void* context) {
  struct topspin_cpu* cpu = this_cpu();
  if (cpu && cpu->firing.fired_ns) cpu->firing.fired_ns = 0;
  return 0;
}

#endif
