// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/* Measures the subject's sockets: how long a connection waits to be accepted, how long data waits
 * to be read, and the parts of each reply's time. docs/sockets.md defines the numbers.
 *
 * A socket is watched if it has storage of ours. The storage is created when a thread of the
 * subject listens on the socket, receives or sends, or for the files that are open when the probe
 * opens (open_sockets.bpf.h). The kernel copies a listener's storage to each connection made from
 * it. For all other sockets of the host an event ends after one load.
 *
 * There are two groups of programs, which user space may load separately:
 *   accepts  set_state (a connection is ready), sys_exit (accept returned)
 *   replies  data_ready, received, sent, dropped, sched_switch (what each thread waited for).
 *            Kernels before 6.3 lack the tracepoints of the first three; the programs whose names
 *            end in _by_function attach to the functions that those tracepoints are in. They are
 *            not loaded unless user space asks for it
 * sys_exit slows down each system call of the host, and sched_switch each switch of the subject. So
 * user space attaches them only when a notice says that the subject listens or serves.
 */
/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include "probes/bpf/kernel_types.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#include "probes/bpf/cells.bpf.h"
#include "probes/bpf/kernel_cast.bpf.h"
#include "probes/bpf/local_storage.bpf.h"
#include "probes/bpf/task.bpf.h"
#include "probes/scheduler/bpf/scheduler_abi.h" /* topspin_thread */
#include "probes/sockets/sockets_abi.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262
#define PF_IO_WORKER 0x10 /* of task_struct.flags: a kernel thread of a process's io_uring */
#define MSG_PEEK 0x2
#define MSG_ERRQUEUE 0x2000
#define MSG_MORE 0x8000
#define RCV_SHUTDOWN 1       /* of sk_shutdown: for example, the peer's FIN has arrived */
#define SOCK_BINDPORT_LOCK 8 /* of sk_userlocks: bound to a port that the program chose */

enum {
  STATE_ESTABLISHED = 1,
  STATE_SYN_SENT = 2,
  STATE_SYN_RECV = 3,
  STATE_FIN_WAIT1 = 4,
  STATE_CLOSE = 7,
  STATE_LAST_ACK = 9,
  STATE_LISTEN = 10,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sk_buff {
  struct sk_buff* next;
  __s64 tstamp; /* ktime_t, CLOCK_REALTIME on the way in */
};

struct sk_buff_head {
  struct sk_buff* next;
};

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
  struct in6_addr skc_v6_daddr;
  struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
  struct sock_common __sk_common;
  struct sk_buff_head sk_receive_queue;
  __u16 sk_protocol;
  __u8 sk_userlocks : 4; /* a bit field in older kernels, and read as one */
  __u8 sk_shutdown;
  __u32 sk_ack_backlog;
  __u32 sk_max_ack_backlog;
  struct bpf_local_storage* sk_bpf_storage;
};

struct inet_sock {
  __be16 inet_sport;
};

struct udp_sock {
  struct sk_buff_head reader_queue;
};

struct tcp_sock {
  __u32 copied_seq;
  __u32 rcv_nxt;
  __u32 write_seq; /* the end of what programs have sent */
  __u32 snd_una;   /* the end of what the peer has acknowledged */
  __u32 snd_wnd;   /* how much the peer accepts from there on */
  __u32 mss_cache;
  __u8 nonagle : 4;      /* 0: Nagle's algorithm is on; a bit field, and read as one */
  __u32 snd_nxt;         /* the end of what has left */
  __u64 tcp_wstamp_ns;   /* when the last segment left; CLOCK_MONOTONIC */
  __u64 first_tx_mstamp; /* in us: when the segment with the newest acknowledged data left; if
                            nothing is acknowledged, when the oldest one left */
};

struct inet_connection_sock {
  const void* icsk_ulp_ops;
};

struct mptcp_sock {
  struct sock* first;                /* the first of its TCP connections */
  struct sk_buff_head receive_queue; /* in kernels that do not use sk_receive_queue */
};

struct socket {
  struct sock* sk;
};

struct msghdr {
  unsigned int msg_flags;
};

struct bpf_iter__task_file {
  struct bpf_iter_meta* meta;
  struct task_struct* task;
  __u32 fd;
  struct file* file;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
  unsigned long orig_ax;
  unsigned long si;
  unsigned long r8;
};
#define SYSCALL_NUMBER(regs) ((long)(regs)->orig_ax)
#define SYSCALL_SECOND_ARGUMENT(regs) ((regs)->si)
#define SYSCALL_FIFTH_ARGUMENT(regs) ((regs)->r8)
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
  __u64 regs[31];
  __s32 syscallno;
};
#define SYSCALL_NUMBER(regs) ((long)(regs)->syscallno)
#define SYSCALL_SECOND_ARGUMENT(regs) ((regs)->regs[1])
#define SYSCALL_FIFTH_ARGUMENT(regs) ((regs)->regs[4])
#else
#error "where is the number of the system call in struct pt_regs of this architecture?"
#endif

#pragma clang attribute pop

/* The state of a walk over a socket's pending requests. It is in the thread's storage and not on
 * the stack, because the verifier tracks values on the stack: it followed the walk with every
 * combination of counts, which took it longer than all other programs together. */
struct place_walk {
  __u64 now_ns;
  __u64 oldest_ns;
  __u64 youngest_ns;
  __u64 second_ns; /* the second youngest */
  __u32 oldest;
  __u32 youngest;
  __u32 seen; /* of `used` places */
  __u32 used;
  __u32 tag;
  __u32 wanted;
  __u32 same_tag;
  __u32 same_id;
  __u32 freed;
  __u32 reserved;
};

#include "probes/sockets/thread_times.bpf.h"

/* ---- sockets ---- */

/* Whether reads from a socket are requests, and sends are replies. */
enum { ROLE_UNKNOWN = 0, ROLE_SERVER = 1, ROLE_CLIENT = 2 };

struct request {
  __u64 ready_ns; /* 0: not known, so its reply is not counted */
  __u64 read_ns;  /* 0: no request */
  /* What the reading thread did from ready to read; for the rest of that time it was on a CPU. */
  __u64 queued_ns;
  __u64 asleep_ns;
  __u64 stopped_ns;
  __u64 unknown_ns;
  __u32 reader; /* its number */
  __u32 reserved;
};

#define HEAD_BYTES 11

/* What a connection carries, by the first bytes of its requests. */
enum {
  TALK_UNSEEN = 0,
  TALK_PLAIN,
  TALK_HTTP, /* a reply may turn it into TALK_MULTIPLEXED */
  TALK_TLS,
  TALK_TLS_HANDSHAKE,
  TALK_TLS_TICKETS, /* TLS 1.3: session tickets may answer its first application data */
  TALK_MULTIPLEXED, /* HTTP/2, SSH, ...: a send does not answer a particular request */
};

struct watched_socket {
  __u64 unread_ns;     /* when the oldest unread data came; 0: there is none, or not known */
  __u64 last_ready_ns; /* when data came last */
  __u64 listener;      /* the address of the listening socket that this is or came from */
  __u64 self;     /* the socket's own address; another one's if the kernel has just copied this */
  __u64 nagle_ns; /* since when Nagle's algorithm has held back a send; 0: it holds none */
  __u32 role;
  __u32 read_seq; /* TCP: the end of what the visible reads have read */
  __u8 seq_known;
  __u8 talk;
  __u8 is_turn;        /* the request is counted but not split */
  __u8 reply_held;     /* TCP: the reply was sent, but nothing of it has left yet */
  __u8 head_bytes;     /* how many bytes of `head` were read */
  __u8 plain_requests; /* of TALK_PLAIN and TALK_HTTP, up to PLAIN_REQUESTS */
  __u8 seen_made;      /* we saw the kernel create the connection, before it could be accepted */
  __u8 reserved;
  __u8 head[32];          /* the first HEAD_BYTES of a request; the verifier needs the rest */
  struct request request; /* for a connection: the request that was read and not answered */
  /* With reply_held: the time of the last send, and what the sending thread did from the read
   * until then. */
  __u64 held_ns;
  struct reply_times held;
  __u32 reply_seq;     /* TCP: where the reply to the request begins */
  __u32 message_bytes; /* how much had arrived when the reading of the first request began */
};

/* The requests of a UDP socket, which serves many peers. From Linux 7 on, an element of storage has
 * to fit into 8 KiB. */
#define PENDING_REQUESTS 256

struct pending_request {
  __u32 wait; /* from ready to read, in units of PENDING_WAIT_NS; NOT_KNOWN */
  /* As in struct request, in units of 1 << unread_shift() ns. */
  __u16 queued;
  __u16 asleep;
  __u16 stopped;
  __u16 unknown;
  __u32 tag; /* from the first bytes of the payload; 0: not known */
  __u32 reader;
};

#define PENDING_WAIT_NS 16
#define NOT_KNOWN (~0u)
#define PLACE_TAKEN 1

struct pending_requests {
  __u32 used; /* places that are not free */
  /* About the latest reply, as capture/flows/flow_table.cc keeps it for each flow. */
  __u32 tags_match; /* replies identify their requests by their first bytes */
  __u32 request_tag;
  __u32 reply_tag;
  __u64 read_ns[PENDING_REQUESTS]; /* 0: the place is free; PLACE_TAKEN: it is being filled */
  struct pending_request requests[PENDING_REQUESTS];
};

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
  __type(key, int);
  __type(value, struct watched_socket);
} sockets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct pending_requests);
} pending SEC(".maps");

/* Connections that are ready to be accepted, by the address of their socket. Not socket storage:
 * an accepted socket is found through its descriptor, with reads whose result cannot be used to
 * look up storage. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 65536);
  __type(key, __u64);
  __type(value, __u64);
} ready_connections SEC(".maps");

/* Ports on which a socket listened when we began. Connections to them are a server's. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 65536);
  __type(key, __u16);
  __type(value, __u8);
} listening_ports SEC(".maps");

/* User space sets max_entries and maps it. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct topspin_socket_cpu);
} cpus SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
} notices SEC(".maps");

const volatile __u32 accept_number = 0;
const volatile __u32 accept4_number = 0;
const volatile __u32 sees_accepts = 0; /* sys_exit is loaded */
const volatile __u32 read_number = 0;
const volatile __u32 recvfrom_number = 0;
const volatile __u32 readv_number = 0;
const volatile __u32 recvmsg_number = 0;
const volatile __u32 write_number = 0;
const volatile __u32 sendto_number = 0;
const volatile __u32 writev_number = 0;
const volatile __u32 sendmsg_number = 0;
const volatile __u64 reply_timeout_ns = 0; /* an older request counts as one without a reply */

struct topspin_accept_queues accept_queues;
__s64 realtime_minus_monotonic_ns; /* user space sets it once per tick */
__u64 datagram_sockets;            /* the subject has used UDP, so packets need timestamps */
__u32 serves;                      /* the subject has had a server's socket */
__u32 listens;                     /* the subject has had a listening socket */
__u64 sockets_refused;             /* no room for a socket, or for a ready connection */

TOPSPIN_INLINE struct topspin_socket_cpu* this_cpu(void) {
  __u32 cpu = bpf_get_smp_processor_id();
  return bpf_map_lookup_elem(&cpus, &cpu);
}

/* The MPTCP socket is the one that a program holds; the TCP connections below it belong to the
 * kernel. */
TOPSPIN_INLINE bool is_inet(const struct sock* sk) {
  __u16 family = sk->__sk_common.skc_family;
  __u16 protocol = sk->sk_protocol;
  return (family == AF_INET || family == AF_INET6) &&
         (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_MPTCP);
}

/* Wakes user space, so that it attaches the programs that cost something at every switch or
 * system call, now that they are needed. If the ring is full, user space is already being woken. */
TOPSPIN_INLINE void tell(__u32* once) {
  __u32 nothing = 0;
  if (*once || __sync_val_compare_and_swap(once, 0, 1)) return;
  bpf_ringbuf_output(&notices, &nothing, sizeof(nothing), BPF_RB_FORCE_WAKEUP);
}

TOPSPIN_INLINE void set_role(struct watched_socket* socket, __u32 role) {
  socket->role = role;
  if (role == ROLE_SERVER) tell(&serves);
}

TOPSPIN_INLINE __u32 role_of(struct sock* sk) {
  if (sk->sk_protocol != IPPROTO_UDP) {
    __u16 port = sk->__sk_common.skc_num;
    return bpf_map_lookup_elem(&listening_ports, &port) ? ROLE_SERVER : ROLE_CLIENT;
  }
  return BPF_CORE_READ_BITFIELD(sk, sk_userlocks) & SOCK_BINDPORT_LOCK ? ROLE_SERVER : ROLE_UNKNOWN;
}

/* If the kernel copied this storage from a listener, keeps only the identity, and none of the
 * times. The first event of a connection is its creation, before any data is in it. */
TOPSPIN_INLINE void begin_anew_if_copied(struct watched_socket* socket, const struct sock* sk) {
  if (socket->self == (__u64)sk) return;
  socket->self = (__u64)sk;
  socket->unread_ns = 0;
  socket->last_ready_ns = 0;
  socket->request.read_ns = 0;
  socket->seq_known = 0;
  socket->reply_held = 0;
  socket->nagle_ns = 0;
  socket->talk = TALK_UNSEEN;
  socket->head_bytes = 0;
  socket->plain_requests = 0;
  socket->seen_made = 0;
}

TOPSPIN_INLINE struct watched_socket* watched(struct sock* sk) {
  struct watched_socket* socket;
  if (!FOLLOW(sk, sk_bpf_storage)) return NULL;
  socket = bpf_sk_storage_get(&sockets, sk, NULL, 0);
  if (socket) begin_anew_if_copied(socket, sk);
  return socket;
}

TOPSPIN_INLINE void begin_to_watch(struct watched_socket* socket, struct sock* sk) {
  socket->self = (__u64)sk;
  set_role(socket, role_of(sk));
  if (sk->sk_protocol == IPPROTO_UDP) __sync_fetch_and_add(&datagram_sockets, 1);
}

TOPSPIN_INLINE struct watched_socket* watch(struct sock* sk) {
  struct watched_socket* socket = watched(sk);
  if (socket) return socket;
  socket = made_socket_storage(&sockets, sk);
  if (!socket) {
    __sync_fetch_and_add(&sockets_refused, 1);
    return NULL;
  }
  begin_to_watch(socket, sk);
  return socket;
}

#include "probes/sockets/open_sockets.bpf.h"
#include "probes/sockets/reply_record.bpf.h"

/* ---- when a reply left ---- */

/* When the last segment of what was just sent left. On loopback the send returns only after the
 * receiver's side of the stack. */
TOPSPIN_INLINE __u64 departure_ns(struct sock* sk, __u64 read_ns, __u64 now_ns) {
  struct mptcp_sock* mptcp = (struct mptcp_sock*)sk;
  struct tcp_sock* tcp = (struct tcp_sock*)sk;
  __u64 left_ns;
  if (sk->sk_protocol == IPPROTO_MPTCP && bpf_core_field_exists(mptcp->first))
    tcp = (struct tcp_sock*)READ_AS(mptcp_sock, mptcp, first);
  else if (sk->sk_protocol != IPPROTO_TCP)
    return now_ns;
  left_ns = READ_AS(tcp_sock, tcp, tcp_wstamp_ns);
  return left_ns > read_ns && left_ns < now_ns ? left_ns : now_ns;
}

TOPSPIN_INLINE bool has_left(const struct watched_socket* socket, struct sock* sk) {
  return sk->sk_protocol != IPPROTO_TCP ||
         (__s32)(READ_AS(tcp_sock, sk, snd_nxt) - socket->reply_seq) > 0;
}

/* A reply that had not left when its send returned (TCP_CORK, MSG_MORE, Nagle, a full window)
 * may have left since, without a call that we see. `ends`: the held reply leaves right now. */
static __attribute__((noinline)) void end_held_reply(struct watched_socket* socket, struct sock* sk,
                                                     bool ends) {
  struct request request = socket->request;
  struct topspin_socket_cpu* cpu;
  __u64 now_ns, sent_ns;
  bool left = has_left(socket, sk);
  if (!socket->reply_held || (!left && !ends)) return;
  cpu = this_cpu();
  if (!cpu) return;
  socket->reply_held = 0;
  socket->request.read_ns = 0;
  cpu->events++;
  now_ns = bpf_ktime_get_ns();
  sent_ns = left ? READ_AS(tcp_sock, sk, first_tx_mstamp) * 1000 : now_ns;
  if (sent_ns <= request.read_ns || sent_ns > now_ns) sent_ns = now_ns;
  if (!request.read_ns || sent_ns - request.read_ns > reply_timeout_ns) {
    cpu->unmatched++;
    return;
  }
  if (!request.ready_ns) return;
  socket->held.parts[TOPSPIN_INSIDE_HELD] =
      sent_ns > socket->held_ns ? sent_ns - socket->held_ns : 0;
  record_reply(&socket->held, cpu, &request, sent_ns);
  keep_if_slow(&socket->held, cpu, sk, &request);
}

TOPSPIN_INLINE bool nagle_is_off(struct tcp_sock* tcp) {
  return BPF_CORE_READ_BITFIELD_PROBED(tcp, nonagle) != 0;
}

/* Whether Nagle's algorithm has just held back a send: it is less than a segment, the peer has
 * not acknowledged everything that left before, and its window has room. From then on it is not
 * known when an earlier held send left. */
TOPSPIN_INLINE void note_nagle(struct watched_socket* socket, struct sock* sk, int flags) {
  struct tcp_sock* tcp = (struct tcp_sock*)sk;
  __u32 next = READ_AS(tcp_sock, tcp, snd_nxt);
  __u32 unsent = READ_AS(tcp_sock, tcp, write_seq) - next, in_flight;
  if (!unsent || flags & MSG_MORE) {
    socket->nagle_ns = 0;
    return;
  }
  if (socket->nagle_ns) return;
  in_flight = next - READ_AS(tcp_sock, tcp, snd_una);
  if (in_flight && unsent < READ_AS(tcp_sock, tcp, mss_cache) &&
      in_flight + unsent <= READ_AS(tcp_sock, tcp, snd_wnd) && !nagle_is_off(tcp))
    socket->nagle_ns = bpf_ktime_get_ns();
}

/* The peer sends something: either the held send has left, or it continues to wait. The last
 * segment that left is the held one, because nothing was sent after it. */
TOPSPIN_INLINE void end_nagle(struct watched_socket* socket, struct sock* sk) {
  struct tcp_sock* tcp = (struct tcp_sock*)sk;
  __u64 since_ns = socket->nagle_ns, left_ns;
  struct topspin_socket_cpu* cpu;
  if (!since_ns || READ_AS(tcp_sock, tcp, write_seq) != READ_AS(tcp_sock, tcp, snd_nxt)) return;
  socket->nagle_ns = 0;
  left_ns = READ_AS(tcp_sock, tcp, tcp_wstamp_ns);
  cpu = this_cpu();
  if (!cpu || left_ns <= since_ns) return;
  record(&cpu->nagle_held, left_ns - since_ns);
  cpu->events++;
}

/* ---- what a connection has received and sent ---- */

TOPSPIN_INLINE __u32 copied_seq(struct sock* sk) { return READ_AS(tcp_sock, sk, copied_seq); }

TOPSPIN_INLINE __u32 unread_bytes(struct sock* sk) {
  struct tcp_sock* tcp = (struct tcp_sock*)sk;
  if (sk->sk_protocol != IPPROTO_TCP) return 0;
  return READ_AS(tcp_sock, tcp, rcv_nxt) - READ_AS(tcp_sock, tcp, copied_seq);
}

/* ---- accepts ---- */

TOPSPIN_INLINE void note_queue(__u64 listener) {
  const struct sock* sk = (const struct sock*)listener;
  __u64 depth = BPF_CORE_READ(sk, sk_ack_backlog);
  __u64 limit = BPF_CORE_READ(sk, sk_max_ack_backlog);
  __u64* fullest = &accept_queues.fullest[accept_queues.epoch & 1];
  __u64 now = depth << 32 | limit, before;
  int tries;
  for (tries = 0; tries < 4; tries++) {
    before = *(volatile __u64*)fullest;
    if (before >> 32 >= depth) return;
    if (__sync_val_compare_and_swap(fullest, before, now) == before) return;
  }
}

TOPSPIN_INLINE void connection_is_ready(struct sock* sk, __u64 now_ns) {
  __u64 key = (__u64)sk;
  if (bpf_map_update_elem(&ready_connections, &key, &now_ns, BPF_ANY))
    __sync_fetch_and_add(&sockets_refused, 1);
}

/* The kernel has created the socket of a connection, and is about to put it into its listener's
 * queue. With TCP Fast Open it already has the data of the SYN, which no other event reports; it
 * may be accepted, read and answered long before it is ESTABLISHED. */
TOPSPIN_INLINE void connection_is_made(struct watched_socket* socket, struct sock* sk) {
  __u64 now_ns = bpf_ktime_get_ns();
  socket->seen_made = 1;
  socket->unread_ns = now_ns;
  socket->last_ready_ns = now_ns;
  connection_is_ready(sk, now_ns);
}

/* A connection becomes ESTABLISHED before data that came with that ACK is put into it. Without data
 * in the SYN, nothing is unread. */
TOPSPIN_INLINE void connection_is_established(struct watched_socket* socket, struct sock* sk) {
  if (!socket->seen_made)
    connection_is_ready(sk, bpf_ktime_get_ns());
  else if (!unread_bytes(sk))
    socket->unread_ns = 0;
  socket->read_seq = copied_seq(sk);
  socket->seq_known = 1;
  note_queue(socket->listener);
}

/* A connection's storage is copied from its listener's before the first event of its states.
 * Data that came with the handshake's last ACK is reported after all of them. The MPTCP socket
 * that will be accepted is created from the listening one at that same ACK. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(set_state, struct sock* sk, int old_state, int new_state) {
  struct watched_socket* socket;
  __u64 key = (__u64)sk;
  bool copied;
  if (new_state == STATE_LISTEN) {
    if (!member(bpf_get_current_task_btf())) return 0;
    socket = watch(sk);
    if (!socket) return 0;
    socket->listener = key;
    set_role(socket, ROLE_SERVER);
    tell(&listens);
    return 0;
  }
  /* A thread connects. What the other side sends first, or while this side's first send returns,
   * is thus seen to arrive. */
  if (new_state == STATE_SYN_SENT && is_inet(sk) && serving_thread(bpf_get_current_task_btf())) {
    socket = watch(sk);
    if (socket) socket->role = ROLE_CLIENT;
    return 0;
  }
  if (!FOLLOW(sk, sk_bpf_storage)) return 0;
  socket = bpf_sk_storage_get(&sockets, sk, NULL, 0);
  if (!socket) return 0;
  copied = socket->self != key;
  begin_anew_if_copied(socket, sk);
  /* A program has closed it or shut it down. The FIN, and everything that was held, is sent
   * after this. */
  if (new_state == STATE_FIN_WAIT1 || new_state == STATE_LAST_ACK) end_held_reply(socket, sk, true);
  if (new_state == STATE_CLOSE) {
    bpf_map_delete_elem(&ready_connections, &key);
    return 0;
  }
  if (!socket->listener) return 0;
  if (sk->sk_protocol == IPPROTO_MPTCP) {
    if (!copied) return 0;
    connection_is_ready(sk, bpf_ktime_get_ns());
    note_queue(socket->listener);
  } else if (new_state == STATE_SYN_RECV) {
    connection_is_made(socket, sk);
  } else if (old_state == STATE_SYN_RECV && new_state == STATE_ESTABLISHED) {
    connection_is_established(socket, sk);
  }
  return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs* regs, long result) {
  long number = SYSCALL_NUMBER(regs);
  struct task_struct* task;
  struct fdtable* table;
  struct file** files;
  struct file* file = NULL;
  struct socket* socket;
  struct topspin_socket_cpu* cpu;
  __u64 key, now_ns;
  __u64* ready_ns;
  if (number != accept_number && number != accept4_number) return 0;
  if (result < 0) return 0;
  task = bpf_get_current_task_btf();
  if (!member(task)) return 0;
  table = BPF_CORE_READ(task, files, fdt);
  if (result >= BPF_CORE_READ(table, max_fds)) return 0;
  files = BPF_CORE_READ(table, fd);
  bpf_probe_read_kernel(&file, sizeof(file), files + result);
  socket = BPF_CORE_READ(file, private_data);
  key = (__u64)BPF_CORE_READ(socket, sk);
  ready_ns = bpf_map_lookup_elem(&ready_connections, &key);
  cpu = this_cpu();
  if (!cpu) return 0; /* never happens: there is one for each possible CPU */
  cpu->events++;
  if (!ready_ns) {
    cpu->left_censored++; /* ready before we began, or another kind of socket */
    return 0;
  }
  now_ns = bpf_ktime_get_ns();
  record(&cpu->accept_delay, now_ns > *ready_ns ? now_ns - *ready_ns : 0);
  bpf_map_delete_elem(&ready_connections, &key);
  return 0;
}

/* ---- replies ---- */

/* In softirq, or in the sender itself on loopback. Reports when an empty queue gets data; newer
 * kernels do not report every further datagram. */
TOPSPIN_INLINE int on_data_ready(struct sock* sk) {
  struct watched_socket* socket = watched(sk);
  __u64 now_ns;
  if (!socket || sk->__sk_common.skc_state == STATE_LISTEN) return 0; /* a connection, no data */
  now_ns = bpf_ktime_get_ns();
  socket->last_ready_ns = now_ns;
  if (socket->nagle_ns) end_nagle(socket, sk);
  __sync_val_compare_and_swap(&socket->unread_ns, 0, now_ns);
  return 0;
}

SEC("tp_btf/sk_data_ready")
int BPF_PROG(data_ready, struct sock* sk) { return on_data_ready(sk); }

SEC("?fentry/sock_def_readable")
int BPF_PROG(data_ready_by_function, struct sock* sk) { return on_data_ready(sk); }

/* When the datagram that will be read next came; 0 if there is none, or if the kernel did not
 * give it a timestamp. The reader's own queue goes first. */
TOPSPIN_INLINE __u64 next_datagram_ns(struct sock* sk, __u64 not_before_ns, __u64 now_ns) {
  struct sk_buff_head* queue = &((struct udp_sock*)sk)->reader_queue;
  struct sk_buff* first = READ_AS(sk_buff_head, queue, next);
  __s64 stamp_ns, arrived_ns;
  if (!first || (void*)first == (void*)queue) {
    queue = &sk->sk_receive_queue;
    first = READ_AS(sk_buff_head, queue, next);
    if (!first || (void*)first == (void*)queue) return 0;
  }
  stamp_ns = READ_AS(sk_buff, first, tstamp);
  if (stamp_ns == 0) return 0;
  arrived_ns = stamp_ns - realtime_minus_monotonic_ns;
  if (arrived_ns < (__s64)not_before_ns) return not_before_ns;
  return arrived_ns > (__s64)now_ns ? now_ns : (__u64)arrived_ns;
}

TOPSPIN_INLINE bool has_unread(struct sock* sk) {
  struct mptcp_sock* mptcp = (struct mptcp_sock*)sk;
  struct sk_buff_head* queue = &sk->sk_receive_queue;
  if (sk->sk_protocol == IPPROTO_TCP) return unread_bytes(sk) != 0;
  if ((void*)READ_AS(sk_buff_head, queue, next) != (void*)queue) return true;
  if (!bpf_core_field_exists(mptcp->receive_queue)) return false;
  queue = (void*)mptcp + bpf_core_field_offset(mptcp->receive_queue);
  return (void*)READ_AS(sk_buff_head, queue, next) != (void*)queue;
}

/* The data that is still unread came no later than the last data. */
TOPSPIN_INLINE void begin_wait_for_rest(struct watched_socket* socket, struct sock* sk) {
  if (has_unread(sk)) __sync_val_compare_and_swap(&socket->unread_ns, 0, socket->last_ready_ns);
}

/* Whether a read has gone past the peer's FIN. The read that takes the last data also does so if
 * the FIN has arrived by then. Nothing can come after a FIN, so everything has been read. */
TOPSPIN_INLINE bool has_read_fin(struct sock* sk) {
  struct tcp_sock* tcp = (struct tcp_sock*)sk;
  return sk->sk_shutdown & RCV_SHUTDOWN &&
         READ_AS(tcp_sock, tcp, copied_seq) == READ_AS(tcp_sock, tcp, rcv_nxt);
}

/* Whether data up to `before` was read in a way that we do not see, for example by splice. The
 * noted time then belonged to that data. Bytes that kernel TLS removed do not count as read, and
 * neither does the FIN's place in the sequence. */
TOPSPIN_INLINE bool was_read_unseen(const struct watched_socket* socket, struct sock* sk,
                                    __u32 before) {
  if (!socket->seq_known || sk->sk_protocol != IPPROTO_TCP || before == socket->read_seq)
    return false;
  if (before == socket->read_seq + 1 && has_read_fin(sk)) return false;
  return !READ_AS(inet_connection_sock, sk, icsk_ulp_ops);
}

/* ---- what a connection carries ---- */

#define MSG_IOV_AT 16      /* the offset of msg_iov in struct msghdr of 64-bit programs */
#define TLS_HEADER_BYTES 5 /* libraries read it separately */
#define TELLING_BYTES 8    /* the bytes by which multiplexed protocols are recognised */
#define PLAIN_REQUESTS 16  /* a plain connection turns to TLS within this many, or never */

/* Where the program keeps the first bytes that the current thread's call has received or sent, as
 * far as they are in one piece. */
struct user_bytes {
  const void* at; /* NULL: not known (io_uring, other calls) */
  __u64 length;
};

TOPSPIN_INLINE struct user_bytes user_bytes(struct task_struct* task, __u64 bytes, bool sent) {
  const struct pt_regs* regs = (const struct pt_regs*)bpf_task_pt_regs(task);
  const void* at = (const void*)SYSCALL_SECOND_ARGUMENT(regs);
  long number = SYSCALL_NUMBER(regs);
  bool is_message = number == (sent ? sendmsg_number : recvmsg_number);
  struct user_bytes found = {NULL, bytes};
  if (task->flags & PF_IO_WORKER) return found;
  if (is_message && bpf_probe_read_user(&at, sizeof(at), at + MSG_IOV_AT)) return found;
  if (is_message || number == (sent ? writev_number : readv_number)) {
    struct user_bytes vector;
    if (bpf_probe_read_user(&vector, sizeof(vector), at)) return found;
    if (vector.length < bytes) found.length = vector.length;
    found.at = vector.at;
  } else if (number == (sent ? write_number : read_number) ||
             number == (sent ? sendto_number : recvfrom_number)) {
    found.at = at;
  }
  return found;
}

/* Adds what the current thread's call has just received to the known first bytes of the request.
 * False: it cannot be seen. */
TOPSPIN_INLINE bool gather_head(struct watched_socket* socket, struct task_struct* task,
                                __u32 bytes) {
  struct user_bytes got = user_bytes(task, bytes, false);
  __u32 have = socket->head_bytes, more;
  if (!got.at || have >= HEAD_BYTES) return false;
  more = HEAD_BYTES - have;
  if (more > got.length) more = got.length;
  if (bpf_probe_read_user(socket->head + (have & 15), more & 15, got.at)) return false;
  socket->head_bytes = have + more;
  return true;
}

TOPSPIN_INLINE bool is_mqtt_name(const __u8* at) {
  if (at[0] != 0 || at[2] != 'M' || at[3] != 'Q') return false;
  return (at[1] == 4 && at[4] == 'T') || (at[1] == 6 && at[4] == 'I');
}

/* As capture/flows/flow_table.cc recognises them on the wire. */
TOPSPIN_INLINE bool is_multiplexed(const __u8* head) {
  if (head[0] == 'P' && head[1] == 'R' && head[2] == 'I' && head[3] == ' ' && head[4] == '*' &&
      head[5] == ' ' && head[6] == 'H' && head[7] == 'T')
    return true;
  if (head[0] == 'S' && head[1] == 'S' && head[2] == 'H' && head[3] == '-') return true;
  if (head[0] == 'A' && head[1] == 'M' && head[2] == 'Q' && head[3] == 'P') return true;
  if (head[0] == 0x13 && head[1] == 'B' && head[2] == 'i' && head[3] == 't' && head[4] == 'T' &&
      head[5] == 'o' && head[6] == 'r' && head[7] == 'r')
    return true;
  /* CONNECT of NATS, whose options are JSON; that of HTTP names a host. */
  if (head[0] == 'C' && head[1] == 'O' && head[6] == 'T' && head[7] == ' ' && head[8] == '{')
    return true;
  /* CONNECT of MQTT 3.1 and later; its length has one byte or two. */
  return head[0] == 0x10 && (is_mqtt_name(head + 2) || is_mqtt_name(head + 3));
}

/* PINGREQ and PINGRESP; PUBLISH with a topic within its length; the four answers to one; SUBSCRIBE
 * and UNSUBSCRIBE. */
TOPSPIN_INLINE bool is_mqtt_midway(const __u8* head, __u32 bytes) {
  __u32 type = head[0] >> 4, flags = head[0] & 15, length = head[1];
  if (length >= 128 || bytes != 2 + length) return false;
  if (type == 12 || type == 13) return flags == 0 && length == 0;
  if (type == 3) {
    __u32 topic = head[2] << 8 | head[3];
    return (flags & 6) != 6 && topic > 0 && topic + 2 <= length && head[4] >= 0x20;
  }
  if (type >= 4 && type <= 7) return flags == (type == 6 ? 2 : 0) && length == 2;
  return (type == 8 || type == 10) && flags == 2 && length >= 5;
}

/* HEADERS, SETTINGS, PING or WINDOW_UPDATE. */
TOPSPIN_INLINE bool is_http2_midway(const __u8* head, __u32 bytes) {
  __u32 length = head[0] << 16 | head[1] << 8 | head[2], type = head[3], flags = head[4];
  if (bytes < 9 || length > bytes - 9 || head[5] || head[6]) return false;
  if (type == 1) return length > 0 && (flags & 4) && !(flags & ~0x2du);
  if (type == 4) return length % 6 == 0 && (flags == 1) == (length == 0) && !head[7];
  if (type == 6) return length == 8 && flags <= 1 && !head[7];
  return type == 8 && length == 4 && flags == 0;
}

/* What a client of NATS publishes or subscribes to. */
TOPSPIN_INLINE bool is_nats_midway(const __u8* head) {
  if (head[0] == 'H') head++;
  return (head[0] == 'P' || head[0] == 'S') && head[1] == 'U' && head[2] == 'B' && head[3] == ' ';
}

/* A text, binary, ping or pong frame of a client: only a client's frames are masked. */
TOPSPIN_INLINE bool is_masked_websocket(const __u8* head, __u32 bytes) {
  __u32 first = head[0] & 0xbf, length = head[1] & 0x7f;
  if (!(head[1] & 0x80)) return false;
  if (first != 0x81 && first != 0x82 && first != 0x89 && first != 0x8a) return false;
  if (length < 126) return bytes == 6 + length;
  return length == 126 && bytes == 8 + (__u32)(head[2] << 8 | head[3]);
}

enum { IS_NO_REQUEST, IS_REQUEST, IS_TURN };

/* What a connection that begins with these bytes carries. False: they are too few to tell. */
TOPSPIN_CHECKED_ONCE int tell_talk(struct watched_socket* socket) {
  const __u8* head;
  __u32 message;
  bool midway, all;
  if (!socket) return false; /* never */
  head = socket->head;
  message = socket->message_bytes;
  midway = !socket->listener; /* its beginning was not seen, and its message may be short */
  all = midway && socket->head_bytes >= message;
  if (socket->head_bytes < TLS_HEADER_BYTES && !all) return false;
  if (head[1] == 3 && head[2] <= 4 && (head[0] == 0x16 || head[0] == 0x17)) {
    socket->talk = head[0] == 0x16 ? TALK_TLS_HANDSHAKE : TALK_TLS;
    return true;
  }
  if (socket->head_bytes < TELLING_BYTES && !all) return false;
  if (is_multiplexed(head) ||
      (midway && (is_mqtt_midway(head, message) || is_http2_midway(head, message) ||
                  is_nats_midway(head) || is_masked_websocket(head, message))))
    socket->talk = TALK_MULTIPLEXED;
  else if (head[0] == 'G' && head[1] == 'E' && head[2] == 'T' && head[3] == ' ')
    socket->talk = TALK_HTTP;
  else
    socket->talk = TALK_PLAIN;
  return true;
}

/* More of a request was read. The bytes read before were too few to tell what the connection
 * carries. */
TOPSPIN_INLINE void read_on(struct watched_socket* socket, struct task_struct* task, __u32 bytes) {
  if (socket->talk != TALK_UNSEEN || !gather_head(socket, task, bytes) || !tell_talk(socket))
    return;
  if (socket->talk == TALK_MULTIPLEXED || socket->talk == TALK_TLS_HANDSHAKE) socket->is_turn = 1;
}

/* Whether a plain connection turns to TLS with this read: a ClientHello, or only the header of
 * its record, which libraries read first. */
TOPSPIN_INLINE bool begins_tls(const struct watched_socket* socket) {
  const __u8* head = socket->head;
  if (socket->head_bytes < TLS_HEADER_BYTES) return false;
  if (head[0] != 0x16 || head[1] != 3 || head[2] < 1 || head[2] > 4) return false;
  return socket->head_bytes == TLS_HEADER_BYTES || head[TLS_HEADER_BYTES] == 1;
}

/* Classifies the read at the beginning of a request. */
TOPSPIN_INLINE int classify(struct watched_socket* socket, struct sock* sk,
                            struct task_struct* task, __u32 bytes) {
  const __u8* head = socket->head;
  bool plain = socket->talk == TALK_PLAIN || socket->talk == TALK_HTTP, tls;
  if (plain && socket->plain_requests == PLAIN_REQUESTS) return IS_REQUEST;
  if (socket->talk == TALK_MULTIPLEXED) return IS_TURN;
  __builtin_memset(socket->head, 0, HEAD_BYTES + 1);
  socket->head_bytes = 0;
  if (plain) socket->plain_requests++;
  if (!gather_head(socket, task, bytes)) return IS_REQUEST;
  if (plain && !begins_tls(socket)) return IS_REQUEST;
  if (socket->talk == TALK_UNSEEN) {
    socket->message_bytes = bytes + unread_bytes(sk);
    if (!tell_talk(socket)) return IS_REQUEST;
    if (socket->talk == TALK_MULTIPLEXED) return IS_TURN;
    if (socket->talk == TALK_PLAIN || socket->talk == TALK_HTTP) return IS_REQUEST;
  } else if (socket->head_bytes < TLS_HEADER_BYTES) {
    return IS_REQUEST;
  }
  tls = head[1] == 3 && head[2] <= 4;
  if (tls && head[0] == 0x16) {
    socket->talk = TALK_TLS_HANDSHAKE;
    return IS_TURN;
  }
  if (tls && head[0] == 0x14) { /* the client's second flight in TLS 1.3: 6 bytes, then its last */
    __u32 flight = HEAD_BYTES + (head[9] << 8 | head[10]);
    socket->talk = head[6] == 0x17 && bytes > flight ? TALK_TLS : TALK_TLS_TICKETS;
    return IS_TURN; /* data that came with it included: the tickets answer both */
  }
  if (tls && (head[0] == 0x15 || (head[0] == 0x17 && head[3] == 0 && head[4] == 19)))
    return IS_NO_REQUEST; /* an alert, in the clear or encrypted */
  if (tls && head[0] == 0x17 && socket->talk == TALK_TLS_TICKETS) {
    socket->talk = TALK_TLS;
    return IS_TURN;
  }
  socket->talk = TALK_TLS;
  return IS_REQUEST;
}

/* Whether the reply that the current thread has just sent ends HTTP on its connection. */
TOPSPIN_INLINE bool switches_protocol(struct task_struct* task, __u32 bytes) {
  struct user_bytes reply = user_bytes(task, bytes, true);
  __u8 head[12];
  if (!reply.at || reply.length < sizeof(head) || bpf_probe_read_user(head, sizeof(head), reply.at))
    return false;
  return head[0] == 'H' && head[1] == 'T' && head[2] == 'T' && head[3] == 'P' && head[5] == '1' &&
         head[7] == '1' && head[8] == ' ' && head[9] == '1' && head[10] == '0' && head[11] == '1';
}

/* ---- datagrams: which request a reply belongs to ---- */

/* What distinguishes requests, as in capture/flows/flow_table.cc: the first two bytes (DNS has
 * its id there) and a digest of the first eight. */
TOPSPIN_INLINE __u32 tag_of(struct task_struct* task, __u32 bytes, bool sent) {
  struct user_bytes payload = user_bytes(task, bytes, sent);
  __u64 head = 0;
  if (!payload.at) return 0;
  if (payload.length > sizeof(head)) payload.length = sizeof(head);
  if (bpf_probe_read_user(&head, payload.length & 15, payload.at)) return 0;
  return (__u32)(head & 0xffff) << 16 | (__u32)((head * 0x9e3779b97f4a7c15) >> 48);
}

TOPSPIN_INLINE bool is_overdue(__u64 read_ns, __u64 now_ns) {
  return now_ns > read_ns && now_ns - read_ns > reply_timeout_ns;
}

enum { ANY_TAG, SAME_ID, SAME_TAG };

/* What bpf_loop hands to each step of a walk over a socket's places. */
struct place_context {
  struct pending_requests* here;
  struct place_walk* walk;
};

TOPSPIN_INLINE __u64* read_time(struct pending_requests* here, __u32 place) {
  return &here->read_ns[place & (PENDING_REQUESTS - 1)];
}

TOPSPIN_INLINE __u64 time_in(struct pending_requests* here, __u32 place) {
  return *(volatile __u64*)read_time(here, place);
}

static long find_free_place(__u32 step, struct place_context* context) {
  struct pending_requests* here = context->here;
  struct place_walk* walk = context->walk;
  __u64 read_ns = time_in(here, step);
  if (read_ns < walk->oldest_ns) {
    walk->oldest_ns = read_ns;
    walk->oldest = step;
  }
  return !read_ns;
}

/* Stores the request in a free place, or else in that of the oldest. */
TOPSPIN_INLINE void push_request(struct sock* sk, struct topspin_watched_thread* thread,
                                 struct topspin_socket_cpu* cpu, const struct request* request,
                                 __u32 tag) {
  struct pending_requests* here = made_socket_storage(&pending, sk);
  struct place_walk* walk = &thread->walk;
  struct place_context context = {here, walk};
  struct pending_request* place;
  __u64* read_ns;
  __u64 wait_ns;
  __u32 shift;
  if (!here) {
    __sync_fetch_and_add(&sockets_refused, 1);
    return;
  }
  walk->oldest_ns = ~0ULL;
  walk->oldest = 0;
  bpf_loop(PENDING_REQUESTS, find_free_place, &context, 0);
  place = &here->requests[walk->oldest & (PENDING_REQUESTS - 1)];
  read_ns = read_time(here, walk->oldest);
  if (__sync_val_compare_and_swap(read_ns, walk->oldest_ns, PLACE_TAKEN) != walk->oldest_ns) {
    cpu->unmatched++; /* another thread was faster: its request stays */
    return;
  }
  if (walk->oldest_ns)
    cpu->unmatched++;
  else
    __sync_fetch_and_add(&here->used, 1);
  wait_ns = request->ready_ns ? request->read_ns - request->ready_ns : 0;
  place->wait = request->ready_ns ? wait_ns / PENDING_WAIT_NS : NOT_KNOWN;
  if (wait_ns / PENDING_WAIT_NS >= NOT_KNOWN) place->wait = NOT_KNOWN; /* more than a minute */
  shift = unread_shift((__u64)place->wait * PENDING_WAIT_NS);
  place->queued = request->queued_ns >> shift;
  place->asleep = request->asleep_ns >> shift;
  place->stopped = request->stopped_ns >> shift;
  place->unknown = request->unknown_ns >> shift;
  place->reader = request->reader;
  place->tag = tag;
  *(volatile __u64*)read_ns = request->read_ns;
}

TOPSPIN_INLINE bool free_place(struct pending_requests* here, __u32 place, __u64 read_ns) {
  if (__sync_val_compare_and_swap(read_time(here, place), read_ns, 0) != read_ns) return false;
  __sync_fetch_and_add(&here->used, -1);
  return true;
}

static long count_same(__u32 step, struct place_context* context) {
  struct pending_requests* here = context->here;
  struct place_walk* walk = context->walk;
  struct pending_request* place = &here->requests[step & (PENDING_REQUESTS - 1)];
  __u64 read_ns = time_in(here, step);
  if (!read_ns) return 0;
  walk->seen++;
  if (read_ns != PLACE_TAKEN) {
    if (is_overdue(read_ns, walk->now_ns)) {
      walk->freed += free_place(here, step, read_ns);
    } else {
      walk->same_tag += place->tag == walk->tag;
      walk->same_id += place->tag >> 16 == walk->tag >> 16;
    }
  }
  return walk->seen >= walk->used;
}

TOPSPIN_INLINE bool is_candidate(const struct pending_request* place,
                                 const struct place_walk* walk) {
  if (walk->wanted == ANY_TAG) return true;
  if (walk->wanted == SAME_TAG) return place->tag == walk->tag;
  return place->tag >> 16 == walk->tag >> 16;
}

static long find_ends(__u32 step, struct place_context* context) {
  struct pending_requests* here = context->here;
  struct place_walk* walk = context->walk;
  struct pending_request* place = &here->requests[step & (PENDING_REQUESTS - 1)];
  __u64 read_ns = time_in(here, step);
  if (!read_ns) return 0;
  walk->seen++;
  if (read_ns != PLACE_TAKEN && is_candidate(place, walk)) {
    if (read_ns < walk->oldest_ns) {
      walk->oldest_ns = read_ns;
      walk->oldest = step;
    }
    if (read_ns > walk->youngest_ns) {
      walk->second_ns = walk->youngest_ns;
      walk->youngest_ns = read_ns;
      walk->youngest = step;
    } else if (read_ns > walk->second_ns) {
      walk->second_ns = read_ns;
    }
  }
  return walk->seen >= walk->used;
}

static long free_older(__u32 step, struct place_context* context) {
  struct pending_requests* here = context->here;
  struct place_walk* walk = context->walk;
  struct pending_request* place = &here->requests[step & (PENDING_REQUESTS - 1)];
  __u64 read_ns = time_in(here, step);
  if (read_ns > PLACE_TAKEN && read_ns < walk->youngest_ns && is_candidate(place, walk))
    walk->freed += free_place(here, step, read_ns);
  return 0;
}

/* Whether this send repeats the latest reply, and no open request begins with its bytes. */
TOPSPIN_INLINE bool is_repeated_reply(const struct pending_requests* here,
                                      const struct place_walk* walk) {
  if (!walk->tag || !here->tags_match || here->reply_tag != walk->tag) return false;
  return here->request_tag == here->reply_tag ? !walk->same_tag : !walk->same_id;
}

/* Learns whether replies identify their requests. They do if two in a row identify requests that
 * differ, or if one reply begins with the first eight bytes of its request. */
TOPSPIN_INLINE void note_answered(struct pending_requests* here, __u32 request, __u32 reply,
                                  __u32 bytes) {
  bool whole = request == reply, by_id = request >> 16 == reply >> 16;
  bool was_whole = here->request_tag == here->reply_tag;
  bool was_by_id = here->request_tag >> 16 == here->reply_tag >> 16;
  bool differs = whole ? request != here->request_tag : request >> 16 != here->request_tag >> 16;
  bool was_too = here->reply_tag && was_by_id && was_whole == whole && differs;
  if (!by_id || !reply)
    here->tags_match = 0;
  else if ((whole && bytes >= sizeof(__u64)) || was_too)
    here->tags_match = 1;
  here->request_tag = request;
  here->reply_tag = reply;
}

/* The request to which a reply that is sent now belongs: the one that begins with the same
 * bytes, if there is one; otherwise the oldest. But if the reply follows the youngest request
 * within an eighth of the gap before that request, it belongs to the youngest, and the older
 * ones count as lost. */
TOPSPIN_INLINE bool pop_request(struct sock* sk, struct topspin_watched_thread* thread,
                                struct topspin_socket_cpu* cpu, __u64 now_ns, __u32 tag,
                                __u32 bytes, struct request* out) {
  struct pending_requests* here = bpf_sk_storage_get(&pending, sk, NULL, 0);
  struct place_walk* walk = &thread->walk;
  struct place_context context = {here, walk};
  struct pending_request* place;
  __u64 wait_ns;
  __u32 shift;
  if (!here) return false;
  __builtin_memset(walk, 0, sizeof(*walk));
  walk->oldest_ns = ~0ULL;
  walk->now_ns = now_ns;
  walk->tag = tag;
  walk->used = *(volatile __u32*)&here->used;
  if (!walk->used) return false;
  bpf_loop(PENDING_REQUESTS, count_same, &context, 0);
  if (is_repeated_reply(here, walk)) {
    here->reply_tag = 0; /* only once, in case all replies are alike */
    cpu->unmatched += walk->freed;
    return false;
  }
  if (!tag)
    walk->wanted = ANY_TAG;
  else
    walk->wanted = walk->same_tag ? SAME_TAG : walk->same_id == 1 ? SAME_ID : ANY_TAG;
  walk->seen = 0;
  bpf_loop(PENDING_REQUESTS, find_ends, &context, 0);
  if (walk->second_ns && now_ns > walk->youngest_ns &&
      now_ns - walk->youngest_ns <= (walk->youngest_ns - walk->second_ns) / 8) {
    bpf_loop(PENDING_REQUESTS, free_older, &context, 0);
    walk->oldest = walk->youngest;
    walk->oldest_ns = walk->youngest_ns;
  }
  cpu->unmatched += walk->freed;
  if (!walk->youngest_ns) return false;
  place = &here->requests[walk->oldest & (PENDING_REQUESTS - 1)];
  out->read_ns = walk->oldest_ns;
  wait_ns = (__u64)place->wait * PENDING_WAIT_NS;
  out->ready_ns = place->wait == NOT_KNOWN ? 0 : out->read_ns - wait_ns;
  shift = unread_shift(wait_ns);
  out->queued_ns = (__u64)place->queued << shift;
  out->asleep_ns = (__u64)place->asleep << shift;
  out->stopped_ns = (__u64)place->stopped << shift;
  out->unknown_ns = (__u64)place->unknown << shift;
  out->reader = place->reader;
  note_answered(here, place->tag, tag, bytes);
  return free_place(here, walk->oldest, walk->oldest_ns);
}

/* ---- reading and sending ---- */

/* A thread has received, or found nothing to receive. */
TOPSPIN_INLINE int on_received(struct sock* sk, int result, int flags) {
  struct task_struct* task = bpf_get_current_task_btf();
  struct topspin_watched_thread* thread = serving_thread(task);
  struct watched_socket* socket;
  struct topspin_socket_cpu* cpu;
  struct request request;
  __u64 now_ns, ready_ns, next_ns, key = (__u64)sk;
  int what = IS_REQUEST;
  bool udp;
  if (!thread && !FOLLOW(sk, sk_bpf_storage)) return 0;
  if (!is_inet(sk) || flags & (MSG_PEEK | MSG_ERRQUEUE)) return 0;
  udp = sk->sk_protocol == IPPROTO_UDP;
  socket = thread ? watch(sk) : watched(sk);
  if (!socket) return 0;
  if (!thread) { /* another program took the data, so it no longer waits for the subject */
    if (udp || result <= 0) return 0;
    socket->unread_ns = 0;
    socket->seq_known = 0;
    socket->request.read_ns = 0;
    socket->reply_held = 0;
    begin_wait_for_rest(socket, sk);
    return 0;
  }
  if (socket->role == ROLE_UNKNOWN)
    set_role(socket, sk->__sk_common.skc_dport ? ROLE_CLIENT : ROLE_SERVER);
  if (socket->reply_held) end_held_reply(socket, sk, false);
  if (udp ? result < 0 : result <= 0) {
    if (udp || result < 0) return 0;
    /* A read of 0 bytes finds nothing either, but data may be waiting. */
    if (sk->sk_protocol == IPPROTO_TCP && !has_read_fin(sk)) return 0;
    /* The end of a stream is reported like data but is not data; it has a place in the sequence. */
    socket->unread_ns = 0;
    if (sk->sk_protocol == IPPROTO_TCP) socket->read_seq = copied_seq(sk);
    return 0;
  }
  cpu = this_cpu();
  if (!cpu) return 0;
  now_ns = bpf_ktime_get_ns();
  cpu->events++;

  /* Cleared before the check, so that data that arrives in between is not overlooked. */
  ready_ns = __sync_lock_test_and_set(&socket->unread_ns, 0);
  if (udp) {
    next_ns = next_datagram_ns(sk, ready_ns, now_ns);
    if (next_ns) __sync_val_compare_and_swap(&socket->unread_ns, 0, next_ns);
  } else {
    begin_wait_for_rest(socket, sk);
    if (sk->sk_protocol == IPPROTO_TCP) {
      __u32 read_seq = copied_seq(sk);
      if (was_read_unseen(socket, sk, read_seq - (__u32)result)) ready_ns = 0;
      socket->read_seq = read_seq;
      socket->seq_known = 1;
    }
    /* Its accept would have been seen before, unless io_uring or another process accepted it. */
    if (socket->talk == TALK_UNSEEN && socket->listener && sees_accepts &&
        !bpf_map_delete_elem(&ready_connections, &key))
      cpu->left_censored++;
  }
  if (ready_ns) {
    if (ready_ns > now_ns) ready_ns = now_ns; /* clocks of two CPUs, a few ns apart */
    record(&cpu->socket_wait, now_ns - ready_ns);
  } else {
    cpu->left_censored++;
  }

  /* A request whose wait is unknown is still a request: its reply must find it, and not the next
   * one. */
  if (socket->role != ROLE_SERVER) return 0;
  if (!udp && socket->request.read_ns) {
    read_on(socket, task, (__u32)result);
    return 0;
  }
  if (!udp) what = classify(socket, sk, task, (__u32)result);
  if (what == IS_NO_REQUEST) return 0;
  look_back(thread, cpu, task->sched_info.run_delay, ready_ns ? ready_ns : now_ns, now_ns);
  request.ready_ns = ready_ns;
  request.read_ns = now_ns;
  request.reader = task->pid;
  note_unread(&request, &thread->times);
  note_read(thread, now_ns);
  socket->is_turn = what == IS_TURN;
  if (udp && !sk->__sk_common.skc_dport)
    push_request(sk, thread, cpu, &request, tag_of(task, (__u32)result, false));
  else
    socket->request = request;
  socket->reply_held = 0;
  if (sk->sk_protocol == IPPROTO_TCP) socket->reply_seq = READ_AS(tcp_sock, sk, write_seq);
  return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(received, struct sock* sk, int result, int flags) {
  return on_received(sk, result, flags);
}

SEC("?fexit/inet_recvmsg")
int BPF_PROG(received_by_function, struct socket* socket, struct msghdr* message, __u64 size,
             int flags, int result) {
  return on_received(socket->sk, result, flags);
}

SEC("?fexit/inet6_recvmsg")
int BPF_PROG(received6_by_function, struct socket* socket, struct msghdr* message, __u64 size,
             int flags, int result) {
  return on_received(socket->sk, result, flags);
}

/* A thread has sent. */
TOPSPIN_INLINE int on_sent(struct sock* sk, int result, int flags) {
  struct task_struct* task = bpf_get_current_task_btf();
  struct topspin_watched_thread* thread = serving_thread(task);
  struct watched_socket* socket;
  struct topspin_socket_cpu* cpu;
  struct request request;
  __u64 now_ns, sent_ns;
  if (!thread || !is_inet(sk) || result <= 0) return 0;
  socket = watch(sk);
  if (!socket) return 0;
  if (sk->sk_protocol == IPPROTO_TCP) note_nagle(socket, sk, flags);
  if (socket->role == ROLE_UNKNOWN) socket->role = ROLE_CLIENT;
  if (socket->role != ROLE_SERVER) return 0;
  cpu = this_cpu();
  if (!cpu) return 0;
  now_ns = bpf_ktime_get_ns();
  if (sk->sk_protocol == IPPROTO_UDP && !sk->__sk_common.skc_dport) {
    __u32 tag = tag_of(task, (__u32)result, true);
    if (!pop_request(sk, thread, cpu, now_ns, tag, (__u32)result, &request)) return 0;
  } else {
    if (!socket->request.read_ns) { /* more of the same reply, or an unsolicited send */
      __u32 read_seq;
      if (sk->sk_protocol != IPPROTO_TCP) return 0;
      read_seq = copied_seq(sk);
      if (!was_read_unseen(socket, sk, read_seq)) return 0;
      /* or the reply to a request whose read was not seen */
      socket->read_seq = read_seq;
      socket->unread_ns = 0;
      begin_wait_for_rest(socket, sk);
      cpu->unmatched++;
      cpu->events++;
      return 0;
    }
    request = socket->request;
    /* The request was too short to be anything but plain. */
    if (socket->talk == TALK_UNSEEN && socket->head_bytes) socket->talk = TALK_PLAIN;
    if (socket->talk == TALK_HTTP && switches_protocol(task, result))
      socket->talk = TALK_MULTIPLEXED; /* from the next request on */
    if (!socket->is_turn && !has_left(socket, sk)) {
      look_inside(task, thread, cpu, &request, now_ns);
      socket->held = thread->times;
      socket->held_ns = now_ns;
      thread->turn_ns = now_ns;
      socket->reply_held = 1;
      return 0;
    }
    socket->request.read_ns = 0;
    socket->reply_held = 0;
    if (now_ns < request.read_ns || now_ns - request.read_ns > reply_timeout_ns) {
      cpu->unmatched++;
      cpu->events++;
      return 0;
    }
    if (socket->is_turn) {
      socket->is_turn = 0;
      cpu->multiplexed++;
      cpu->events++;
      return 0;
    }
  }
  cpu->events++;
  if (!request.ready_ns) {
    thread->turn_ns = now_ns;
    return 0;
  }
  sent_ns = departure_ns(sk, request.read_ns, now_ns);
  look_inside(task, thread, cpu, &request, sent_ns);
  thread->turn_ns = now_ns;
  record_reply(&thread->times, cpu, &request, sent_ns);
  keep_if_slow(&thread->times, cpu, sk, &request);
  return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(sent, struct sock* sk, int result, int flags) { return on_sent(sk, result, flags); }

SEC("?fexit/inet_sendmsg")
int BPF_PROG(sent_by_function, struct socket* socket, struct msghdr* message, __u64 size,
             int result) {
  return on_sent(socket->sk, result, message->msg_flags);
}

SEC("?fexit/inet6_sendmsg")
int BPF_PROG(sent6_by_function, struct socket* socket, struct msghdr* message, __u64 size,
             int result) {
  return on_sent(socket->sk, result, message->msg_flags);
}

/* sendfile and splice, in kernels before 6.5; later ones call sendmsg. IPv6 uses it too. */
SEC("?fexit/inet_sendpage")
int BPF_PROG(sent_page_by_function, struct socket* socket, void* page, int offset, __u64 size,
             int flags, int result) {
  return on_sent(socket->sk, result, flags);
}

/* In softirq, or in the sender itself: there was no room for a datagram. User space reads each
 * socket's own count once per tick; this is for sockets that are gone by then. */
SEC("tp_btf/udp_fail_queue_rcv_skb")
int BPF_PROG(dropped, int error, struct sock* sk) {
  struct topspin_socket_cpu* cpu;
  if (!watched(sk)) return 0;
  cpu = this_cpu();
  if (!cpu) return 0;
  cpu->udp_drops++;
  cpu->events++;
  return 0;
}

/* ---- both ---- */

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_process_fork, struct task_struct* parent, struct task_struct* child) {
  if (forks_into_subject(parent, child)) join(child);
  return 0;
}
