// The accounts of a load: where every moment of the schedule went, and the equations they obey.
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace topspin {

/// What one moment of the schedule asks for is a message: a ping, a request, a connection.
struct LoadAccounts {
  uint64_t scheduled = 0;    // moments of the schedule that came
  uint64_t sent = 0;         // handed to the kernel (for TCP: connection or request begun)
  uint64_t sent_late = 0;    // ... of them, later than LoadOptions::late_after_ns
  uint64_t send_errors = 0;  // refused by our own kernel: see LoadResult::errors
  // Moments that nothing was sent for: the generator came more than a period too late, or (of
  // these: `blocked`) the client was still busy with an earlier message, as a closed loop or one
  // HTTP connection has it.
  uint64_t never_scheduled = 0;
  uint64_t blocked = 0;

  uint64_t replied = 0;       // answered within the timeout
  uint64_t late_replies = 0;  // answered after it
  uint64_t lost = 0;          // never answered
  uint64_t duplicates = 0;    // answered once more
  uint64_t unexpected = 0;    // bytes that answer nothing that was sent: foreign, mangled, too old
  uint64_t dead_clients = 0;  // closed loop: left, or still there at the end, waiting for ever

  void merge(const LoadAccounts& other);
  bool operator==(const LoadAccounts&) const = default;
};

struct TcpAccounts {
  uint64_t connected = 0;
  uint64_t refused = 0;
  uint64_t syn_retries = 0;         // SYNs sent again, over all connections
  uint64_t reset_before_bytes = 0;  // RST with nothing of the answer received
  uint64_t reset_after_bytes = 0;
  uint64_t truncated = 0;       // FIN before the answer was whole
  uint64_t timeouts = 0;        // given up after the timeout, in whatever state
  uint64_t failed = 0;          // any other error, and connections that the end of the load cut off
  uint64_t closed_by_peer = 0;  // FIN received

  uint64_t lost() const {
    return refused + reset_before_bytes + reset_after_bytes + truncated + timeouts + failed;
  }
  void merge(const TcpAccounts& other);
  bool operator==(const TcpAccounts&) const = default;
};

/// What can be held against the accounts.
struct AccountsContext {
  bool expects_replies = true;  // udp-flood does not
  bool is_tcp = false;          // the causes in TcpAccounts must sum up to `lost`
  uint64_t planned = 0;         // what the schedule, computed apart, asks for
  bool has_plan = true;         // flat out has none
};

/// The equations that do not hold, each as one sentence with its numbers; empty if all do.
///
///   scheduled = planned
///   scheduled = sent + send_errors + never_scheduled
///   sent      = replied + late_replies + lost                           (replies expected)
///   lost      = refused + resets + truncated + timeouts + failed        (TCP)
///   sent_late <= sent,  blocked <= never_scheduled
std::vector<std::string> find_imbalances(const LoadAccounts& accounts, const TcpAccounts& tcp,
                                         const AccountsContext& context);

}  // namespace topspin
