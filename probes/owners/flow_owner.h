// FlowOwners: names the processes at the local ends of flows. The probe "owners"; a second public
// face of this folder, since it is asked about rows that capture made, not about the subject.
//
// Its ladder is tp_btf (BPF: all open files in one pass, TCP connects as they happen), then proc
// (NETLINK_SOCK_DIAG and /proc/PID/fd). It looks at the open files at most once a tick, only while
// there is an end that nobody was looked for yet (and every ten seconds, to notice that a port has
// changed hands), for a bounded time each, and for a bounded share of all time. So a UDP socket, or
// on the rung proc any socket, that comes and goes between two ticks has no owner. Lives on one
// thread, the session's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/flow/flow_owner.h"
#include "core/tick/sample.h"
#include "probes/probe.h"

namespace topspin {

inline constexpr Rung kOwnersLadder[] = {Rung::kTpBtf, Rung::kProc};

struct FlowOwnerLimits {
  int64_t walk_ns_per_resolve = 20'000'000;  // a longer walk is continued the next time
  int64_t walk_share = 50;              // at most one part in so many of all time goes into walks
  int64_t refresh_ns = 10'000'000'000;  // at the latest, while there are flows
  size_t max_sockets = 262'144;
  size_t max_flows = 1'000'000;  // whose owners are remembered; more are counted as missed
  uint32_t max_owners = 65'536;  // of a run
};

class FlowOwners {
 public:
  virtual ~FlowOwners() = default;

  /// Never fails: status() says which rung it uses, and why not a better one. `options` forces a
  /// rung of "owners"; Rung::kNone turns it off. A subject that is not there is no subject.
  static std::unique_ptr<FlowOwners> open(const SubjectSpec& subject, const ProbeOptions& options,
                                          const FlowOwnerLimits& limits = {});

  virtual const ProbeStatus& status() const = 0;

  /// Sets the owners of sample.changed_flows as far as they are known, adds the owners that are new
  /// or have a new name to sample.changed_owners, and what found no room to its losses. An end
  /// keeps its owner after the socket is gone, until another process is found there.
  virtual void resolve(Sample& sample) = 0;

  /// The Linux capabilities (CAP_* numbers) that must be kept after opening for resolve() to work.
  virtual std::vector<int> capabilities_needed() const = 0;
};

}  // namespace topspin
