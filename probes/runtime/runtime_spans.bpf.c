// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* Spans inside runtimes. One program is attached as a uprobe to each point in their code; the
 * cookie identifies the point. When a span ends, it is added to the histogram of its kind and CPU.
 *
 * Unlike in a tracepoint, another thread may get the CPU in the middle of this program. So shared
 * data is changed by atomic instructions, except the maximum, which may then miss a value.
 */
/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include "probes/bpf/kernel_types.bpf.h"
#include <linux/ptrace.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "probes/bpf/histogram_index.bpf.h"
#include "probes/bpf/inline.bpf.h"
#include "probes/bpf/task.bpf.h"
#include "probes/runtime/runtime_abi.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The state of a thread of the subject. User space only knows its size. */
struct topspin_watched_thread {
  __u32 member;
};
#include "probes/bpf/subject_thread.bpf.h"

__u64 unfinished; /* spans that began again before they had ended */
__u64 no_room;    /* for another open span */

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, TOPSPIN_RUNTIME_OPEN_SPANS);
  __type(key, struct topspin_runtime_open);
  __type(value, __u64); /* when it began */
} open_spans SEC(".maps");

/* TOPSPIN_RUNTIME_KINDS for each CPU. User space sets max_entries, and maps it. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct topspin_cells);
} cells SEC(".maps");

/* Arguments 1 to 3. All registers are read before one is chosen. Otherwise clang would compute an
 * address in the context, and the verifier allows no read from a computed one. */
TOPSPIN_INLINE __u64 argument(struct pt_regs* context, __u8 number, bool go) {
  __u64 first = unknown_to_compiler(PT_REGS_PARM1(context));
  __u64 second = unknown_to_compiler(PT_REGS_PARM2(context));
  __u64 third = unknown_to_compiler(PT_REGS_PARM3(context));
#if defined(__TARGET_ARCH_x86)
  __u64 first_go = unknown_to_compiler(context->rax);
  __u64 second_go = unknown_to_compiler(context->rbx);
  __u64 third_go = unknown_to_compiler(context->rcx);
  if (go) first = first_go, second = second_go, third = third_go;
#endif
  return number == 1 ? first : number == 2 ? second : third;
}

TOPSPIN_INLINE void record_span(__u32 kind, __u64 ns) {
  __u32 at = bpf_get_smp_processor_id() * TOPSPIN_RUNTIME_KINDS + kind;
  struct topspin_cells* of_cpu = bpf_map_lookup_elem(&cells, &at);
  __u32 index = histogram_index(ns);
  if (!of_cpu || index >= TOPSPIN_HISTOGRAM_BUCKETS) return;
  __sync_fetch_and_add(&of_cpu->cells[index], 1);
  __sync_fetch_and_add(&of_cpu->sum, ns);
  if (ns > of_cpu->max) of_cpu->max = ns;
}

SEC("uprobe")
int on_point(struct pt_regs* context) {
  __u64 cookie, process_and_thread, now, *begin;
  struct topspin_runtime_point point;
  struct topspin_runtime_open span;
  if (!member(bpf_get_current_task_btf())) return 0;
  now = bpf_ktime_get_ns();
  cookie = bpf_get_attach_cookie(context);
  __builtin_memcpy(&point, &cookie, sizeof(point));
  if (point.kind >= TOPSPIN_RUNTIME_KINDS) return 0;
  /* Such an argument is a number of at most 32 bits. The rest of its register may hold anything. */
  if (point.when_argument &&
      (__u32)argument(context, point.when_argument, point.go) != point.when_value)
    return 0;
  process_and_thread = bpf_get_current_pid_tgid();
  span.process = process_and_thread >> 32;
  span.kind = point.kind;
  if (point.key == TOPSPIN_RUNTIME_BY_PROCESS)
    span.key = 0;
  else if (point.key == TOPSPIN_RUNTIME_BY_THREAD)
    span.key = (__u32)process_and_thread;
  else
    span.key = argument(context, point.key, point.go);
  begin = bpf_map_lookup_elem(&open_spans, &span);
  if (point.action == TOPSPIN_RUNTIME_END) {
    __u64 began_ns;
    if (!begin) return 0; /* it had begun before this was attached */
    began_ns = *begin;
    if (bpf_map_delete_elem(&open_spans, &span) == 0 && now > began_ns)
      record_span(point.kind, now - began_ns);
    return 0;
  }
  if (begin && point.action == TOPSPIN_RUNTIME_RESUME) return 0;
  if (begin) __sync_fetch_and_add(&unfinished, 1);
  if (bpf_map_update_elem(&open_spans, &span, &now, BPF_ANY) != 0)
    __sync_fetch_and_add(&no_room, 1);
  return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_process_fork, struct task_struct* parent, struct task_struct* child) {
  if (forks_into_subject(parent, child)) join(child);
  return 0;
}
