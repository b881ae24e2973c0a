// Shared by the TCP workloads: how a connection begins, and how its end is counted. Internal to
// load.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/base/unique_fd.h"
#include "core/run/load_result.h"
#include "load/wire/target.h"

namespace topspin {

/// A connection that is being opened, or the reason why it is not.
struct TcpBeginning {
  UniqueFd fd;
  int local_errno = 0;   // nothing was sent: no descriptor, no port, no route
  int remote_errno = 0;  // answered at once: refused, reset
};

/// Begins a non-blocking connection. `source` is an index for spread_address(), if the target can
/// be reached from there.
TcpBeginning begin_connect(const Target& target, std::optional<uint32_t> source);

/// The pending error of the socket; 0 if there is none, which after EPOLLOUT means connected.
int take_socket_error(int fd);

/// How often the SYN was retransmitted. Call it as soon as the connection is established.
uint64_t syn_retries(int fd);

/// Why a send, a receive or a connection failed, in words for reports: "refused", "reset by the
/// server", "timeout"; else errno's name.
std::string_view failure_name(int number);
/// Whether the failure is of this host and not of the server.
bool is_local_failure(int number);

/// Counts a connection that failed with errno `number`. A SYN that the kernel gave up is a timeout.
void count_failure(TcpAccounts& tcp, int number, bool has_bytes);

/// Source addresses for short connections: with a single one, ports in TIME_WAIT would run out.
/// Returns nullopt if the kernel should choose.
class SourceRotation {
 public:
  void prepare(const Target& target, uint64_t connections, uint32_t usable_ports);
  std::optional<uint32_t> next();

 private:
  uint64_t count_ = 0;
  uint32_t per_address_ = 0;  // 0: no rotation
};

}  // namespace topspin
