#include "load/engine/timetable.h"

#include <algorithm>
#include <numeric>

namespace topspin {

Timetable::Timetable(const Schedule& schedule, const Rhythm& rhythm, bool closed_loop)
    : schedule_(schedule), rhythm_(rhythm), closed_loop_(closed_loop) {
  leaves_.resize(schedule.stays.size());
  std::iota(leaves_.begin(), leaves_.end(), 0u);
  std::stable_sort(leaves_.begin(), leaves_.end(), [&](uint32_t a, uint32_t b) {
    return schedule.stays[a].leave_ns < schedule.stays[b].leave_ns;
  });
}

std::optional<TimetableEvent> Timetable::peek() const {
  std::optional<TimetableEvent> next;
  const auto offer = [&](int64_t time_ns, TimetableEventKind kind, uint32_t stay) {
    if (!next || time_ns < next->time_ns || (time_ns == next->time_ns && kind < next->kind)) {
      next = TimetableEvent{time_ns, kind, stay};
    }
  };
  if (next_leave_ < leaves_.size()) {
    const uint32_t stay = leaves_[next_leave_];
    const int64_t at = schedule_.stays[stay].leave_ns;
    offer(stopped_ns_ ? std::min(at, *stopped_ns_) : at, TimetableEventKind::kLeave, stay);
  }
  if (next_join_ < schedule_.stays.size()) {
    offer(schedule_.stays[next_join_].join_ns, TimetableEventKind::kJoin,
          static_cast<uint32_t>(next_join_));
  }
  if (!due_.empty()) offer(due_.front().time_ns, TimetableEventKind::kDue, due_.front().stay);
  return next;
}

std::optional<int64_t> Timetable::next_ns() const {
  const auto next = peek();
  if (!next) return std::nullopt;
  return next->time_ns;
}

std::optional<TimetableEvent> Timetable::pop(int64_t now_ns) {
  const auto next = peek();
  if (!next || next->time_ns > now_ns) return std::nullopt;
  const ClientStay& client = schedule_.stays[next->stay];
  switch (next->kind) {
    case TimetableEventKind::kLeave: ++next_leave_; break;
    case TimetableEventKind::kJoin:
      ++next_join_;
      if (rhythm_.period_ns > 0) {
        add_due(next->stay, first_due_ns(client_phase_ns(client.slot, rhythm_), rhythm_.period_ns,
                                         client.join_ns));
      }
      break;
    case TimetableEventKind::kDue:
      std::pop_heap(due_.begin(), due_.end());
      due_.pop_back();
      if (!closed_loop_) add_due(next->stay, next->time_ns + rhythm_.period_ns);
      break;
  }
  return next;
}

void Timetable::add_due(uint32_t stay, int64_t time_ns) {
  if (stopped_ns_ || time_ns >= schedule_.stays[stay].leave_ns) return;
  due_.push_back({time_ns, stay});
  std::push_heap(due_.begin(), due_.end());
}

void Timetable::stop(int64_t now_ns) {
  stopped_ns_ = now_ns;
  due_.clear();
  // Clients that have not joined yet (the stays from next_join_ on) never will, so they never
  // leave.
  std::vector<uint32_t> joined;
  for (size_t i = next_leave_; i < leaves_.size(); ++i) {
    if (leaves_[i] < next_join_) joined.push_back(leaves_[i]);
  }
  leaves_ = std::move(joined);
  next_leave_ = 0;
  next_join_ = schedule_.stays.size();
}

}  // namespace topspin
