// Timetable: the events of a schedule in the order of their times: joins, due moments, leaves.
//
// Pure: the caller passes the time. With an open loop, all due moments come from the schedule. With
// a closed loop, only a client's first one does; the workload adds the others.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "load/engine/schedule.h"

namespace topspin {

enum class TimetableEventKind : uint8_t { kLeave, kJoin, kDue };  // the order at the same moment

struct TimetableEvent {
  int64_t time_ns = 0;
  TimetableEventKind kind = TimetableEventKind::kDue;
  uint32_t stay = 0;  // index into Schedule::stays

  bool operator==(const TimetableEvent&) const = default;
};

class Timetable {
 public:
  /// `schedule` must outlive the timetable.
  Timetable(const Schedule& schedule, const Rhythm& rhythm, bool closed_loop);

  /// The next event's time, if there is one.
  std::optional<int64_t> next_ns() const;

  /// The next event at or before `now_ns`.
  std::optional<TimetableEvent> pop(int64_t now_ns);

  /// Closed loop: the client is due at `time_ns`, unless it will have left.
  void add_due(uint32_t stay, int64_t time_ns);

  /// Removes all joins and due moments after `now_ns`, and lets all clients that joined leave at
  /// that time. REQUIRES: everything up to now_ns has been popped.
  void stop(int64_t now_ns);

 private:
  struct Due {
    int64_t time_ns;
    uint32_t stay;
    bool operator<(const Due& other) const {  // std heaps put the greatest on top
      return time_ns != other.time_ns ? time_ns > other.time_ns : stay > other.stay;
    }
  };
  std::optional<TimetableEvent> peek() const;

  const Schedule& schedule_;
  Rhythm rhythm_;
  bool closed_loop_;
  size_t next_join_ = 0;
  std::vector<uint32_t> leaves_;  // stays in the order of leave_ns
  size_t next_leave_ = 0;
  std::vector<Due> due_;  // a heap with at most one entry per stay
  std::optional<int64_t> stopped_ns_;
};

}  // namespace topspin
