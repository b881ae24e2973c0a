#include "load/engine/timetable.h"

#include <algorithm>

namespace topspin {
namespace {

template <typename Entry>
void push(std::vector<Entry>& heap, Entry entry) {
  heap.push_back(entry);
  std::push_heap(heap.begin(), heap.end());
}

template <typename Entry>
void drop_top(std::vector<Entry>& heap) {
  std::pop_heap(heap.begin(), heap.end());
  heap.pop_back();
}

}  // namespace

Timetable::Timetable(const Schedule& schedule, const Rhythm& rhythm, bool closed_loop)
    : schedule_(schedule), rhythm_(rhythm), closed_loop_(closed_loop) {
  stays_added(0);
}

void Timetable::stays_added(size_t first) {
  const size_t count = schedule_.stays.size();
  is_to_join_.resize(count, true);
  for (size_t i = first; i < count; ++i) {
    const ClientStay& client = schedule_.stays[i];
    joins_.push_back({client.join_ns, static_cast<uint32_t>(i)});
    leaves_.push_back({client.leave_ns, static_cast<uint32_t>(i)});
    if (first == 0) continue;
    std::push_heap(joins_.begin(), joins_.end());
    std::push_heap(leaves_.begin(), leaves_.end());
  }
  if (first == 0) {
    std::make_heap(joins_.begin(), joins_.end());
    std::make_heap(leaves_.begin(), leaves_.end());
  }
  drop_stale();
}

void Timetable::stay_cut(uint32_t stay) {
  push(leaves_, {schedule_.stays[stay].leave_ns, stay});
  drop_stale();
}

/// Removes what was cut since from the tops of the heaps.
void Timetable::drop_stale() {
  while (!joins_.empty() && is_dropped(joins_.front().stay)) {
    is_to_join_[joins_.front().stay] = false;
    drop_top(joins_);
  }
  while (!leaves_.empty() &&
         (is_dropped(leaves_.front().stay) ||
          leaves_.front().time_ns != schedule_.stays[leaves_.front().stay].leave_ns)) {
    drop_top(leaves_);
  }
  while (!due_.empty() && due_.front().time_ns >= schedule_.stays[due_.front().stay].leave_ns) {
    drop_top(due_);
  }
}

std::optional<TimetableEvent> Timetable::peek() const {
  std::optional<TimetableEvent> next;
  const auto offer = [&](int64_t time_ns, TimetableEventKind kind, uint32_t stay) {
    if (!next || time_ns < next->time_ns || (time_ns == next->time_ns && kind < next->kind)) {
      next = TimetableEvent{time_ns, kind, stay};
    }
  };
  if (!leaves_.empty()) {
    const int64_t at = leaves_.front().time_ns;
    offer(stopped_ns_ ? std::min(at, *stopped_ns_) : at, TimetableEventKind::kLeave,
          leaves_.front().stay);
  }
  if (!joins_.empty())
    offer(joins_.front().time_ns, TimetableEventKind::kJoin, joins_.front().stay);
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
    case TimetableEventKind::kLeave: drop_top(leaves_); break;
    case TimetableEventKind::kJoin:
      drop_top(joins_);
      is_to_join_[next->stay] = false;
      if (rhythm_.period_ns > 0) {
        add_due(next->stay, first_due_ns(client_phase_ns(client.slot, rhythm_), rhythm_.period_ns,
                                         client.join_ns));
      }
      break;
    case TimetableEventKind::kDue:
      drop_top(due_);
      if (!closed_loop_) add_due(next->stay, next->time_ns + rhythm_.period_ns);
      break;
  }
  drop_stale();
  return next;
}

void Timetable::add_due(uint32_t stay, int64_t time_ns) {
  if (stopped_ns_ || time_ns >= schedule_.stays[stay].leave_ns) return;
  push(due_, {time_ns, stay});
}

void Timetable::stop(int64_t now_ns) {
  stopped_ns_ = now_ns;
  due_.clear();
  joins_.clear();
  // Clients that have not joined yet never will, so they never leave.
  std::erase_if(leaves_, [&](const Entry& entry) { return is_to_join_[entry.stay]; });
  std::make_heap(leaves_.begin(), leaves_.end());
  drop_stale();
}

}  // namespace topspin
