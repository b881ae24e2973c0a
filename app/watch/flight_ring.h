// FlightRing: the last ticks of a recording, in bounded memory.
//
// It holds ticks of the last `keep_ns`, and at most `max_bytes` of them: the oldest ones go first,
// and an incident says so. What leaves the ring goes into its RingBase, so that rows of an incident
// count since its first tick. Pure; one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "app/watch/incident.h"

namespace topspin {

class FlightRing {
 public:
  static constexpr size_t kMostEvents = 1'000;

  FlightRing(int64_t keep_ns, uint64_t max_bytes, size_t most_flow_rows = SIZE_MAX)
      : keep_ns_(keep_ns), max_bytes_(max_bytes), most_flow_rows_(most_flow_rows) {}

  /// Takes the next tick, and returns it as the ring keeps it.
  std::shared_ptr<const PackedTick> add(const Sample& sample);
  /// An event of the recording, at the time of the newest tick.
  void add_event(std::string text);

  bool empty() const { return ticks_.empty(); }
  size_t ticks() const { return ticks_.size(); }
  uint64_t bytes() const { return bytes_; }
  int64_t newest_ns() const { return ticks_.empty() ? 0 : ticks_.back()->plain().elapsed_ns; }

  /// What is in the ring. REQUIRES: it is not empty.
  Incident freeze(const RunInfo& recorder, IncidentCause cause) const;

 private:
  void drop_oldest();

  int64_t keep_ns_;
  uint64_t max_bytes_;
  size_t most_flow_rows_;  // of a tick
  std::deque<std::shared_ptr<const PackedTick>> ticks_;
  std::deque<IncidentEvent> events_;
  RingBase base_;
  uint64_t bytes_ = 0;
  bool is_full_ = false;  // ticks younger than keep_ns had to go
};

}  // namespace topspin
