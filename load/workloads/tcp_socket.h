// What the TCP workloads share: a connection's beginning, and the names of its ends. Internal to
// load.
#pragma once

#include <cstdint>
#include <optional>

#include "core/base/unique_fd.h"
#include "load/engine/accounts.h"
#include "load/wire/target.h"

namespace topspin {

/// A connection that has been begun, or why not.
struct TcpBeginning {
  UniqueFd fd;
  int local_errno = 0;   // nothing was sent: no descriptor, no port, no route
  int remote_errno = 0;  // answered at once: refused, reset
};

/// Non-blocking. `source`: an index for spread_address(), if the target can be reached from there.
TcpBeginning begin_connect(const Target& target, std::optional<uint32_t> source);

/// The error that is waiting at the socket; 0: none, which after EPOLLOUT means connected.
int take_socket_error(int fd);

/// How many times the SYN had to be sent again. Ask as soon as the connection stands.
uint64_t syn_retries(int fd);

/// Counts a connection that failed with `number`. A SYN that the kernel gave up on is a timeout.
void count_failure(TcpAccounts& tcp, int number, bool has_bytes);

/// Source addresses for connections that come and go: with one alone the ports that rest in
/// TIME_WAIT run out. Answers nullopt where the kernel is to choose.
class SourceRotation {
 public:
  void prepare(const Target& target, uint64_t connections, uint32_t usable_ports);
  std::optional<uint32_t> next();

 private:
  uint64_t count_ = 0;
  uint32_t per_address_ = 0;  // 0: no rotation
};

}  // namespace topspin
