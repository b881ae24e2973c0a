#include "probes/sockets/examine_sockets.h"

#include <algorithm>
#include <optional>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/unique_fd.h"
#include "probes/sockets/socket_queues.h"
#include "probes/sockets/socket_times.h"
#include "probes/syscalls/syscalls.h"

namespace topspin {
namespace {

constexpr uint64_t kOwnThreads = 1024;
constexpr const char* kNoSocket = "cannot try it: no socket on 127.0.0.1";

/// A socket bound to a free port of 127.0.0.1, and that port's address.
struct Bound {
  UniqueFd fd;
  sockaddr_in address{};
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&address); }
};
std::optional<Bound> bind_socket(int type) {
  Bound bound{UniqueFd(::socket(AF_INET, type | SOCK_CLOEXEC, 0)), {}};
  bound.address.sin_family = AF_INET;
  bound.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(bound.address);
  if (!bound.fd || ::bind(bound.fd.get(), bound.raw(), length) != 0 ||
      ::getsockname(bound.fd.get(), bound.raw(), &length) != 0)
    return std::nullopt;
  return bound;
}

RungReport refused(const char* probe, Rung rung, const Error& error) {
  return {probe, rung, false, error.message, rung_remedy(rung, error)};
}

RungReport examine_queues(const Subject& self) {
  RungReport report{"sockets", Rung::kProc, false, "", ""};
  auto opened = SocketQueues::open(self, "/proc", 1'024);
  if (!opened.ok()) return refused("sockets", Rung::kProc, opened.error());
  auto listener = bind_socket(SOCK_STREAM);
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener || ::listen(listener->fd.get(), 1) != 0 ||
      ::connect(client.get(), listener->raw(), sizeof(listener->address)) != 0) {
    report.reason = kNoSocket;
    return report;
  }
  const SocketLedger::Reading reading = (*opened)->read({::getpid()});
  if (reading.interval.accept_queue_max != 1u)
    report.reason = "it opens, but does not see a connection that waits for topspin itself";
  else if (!reading.interval.listen_overflows)
    report.reason = "no overflows: cannot read /proc/thread-self/net/netstat";
  report.works = report.reason.empty();
  return report;
}

RungReport examine_accepts(const Subject& self) {
  RungReport report{"accepts", Rung::kTpBtf, false, "", ""};
  auto opened = SocketTimes::open(self, {true, false}, -1);
  if (!opened.ok()) return refused("accepts", Rung::kTpBtf, opened.error());
  auto listener = bind_socket(SOCK_STREAM);
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener || ::listen(listener->fd.get(), 1) != 0 ||
      ::connect(client.get(), listener->raw(), sizeof(listener->address)) != 0) {
    report.reason = kNoSocket;
    return report;
  }
  (*opened)->handle_notices();  // it listens: from here on accepts are seen
  const UniqueFd accepted(::accept4(listener->fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const SocketTimesReading reading = (*opened)->read();
  report.works = reading.totals.accept_delay && reading.totals.accept_delay->count() == 1;
  if (!report.works) report.reason = "it opens, but misses an accept of topspin's own";
  return report;
}

RungReport examine_replies(const Subject& self) {
  RungReport report{"replies", Rung::kTpBtf, false, "", ""};
  auto opened = SocketTimes::open(self, {false, true}, -1);
  if (!opened.ok()) return refused("replies", Rung::kTpBtf, opened.error());
  auto server = bind_socket(SOCK_DGRAM);
  auto client = bind_socket(SOCK_DGRAM);
  char byte = 0;
  if (server) ::recv(server->fd.get(), &byte, 1, MSG_DONTWAIT);  // from here on it is watched
  socklen_t length = sizeof(sockaddr_in);
  if (!server || !client ||
      ::sendto(client->fd.get(), "x", 1, 0, server->raw(), sizeof(server->address)) != 1 ||
      ::recvfrom(server->fd.get(), &byte, 1, 0, client->raw(), &length) != 1 ||
      ::sendto(server->fd.get(), "y", 1, 0, client->raw(), length) != 1) {
    report.reason = kNoSocket;
    return report;
  }
  const SocketTimesReading reading = (*opened)->read();
  report.works = reading.totals.reply_runtime && reading.totals.reply_runtime->count() == 1;
  if (!report.works) report.reason = "it opens, but misses a reply of topspin's own";
  return report;
}

RungReport examine_syscalls(const Subject& self, Rung rung) {
  RungReport report{"syscalls", rung, false, "", ""};
  ProcReader proc("/proc");
  auto opened = rung == Rung::kTpBtf ? SyscallProbe::open_tp_btf(self)
                                     : SyscallProbe::open_tracepoint(self, kOwnThreads, proc);
  if (!opened.ok()) return refused("syscalls", rung, opened.error());
  ::syscall(SYS_getppid);
  const SyscallReading reading = (*opened)->read();
  report.works = std::any_of(reading.changed.begin(), reading.changed.end(),
                             [](const SyscallRow& row) { return row.number == SYS_getppid; });
  if (!report.works) report.reason = "it opens, but misses a system call of topspin's own";
  return report;
}

}  // namespace

std::vector<RungReport> examine_sockets(const Subject& self) {
  return {examine_queues(self), examine_accepts(self), examine_replies(self),
          examine_syscalls(self, Rung::kTpBtf), examine_syscalls(self, Rung::kTracepoint)};
}

}  // namespace topspin
