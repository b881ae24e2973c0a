/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The parts of a reply: turns what its threads did into the distributions, and keeps the slowest
 * replies one by one. BPF side only; part of sockets.bpf.c. */
#ifndef TOPSPIN_PROBES_SOCKETS_REPLY_RECORD_BPF_H
#define TOPSPIN_PROBES_SOCKETS_REPLY_RECORD_BPF_H

__u64 slow_epoch; /* user space increments it, then reads the slowest replies of the one before */

TOPSPIN_INLINE void add_cell(struct topspin_reply_cells* cells, __u32 index, __u64 value) {
  index /= 4;
  if (index >= TOPSPIN_REPLY_CELLS) return; /* never happens, but the verifier needs it */
  cells->cells[index]++;
  cells->sum += value;
  if (value > cells->max) cells->max = value;
}

/* ---- what is known when a request is read ---- */

/* From `times` of the thread that read it, from ready to read. */
TOPSPIN_INLINE void note_unread(struct request* request, const struct reply_times* times) {
  const __u64* parts = times->parts;
  __u64 asleep_ns = 0;
  __u32 part;
  for (part = TOPSPIN_INSIDE_ASLEEP; part < TOPSPIN_REPLY_PARTS; part++) asleep_ns += parts[part];
  request->stopped_ns = parts[TOPSPIN_INSIDE_ASLEEP + TOPSPIN_BLOCKED_BY_STOPPED];
  request->asleep_ns = asleep_ns - request->stopped_ns;
  request->queued_ns = parts[TOPSPIN_INSIDE_QUEUED];
  request->unknown_ns = parts[TOPSPIN_INSIDE_UNKNOWN];
}

/* A UDP socket keeps 16 bits of each part. This is the value of one bit: at most 1/65,536 of the
 * wait. */
TOPSPIN_INLINE __u32 unread_shift(__u64 wait_ns) {
  __u64 rest = wait_ns >> 16;
  __u32 shift, more;
  if (!rest) return 0;
  shift = bit_if_above(rest, 0xffff, 4);
  rest >>= shift;
  more = bit_if_above(rest, 0xff, 3);
  rest >>= more, shift |= more;
  more = bit_if_above(rest, 0xf, 2);
  rest >>= more, shift |= more;
  more = bit_if_above(rest, 0x3, 1);
  rest >>= more, shift |= more;
  return (shift + (__u32)(rest >> 1) + 1) & 63;
}

/* ---- what is known when its reply was sent ---- */

/* What the sending thread (the current one) did from read to sent. If another thread read the
 * request, it is not visible when this one took it up. It counts as working on it from the end
 * of its first sleep after the read, or after its own last turn (read or send) if that was
 * later. If it has not slept since that turn, it counts from the turn on. The time before that
 * is between threads, except for waits for a CPU. */
TOPSPIN_INLINE void look_inside(struct task_struct* task, struct topspin_watched_thread* thread,
                                struct topspin_socket_cpu* cpu, const struct request* request,
                                __u64 sent_ns) {
  struct reply_times* times = &thread->times;
  __u64 read_ns = request->read_ns, turn_ns = thread->turn_ns, own_ns, queued_ns, between_ns;
  __u64 run_delay_ns = task->sched_info.run_delay;
  times->sender = task->pid;
  if (request->reader == (__u32)task->pid) {
    look_back(thread, cpu, run_delay_ns, read_ns, sent_ns);
    return;
  }
  if (sent_ns <= read_ns) {
    look_back(thread, cpu, run_delay_ns, read_ns, read_ns);
    return;
  }
  own_ns = turn_ns > read_ns && turn_ns < sent_ns ? turn_ns : read_ns;
  look_back(thread, cpu, run_delay_ns, own_ns, sent_ns);
  if (times->first_woken_ns && times->first_woken_ns < sent_ns)
    own_ns = times->first_woken_ns;
  else if (own_ns == read_ns)
    own_ns = sent_ns;
  look_back(thread, cpu, run_delay_ns, read_ns, own_ns);
  queued_ns = times->parts[TOPSPIN_INSIDE_QUEUED];
  look_back(thread, cpu, run_delay_ns, own_ns, sent_ns);
  between_ns = own_ns - read_ns;
  times->parts[TOPSPIN_INSIDE_QUEUED] += queued_ns;
  times->parts[TOPSPIN_INSIDE_BETWEEN] = between_ns > queued_ns ? between_ns - queued_ns : 0;
}

/* Records one part of the rest of the reply, or that there is none of it. It is a function of
 * its own, not inlined: a program that fits into the cache saves more than the call costs. */
TOPSPIN_CHECKED_ONCE int record_part(struct reply_times* times, struct topspin_socket_cpu* cpu,
                                     __u32 number) {
  struct topspin_reply_part* part;
  __u64 ns;
  if (!times || !cpu || number >= TOPSPIN_REPLY_PARTS) return 0; /* never */
  ns = times->parts[number];
  if (ns > times->left_ns) ns = times->left_ns;
  times->left_ns -= ns;
  times->parts[number] = ns;
  if (!ns) return 0;
  part = &cpu->parts[number];
  add_cell(&part->time, histogram_index(ns), ns);
  if (times->total_ns < TOPSPIN_TAIL_REPLY_NS) return 0;
  add_cell(&part->with, times->total_index, times->total_ns);
  add_cell(&part->without, histogram_index(times->total_ns - ns), times->total_ns - ns);
  if (ns <= times->longest_ns) return 0;
  times->longest_ns = ns;
  times->longest = number;
  return 0;
}

static long record_asleep(__u32 step, struct reply_times** reply) {
  struct topspin_socket_cpu* cpu = this_cpu();
  if (cpu) record_part(*reply, cpu, TOPSPIN_INSIDE_ASLEEP + step);
  return 0;
}

/* Records the parts from read to sent. Fast replies have at most two of them. */
TOPSPIN_INLINE void record_inside(struct reply_times* times, struct topspin_socket_cpu* cpu) {
  const __u64* parts = times->parts;
  __u64 asleep_ns = 0;
  __u32 part;
  record_part(times, cpu, TOPSPIN_INSIDE_QUEUED);
  for (part = TOPSPIN_INSIDE_ASLEEP; part < TOPSPIN_REPLY_PARTS; part++) asleep_ns += parts[part];
  if (asleep_ns) bpf_loop(TOPSPIN_REPLY_PARTS - TOPSPIN_INSIDE_ASLEEP, record_asleep, &times, 0);
  if (parts[TOPSPIN_INSIDE_BETWEEN]) record_part(times, cpu, TOPSPIN_INSIDE_BETWEEN);
  if (parts[TOPSPIN_INSIDE_HELD]) record_part(times, cpu, TOPSPIN_INSIDE_HELD);
  if (parts[TOPSPIN_INSIDE_UNKNOWN]) record_part(times, cpu, TOPSPIN_INSIDE_UNKNOWN);
  times->parts[TOPSPIN_INSIDE_ON_CPU] = times->left_ns;
  record_part(times, cpu, TOPSPIN_INSIDE_ON_CPU);
}

/* Records the parts from ready to read. */
TOPSPIN_INLINE void record_unread(struct reply_times* times, struct topspin_socket_cpu* cpu,
                                  const struct request* request) {
  times->parts[TOPSPIN_UNREAD_QUEUED] = request->queued_ns;
  times->parts[TOPSPIN_UNREAD_ASLEEP] = request->asleep_ns;
  times->parts[TOPSPIN_UNREAD_STOPPED] = request->stopped_ns;
  times->parts[TOPSPIN_UNREAD_UNKNOWN] = request->unknown_ns;
  record_part(times, cpu, TOPSPIN_UNREAD_QUEUED);
  record_part(times, cpu, TOPSPIN_UNREAD_ASLEEP);
  if (request->stopped_ns) record_part(times, cpu, TOPSPIN_UNREAD_STOPPED);
  if (request->unknown_ns) record_part(times, cpu, TOPSPIN_UNREAD_UNKNOWN);
  times->parts[TOPSPIN_UNREAD_BUSY] = times->left_ns;
  record_part(times, cpu, TOPSPIN_UNREAD_BUSY);
}

/* `times` has the parts from read to sent. Afterwards it has all parts. */
TOPSPIN_INLINE void record_reply(struct reply_times* times, struct topspin_socket_cpu* cpu,
                                 const struct request* request, __u64 sent_ns) {
  __u64 sent_after_ns = sent_ns > request->read_ns ? sent_ns - request->read_ns : 0;
  __u64 unread_ns = request->read_ns - request->ready_ns;
  __u64 unread_queued_ns, queued_ns;
  times->total_ns = unread_ns + sent_after_ns;
  times->total_index = histogram_index(times->total_ns);
  times->longest_ns = 0;
  times->left_ns = sent_after_ns;
  record_inside(times, cpu);
  times->left_ns = unread_ns;
  record_unread(times, cpu, request);
  record_at(&cpu->reply, times->total_index, times->total_ns);
  if (times->longest_ns && times->longest < TOPSPIN_REPLY_PARTS)
    add_cell(&cpu->parts[times->longest].mostly, times->total_index, times->total_ns);
  unread_queued_ns = times->parts[TOPSPIN_UNREAD_QUEUED];
  queued_ns = times->parts[TOPSPIN_INSIDE_QUEUED];
  record(&cpu->reply_socket, unread_ns - unread_queued_ns);
  record(&cpu->reply_cpu_queue, unread_queued_ns + queued_ns);
  record(&cpu->reply_runtime, sent_after_ns - queued_ns);
  cpu->events++; /* a second time, so that whoever read in between reads again */
}

/* ---- the slowest replies ---- */

static long find_least(__u32 step, struct topspin_slowest** slowest) {
  struct topspin_slowest* kept = *slowest;
  __u64 total_ns = kept->replies[step & (TOPSPIN_SLOW_REPLIES - 1)].total_ns;
  if (total_ns >= kept->least_ns) return 0;
  kept->least_ns = total_ns;
  kept->least = step;
  return 0;
}

/* The address to which the current call sends, if the call has one: the system call in progress
 * is sendto or sendmsg. */
TOPSPIN_INLINE void read_destination(struct task_struct* task, struct topspin_slow_reply* reply) {
  const struct pt_regs* regs = (const struct pt_regs*)bpf_task_pt_regs(task);
  long number = SYSCALL_NUMBER(regs);
  const void* at = NULL;
  struct {
    __u16 family;
    __be16 port;
    __be32 ip4; /* for IPv6: the flow label */
    __u8 ip6[16];
  } name = {};
  if (task->flags & PF_IO_WORKER) return;
  if (number == sendto_number)
    at = (const void*)SYSCALL_FIFTH_ARGUMENT(regs);
  else if (number == sendmsg_number)
    bpf_probe_read_user(&at, sizeof(at), (const void*)SYSCALL_SECOND_ARGUMENT(regs));
  if (!at || bpf_probe_read_user(&name, 8, at)) return;
  if (name.family == AF_INET) {
    __builtin_memcpy(reply->remote, &name.ip4, sizeof(name.ip4));
  } else if (name.family == AF_INET6) {
    if (bpf_probe_read_user(name.ip6, sizeof(name.ip6), at + 8)) return;
    __builtin_memcpy(reply->remote, name.ip6, sizeof(name.ip6));
  } else {
    return;
  }
  reply->remote_port = bpf_ntohs(name.port);
}

TOPSPIN_INLINE void describe_socket(struct sock* sk, struct topspin_slow_reply* reply) {
  bool is_ipv6 = sk->__sk_common.skc_family == AF_INET6;
  reply->protocol = sk->sk_protocol == IPPROTO_UDP ? IPPROTO_UDP : IPPROTO_TCP;
  reply->ip_version = is_ipv6 ? 6 : 4;
  /* A TCP socket that has just closed no longer has skc_num, but still has this. */
  reply->local_port = bpf_ntohs(BPF_CORE_READ((const struct inet_sock*)sk, inet_sport));
  reply->remote_port = bpf_ntohs(sk->__sk_common.skc_dport);
  __builtin_memset(reply->local, 0, sizeof(reply->local));
  __builtin_memset(reply->remote, 0, sizeof(reply->remote));
  if (is_ipv6) {
    BPF_CORE_READ_INTO(&reply->local, sk, __sk_common.skc_v6_rcv_saddr);
    BPF_CORE_READ_INTO(&reply->remote, sk, __sk_common.skc_v6_daddr);
  } else {
    BPF_CORE_READ_INTO((__be32*)reply->local, sk, __sk_common.skc_rcv_saddr);
    BPF_CORE_READ_INTO((__be32*)reply->remote, sk, __sk_common.skc_daddr);
  }
}

static __attribute__((noinline)) void keep_slow(const struct reply_times* times,
                                                struct topspin_slowest* kept, struct sock* sk,
                                                const struct request* request, __u64 epoch) {
  struct task_struct* sender = bpf_get_current_task_btf();
  struct topspin_slow_reply* reply;
  bool full = kept->epoch == epoch && kept->used == TOPSPIN_SLOW_REPLIES;
  if (__sync_val_compare_and_swap(&kept->busy, 0, 1))
    return; /* a program that this one interrupted is writing here */
  if (kept->epoch != epoch) kept->used = 0;
  kept->epoch = epoch;
  reply = &kept->replies[(full ? kept->least : kept->used) & (TOPSPIN_SLOW_REPLIES - 1)];
  reply->ready_ns = request->ready_ns;
  reply->total_ns = times->total_ns;
  __builtin_memcpy(reply->parts, times->parts, sizeof(reply->parts));
  describe_socket(sk, reply);
  reply->reader_tid = request->reader;
  reply->sender_tid = times->sender;
  reply->sender[0] = 0;
  if ((__u32)sender->pid == times->sender) {
    bpf_probe_read_kernel_str(reply->sender, sizeof(reply->sender), sender->comm);
    if (!reply->remote_port) read_destination(sender, reply);
  }
  if (!full) kept->used++;
  if (kept->used == TOPSPIN_SLOW_REPLIES) {
    kept->least_ns = ~0ULL;
    bpf_loop(TOPSPIN_SLOW_REPLIES, find_least, &kept, 0);
  }
  __sync_lock_test_and_set(&kept->busy, 0);
}

/* Keeps the reply that `times` describes if it is one of the slowest of this CPU and epoch.
 * After the first replies of an epoch, this costs one comparison for every reply that is not in
 * the tail. */
TOPSPIN_INLINE void keep_if_slow(const struct reply_times* times, struct topspin_socket_cpu* cpu,
                                 struct sock* sk, const struct request* request) {
  __u64 epoch = *(volatile __u64*)&slow_epoch;
  struct topspin_slowest* kept = &cpu->slowest[epoch & 1];
  if (kept->epoch != epoch || kept->used < TOPSPIN_SLOW_REPLIES || times->total_ns > kept->least_ns)
    keep_slow(times, kept, sk, request, epoch);
}

#endif
