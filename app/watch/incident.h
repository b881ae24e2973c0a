// Incident: the ticks that a flight recorder kept, made into a run of their own.
//
// A recorder that runs for days has rows (flows, threads, sockets) which count since it began. In
// an incident they count since its first tick, as in any run. RingBase knows the rows as they were
// before that tick; IncidentRows subtracts them, and gives ticks and times the numbers of a run.
// Pure; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "app/tick/row_baseline.h"
#include "app/watch/packed_tick.h"
#include "capture/packet/packet_ring.h"
#include "core/run/run.h"
#include "core/tick/sample.h"

namespace topspin {

/// The state of all rows before the first tick of a ring.
class RingBase {
 public:
  /// Beyond that many, the flows with the lowest numbers are forgotten: if they come back, they
  /// count from then on.
  static constexpr size_t kMostFlows = 262'144;
  static constexpr size_t kMostOwners = 65'536;

  /// Takes the tick that left the ring.
  void take(const PackedTick& tick);

 private:
  friend class IncidentRows;
  friend class PacketOwners;

  RowBaseline rows_;
  std::map<uint64_t, FlowRow> flows_;
  std::map<uint32_t, CalledRow> called_;
  std::map<uint32_t, FlowOwner> owners_;
};

/// Why ticks were frozen.
struct IncidentCause {
  std::string rule;            // empty: by hand
  std::string measured;        // "12.30ms against 5.00ms"; empty: by hand
  int64_t since_ns = 0;        // elapsed time from which on the rule's comparison was true
  int64_t at_ns = 0;           // elapsed time of the tick at which it was frozen
  int64_t judged_from_ns = 0;  // elapsed time; what came before is context
};

/// What a log calls its rule, and what was measured.
std::vector<std::pair<std::string, std::string>> log_attributes(const IncidentCause& cause);

struct IncidentEvent {
  int64_t elapsed_ns = 0;
  std::string text;
};

/// Everything of which an incident's run is made. Times are those of the recorder.
struct Incident {
  RunInfo recorder;  // of the recording that kept the ticks
  IncidentCause cause;
  std::vector<std::shared_ptr<const PackedTick>> ticks;  // never empty
  std::vector<IncidentEvent> events;
  RingBase base;
  std::string shortened;  // why there are fewer ticks than wanted; empty: there are not
  std::optional<FrozenPackets> packets;  // also some from before and after the ticks

  int64_t begin_ns() const {
    return ticks.front()->plain().elapsed_ns - ticks.front()->plain().interval_ns;
  }
  int64_t end_ns() const { return ticks.back()->plain().elapsed_ns; }
};

/// The run of an incident: what is known before its first tick.
RunInfo incident_run(const Incident& incident, const std::string& id);

/// Its stages: what came before, and the incident, of which alone its findings are. A stall of
/// 400 ms is nothing in a minute's percentiles. None if all of it is the incident.
std::vector<RunStage> incident_stages(const Incident& incident);

/// The sentences of the run's events about the incident itself.
std::vector<IncidentEvent> incident_events(const Incident& incident);

/// Makes the ticks of an incident's run, one after the other.
class IncidentRows {
 public:
  explicit IncidentRows(const Incident& incident);

  /// The tick number `i` of the incident, as a tick of its run. REQUIRES: called once for each, in
  /// order.
  Sample tick(size_t i);

 private:
  void subtract_flow(FlowRow& row);

  const Incident& incident_;
  RowBaseline rows_;
  int64_t begin_ns_;
  int64_t monotonic_begin_ns_;
  int64_t packets_begin_ns_;  // on the packets' clock
  uint64_t first_tick_;
  std::map<uint64_t, FlowRow> late_bases_;  // of flows that are older than their first row
};

}  // namespace topspin
