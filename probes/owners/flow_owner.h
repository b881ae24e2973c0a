// FlowOwners: finds the processes at the local ends of flows. This is the probe "owners". It is the
// second public header of this folder, because it is about rows that the capture made, not about
// the subject.
//
// Its ladder is tp_btf (BPF: all open files in one pass, and TCP connects as they happen), then
// proc (NETLINK_SOCK_DIAG and /proc/PID/fd). It walks over the open files at most once per tick,
// and only if the owner of some end was not looked for yet, or after ten seconds, to notice that a
// port has a new owner. The time of each walk, and the share of time that all walks take, is
// bounded. So a UDP socket that exists only between two ticks has no owner. On the rung proc the
// same holds for every other socket.
//
// It also finds the subject's part in a flow, which the capture needs when the flow's first request
// comes, and the connections that the subject has opened. Lives on the session's thread, except
// part_in(), which the capture thread calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/flow/calls.h"
#include "core/flow/flow_owner.h"
#include "core/tick/sample.h"
#include "probes/inet/socket_table.h"
#include "probes/probe.h"

namespace topspin {

inline constexpr Rung kOwnersLadder[] = {Rung::kTpBtf, Rung::kProc};

struct FlowOwnerLimits {
  int64_t walk_ns_per_resolve = 20'000'000;  // a longer walk is continued the next time
  int64_t walk_share = 50;                   // walks take at most 1/walk_share of all time
  int64_t refresh_ns = 10'000'000'000;  // the longest time between two walks while there are flows
  size_t max_sockets = 262'144;
  size_t max_flows = 1'000'000;  // flows whose owners are kept; others are counted as missed
  uint32_t max_owners = 65'536;  // per run
};

/// A connection that the subject opened to somebody else.
struct OpenedConnection {
  FlowEnd end;                 // the subject's
  bool stays_on_host = false;  // the other end's address also belongs to this host
};

class FlowOwners : public SubjectParts {
 public:
  /// Never fails: status() returns the rung in use, and why no better one is. `options` can force a
  /// rung of "owners"; Rung::kNone turns it off. A subject that does not exist counts as none.
  static std::unique_ptr<FlowOwners> open(const SubjectSpec& subject, const ProbeOptions& options,
                                          const FlowOwnerLimits& limits = {});

  virtual const ProbeStatus& status() const = 0;

  /// Sets the owners of sample.changed_flows as far as they are known. Adds owners that are new or
  /// have a new name to sample.changed_owners, and counts those without room in the losses. An end
  /// keeps its owner after the socket is closed, until another process is found there.
  virtual void resolve(Sample& sample) = 0;

  /// Whether part_in() can ever be certain: there is a subject, and a rung works.
  virtual bool knows_parts() const = 0;

  /// note_processes() passes the subject's current processes, in ascending order. look_around()
  /// walks over all sockets before a recording begins, so that existing ones are known from the
  /// first packet on.
  virtual void note_processes(const std::vector<int32_t>& processes) = 0;
  virtual void look_around() = 0;

  /// Connections that the subject opened and that were first seen since the last call: TCP, and UDP
  /// sockets with a peer. Connections from before the recording, and all on the rung proc, are
  /// found only if they were open during a walk. At most kOpenedKept.
  static constexpr size_t kOpenedKept = 65'536;
  virtual std::vector<OpenedConnection> take_opened() = 0;

  /// The Linux capabilities (CAP_* numbers) that must be kept after opening for resolve() to work.
  virtual std::vector<int> capabilities_needed() const = 0;
};

}  // namespace topspin
