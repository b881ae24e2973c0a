// Timetable: the events of a schedule in the order of their times: joins, due moments, leaves.
//
// Pure: the caller passes the time. With an open loop, all due moments come from the schedule. With
// a closed loop, only a client's first one does; the workload adds the others. Stays may be added
// and cut short while it runs, as in a worker's share of a load.
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

  /// The stays from `first` on were added to the schedule.
  void stays_added(size_t first);
  /// The schedule's leave_ns of this stay was made earlier. A stay that now leaves no later than it
  /// joins has no event any more. REQUIRES: no event after the new leave_ns was popped.
  void stay_cut(uint32_t stay);

  /// Removes all joins and due moments after `now_ns`, and lets all clients that joined leave at
  /// that time. REQUIRES: everything up to now_ns has been popped.
  void stop(int64_t now_ns);

 private:
  struct Entry {
    int64_t time_ns;
    uint32_t stay;
    bool operator<(const Entry& other) const {  // std heaps put the greatest on top
      return time_ns != other.time_ns ? time_ns > other.time_ns : stay > other.stay;
    }
  };
  std::optional<TimetableEvent> peek() const;
  bool is_dropped(uint32_t stay) const {
    return schedule_.stays[stay].leave_ns <= schedule_.stays[stay].join_ns;
  }
  void drop_stale();

  const Schedule& schedule_;
  Rhythm rhythm_;
  bool closed_loop_;
  // Heaps. Those of joins and leaves have entries of stays that were cut since; none is on top.
  std::vector<Entry> joins_;
  std::vector<Entry> leaves_;
  std::vector<Entry> due_;        // at most one entry per stay
  std::vector<bool> is_to_join_;  // by stay
  std::optional<int64_t> stopped_ns_;
};

}  // namespace topspin
