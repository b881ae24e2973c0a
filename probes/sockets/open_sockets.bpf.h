/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Watches the sockets that the subject's processes have open when the probe opens. User space runs
 * one of two iterators over the open files. Included by sockets.bpf.c only, after watch().
 *
 * walk_files creates the storage itself. Linux 6.18.44 refuses that: its verifier no longer lets a
 * program pass on a socket to which it came by following pointers from a file. Other kernels may
 * have the same change, so user space tries.
 * list_files only says which sockets there are, and what their storage is to hold. User space then
 * creates it through a copy of the descriptor, for which it needs the right to trace the process.
 */
#ifndef TOPSPIN_PROBES_OPEN_SOCKETS_BPF_H
#define TOPSPIN_PROBES_OPEN_SOCKETS_BPF_H

/* NULL if it is no file of the subject, or none of a socket that we measure. */
TOPSPIN_INLINE struct sock* open_socket(struct task_struct* task, struct file* file) {
  struct socket* socket;
  struct sock* sk;
  if (!task || !file || !member(task)) return NULL;
  socket = bpf_sock_from_file(file);
  if (!socket) return NULL;
  sk = socket->sk;
  return sk && is_inet(sk) ? sk : NULL;
}

TOPSPIN_INLINE void say_if_it_listens(struct watched_socket* socket, struct sock* sk) {
  if (sk->sk_protocol == IPPROTO_UDP || sk->__sk_common.skc_state != STATE_LISTEN) return;
  socket->listener = (__u64)sk;
  set_role(socket, ROLE_SERVER);
  tell(&listens);
}

SEC("?iter/task_file")
int walk_files(struct bpf_iter__task_file* context) {
  struct sock* sk = open_socket(context->task, context->file);
  struct watched_socket* socket;
  if (!sk) return 0;
  socket = watch(sk);
  if (socket) say_if_it_listens(socket, sk);
  return 0;
}

struct listed_socket {
  struct topspin_open_socket place;
  struct watched_socket value;
};

SEC("?iter/task_file")
int list_files(struct bpf_iter__task_file* context) {
  struct task_struct* task = context->task;
  struct file* file = context->file;
  struct listed_socket listed = {};
  struct sock* sk;
  if (context->meta->seq_num == 0)
    reader_pid_level = FOLLOW(bpf_get_current_task_btf(), thread_pid, level);
  sk = open_socket(task, file);
  if (!sk) return 0;
  listed.place.inode = FOLLOW(file, f_inode, i_ino);
  listed.place.tid = pid_for_reader(task);
  listed.place.fd = context->fd;
  begin_to_watch(&listed.value, sk);
  say_if_it_listens(&listed.value, sk);
  bpf_seq_write(context->meta->seq, &listed, sizeof(listed));
  return 0;
}

#endif
