#include "load/engine/schedule_feed.h"

#include <algorithm>

namespace topspin {

void LoadReport::merge(LoadReport later) {
  for (auto& [position, part] : later.stages) {
    const auto found = std::find_if(stages.begin(), stages.end(),
                                    [p = position](const auto& stage) { return stage.first == p; });
    if (found == stages.end())
      stages.emplace_back(position, std::move(part));
    else
      found->second.merge(part);
  }
  std::swap(stages, later.stages);
  *this = std::move(later);
}

std::optional<ScheduleChange> QueuedFeed::take_change() {
  const std::lock_guard lock(mutex_);
  if (changes_.empty()) return std::nullopt;
  ScheduleChange change = std::move(changes_.front());
  changes_.pop_front();
  return change;
}

void QueuedFeed::report(LoadReport report) {
  const std::lock_guard lock(mutex_);
  if (report_)
    report_->merge(std::move(report));
  else
    report_ = std::move(report);
}

void QueuedFeed::change(ScheduleChange change) {
  const std::lock_guard lock(mutex_);
  changes_.push_back(std::move(change));
}

std::optional<LoadReport> QueuedFeed::take_report() {
  const std::lock_guard lock(mutex_);
  return std::exchange(report_, std::nullopt);
}

}  // namespace topspin
