// The numbers of the subject's sockets in an interval, and those of each listening or UDP socket.
// docs/sockets.md explains how each number is measured, and what it cannot show. Plain values.
#pragma once

#include <cstdint>
#include <optional>

#include "core/flow/flow.h"
#include "core/number/histogram.h"
#include "core/number/number.h"
#include "core/tick/reply_parts.h"

namespace topspin {

/// Counts and histograms are of the interval. A number that was not measured is nullopt.
struct SocketInterval {
  std::optional<Histogram> accept_delay;  // connection ready in the accept queue, to accepted
  std::optional<Histogram> socket_wait;   // data ready in a socket, to read by the subject

  // The subject's replies, split into three parts that add up to the time from data ready to reply
  // sent.
  std::optional<Histogram> reply_socket;  // not read yet, although not waiting for a CPU
  std::optional<Histogram>
      reply_cpu_queue;                     // the threads that served it were runnable, not running
  std::optional<Histogram> reply_runtime;  // the rest: read, and the thread works or sleeps

  // The same replies as a whole, and in finer parts that add up to the three above.
  std::optional<Histogram> reply;
  ReplyParts reply_parts;

  // Turns of connections that were not split: TLS handshakes, and exchanges that answer in any
  // order.
  std::optional<uint64_t> replies_multiplexed;

  // Listening sockets.
  std::optional<uint64_t> accept_queue_max;    // connections in the fullest queue, at its fullest
  std::optional<uint64_t> accept_queue_limit;  // of that queue
  std::optional<uint64_t> listen_overflows;    // refused because an accept queue was full
  std::optional<uint64_t> syn_drops;           // refused for another reason
  // Of the whole network namespace, for all listeners (TcpExt ListenOverflows, ListenDrops).
  std::optional<uint64_t> host_listen_overflows;
  std::optional<uint64_t> host_listen_drops;

  // The subject's TCP connections at the end of the interval (TCP_INFO): gauges of one instant, to
  // which each connection contributes equally. All but the first are absent without connections.
  std::optional<uint64_t> tcp_connections;
  std::optional<uint64_t> tcp_srtt_min_ns, tcp_srtt_mean_ns, tcp_srtt_max_ns;
  std::optional<uint64_t> tcp_cwnd_min_bytes, tcp_cwnd_mean_bytes, tcp_cwnd_max_bytes;
  // The same connections' summed time in the interval: with data that is unsent or not acknowledged
  // yet, and the part of it in which the peer's receive window stopped them from sending. This
  // includes connections on a listening port of the subject that it has closed and that still send.
  // The time between the last reading of a connection and its end is missing.
  std::optional<uint64_t> tcp_busy_ns;
  std::optional<uint64_t> tcp_rwnd_limited_ns;
  std::optional<uint64_t> tcp_rwnd_limited_max;  // connections stopped so for half the interval
  std::optional<uint64_t> tcp_reads_cut;         // a loss

  // From a small send to its departure, for those that Nagle's algorithm held back.
  std::optional<Histogram> nagle_held;

  std::optional<uint64_t> udp_drops;  // datagrams, mostly because a receive buffer was full

  /// Merges the interval that follows this one: counts are added, and the fullest queue is kept.
  void merge(const SocketInterval& later);

  /// Calls visit(name, member) for each distribution.
  template <typename Sockets, typename Visit>
  static void for_each_histogram(Sockets& sockets, Visit visit) {
    for_each_value_of<std::optional<Histogram>>(sockets, visit);
  }

  template <typename Visit>
  static void for_each_number(Visit visit);
};

template <typename Visit>
void SocketInterval::for_each_number(Visit visit) {
  using S = SocketInterval;
  using N = Number;
  visit(N::distribution("accept_delay_ns", "accept delay",
                        "From a connection ready in the accept queue to accepted."),
        &S::accept_delay);
  visit(N::distribution("socket_wait_ns", "wait in the socket",
                        "From data ready in a socket to read by the subject."),
        &S::socket_wait);
  visit(N::distribution("reply_socket_ns", "reply: in the socket",
                        "The part of each reply in which its request waited to be read, without "
                        "waits for a CPU."),
        &S::reply_socket);
  visit(
      N::distribution("reply_cpu_queue_ns", "reply: waiting for a CPU",
                      "The part of each reply in which its threads were runnable but not running."),
      &S::reply_cpu_queue);
  visit(N::distribution("reply_runtime_ns", "reply: inside the runtime",
                        "The rest of each reply: from read to sent, without waits for a CPU."),
        &S::reply_runtime);
  visit(N::distribution("reply_ns", "replies as the server sees them",
                        "Each reply whole: from its request being ready in the socket to sent."),
        &S::reply);
  for (size_t i = 0; i < kReplyPartCount; ++i) {
    const ReplyPartNames& part = reply_part_names()[i];
    visit(
        N::distribution(part.time, part.label, part.help), [i](auto& s) -> auto& {
          return s.reply_parts[i].time;
        });
    visit(
        N::distribution(part.with, part.with_label,
                        "Whole replies of 131 us and more that had some of this part."),
        [i](auto& s) -> auto& { return s.reply_parts[i].with; });
    visit(
        N::distribution(part.without, part.without_label,
                        "What these replies would have taken without this part."),
        [i](auto& s) -> auto& { return s.reply_parts[i].without; });
    visit(
        N::distribution(part.mostly, part.mostly_label,
                        "Whole replies of 131 us and more of which this part was the longest."),
        [i](auto& s) -> auto& { return s.reply_parts[i].mostly; });
  }
  visit(N::count("replies_multiplexed", "turns not split",
                 "Turns of connections that were not split: TLS handshakes, and exchanges that "
                 "answer in any order."),
        &S::replies_multiplexed);
  visit(N::maximum("accept_queue_max", "fullest accept queue",
                   "The most connections in an accept queue at one time."),
        &S::accept_queue_max);
  visit(N::gauge("accept_queue_limit", "limit of that queue", "The limit of that queue."),
        &S::accept_queue_limit);
  visit(N::count("listen_overflows", "connections refused: queue full",
                 "Connections refused because an accept queue was full."),
        &S::listen_overflows);
  visit(N::count("syn_drops", "connection requests dropped",
                 "SYNs and handshakes dropped at listening sockets for another reason."),
        &S::syn_drops);
  visit(N::count("host_listen_overflows", "overflows of the namespace",
                 "TcpExt ListenOverflows of the network namespace, for all listeners.")
            .of_the_whole(),
        &S::host_listen_overflows);
  visit(N::count("host_listen_drops", "listen drops of the namespace",
                 "TcpExt ListenDrops of the network namespace, for all listeners.")
            .of_the_whole(),
        &S::host_listen_drops);
  visit(N::gauge("tcp_connections", "TCP connections",
                 "The subject's TCP connections in which the next six are measured."),
        &S::tcp_connections);
  visit(N::gauge("tcp_srtt_min_ns", "least smoothed RTT",
                 "The least smoothed round-trip time of a connection."),
        &S::tcp_srtt_min_ns);
  visit(N::gauge("tcp_srtt_mean_ns", "mean smoothed RTT",
                 "The mean smoothed round-trip time over connections, including idle ones."),
        &S::tcp_srtt_mean_ns);
  visit(N::gauge("tcp_srtt_max_ns", "greatest smoothed RTT",
                 "The greatest smoothed round-trip time of a connection."),
        &S::tcp_srtt_max_ns);
  visit(N::gauge("tcp_cwnd_min_bytes", "smallest congestion window",
                 "The smallest congestion window of a connection (segments times MSS)."),
        &S::tcp_cwnd_min_bytes);
  visit(N::gauge("tcp_cwnd_mean_bytes", "mean congestion window",
                 "The mean congestion window over connections, including idle ones."),
        &S::tcp_cwnd_mean_bytes);
  visit(N::gauge("tcp_cwnd_max_bytes", "greatest congestion window",
                 "The greatest congestion window of a connection."),
        &S::tcp_cwnd_max_bytes);
  visit(N::count("tcp_busy_ns", "TCP connections busy",
                 "Time in which a connection had data to send or not acknowledged yet, summed up "
                 "over connections; that after the last look before its end is missing."),
        &S::tcp_busy_ns);
  visit(N::count("tcp_rwnd_limited_ns", "of it, kept by the peer's window",
                 "Time in which the peer's receive window kept a connection from sending, summed "
                 "up over connections."),
        &S::tcp_rwnd_limited_ns);
  visit(N::maximum("tcp_rwnd_limited_max", "most at once, by peers' windows",
                   "The most connections that the peer's receive window kept from sending for half "
                   "of an interval or more."),
        &S::tcp_rwnd_limited_max);
  visit(N::distribution("nagle_held_ns", "small sends held by Nagle",
                        "From a small send to its departure, where Nagle's algorithm held it until "
                        "the peer acknowledged the one before."),
        &S::nagle_held);
  visit(N::lost("loss_tcp_reads_cut", LossKind::kPart,
                "ticks in which not all TCP connections could be read"),
        &S::tcp_reads_cut);
  visit(N::count("udp_drops", "datagrams dropped",
                 "Datagrams dropped at the subject's sockets, mostly for a full receive buffer."),
        &S::udp_drops);
}

/// The current state of a listening TCP socket or a UDP socket of the subject. Connected sockets
/// have no rows, because there may be very many.
struct SocketRow {
  uint64_t cookie = 0;  // the kernel's number for it, not reused before a reboot
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
  uint64_t drops = 0;  // since the socket was created: datagrams, or connection attempts
};

}  // namespace topspin
