// What happened at the subject's sockets: in an interval, and at each listening or UDP socket.
// docs/sockets.md says how each number is obtained, and what it cannot see. Plain values.
#pragma once

#include <cstdint>
#include <optional>

#include "core/flow.h"
#include "core/histogram.h"

namespace topspin {

/// Counts and histograms are of the interval. Not measured is nullopt.
struct SocketInterval {
  std::optional<Histogram> accept_delay;  // connection ready in the accept queue, to accepted
  std::optional<Histogram> socket_wait;   // data ready in a socket, to read by the subject

  // Each reply that the subject gave, split: the three parts add up to the time from data ready to
  // reply sent.
  std::optional<Histogram> reply_socket;  // not read yet, and not for want of a CPU
  std::optional<Histogram>
      reply_cpu_queue;                     // the threads that served it were runnable, not running
  std::optional<Histogram> reply_runtime;  // the rest: read, and being worked on (or slept on)

  // Turns of connections that were not split: TLS handshakes, and exchanges that answer in any
  // order.
  std::optional<uint64_t> replies_multiplexed;

  // Listening sockets.
  std::optional<uint64_t> accept_queue_max;    // connections in the fullest queue, at its fullest
  std::optional<uint64_t> accept_queue_limit;  // of that queue
  std::optional<uint64_t> listen_overflows;    // refused because an accept queue was full
  std::optional<uint64_t> syn_drops;           // refused for another reason
  // Of the whole network namespace, whoever listens (TcpExt ListenOverflows, ListenDrops).
  std::optional<uint64_t> host_listen_overflows;
  std::optional<uint64_t> host_listen_drops;

  std::optional<uint64_t> udp_drops;  // datagrams, for want of room in a receive buffer mostly

  /// Adds the interval that follows this one: counts add up, the fullest queue stays.
  void merge(const SocketInterval& later);

  /// Calls visit(name, member) for each distribution: one list for probes, store and reports.
  template <typename Sockets, typename Visit>
  static void for_each_histogram(Sockets& sockets, Visit visit) {
    visit("accept_delay_ns", sockets.accept_delay);
    visit("socket_wait_ns", sockets.socket_wait);
    visit("reply_socket_ns", sockets.reply_socket);
    visit("reply_cpu_queue_ns", sockets.reply_cpu_queue);
    visit("reply_runtime_ns", sockets.reply_runtime);
  }
};

/// A listening TCP socket or a UDP socket of the subject, as it stands. Connected sockets have no
/// row: there may be very many.
struct SocketRow {
  uint64_t cookie = 0;  // the kernel's own number of it, never used twice before a reboot
  uint8_t protocol = 0;
  uint8_t ip_version = 4;
  Endpoint local;
  int32_t pid = 0;      // a process of the subject that holds it
  bool closed = false;  // gone, or no longer the subject's
  // Listening sockets, in connections.
  std::optional<uint64_t> accept_queue;
  std::optional<uint64_t> accept_queue_max;  // at any tick
  std::optional<uint64_t> accept_queue_limit;
  // UDP sockets, in bytes of the kernel's accounting (buffers, not payload).
  std::optional<uint64_t> receive_queue_bytes;
  std::optional<uint64_t> receive_queue_bytes_max;  // at any tick
  std::optional<uint64_t> receive_queue_bytes_limit;
  uint64_t drops = 0;  // since the socket was made: datagrams, or connection attempts
};

}  // namespace topspin
