// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* Finds which process holds which TCP or UDP socket.
 *
 * walk_files (iter/task_file) writes a record for each open file that is a bound socket of our
 * network namespace, for every process. This gives in one pass what /proc/PID/fd and
 * NETLINK_SOCK_DIAG give together. set_state (tp_btf/inet_sock_set_state) also sees connections
 * that end before the next walk: connect() moves a socket to SYN_SENT in the context of its caller.
 * The caller is kept in the socket's storage, and sent to user space when the handshake ends,
 * because the local port is certain only then. The caller of listen() is kept likewise; the kernel
 * copies a listener's storage to each connection made from it. Nothing here runs per packet.
 */
/* clang-format off */
#include "probes/bpf/kernel_types.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "probes/bpf/inline.bpf.h"
#include "probes/owners/flow_owner_abi.h"

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262

enum { STATE_ESTABLISHED = 1, STATE_SYN_SENT = 2, STATE_SYN_RECV = 3, STATE_LISTEN = 10 };

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct file;

struct ns_common {
  unsigned int inum;
};

struct net {
  struct ns_common ns;
};

typedef struct {
  struct net* net;
} possible_net_t;

struct in6_addr {
  union {
    __u8 u6_addr8[16];
  } in6_u;
};

struct sock_common {
  __be32 skc_daddr;
  __be32 skc_rcv_saddr;
  __be16 skc_dport;
  __u16 skc_num;
  unsigned short skc_family;
  volatile unsigned char skc_state;
  unsigned char skc_ipv6only : 1;
  possible_net_t skc_net;
  struct in6_addr skc_v6_daddr;
  struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
  struct sock_common __sk_common;
  __u16 sk_protocol;
};

struct inet_sock {
  struct sock sk;
  __be16 inet_sport;
};

struct socket {
  struct sock* sk;
};

struct bpf_iter__task_file {
  struct bpf_iter_meta* meta;
  struct task_struct* task;
  __u32 fd;
  struct file* file;
};

#pragma clang attribute pop

const volatile __u32 net_inode = 0; /* of the network namespace to examine */

__u32 reader_pid_level; /* depth of the reader's pid namespace; set by the first walk */

__u64 events_unsent; /* the ring was full */

struct owner {
  __u64 start_boottime_ns;
  __s32 pid;
  __u32 listens; /* the process called listen(), not connect() */
  char comm[16];
};

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
  __type(key, int);
  __type(value, struct owner);
} openers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4 << 20);
} events SEC(".maps");

/* 0 if the process is not in the reader's pid namespace. */
TOPSPIN_INLINE __s32 pid_for_reader(struct task_struct* leader) {
  struct pid* pid = BPF_CORE_READ(leader, thread_pid);
  __u32 level = reader_pid_level;
  __s32 number = 0;
  if (!pid || BPF_CORE_READ(pid, level) < level || level > 32) return 0;
  bpf_probe_read_kernel(&number, sizeof(number),
                        (void*)pid + bpf_core_field_offset(struct pid, numbers) +
                            level * bpf_core_type_size(struct upid) +
                            bpf_core_field_offset(struct upid, nr));
  return number;
}

/* Fills in the addresses and ports. True if the socket counts: TCP or UDP, in our network
 * namespace, with a local port. */
TOPSPIN_INLINE bool describe(const struct sock* sk, struct topspin_socket* out) {
  __u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
  __u16 protocol = BPF_CORE_READ(sk, sk_protocol);
  if (family != AF_INET && family != AF_INET6) return false;
  /* An MPTCP socket of a program has the addresses of its first TCP connection. The TCP connections
   * themselves have no file. */
  if (protocol == IPPROTO_MPTCP) protocol = IPPROTO_TCP;
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return false;
  if (BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum) != net_inode) return false;
  out->protocol = protocol;
  /* A TCP socket that has just closed no longer has skc_num, but still has this. */
  out->local_port = bpf_ntohs(BPF_CORE_READ((const struct inet_sock*)sk, inet_sport));
  out->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
  if (out->local_port == 0) return false;
  if (family == AF_INET6) {
    out->flags = TOPSPIN_SOCKET_IPV6;
    if (BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only))
      out->flags |= TOPSPIN_SOCKET_IPV6_ONLY;
    BPF_CORE_READ_INTO(&out->local, sk, __sk_common.skc_v6_rcv_saddr);
    BPF_CORE_READ_INTO(&out->remote, sk, __sk_common.skc_v6_daddr);
  } else {
    BPF_CORE_READ_INTO((__be32*)out->local, sk, __sk_common.skc_rcv_saddr);
    BPF_CORE_READ_INTO((__be32*)out->remote, sk, __sk_common.skc_daddr);
  }
  return true;
}

SEC("iter/task_file")
int walk_files(struct bpf_iter__task_file* context) {
  struct task_struct* task = context->task;
  struct file* file = context->file;
  struct topspin_socket out = {};
  struct task_struct* leader;
  struct socket* socket;
  struct sock* sk;

  if (context->meta->seq_num == 0) reader_pid_level = bpf_get_current_task_btf()->thread_pid->level;
  if (!task || !file) return 0;
  socket = bpf_sock_from_file(file);
  if (!socket) return 0;
  sk = BPF_CORE_READ(socket, sk);
  if (!sk || !describe(sk, &out)) return 0;
  if (out.remote_port == 0 && out.protocol == IPPROTO_TCP &&
      BPF_CORE_READ(sk, __sk_common.skc_state) != STATE_LISTEN)
    return 0;
  leader = task->group_leader;
  out.pid = pid_for_reader(leader);
  if (out.pid == 0) return 0;
  out.start_boottime_ns = leader->start_boottime;
  BPF_CORE_READ_STR_INTO(&out.comm, leader, comm);
  bpf_seq_write(context->meta->seq, &out, sizeof(out));
  return 0;
}

TOPSPIN_INLINE void remember_current(struct sock* sk, bool listens) {
  struct task_struct* leader = bpf_get_current_task_btf()->group_leader;
  struct owner* owner = bpf_sk_storage_get(&openers, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!owner) {
    __sync_fetch_and_add(&events_unsent, 1);
    return;
  }
  owner->pid = pid_for_reader(leader);
  owner->start_boottime_ns = leader->start_boottime;
  owner->listens = listens;
  BPF_CORE_READ_STR_INTO(&owner->comm, leader, comm);
}

TOPSPIN_INLINE void send_owner(struct sock* sk, bool accepted) {
  const struct owner* owner = bpf_sk_storage_get(&openers, sk, NULL, 0);
  struct topspin_socket* out;
  if (!owner || owner->pid == 0 || owner->listens != accepted) return;
  out = bpf_ringbuf_reserve(&events, sizeof(*out), 0);
  if (!out) {
    __sync_fetch_and_add(&events_unsent, 1);
    return;
  }
  __builtin_memset(out, 0, sizeof(*out));
  if (!describe(sk, out) || out->remote_port == 0) {
    bpf_ringbuf_discard(out, 0);
    return;
  }
  if (accepted) out->flags |= TOPSPIN_SOCKET_ACCEPTED;
  out->pid = owner->pid;
  out->start_boottime_ns = owner->start_boottime_ns;
  __builtin_memcpy(out->comm, owner->comm, sizeof(out->comm));
  bpf_ringbuf_submit(out, 0);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(set_state, struct sock* sk, int old_state, int new_state) {
  if (new_state == STATE_SYN_SENT)
    remember_current(sk, false);
  else if (new_state == STATE_LISTEN)
    remember_current(sk, true);
  else if (old_state == STATE_SYN_SENT)
    send_owner(sk, false);
  else if (old_state == STATE_SYN_RECV && new_state == STATE_ESTABLISHED)
    send_owner(sk, true);
  return 0;
}
